"""File formats that are rare: snoop (RFC 1761) and ERF, the records of Endace's capture cards.

Their records are read in Python: such captures are too rare to be worth a kernel.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from tcptrace_tw.capture import link_types_slow
from tcptrace_tw.capture.facts import FileFacts
from tcptrace_tw.capture.frames import DAMAGED, DRY, FULL, WIRELEN_MAX, Frames
from tcptrace_tw.capture.links import ETHERNET, RAW, link_name
from tcptrace_tw.capture.window import Window
from tcptrace_tw.errors import CaptureError

SNOOP_MAGIC = b"snoop\0\0\0\0\0\0\2"
LOOK_BYTES = 1 << 12
"""How many bytes ``is_erf`` wants to see: it has no magic, so its first records must be sound."""
RECORD_MAX = 262_144

_SNOOP_HEADER, _ERF_HEADER = 16, 16
_SNOOP_LINKS = {0: ETHERNET, 2: 6, 4: ETHERNET, 8: 10, 26: 242}
_ERF_ETHERNET = frozenset((2, 11, 16, 20))
_ERF_IP = frozenset((22, 23))
_ERF_OTHERS = frozenset((*range(1, 28), 48))
_ERF_PAD = 48
_ERF_COUNTS_LOSS = frozenset((1, 2, 3, 4, 22, 23))
"""In the others the same field holds a colour."""
_MORE = 0x80
_SECONDS = range(631_152_000, 4_102_444_800)  # 1990 to 2100: what a time in an ERF file must be to be believed


class Record(NamedTuple):
    """A record: its whole length, where its frame begins, and what it says of it."""

    size: int
    begin: int
    caplen: int
    wirelen: int
    time_ns: int
    link: int
    """-1: not a frame."""
    lost: int
    """Frames lost before it, or so far."""


class RecordFile:
    """A file that is a row of records; ``facts`` as in ``pcap.PcapFile``."""

    def __init__(self, facts: FileFacts, links: tuple[int, ...]) -> None:
        self.links = links
        self._facts = facts
        facts.links = tuple(link_name(link) for link in links)

    def scan(self, window: Window, frames: Frames, room: int) -> tuple[int, int]:
        """Note up to ``room`` frames; see ``reader.Format``."""
        count = 0
        while count < room:
            try:
                record = self.record(window.view[window.start : window.end])
            except struct.error:
                return count, DRY
            if record is None:
                return count, DAMAGED
            if record.size > window.end - window.start:
                return count, DRY
            self.note(record)
            if record.link >= 0:
                frames.time[count] = record.time_ns
                frames.at[count] = window.start + record.begin
                frames.caplen[count] = record.caplen
                frames.wirelen[count] = min(record.wirelen, WIRELEN_MAX)
                frames.link[count] = link_types_slow.known(record.link)
                count += 1
            window.start += record.size
        return count, FULL

    def record(self, data: memoryview) -> Record | None:
        """The record at the begin; None for none that can be, ``struct.error`` where its header is not whole."""
        raise NotImplementedError

    def note(self, record: Record) -> None:
        """Add to the facts what a record says beside its frame."""
        raise NotImplementedError

    def damage(self, window: Window) -> str | None:
        """Say what is wrong with the record at the start of the window; None where the file ended well."""
        rest = window.end - window.start
        if rest == 0:
            return None
        try:
            record = self.record(window.view[window.start : window.end])
        except struct.error:
            return f"the file ends after {rest} bytes of a record header"
        if record is None:
            return "record of an unknown type, or with lengths that contradict each other"
        return f"the file ends after {rest} of the {record.size} bytes of a record"


class SnoopFile(RecordFile):
    """What Solaris' snoop writes (RFC 1761): numbers are big-endian, drops are counted from the begin."""

    def __init__(self, window: Window, facts: FileFacts) -> None:
        if not window.need(_SNOOP_HEADER):
            raise CaptureError(f"{facts.name}: byte {window.end}: the file ends inside the snoop header; capture again")
        (kind,) = struct.unpack_from(">12xI", window.take(_SNOOP_HEADER))
        self._link = _SNOOP_LINKS.get(kind, 0xFFFF)
        facts.format = "snoop, microseconds, big-endian"
        super().__init__(facts, (self._link,))

    def record(self, data: memoryview) -> Record | None:
        """See ``RecordFile``."""
        wirelen, caplen, size, lost, seconds, microseconds = struct.unpack_from(">IIIIII", data)
        if not caplen + 24 <= size <= RECORD_MAX:
            return None
        return Record(size, 24, caplen, wirelen, seconds * 1_000_000_000 + microseconds * 1000, self._link, lost)

    def note(self, record: Record) -> None:
        """See ``RecordFile``."""
        self._facts.lost_frames = max(self._facts.lost_frames, record.lost)


