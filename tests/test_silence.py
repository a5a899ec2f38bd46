"""Silences: the kernels and a plain loop over all segments see the same."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tcptrace_tw.protocol.timeouts import FIN_THEN, IDLE_TIMEOUTS, NOT_KNOWN, NS, RST_NEXT, SILENT, at, largest_between
from tests.naive.silence import Silence, silence
from tests.naive.tracker import segments
from tests.scenario import play_frames
from tests.scenario.notation import Frame, Peer

A, B = Peer("10.0.0.1", 40000), Peer("10.0.0.2", 80)
START = 1_700_000_000 * NS
FIN, SYN, RST, ACK = 1, 2, 4, 16
MANY = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))

STEPS = st.tuples(
    st.sampled_from((1, 5, 999, 1000, 1001, 20_000, 350_000)),
    st.booleans(),
    st.sampled_from(("data", "data", "answered", "answered", "probe", "ack", "again", "end", "reset")),
)


def talk(steps: list[tuple[int, bool, str]]) -> list[Frame]:
    """A handshake, then what the steps say: how many ms later, whether the server sends, and what."""
    frames, now = [], START
    nxt = {A: 1000, B: 5000}
    acked = {A: 1000, B: 5000}
    closed: set[Peer] = set()

    def send(src: Peer, flags: int, length: int = 0, seq: int | None = None) -> None:
        dst = B if src == A else A
        frames.append(
            Frame(now, src, dst, flags, nxt[src] if seq is None else seq, length, acked[dst] if flags & ACK else 0,
                  65535, ip_id=len(frames) + 1)
        )  # fmt: skip
        if seq is None and not flags & RST:
            nxt[src] += length + bool(flags & (SYN | FIN))

    send(A, SYN)
    now, acked[A] = now + 10**6, 1001
    send(B, SYN | ACK)
    now, acked[B] = now + 10**6, 5001
    send(A, ACK)
    for wait, is_server, kind in steps:
        src, dst = (B, A) if is_server else (A, B)
        now += wait * 10**6
        if kind == "reset":
            send(src, RST)
            break
        if kind == "again":
            if nxt[src] > acked[src]:
                send(src, ACK, nxt[src] - acked[src], seq=acked[src])
            continue
        if kind == "end":
            send(src, FIN | ACK)
            closed.add(src)
            break
        if kind == "probe":
            send(src, ACK, 0, seq=nxt[src] - 1)
        elif kind == "ack":
            acked[dst] = nxt[dst]
            send(src, ACK)
        else:
            send(src, ACK, 10)
            if kind == "answered":
                now += 10**6
                acked[src] = nxt[src]
                send(dst, ACK)
    return frames


@MANY
@given(st.lists(STEPS, max_size=12))
def test_the_kernels_see_the_silences_of_the_twin(steps: list[tuple[int, bool, str]]) -> None:
    frames = talk(steps)
    row = play_frames(frames).connections[0]

    assert Silence(row.survived_ns, row.silence_ns, row.silence_end, row.silence_by) == silence(segments(frames))


def test_a_timeout_that_was_survived_is_no_candidate() -> None:
    assert IDLE_TIMEOUTS[largest_between(10 * NS, 420 * NS, RST_NEXT)].word == "aws-nat-nlb"
    assert largest_between(360 * NS, 420 * NS, RST_NEXT) == NOT_KNOWN
    assert IDLE_TIMEOUTS[largest_between(-1, 1300 * NS, SILENT)].word == "google-nat"


@pytest.mark.parametrize(("seconds", "word"), [(75.02, "nginx"), (5.005, "http-5"), (61.5, None), (70, None)])
def test_a_timer_is_known_by_its_length(seconds: float, word: str | None) -> None:
    place = at(int(seconds * NS), FIN_THEN)

    assert (IDLE_TIMEOUTS[place].word if place != NOT_KNOWN else None) == word


def test_known_timeouts_rise_and_have_a_source() -> None:
    assert [each.seconds for each in IDLE_TIMEOUTS] == sorted(each.seconds for each in IDLE_TIMEOUTS)
    assert all(each.source.startswith("https://") for each in IDLE_TIMEOUTS)
