"""Silences once more, as plainly as they can be said: every segment is held against all that came before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tests.naive.tracker import ACK, FIN, RST, SYN, Segment, after

SECOND = 10**9


class Silence(NamedTuple):
    """The longest silence that was survived; the one that was the end, what ended it, and who sent that."""

    survived_ns: int | None = None
    silence_ns: int | None = None
    end: str | None = None
    by: str | None = None


def silence(segments: Sequence[Segment]) -> Silence:
    """The silences of one connection, of which ``segments`` holds all, the SYN first."""
    survived, open_one = None, None
    for i, x in enumerate(segments):
        before = segments[:i]
        if open_one is not None and _answers(before, segments[open_one[0]], x):
            survived = max(survived or 0, open_one[1])
            open_one = None
        if open_one is not None:
            continue
        gap = x.time_ns - segments[i - 1].time_ns if i else 0
        if gap < SECOND or not _is_open(before) or any(y.flags & (FIN | RST) for y in before):
            continue
        if all(_outstanding(before, end) == 0 for end in (segments[0].src, segments[0].dst)):
            open_one = (i, gap // 10**6 * 10**6)
            if x.flags & (FIN | RST):
                return Silence(survived, open_one[1], "fin" if x.flags & FIN else "reset", _side(segments, x))
    if open_one is None:
        return Silence(survived)
    end = _end(segments, *open_one)
    return Silence(survived, open_one[1], *end) if end else Silence(survived)


def _side(segments: Sequence[Segment], x: Segment) -> str:
    return "orig" if x.src == segments[0].src else "resp"


def _is_open(before: Sequence[Segment]) -> bool:
    """Whether the three segments of the handshake have passed."""
    syn_ack = next((y for y in before if y.flags & (SYN | ACK) == SYN | ACK), None)
    return syn_ack is not None and any(y.src == syn_ack.dst and y.flags & ACK for y in before)


def _reached(segments: Sequence[Segment], src: object) -> int:
    """The number behind everything that one end has sent."""
    own = [y for y in segments if y.src == src and not y.flags & RST]
    best = own[0].end
    for y in own:
        best = y.end if after(y.end, best) > 0 else best
    return best


def _acked(segments: Sequence[Segment], src: object) -> int:
    """The highest number of one end that the other has acknowledged."""
    first = next(y for y in segments if y.src == src)
    best = first.seq
    for y in segments:
        if y.dst == src and y.flags & ACK and not y.flags & RST:
            best = y.ack if after(y.ack, best) > 0 else best
    return best


def _outstanding(segments: Sequence[Segment], src: object) -> int:
    return after(_reached(segments, src), _acked(segments, src))


def _answers(before: Sequence[Segment], breaker: Segment, x: Segment) -> bool:
    """Whether a segment of the other end acknowledges what broke the silence, or all there is."""
    if x.src != breaker.dst or x.flags & RST or not x.flags & ACK:
        return False
    return after(x.ack, _acked(before, breaker.src)) > 0 or x.ack == _reached(before, breaker.src)


def _repeats(segments: Sequence[Segment], place: int, src: object) -> int:
    """How often one end has repeated itself from ``place`` on, without a word from the other in between."""
    count = 0
    for i in range(place, len(segments)):
        x = segments[i]
        if x.src != src or x.flags & RST or (x.flags & FIN and not x.payload_len):
            continue
        is_alone = segments[i - 1].src == src
        reached = _reached(segments[:i], src)
        if x.payload_len and after(x.end, reached) <= 0:
            count += is_alone
        elif not x.payload_len and after(x.seq, reached) == -1:
            count = count + 1 if is_alone else 1
    return count


def _end(segments: Sequence[Segment], place: int, gap: int) -> tuple[str, str] | None:
    """What came of a silence that was broken and not answered."""
    breaker = segments[place]
    side = _side(segments, breaker)
    later = segments[place + 1 :]
    mine = [y for y in later if y.src == breaker.src]
    theirs = [y for y in later if y.src == breaker.dst]
    repeats = _repeats(segments, place, breaker.src)
    if any(y.flags & FIN for y in mine) and repeats < 3:
        return ("fin", side)  # what came before it was a farewell
    if theirs and theirs[-1].flags & RST and theirs[-1].time_ns >= (mine or [breaker])[-1].time_ns:
        has_taken = theirs[-1].flags & ACK and after(theirs[-1].ack, _reached(segments, breaker.src)) >= 0
        return None if has_taken else ("answered-by-reset", side)
    is_last = not theirs or theirs[-1].time_ns < (mine or [breaker])[-1].time_ns
    return ("unanswered", side) if repeats >= 3 and is_last else None
