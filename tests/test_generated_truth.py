"""Generated conversations against the truth of their endpoints: who closed, who holds TIME-WAIT, through which states.

Where the tap sees all and in order, everything must be told. Where it writes frames down out of order, the states that
a crossing FIN and ACK led to cannot be told, but the active closer and the holders of TIME-WAIT can: FINs say it
themselves.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from tests.generate import MS, START_NS, Conversation, Plan, converse
from tests.scenario import Peer, Result, play_frames, write
from tests.scenario.play import Row

SEEDS = st.integers(0, 2**32 - 1)
FEW = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
CLIENT, SERVER = Peer("10.0.0.1", 40000), Peer("10.0.0.2", 80)


def plan_of(random: Random) -> Plan:
    """A plan without losses: every way of closing, with what healthy hosts do besides."""
    return Plan(
        closer=random.choice(("client", "server", "both", "both")),
        requests=random.randrange(3),
        lag=random.choice((0.0, 3.0, 20.0, 300.0)),
        is_combined=random.random() < 0.3,
        bytes_after_fin=random.choice((0, 0, 2500)),
        delay=random.choice((0.05, 0.2, 5.0, 40.0)),
        tap=random.choice((0.0, 0.02, 0.5, 0.98, 1.0)),
        has_ts=random.random() < 0.7,
        ack_delay=random.choice((0.0, 40.0)),
        keep_alive=random.choice((0.0, 400.0)),
        full_for=random.choice((0.0, 900.0)),
        is_simultaneous_open=random.random() < 0.3,
    )


def talk_of(seed: int, plan: Plan) -> Conversation:
    talk = converse(Random(seed), plan, CLIENT, SERVER, START_NS)[0]
    note(write(talk.frames))
    return talk


def truths(talk: Conversation, row: Row) -> dict[str, tuple[list[str], list[int]]]:
    """States and times by the tool's roles: orig is the side whose SYN passed the tap first."""
    sides = (talk.orig_history, talk.orig_times_ns), (talk.resp_history, talk.resp_times_ns)
    return dict(zip(("orig", "resp") if row.orig_ip == CLIENT.ip else ("resp", "orig"), sides, strict=True))


def closers(talk: Conversation, row: Row) -> str:
    active = [end for end, (history, _) in truths(talk, row).items() if "FIN-WAIT-1" in history]
    return "both" if len(active) == 2 else active[0] if active else "none"


def holders(result: Result) -> set[str]:
    return {span.holder for span in result.time_wait}


@FEW
@given(SEEDS)
def test_what_the_tap_sees_in_order_is_told_as_it_was(seed: int) -> None:
    """All states of both ends, the closer, and TIME-WAIT from its true start (RFC 9293 3.3.2)."""
    plan = plan_of(Random(seed))
    talk = talk_of(seed, plan)
    result = play_frames(talk.frames)
    (row,) = result.connections

    for end, (history, times) in truths(talk, row).items():
        said = result.history(row.connection_id, end)
        assert said == [*history, "CLOSED"][: len(said)]
        assert len(said) >= len(history)
        starts = [span.start for span in result.time_wait if span.holder == end]
        true = [time for state, time in zip(history[1:], times, strict=True) if state == "TIME-WAIT"]
        assert len(starts) == len(true)
        assert all(abs(a - b) <= (2 * plan.delay + 1) * MS for a, b in zip(starts, true, strict=True))
    assert row.active_closer == closers(talk, row)


@FEW
@given(SEEDS, st.sampled_from((0.5, 1.0, 1.9)))
def test_a_tap_that_writes_frames_down_out_of_order_changes_no_closer(seed: int, share: float) -> None:
    """The ACK fields of both FINs decide (RFC 9293 3.6); ``share`` is the worst delay of the tap, in one-way delays."""
    plan = replace(plan_of(Random(seed)), is_simultaneous_open=False, ack_delay=0.0, keep_alive=0.0, full_for=0.0)
    talk = talk_of(seed, replace(plan, tap_lag=share * plan.delay))
    result = play_frames(talk.frames)
    (row,) = result.connections

    assert row.active_closer == closers(talk, row)
    assert holders(result) == {end for end, (history, _) in truths(talk, row).items() if "TIME-WAIT" in history}
    assert [f.rule for f in result.findings if f.severity in ("warning", "error")] == []
