"""``--filter`` means what pcap-filter means, for whole connections, and says what is wrong with a wrong expression."""

from __future__ import annotations

import ipaddress
import pickle
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcptrace_tw.capture.pcap_filter import Filter
from tcptrace_tw.errors import UsageError
from tcptrace_tw.schema import segments

A, B, C, SIX, SIX2 = "10.1.2.3", "192.168.0.9", "10.200.0.1", "2001:db8::1", "fe80::1"
VLAN7, VLAN7_9 = 7 | 1 << 12, (7 | 1 << 12) | (9 | 1 << 12) << 13
ROWS = [
    (A, 40000, B, 80, 0),
    (B, 80, A, 40000, 0),
    (A, 40001, C, 443, VLAN7),
    (C, 443, A, 40001, VLAN7),
    (SIX, 50000, SIX2, 80, VLAN7_9),
    (SIX2, 80, SIX, 50000, VLAN7_9),
]


def halves(address: str) -> tuple[int, int]:
    ip = ipaddress.ip_address(address)
    packed = ip.packed if ip.version == 6 else bytes(10) + b"\xff\xff" + ip.packed
    return int.from_bytes(packed[:8], "big", signed=True), int.from_bytes(packed[8:], "big", signed=True)


def batch(rows: list[tuple[str, int, str, int, int]]) -> Any:
    made: Any = segments.allocate(len(rows))
    for i, (src, sport, dst, dport, scope) in enumerate(rows):
        (made.src_hi[i], made.src_lo[i]), (made.dst_hi[i], made.dst_lo[i]) = halves(src), halves(dst)
        made.sport[i], made.dport[i], made.scope[i] = sport, dport, scope
    return made


def kept(text: str) -> str:
    """The connections kept: 0 is A to B, 1 is A to C, 2 is IPv6; both directions must agree."""
    mask = Filter(text).keeps(batch(ROWS)).tolist()
    assert mask[::2] == mask[1::2]
    return "".join(str(i) for i, keep in enumerate(mask[::2]) if keep)


@pytest.mark.parametrize(
    ("text", "connections"),
    [
        ("", "012"),
        ("tcp", "012"),
        ("ip", "01"),
        ("ip6", "2"),
        (f"host {A}", "01"),
        (A, "01"),
        (f"host {SIX}", "2"),
        (f"src host {B}", "0"),
        (f"dst {B}", "0"),
        (f"src and dst host {B}", ""),
        (f"src or dst host {B}", "0"),
        ("net 10", "01"),
        ("net 10.200", "1"),
        ("net 10.200.0.0/16", "1"),
        ("net 192.168.0.0 mask 255.255.0.0", "0"),
        ("192.168.0.0/24", "0"),
        ("src and dst net 10.0.0.0/8", "1"),
        ("ip6 net 2001:db8::/32", "2"),
        ("net 0.0.0.0/0", "01"),
        ("net ::/0", "012"),
        ("port 80", "02"),
        ("port http", "02"),
        ("tcp port 80", "02"),
        ("ip6 port 80", "2"),
        ("src port 80", "02"),
        ("tcp dst port 443", "1"),
        ("portrange 400-500", "1"),
        ("portrange 500-400", "1"),
        ("port 80 or 443", "012"),
        ("port (80 or 443)", "012"),
        (f"src host ({A} or {SIX})", "012"),
        ("dst port (443 or not 443) and port 80", "02"),
        (f"host {B} or {C}", "01"),
        (f"not host {B} and {C}", "1"),
        ("not port 80", "1"),
        ("! port 80", "1"),
        ("!port 80", "1"),
        ("!(port 80)", "1"),
        ("not not port 80", "02"),
        (f"host {A} && (port 80 || port 443)", "01"),
        (f"host {A}&&port 80", "0"),
        # and and or bind equally, from left to right
        (f"port 443 or host {A} and port 80", "0"),
        (f"port 80 and host {A} or port 443", "01"),
        (f"port 443 or (host {SIX} and port 80)", "12"),
        ("vlan", "12"),
        ("vlan 7", "12"),
        ("vlan 9", "2"),
        ("vlan 7 and port 443", "1"),
        ("not vlan", "0"),
        ("HOST 10.1.2.3 AND Port 443", "1"),
    ],
)
def test_expressions_keep_whole_connections(text: str, connections: str) -> None:
    assert kept(text) == connections