class ErfFile(RecordFile):
    """Records without a file header; the type of each is its link type."""

    def __init__(self, window: Window, facts: FileFacts) -> None:
        facts.format = "ERF, 2^-32 seconds"
        window.need(_ERF_HEADER)
        first = self.record(memoryview(window.peek(LOOK_BYTES)))
        super().__init__(facts, (first.link if first else 0xFFFF,))

    def record(self, data: memoryview) -> Record | None:
        """See ``RecordFile``."""
        return erf_record(data)

    def note(self, record: Record) -> None:
        """See ``RecordFile``."""
        self._facts.lost_frames += record.lost


def erf_record(data: memoryview) -> Record | None:
    """An ERF record: time in 2**-32 s, type, flags, length, loss or colour, wire length; extensions; the frame."""
    fraction, seconds, kind, _, size, lost, wirelen = struct.unpack_from("<II", data) + struct.unpack_from(
        ">BBHHH", data, 8
    )
    begin, has_more = _ERF_HEADER, kind & _MORE
    while has_more:
        (has_more,) = struct.unpack_from("B", data, begin)
        has_more &= _MORE
        begin += 8
        if begin > size:
            return None
    kind &= ~_MORE
    begin += 2 if kind in _ERF_ETHERNET else 0
    if kind not in _ERF_OTHERS or size < begin:
        return None
    link = ETHERNET if kind in _ERF_ETHERNET else RAW if kind in _ERF_IP else -1 if kind == _ERF_PAD else 0xFFFF
    time_ns = seconds * 1_000_000_000 + ((fraction * 1_000_000_000 + (1 << 31)) >> 32)  # to the nearest
    caplen = min(size - begin, wirelen)
    return Record(size, begin, caplen, wirelen, time_ns, link, lost if kind in _ERF_COUNTS_LOSS else 0)


def is_snoop(start: bytes) -> bool:
    """Whether a file that begins so is a snoop file of version 2."""
    return start.startswith(SNOOP_MAGIC)


def is_erf(start: bytes) -> bool:
    """Whether a file that begins so is an ERF file: two records and all others at hand are sound, in time order."""
    at, records, before = 0, 0, 0
    view = memoryview(start)
    while at + _ERF_HEADER <= len(start):
        try:
            record = erf_record(view[at:])
        except struct.error:
            return records > 1
        if record is None or record.time_ns // 1_000_000_000 not in _SECONDS:
            return False
        if record.time_ns + 1_000_000_000 < before or (record.link >= 0 and not 14 <= record.wirelen <= 1 << 15):
            return False
        at, records, before = at + record.size, records + 1, record.time_ns
    return records > 1 or (records == 1 and at == len(start))


def first_time(start: bytes) -> int | None:
    """ns since 1970 of the first frame of a snoop or ERF file; None where there is none."""
    try:
        if is_snoop(start):
            seconds, microseconds = struct.unpack_from(">II", start, _SNOOP_HEADER + 16)
            return int(seconds) * 1_000_000_000 + int(microseconds) * 1000
        record = erf_record(memoryview(start))
    except struct.error:
        return None
    return record.time_ns if record else None
