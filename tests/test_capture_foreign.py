"""What is no capture is called by its name, with what to do."""

import pytest

from tcptrace_tw.capture.unsupported_formats import describe


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (b"snoop\0\0\0\0\0\0\1\0\0\0\4", "snoop capture of version 1, not pcap or pcapng; convert it with editcap"),
        (b"GMBU\0\2", "Network Monitor 2"),
        (b"PK\x03\x04" + bytes(20), "a zip archive, not pcap or pcapng; unpack it first"),
        (b"a.pcap".ljust(257, b"\0") + b"ustar\0", "a tar archive"),
        (b"\x1f\x9d\x90", "gzip -d"),
        (
            b"12:00:01.000 IP 1.2.3.4.80 > 5.6.7.8.9: Flags [S]\n" * 20,
            "a text file, not a capture; record with",
        ),
        (b"PAR1", "the folder that analyze wrote"),
        (bytes(100), "starts with 00 00 00 00; record with tcpdump -w FILE, or convert it with editcap"),
        (b"", "neither pcap nor pcapng"),
    ],
)
def test_a_foreign_file_is_named(start: bytes, words: str) -> None:
    assert words in describe(start)
