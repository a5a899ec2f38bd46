"""Names what people hand in that is no capture this tool reads, by its first bytes, and says what to do with it."""

from __future__ import annotations

from typing import NamedTuple

LOOK_BYTES = 512
"""How many bytes ``describe`` wants to see."""

_CONVERT = "convert it with editcap -F pcapng IN OUT"
_UNPACK = "unpack it first"


class _Kind(NamedTuple):
    magic: bytes
    name: str
    advice: str
    at: int = 0


_KINDS = (
    _Kind(b"snoop\0\0\0", "a snoop capture of version 1", _CONVERT),
    _Kind(b"RTSS", "a capture of Network Monitor 1", _CONVERT),
    _Kind(b"GMBU", "a capture of Network Monitor 2", _CONVERT),
    _Kind(b"XCP\0", "a capture of NetXRay", _CONVERT),
    _Kind(b"TRSNIFF data", "a capture of Sniffer", _CONVERT),
    _Kind(b"\x7fver", "a capture of Peek (EtherPeek, OmniPeek)", _CONVERT),
    _Kind(b"iptrace ", "an iptrace capture (AIX)", _CONVERT),
    _Kind(b"LNKERR", "a LANalyzer capture", _CONVERT),
    _Kind(b"\x01\x10\0\0", "a LANalyzer capture", _CONVERT),
    _Kind(b"ViSuAlNeTwOrKs", "a capture of Visual Networks", _CONVERT),
    _Kind(b"PAR1", "a Parquet file", "give the folder that analyze wrote, not a file in it"),
    _Kind(b"PK\x03\x04", "a zip archive", _UNPACK),
    _Kind(b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    _Kind(b"Rar!\x1a\x07", "a rar archive", _UNPACK),
    _Kind(b"\x1f\x9d", "packed by compress", f"{_UNPACK} with gzip -d"),
    _Kind(b"ustar", "a tar archive", _UNPACK, at=257),
    _Kind(b"\x7fELF", "a program", "name a capture"),
    _Kind(b"%PDF", "a PDF document", "name a capture"),
)
_TEXT = frozenset((*range(32, 127), *b"\t\n\r\f"))


def describe(start: bytes) -> str:
    """What a file is that begins so, and what to do: ``a zip archive, not pcap or pcapng; unpack it first``."""
    for kind in _KINDS:
        if start.startswith(kind.magic, kind.at):
            return f"{kind.name}, not pcap or pcapng; {kind.advice}"
    if start and all(byte in _TEXT for byte in start[:LOOK_BYTES]):
        return "a text file, not a capture; record with tcpdump -w FILE, or convert it with text2pcap"
    return (
        f"neither pcap nor pcapng: it starts with {start[:4].hex(' ')}; "
        "record with tcpdump -w FILE, or convert it with editcap -F pcapng IN OUT"
    )
