"""Zeek's history once more, letter by letter as its documentation lists them, for the segments of one incarnation.

It shares no code with ``tcptrace_tw``.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from tests.naive.tracker import ACK, FIN, RST, SYN, Segment, after

POWERS_OF_TEN = {10**n for n in range(10)}


class _Side:
    """What one endpoint has sent so far."""

    def __init__(self) -> None:
        self.once: set[str] = set()
        self.numbers: dict[str, int] = {}
        self.counts = {"T": 0, "W": 0}
        self.last_end: int | None = None

    def letters(self, x: Segment, peer: _Side) -> str:
        """The letters that one segment adds, in the order in which Zeek adds them."""
        written = self._packet(x)
        is_reset = "R" in self.numbers
        if x.window == 0 and not x.flags & RST and not is_reset and "F" not in peer.numbers:
            written += self._scaled("W")
        if self.last_end is not None and x.payload_len and not is_reset and after(x.end, self.last_end) <= 0:
            written += self._scaled("T")
        if not x.flags & RST and (self.last_end is None or after(x.end, self.last_end) > 0):
            self.last_end = x.end
        if peer.last_end is None and x.flags & ACK:
            peer.last_end = x.ack
        return written

    def _packet(self, x: Segment) -> str:
        control = x.flags & (SYN | FIN | RST)
        if not control:
            return self._first("D") if x.payload_len else self._first("A") if x.flags & ACK else ""
        if control & (control - 1):  # more than one of them
            return self._first("I" if control & FIN and control & RST else "Q")
        kind = {SYN: "S", FIN: "F", RST: "R"}[control]
        number = x.end if control == FIN else x.seq
        is_new = self.numbers.get(kind) != number
        self.numbers[kind] = number
        return ("H" if kind == "S" and x.flags & ACK else kind) if is_new else ""

    def _first(self, letter: str) -> str:
        if letter in self.once:
            return ""
        self.once.add(letter)
        return letter

    def _scaled(self, letter: str) -> str:
        self.counts[letter] += 1
        return letter if self.counts[letter] in POWERS_OF_TEN else ""


def history(segments: Iterable[Segment], orig: Hashable) -> str:
    """The history of an incarnation whose orig is ``orig``."""
    sides = {True: _Side(), False: _Side()}
    text = ""
    for x in segments:
        is_orig = x.src == orig
        letters = sides[is_orig].letters(x, sides[not is_orig])
        text += "^" if not text and not is_orig else ""
        text += letters if is_orig else letters.lower()
    return text
