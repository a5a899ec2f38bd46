"""The state diagram of ``protocol/states.py``: every arrow is walked by a fixture, and no fixture walks beside them."""

from __future__ import annotations

import tomllib
from pathlib import Path

from tcptrace_tw.protocol.states import TRANSITIONS, T, state_name
from tcptrace_tw.schema.words import EVENT
from tests.scenario import Result, count_frames, parse, play_frames, play_pcap, render

FIXTURES = Path(__file__).parent.parent / "fixtures"
MANY_FRAMES = 2000

Arrow = tuple[str | None, str, str]


def arrow(t: T) -> Arrow:
    return state_name(t.start), EVENT.words[t.event], state_name(t.end)


DECLARED = {arrow(t) for t in TRANSITIONS}


def walked() -> dict[Arrow, str]:
    """Each arrow that an endpoint of a fixture passed, and was not taken back, with the name of the first fixture."""
    found: dict[Arrow, str] = {}
    for path in sorted(FIXTURES.glob("*/scenario.pkt")):
        for row in _rows(path):
            found.setdefault(row, path.parent.name)
    return found


def _rows(path: Path) -> set[Arrow]:
    text = path.read_text()
    if count_frames(text) > MANY_FRAMES:
        return set()
    scenario = parse(text)
    settings = tomllib.loads(path.with_name("expect.toml").read_text()).get("settings", {})
    got = play_pcap(render(scenario.frames, scenario.link), **settings)
    return {row for c in got.connections for end in ("orig", "resp") for row in _changes(got, c.connection_id, end)}


def _changes(got: Result, connection_id: int, end: str) -> set[Arrow]:
    return {(row.from_state, row.event, row.to_state) for row in got.valid_transitions(connection_id, end)}


def test_the_fixtures_walk_every_arrow_and_no_other() -> None:
    """What no scenario can show is not in the table; only a connection from mid-stream begins beside it."""
    walks = walked()
    beside = {each: name for each, name in walks.items() if each not in DECLARED and each[1] != "first seen"}

    assert DECLARED - walks.keys() == set()
    assert beside == {}


def test_a_state_and_an_event_lead_to_one_state() -> None:
    assert len({(t.start, t.event) for t in TRANSITIONS}) == len(TRANSITIONS)


def test_a_fin_in_syn_received_passes_through_established() -> None:
    """A FIN that does not acknowledge the SYN is not taken in (RFC 9293 3.10.7.4, fifth check before the eighth)."""
    frames = parse("""
        A = 10.0.0.1:40000
        B = 10.0.0.2:80
        +0     A > B  S  1000:1000(0)
        +0     A < B  S. 5000:5000(0) ack 1001
        +0     A > B  F. 1001:1001(0) ack 5000
        +0.2   A > B  F. 1001:1001(0) ack 5001
    """).frames
    early, whole = play_frames(frames[:3]), play_frames(frames)

    assert early.history(1, "resp") == ["LISTEN", "SYN-RECEIVED"]
    assert whole.history(1, "resp") == ["LISTEN", "SYN-RECEIVED", "ESTABLISHED", "CLOSE-WAIT"]