@pytest.mark.parametrize(
    ("text", "reason", "marks"),
    [
        ("prot 80", "prot: did you mean port?", "^^^^"),
        ("host 10.0.0.1 or prot 80", "prot: did you mean", "                 ^^^^"),
        ("port 80 or", "a value is missing", "          ^"),
        ("port", "a value is missing after port", "    ^"),
        ("port and 80", "and: a value is missing before this", "     ^^^"),
        ("port 80 443", "443: 'and' or 'or' is missing", "        ^^^"),
        ("(port 80", "(: its ) is missing", "^"),
        ("(port 80 host 1.2.3.4", "host: and, or or ) is missing", "         ^^^^"),
        ("port 80)", "): a ) without a matching (", "       ^"),
        ("()", "): a value is missing here", " ^"),
        ("port 80 & port 81", "&: 'and' or 'or' is missing", "        ^"),
        ("port 99999", "99999: a port is at most 65535", "     ^^^^^"),
        ("port 80-90", "80-90: did you mean portrange 80-90?", "     ^^^^^"),
        ("port nosuchname", "nosuchname: no port has this name", "     ^^^^^^^^^^"),
        ("host 10.0.0.0/8", "10.0.0.0/8: did you mean net 10.0.0.0/8?", "     ^^^^^^^^^^"),
        ("net 10.0.0.1/8", "10.0.0.1/8: has bits set outside the mask; did you mean 10.0.0.0/8?", "    ^^^^^^^^^^"),
        ("net x", "x: is not a network", "    ^"),
        ("host example.com", "example.com: is not an address, and names are not looked up", "     ^^^^^^^^^^^"),
        ("80", "80: did you mean port 80?", "^^"),
        ("host 10.0.0.1 or 80", "80: did you mean port 80?", "                 ^^"),
        ("src (host 10.0.0.1)", "host: only values are allowed in these parentheses", "     ^^^^"),
        ("udp", "udp: only TCP is analysed", "^^^"),
        ("vlan 5000", "5000: a VLAN id is at most 4095", "     ^^^^"),
    ],
)
def test_a_wrong_expression_is_marked(text: str, reason: str, marks: str) -> None:
    with pytest.raises(UsageError) as caught:
        Filter(text)
    head, shown, caret = str(caught.value).split("\n")
    assert head.startswith(f"--filter: {reason}")
    assert (shown, caret) == (f"  {text}", f"  {marks}")


@pytest.mark.parametrize("text", ["not " * 5000 + "port 80", "(" * 5000 + "port 80", "!" * 5000])
def test_nesting_without_end_is_an_error_of_the_user(text: str) -> None:
    with pytest.raises(UsageError, match="levels of nesting"):
        Filter(text)


def test_a_thousand_alternatives_are_fine() -> None:
    assert kept("port " + " or ".join(map(str, range(1, 3000)))) == "012"


def test_a_filter_travels_to_other_processes() -> None:
    assert (
        pickle.loads(pickle.dumps(Filter("port 443"))).keeps(batch(ROWS)).tolist()
        == [False] * 2 + [True] * 2 + [False] * 2
    )


WORDS = ["host", "net", "port", "src", "dst", "and", "or", "not", "(", ")", "10.0.0.1", "80", "10.0.0.0/8", "vlan", "!"]


@given(st.one_of(st.text(max_size=40), st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join)))
def test_any_text_is_an_expression_or_an_error_of_the_user(text: str) -> None:
    try:
        mask = Filter(text).keeps(batch(ROWS))
    except UsageError:
        return
    assert mask[::2].tolist() == mask[1::2].tolist()


PRIMITIVES = st.builds(
    lambda side, value: f"{side} {value}".strip(),
    st.sampled_from(["", "src", "dst", "src and dst"]),
    st.sampled_from(
        [f"host {A}", f"host {B}", f"host {SIX}", "net 10.0.0.0/8", "port 80", "port 443", "net fe80::/10"]
    ),
)
EXPRESSIONS = st.recursive(
    PRIMITIVES,
    lambda inner: st.one_of(
        st.builds("not {}".format, inner),
        st.builds("({})".format, inner),
        st.builds(lambda a, o, b: f"{a} {o} {b}", inner, st.sampled_from(["and", "or", "&&", "||"]), inner),
    ),
    max_leaves=6,
)


def frame(src: str, sport: int, dst: str, dport: int) -> bytes:
    tcp = struct.pack(">HHIIBBHHH", sport, dport, 1, 1, 0x50, 16, 1000, 0, 0)
    a, b = ipaddress.ip_address(src), ipaddress.ip_address(dst)
    if a.version == 6:
        return b"\2" * 12 + b"\x86\xdd" + struct.pack(">IHBB", 6 << 28, 20, 6, 64) + a.packed + b.packed + tcp
    ip = struct.pack(">BBHHHBBH", 0x45, 0, 40, 0, 0, 64, 6, 0)
    return b"\2" * 12 + b"\x08\0" + ip + a.packed + b.packed + tcp


@pytest.mark.skipif(shutil.which("tcpdump") is None, reason="tcpdump is the oracle here")
def test_tcpdump_keeps_the_same(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Every segment of a connection is kept where tcpdump prints one of them."""
    path = tmp_path_factory.mktemp("oracle") / "all.pcap"
    write_rows(path)
    rows: list[tuple[str, int, str, int, int]] = [(*row[:4], 0) for row in ROWS]

    @given(EXPRESSIONS)
    def agree(text: str) -> None:
        command = ["tcpdump", "-nn", "-tt", "-r", str(path), text]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:  # tcpdump refuses what can never match
            return
        seen = [int(line.split(".")[0]) - 1000 for line in done.stdout.splitlines()]
        expected = {row // 2 for row in seen}
        mask = Filter(text).keeps(batch(rows))
        assert {int(i) // 2 for i in np.flatnonzero(mask)} == expected

    agree()


def write_rows(path: Path) -> None:
    data = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    for i, row in enumerate(ROWS):
        made = frame(*row[:4])
        data += struct.pack("<IIII", 1000 + i, 0, len(made), len(made)) + made
    path.write_bytes(data)
