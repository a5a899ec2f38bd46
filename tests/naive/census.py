"""The census and the clocks once more, with dictionaries and loops over seconds: what the kernels must agree with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

NS = 1_000_000_000
MINUTE_NS = 60 * NS


class Life(NamedTuple):
    """One connection of a source that ended; times in ns."""

    source: tuple[int, int, int]
    port: int
    begin: int
    end: int


class Span(NamedTuple):
    """One TIME-WAIT of a source; ``end`` is None where it was open at the end of the capture."""

    source: tuple[int, int, int]
    begin: int
    end: int | None


class Syn(NamedTuple):
    """A SYN with timestamps."""

    time: int
    tsval: int
    port: int


def most_used(lives: Iterable[Life], spans: Iterable[Span]) -> dict[tuple[int, int, int], tuple[int, int]]:
    """The most ports that each source had in use at the end of a second, one at least, and the first such second."""
    steps: dict[tuple[int, int, int], dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for life in lives:
        steps[life.source][life.begin // NS] += 1
        steps[life.source][life.end // NS] -= 1
    for span in spans:
        steps[span.source][span.begin // NS] += 1
        if span.end is not None:
            steps[span.source][span.end // NS] -= 1
    found = {}
    for source, changes in steps.items():
        level, best = 0, (-1, 0)
        for second in sorted(changes):
            level += changes[second]
            if level > best[0]:
                best = (level, second)
        found[source] = max(best[0], 1), best[1]
    return found


class Pace(NamedTuple):
    """What a source opened until 95 % of its peak was in use and after, up to the last such second, and how long."""

    opened_filling: int
    filling_s: int
    opened_full: int
    full_s: int


def paces(lives: Iterable[Life], spans: Iterable[Span]) -> dict[tuple[int, int, int], Pace]:
    """The pace of each source that opened a connection: every second is counted afresh."""
    lives, spans, found = list(lives), list(spans), {}
    for source in {life.source for life in lives}:
        begun = [life.begin // NS for life in lives if life.source == source]
        held = [(life.begin // NS, life.end // NS) for life in lives if life.source == source]
        held += [
            (span.begin // NS, 1 << 62 if span.end is None else span.end // NS)
            for span in spans if span.source == source
        ]  # fmt: skip
        seconds = sorted({second for interval in held for second in interval if second < 1 << 62})
        used = {second: sum(begin <= second < end for begin, end in held) for second in seconds}
        full = [second for second in seconds if used[second] * 20 >= max(used.values()) * 19]
        filling = sum(second <= full[0] for second in begun)
        until = sum(second <= full[-1] for second in begun)
        found[source] = Pace(filling, full[0] - seconds[0] + 1, until - filling, full[-1] - full[0])
    return found


def overtaken(answered: list[Syn], syns: Iterable[Syn]) -> int:
    """How many of the SYNs lie more than a tick below one that was answered in the minute before."""
    return sum(
        any(other.time < syn.time <= other.time + MINUTE_NS and ticks(other, syn) > 1 for other in answered)
        for syn in syns
    )


def clocks(syns: list[Syn], rates: Iterable[int], slack_ms: int, members: int) -> tuple[int, int]:
    """How many clocks the SYNs come from, and at which rate: the fewest groups of offsets with enough ports in each."""
    first, best = min(syns), (0, 0)
    for rate in rates:
        offsets = sorted((ticks(s, first) * 1000 // rate - (s.time - first.time) // 1_000_000, s.port) for s in syns)
        groups: list[set[int]] = []
        for number, (offset, port) in enumerate(offsets):
            if number == 0 or offset - offsets[number - 1][0] > slack_ms:
                groups.append(set())
            groups[-1].add(port)
        if min(map(len, groups)) >= members and (best[0] == 0 or len(groups) < best[0]):
            best = (len(groups), rate)
    return best


def ticks(syn: Syn, first: Syn) -> int:
    """How far the timestamp of ``syn`` is ahead, signed, modulo 2**32."""
    return (syn.tsval - first.tsval + (1 << 31)) % (1 << 32) - (1 << 31)
