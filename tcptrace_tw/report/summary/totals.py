"""Sums over the rows of ``connections``, in one pass: what the head of a report says of all of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.kernels import library
from tcptrace_tw.kernels.arrays import as_records, zeros
from tcptrace_tw.kernels.intrinsics import record_of
from tcptrace_tw.kernels.kinds import Array
from tcptrace_tw.kernels.marks import entry, load
from tcptrace_tw.kernels.wide_records import Rows
from tcptrace_tw.schema.columns import CONNECTIONS
from tcptrace_tw.schema.words import Vocabulary

OPENED, CLOSE, CLOSER, WORDS = range(4)
SEGMENTS, PAYLOAD, RETRANSMITS, SUMS = range(4)

MOST_WORDS = 256
"""A code is one byte."""


@entry(Array(CONNECTIONS.dtype), Array(np.int64, ndim=2), Array(np.int64))
def add_connections(rows: Rows, words: Any, sums: Any) -> None:
    """Count the codes of three columns in ``words``, and add up the numbers of both endpoints in ``sums``."""
    for i in range(rows.size):
        r = record_of(rows, i)
        words[OPENED, r.opened] += 1
        words[CLOSE, r.close] += 1
        words[CLOSER, r.active_closer] += 1
        sums[SEGMENTS] += r.orig_segments + r.resp_segments
        sums[PAYLOAD] += r.orig_payload_bytes + r.resp_payload_bytes
        sums[RETRANSMITS] += r.orig_retransmits + r.resp_retransmits


class Totals:
    """Takes rows of ``connections``.

    What makes a digest of them is not imported here: kernels are compiled anew when what their modules import changes.
    """

    def __init__(self) -> None:
        self._add = load(add_connections, compiled=library.choose())
        self._total = 0
        self._words, self._sums = zeros((WORDS, MOST_WORDS), np.int64), zeros(SUMS, np.int64)

    def add(self, rows: NDArray[Any]) -> None:
        """Take rows of ``connections``."""
        self._total += rows.size
        self._add(as_records(rows), self._words, self._sums)

    @property
    def total(self) -> int:
        """How many connections there were."""
        return self._total

    def counts(self, column: int, vocabulary: Vocabulary) -> dict[str, int]:
        """How many connections have which word in ``OPENED``, ``CLOSE`` or ``CLOSER``."""
        return named_counts(self._words[column], vocabulary)

    def sum(self, number: int) -> int:
        """``SEGMENTS``, ``PAYLOAD`` or ``RETRANSMITS`` of all connections."""
        return int(self._sums[number])


def named_counts(counts: NDArray[np.int64], vocabulary: Vocabulary) -> dict[str, int]:
    """The counts that are not 0, by the word of each code."""
    return {word: int(count) for word, count in zip(vocabulary.words, counts, strict=False) if count}
