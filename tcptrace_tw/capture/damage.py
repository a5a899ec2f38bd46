"""Segments that no TCP stack sends: their flags exclude each other, or their options do not fit the header."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.kernels.arrays import zeros
from tcptrace_tw.kernels.kinds import Array
from tcptrace_tw.kernels.marks import entry, inlined, load
from tcptrace_tw.schema.columns import ACK, FIN, MALFORMED, RST, SYN
from tcptrace_tw.schema.segments import BATCH_KIND, Segments, segment_at

CONTROL = SYN | FIN | RST

COUNT, IMPOSSIBLE, FRAME, TALLIES = range(4)
"""What is counted: such segments, those of them whose flags are to blame, and the frame of the first one."""


@inlined
def is_impossible(flags: Any) -> Any:
    """Whether two of SYN, FIN and RST stand together, or none of SYN, RST and ACK is set."""
    control = flags & CONTROL
    return (control & (control - 1)) != 0 or (flags & (SYN | RST | ACK)) == 0


@inlined
def is_damaged(flags: Any, options: Any) -> Any:
    """Whether no stack sends a segment with these flags, or its options do not fit the header."""
    return is_impossible(flags) or (options & MALFORMED) != 0


@entry(BATCH_KIND, Array(np.int64))
def count_damaged(batch: Segments, tally: Any) -> None:
    """Count the segments of a batch with impossible flags, and those with options that do not fit the header."""
    for i in range(batch.size):
        seg = segment_at(batch, i)
        if is_damaged(seg.flags, seg.options):
            if tally[COUNT] == 0 or seg.frame < tally[FRAME]:
                tally[FRAME] = seg.frame
            tally[COUNT] += 1
            tally[IMPOSSIBLE] += 1 if is_impossible(seg.flags) else 0


@dataclass
class Damage:
    """Counts them as batches pass."""

    compiled: bool = field(default=False, compare=False, repr=False)
    _tally: NDArray[np.int64] = field(default_factory=lambda: zeros(TALLIES, np.int64), compare=False)

    @property
    def tally(self) -> list[int]:
        """What ``added`` takes."""
        return self._tally.tolist()

    @classmethod
    def added(cls, several: Iterable[Sequence[int]]) -> Self:
        """What several files have together, from the tally of each."""
        found, one = [tally for tally in several if tally[COUNT]], cls()
        for tally in found:
            one._tally[:FRAME] += np.array(tally[:FRAME])
        one._tally[FRAME] = min((tally[FRAME] for tally in found), default=0)
        return one

    def figures(self) -> dict[str, int]:
        """Columns of the ``capture`` table."""
        count, impossible, frame = self._tally.tolist()
        return {"damaged_segments": count, "impossible_flags": impossible, "damaged_frame": frame if count else -1}

    def see(self, batch: Any) -> None:
        """Take one batch."""
        load(count_damaged, compiled=self.compiled)(batch, self._tally)
