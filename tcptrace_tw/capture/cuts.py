"""Where a large pcap file may be cut into pieces, and a piece of it as a stream.

pcap has no marks between its records. A few headers in a row that could all be true are a record boundary; but a frame
may hold a capture itself, so each cut is a guess. ``cluster.mapped`` proves it: the frames of one piece end where the
next one begins.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from typing import Any

import numpy as np

from tcptrace_tw.capture import pcap
from tcptrace_tw.capture.pcap import HEADER_LEN, PcapHeader
from tcptrace_tw.capture.source import Raw, Stream
from tcptrace_tw.errors import CaptureError

PIECE_BYTES = 64 << 20
"""The least size of a piece; a file of less than twice as many bytes is not cut."""

LOOK_BYTES = 1 << 20
"""Bytes after the place where a file should be cut in which a record is searched."""

LEAST_HEADERS, MOST_HEADERS = 6, 256
"""How many plausible headers in a row count as a record boundary, and how many are read to find a good place to cut."""

MOST_LOOKED = 1 << 14
"""The search gives up after this many headers, and the file is not cut there: in a hostile file many nearly fit."""

STARTS = 1 << 12
"""How many offsets are tried at a time: a record mostly begins within a few hundred bytes."""

FAR_S = 365 * 24 * 3600
"""A header whose time is farther from that of the first frame is not believed."""

WIRE_MAX = 1 << 20
"""Nor is one whose frame was longer than this on the wire."""

Header = tuple[int, int, int]
"""Time in ns since 1970, captured length, original length."""


def cuts(path: str, every: int) -> list[int]:
    """The offsets at which to cut a file into pieces of about ``every`` bytes or more; none where it cannot be cut.

    Only plain pcap files can, and only where the time goes on from each cut to the next.
    """
    with suppress(OSError):
        if os.path.isfile(path):
            with io.FileIO(path) as file:
                return _cuts(file, every)
    return []


def _cuts(file: io.FileIO, every: int) -> list[int]:
    size, head = os.fstat(file.fileno()).st_size, file.read(HEADER_LEN)
    if size < 2 * every or len(head) < HEADER_LEN or not pcap.is_pcap(head[:4]):
        return []
    records = _Records(pcap.parse_header(head))
    first = records.header(file.read(records.length), 0)
    if first is None:
        return []
    count, found = size // every, [(HEADER_LEN, first[0])]
    for number in range(1, count):
        at = file.seek(size * number // count)
        border = records.border(file.read(min(every, LOOK_BYTES)), first[0])
        if border is not None:
            found.append((at + border[0], border[1]))
    does_rise = all(before[0] < after[0] and before[1] < after[1] for before, after in pairwise(found))
    return [at for at, _ in found[1:]] if does_rise else []


class _Records:
    """The records of one file, and how to find them."""

    def __init__(self, header: PcapHeader) -> None:
        self._header = header
        self._layout = struct.Struct(">4I" if header.is_big else "<4I")
        self._seconds = np.dtype(">u4" if header.is_big else "<u4")
        self.length = header.record_len

    def header(self, data: bytes, at: int) -> Header | None:
        """The record header at an offset, true or not; None where the data ends before."""
        if at + self.length > len(data):
            return None
        seconds, fraction, caplen, wirelen = self._layout.unpack_from(data, at)
        if self._header.is_swapped:
            caplen, wirelen = wirelen, caplen
        return seconds * 1_000_000_000 + fraction * self._header.unit_ns, caplen, wirelen

    def border(self, data: bytes, first_time: int) -> tuple[int, int] | None:
        """Offset and time of a record before which all is older than behind it, as far as ``data`` goes."""
        looked = 0
        for start in self._starts(data, first_time // 1_000_000_000):
            offsets, times, is_true = self._chain(data, start, first_time)
            if is_true and len(offsets) >= LEAST_HEADERS:
                place = _parting(times)
                return None if place is None else (offsets[place], times[place])
            looked += len(offsets) + 1
            if looked > MOST_LOOKED:
                break
        return None

    def _starts(self, data: bytes, first_s: int) -> Iterator[int]:
        """Offsets with a number that could be the seconds of a record."""
        for begin in range(0, len(data) - self.length, STARTS):
            some = np.frombuffer(data[begin : begin + STARTS + 3], np.uint8)
            words = np.lib.stride_tricks.sliding_window_view(some, 4)
            seconds = np.ascontiguousarray(words).view(self._seconds)[:, 0].astype(np.int64)
            for at in np.flatnonzero(np.abs(seconds - first_s) < FAR_S).tolist():
                yield begin + at

    def _chain(self, data: bytes, at: int, first_time: int) -> tuple[list[int], list[int], bool]:
        """Offsets and times of the records from one on, and whether the header behind them can be true, too."""
        offsets, times = list[int](), list[int]()
        while len(offsets) < MOST_HEADERS and (header := self.header(data, at)) is not None:
            time, caplen, wirelen = header
            if not 0 < caplen <= min(wirelen, self._header.limit) or wirelen > WIRE_MAX:
                return offsets, times, False
            fraction = self._layout.unpack_from(data, at)[1] * self._header.unit_ns
            if fraction >= 1_000_000_000 or abs(time - first_time) > (FAR_S + 1) * 1_000_000_000:
                return offsets, times, False
            offsets.append(at)
            times.append(time)
            at += self.length + caplen
        return offsets, times, True


def _parting(times: list[int]) -> int | None:
    """The place nearest to the middle before which all times are less than those from it on; 0 is none."""
    before = np.maximum.accumulate(times)[:-1]
    behind = np.minimum.accumulate(times[::-1])[::-1][1:]
    places = np.flatnonzero(before < behind) + 1
    return int(places[np.argmin(np.abs(places - len(times) // 2))]) if places.size else None


class _PieceFile:
    """The header of a file, and its bytes from ``begin`` to ``end``; ``None``: to the end of the file."""

    def __init__(self, file: io.FileIO, begin: int, end: int | None) -> None:
        self._file = file
        self._begin, self._end = begin, end
        self._at = 0
        """Where in the file the next byte lies."""

    def readinto(self, buffer: Any, /) -> int | None:
        """As in ``io.RawIOBase``."""
        if self._at == HEADER_LEN and self._begin:
            self._at = self._file.seek(self._begin)
        limit = HEADER_LEN if self._at < HEADER_LEN else self._end
        view = memoryview(buffer)
        count = self._file.readinto(view if limit is None else view[: max(0, limit - self._at)])
        self._at += count
        return count

    def close(self) -> None:
        """As in ``io.RawIOBase``."""
        self._file.close()


def open_piece(path: str, begin: int, end: int | None) -> Stream:
    """A piece of a pcap file behind the header of the file; ``None`` for what goes on to the end of the file.

    Raises ``CaptureError`` where the file cannot be opened.
    """
    try:
        file = io.FileIO(path)
        size = os.fstat(file.fileno()).st_size
        raw = Raw(_PieceFile(file, begin, end))
        raw.position = begin - HEADER_LEN  # so that messages name bytes of the file
        return Stream(path, raw, size=size)
    except OSError as error:
        raise CaptureError(f"{path}: cannot be read: {error.strerror or error}; check the path") from None
