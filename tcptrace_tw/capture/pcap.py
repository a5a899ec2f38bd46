"""The classic pcap format: its header, and the scan of its records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tcptrace_tw.capture import link_types_slow
from tcptrace_tw.capture.byte_reader import OCTETS_KIND, Octets, file_u16, file_u32
from tcptrace_tw.capture.facts import FileFacts
from tcptrace_tw.capture.frames import DAMAGED, DRY, FRAMES_KIND, FULL, WIRELEN_MAX, Frames
from tcptrace_tw.capture.links import link_name
from tcptrace_tw.capture.window import Window
from tcptrace_tw.errors import CaptureError
from tcptrace_tw.kernels import marks
from tcptrace_tw.kernels.kinds import INTEGER, Array
from tcptrace_tw.kernels.marks import entry

HEADER_LEN = 24
RECORD_LEN = 16
CAPLEN_MAX = 262_144
"""What libpcap and Wireshark accept whatever the snap length says; more is damage."""
FRAME_MAX = 65_535
"""No IP packet is longer: what damage makes of a length is nearly always more."""
SNAPLEN_MAX = 1 << 24
"""A snap length above this is no promise, it is a way to say "all of it"."""

_UNITS = {0xA1B2C3D4: 1000, 0xA1B23C4D: 1, 0xA1B2CD34: 1000}
_MODIFIED = 0xA1B2CD34  # Kuznetsov's: eight more bytes in each record header
_LAYOUT = np.dtype(
    [(name, "i8") for name in ("is_big", "unit_ns", "record_len", "is_swapped", "snaplen", "limit", "link")]
)
"""What a scan needs to know of a header."""
_LINK_MASK = 0x03FFFFFF  # the bits above tell the length of the FCS


@dataclass(frozen=True)
class PcapHeader:
    """What the file header says."""

    is_big: bool
    unit_ns: int
    record_len: int
    is_swapped: bool
    snaplen: int
    link: int

    @property
    def format(self) -> str:
        """The format in words."""
        unit = "nanoseconds" if self.unit_ns == 1 else "microseconds"
        return f"pcap, {unit}, {'big' if self.is_big else 'little'}-endian"

    @property
    def limit(self) -> int:
        """The longest record that is believed."""
        return max(self.snaplen, CAPLEN_MAX) if self.snaplen <= SNAPLEN_MAX else CAPLEN_MAX


def is_pcap(magic: bytes) -> bool:
    """Whether a file that begins with these four bytes is a pcap file."""
    return _is_little(magic) or _is_big(magic)


def _is_little(magic: bytes) -> bool:
    return int.from_bytes(magic[:4], "little") in _UNITS


def _is_big(magic: bytes) -> bool:
    return int.from_bytes(magic[:4], "big") in _UNITS


def parse_header(header: bytes) -> PcapHeader:
    """Read the 24 bytes of a file header; any version is accepted."""
    is_big = _is_big(header)
    magic = file_u32(header, 0, is_big)
    major, minor = file_u16(header, 4, is_big), file_u16(header, 6, is_big)
    snaplen = file_u32(header, 16, is_big)
    return PcapHeader(
        is_big=is_big,
        unit_ns=_UNITS[magic],
        record_len=RECORD_LEN + 8 if magic == _MODIFIED else RECORD_LEN,
        is_swapped=(major, minor) == (543, 0) or (major == 2 and minor < 3),
        snaplen=snaplen if snaplen else CAPLEN_MAX,
        link=file_u32(header, 20, is_big) & _LINK_MASK,
    )


class PcapFile:
    """A pcap file whose header has been read."""

    def __init__(self, window: Window, facts: FileFacts, *, compiled: bool) -> None:
        if not window.need(HEADER_LEN):
            raise CaptureError(f"{facts.name}: byte {window.end}: the file ends inside the pcap header; capture again")
        self.header = parse_header(window.take(HEADER_LEN))
        h = self.header
        layout = (h.is_big, h.unit_ns, h.record_len, h.is_swapped, h.snaplen, h.limit, link_types_slow.known(h.link))
        self._layout = np.array([layout], _LAYOUT).view(np.recarray)
        self._scan = marks.load(scan_pcap, compiled=compiled)
        facts.format = self.header.format
        facts.snaplen = self.header.snaplen
        facts.links = (link_name(self.header.link),)
        self.links: tuple[int, ...] = (self.header.link,)

    def scan(self, window: Window, frames: Frames, room: int) -> tuple[int, int]:
        """Note up to ``room`` frames; see ``reader.Format``."""
        window.start, count, outcome = self._scan(
            window.data, window.start, window.end, self._layout, frames.as_argument, room
        )
        return count, outcome

    def damage(self, window: Window) -> str | None:
        """Say what is wrong with the record at the start of the window; None where the file ended well."""
        h = self.header
        rest = window.end - window.start
        if rest == 0:
            return None
        if rest < h.record_len:
            return f"the file ends after {rest} bytes of a record header"
        record = window.peek(h.record_len)
        if not any(record[:RECORD_LEN]):
            return "zeros where a record should start: the rest was never written"
        caplen = file_u32(record, 12 if h.is_swapped else 8, h.is_big)
        if caplen > max(h.snaplen, FRAME_MAX):
            return f"record claims {caplen} bytes, but the snap length is {h.snaplen}"
        return f"the file ends after {rest - h.record_len} of the {caplen} bytes of a record"


@entry(OCTETS_KIND, INTEGER, INTEGER, Array(_LAYOUT), FRAMES_KIND, INTEGER)
def scan_pcap(data: Octets, at: int, end: int, layouts: Any, found: Any, room: int) -> tuple[int, int, int]:
    """Note up to ``room`` whole records of ``data[at:end]``; return the next offset, their number, and why it ended."""
    layout, frames = layouts[0], found[0]
    is_big, is_swapped, unit_ns, record_len = (
        layout.is_big != 0,
        layout.is_swapped != 0,
        int(layout.unit_ns),
        int(layout.record_len),
    )
    snaplen, limit, link = int(layout.snaplen), int(layout.limit), int(layout.link)
    count = 0
    while count < room:
        body = at + record_len
        if body > end:
            return at, count, DRY
        caplen = file_u32(data, at + 8, is_big)
        wirelen = file_u32(data, at + 12, is_big)
        if is_swapped:
            caplen, wirelen = wirelen, caplen
        # Above the snap length a record is believed if it is not above its own original length, or could be a frame.
        if caplen > limit or (caplen > snaplen and caplen > wirelen and caplen > FRAME_MAX):
            return at, count, DAMAGED
        # A file of fixed size, or one that a crash left behind, goes on with zeros, and may do so for terabytes.
        if wirelen == 0 and caplen == 0 and file_u32(data, at, is_big) == 0 and file_u32(data, at + 4, is_big) == 0:
            return at, count, DAMAGED
        if body + caplen > end:
            return at, count, DRY
        frames.time[count] = file_u32(data, at, is_big) * 1_000_000_000 + file_u32(data, at + 4, is_big) * unit_ns
        frames.at[count] = body
        frames.caplen[count] = caplen
        frames.wirelen[count] = min(wirelen, WIRELEN_MAX)
        frames.link[count] = link
        count += 1
        at = body + caplen
    return at, count, FULL
