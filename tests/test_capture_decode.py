"""Frames become segments as RFC 791, 8200, 9293 and the link layers say, whatever stands around them."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import capture_bytes as build
from tests.naive import decode as naive

pytestmark = pytest.mark.filterwarnings("error")
both = pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "interpreted"])


def agree(data: bytes, **settings_: int) -> build.Read:
    """Compiled, interpreted and naive say the same; returns what they say."""
    expected = naive.decode_file(data)
    for compiled in (True, False):
        got = build.read(data, compiled=compiled, **settings_)
        assert expected.rows == got.rows
        assert expected.skipped == got.facts.skipped
        assert expected.is_damaged == (got.facts.damage is not None)
        assert expected.frames == got.facts.frames == got.facts.tcp_segments + sum(got.facts.skipped.values())
    return got


u16 = st.integers(0, 0xFFFF)
u32 = st.integers(0, 0xFFFFFFFF)
addresses = st.binary(min_size=16, max_size=16)
good_options = st.lists(
    st.one_of(
        st.just(b"\x01"),
        st.builds(lambda v: b"\x02\x04" + struct.pack("!H", v), u16),
        st.builds(lambda v: b"\x03\x03" + bytes([v]), st.integers(0, 255)),
        st.just(b"\x04\x02"),
        st.builds(lambda a, b: b"\x08\x0a" + struct.pack("!II", a, b), u32, u32),
        st.builds(lambda a, b: b"\x05\x0a" + struct.pack("!II", a, b), u32, u32),
        st.just(b"\x00"),
    ),
    max_size=6,
).map(b"".join)
options = st.one_of(st.just(b""), st.just(build.TIMESTAMPS), good_options, st.binary(max_size=40)).map(lambda o: o[:40])


@st.composite
def segments(draw: st.DrawFn) -> bytes:
    return build.tcp(
        draw(st.binary(max_size=20)),
        sport=draw(u16),
        dport=draw(u16),
        seq=draw(u32),
        ack=draw(u32),
        flags=draw(st.integers(0, 0x1FF)),
        window=draw(u16),
        options=draw(options),
        header=draw(st.one_of(st.none(), st.none(), st.integers(0, 15))),
    )


def extension(kind: int, payload: bytes, following: int) -> bytes:
    size = {44: 0, 51: 0}.get(kind, 1)
    return bytes([following, size]) + bytes(6 + 8 * size) + payload


@st.composite
def packets(draw: st.DrawFn) -> tuple[int, bytes]:
    """EtherType and an IP packet."""
    payload, protocol = draw(segments()), draw(st.sampled_from([6, 6, 6, 1, 17, 50]))
    if draw(st.booleans()):
        for kind in draw(st.lists(st.sampled_from([0, 43, 44, 51, 60]), max_size=3)):
            payload, protocol = extension(kind, payload, protocol), kind
        length = draw(st.sampled_from([None, None, 0, 30]))
        src, dst = draw(st.binary(min_size=16, max_size=16)), draw(st.binary(min_size=16, max_size=16))
        return 0x86DD, build.ipv6(
            payload, src=src, dst=dst, protocol=protocol, length=length, ttl=draw(st.integers(0, 255))
        )
    fragment = draw(st.sampled_from([0, 0, 0x4000, 0x2000, 0x2001, 0x1FFF]))
    length = draw(st.sampled_from([None, None, 0, 30]))
    ip_options = draw(st.sampled_from([b"", b"\x01" * 4, b"\x94\x04\0\0"]))
    return 0x0800, build.ipv4(
        payload, protocol=protocol, length=length, fragment=fragment, options=ip_options, ip_id=draw(u16)
    )


@st.composite
def tunnelled(draw: st.DrawFn) -> tuple[int, bytes]:
    """EtherType and an IP packet, perhaps inside another."""
    kind, inner = draw(packets())
    number = draw(st.integers(0, 0xFFFFFF))
    vni = struct.pack("!I", number << 8)
    flags = draw(st.sampled_from([0, 0x2000, 0x8000, 0x1000, 0xB000]))
    fields = bytes(4 * bool(flags & 0x8000)) + struct.pack("!I", number) * bool(flags & 0x2000)
    choices = [
        (6, b""),
        (4 if kind == 0x0800 else 41, inner),
        (47, struct.pack("!HH", flags, kind) + fields + bytes(4 * bool(flags & 0x1000)) + inner),
        (47, struct.pack("!HH", 0, 0x6558) + build.ethernet(inner, kind)),
        (17, build.udp(b"\x08\0\0\0" + vni + build.ethernet(inner, kind), 4789)),
        (17, build.udp(b"\x08\0\0\0" + vni + build.ethernet(build.vlan(inner, 5, kind), 0x8100), 8472)),
        (17, build.udp(struct.pack("!BBH", 1, 0, kind) + vni + bytes(4) + inner, 6081)),
    ]
    protocol, payload = draw(st.sampled_from(choices))
    if not payload:
        return kind, inner
    if draw(st.booleans()):
        return 0x86DD, build.ipv6(payload, protocol=protocol)
    return 0x0800, build.ipv4(payload, protocol=protocol, fragment=draw(st.sampled_from([0, 0, 0x10])))


@st.composite
def frames(draw: st.DrawFn) -> tuple[int, bytes]:
    """Link type and a frame of it."""
    kind, payload = draw(tunnelled())
    for wrap in draw(st.lists(st.sampled_from(["vlan", "qinq", "mpls", "pppoe", "snap", "arp"]), max_size=3)):
        if wrap in ("vlan", "qinq"):
            number = draw(st.integers(0, 4095)) | draw(st.integers(0, 7)) << 13
            kind, payload = (0x8100 if wrap == "vlan" else 0x88A8), build.vlan(payload, number, kind)
        elif wrap == "mpls":
            labels = [bytes(4)] * draw(st.integers(0, 2)) + [b"\0\0\x01\0"]
            kind, payload = 0x8847, b"".join(labels) + payload
        elif wrap == "pppoe":
            protocol = b"\0\x21" if kind == 0x0800 else b"\x57"
            kind, payload = 0x8864, bytes(6) + protocol + payload
        elif wrap == "snap":
            kind, payload = 300, b"\xaa\xaa\x03\0\0\0" + struct.pack("!H", kind) + payload
        else:
            kind = draw(st.sampled_from([0x0806, 0x88CC, 0x1234, 0x8863]))
    link = draw(st.sampled_from([1, 1, 113, 276, 0, 108, 101, 12, 14, 228, 229]))
    head = struct.pack("!H", kind)
    family = draw(st.sampled_from([2, 24, 28, 30, 10, 7]))
    return link, {
        1: build.ethernet(payload, kind),
        113: bytes(14) + head + payload,
        276: head + bytes(18) + payload,
        0: struct.pack("<I", family) + payload,
        108: struct.pack(">I", family) + payload,
    }.get(link, payload)


@settings(max_examples=600, deadline=None)
@given(frames(), st.data())
def test_every_frame_is_read_as_the_naive_twin_reads_it(frame: tuple[int, bytes], data: st.DataObject) -> None:
    """Cut anywhere, with bytes flipped anywhere, followed by padding or not."""
    link, original = frame
    body = bytearray(original)
    for _ in range(data.draw(st.sampled_from([0, 0, 1, 3]))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.one_of(st.none(), st.integers(0, len(body))))
    record = build.Record(bytes(body[:cut]), wirelen=len(body))

    agree(build.pcap([record, original], link=link))


@settings(max_examples=300, deadline=None)
@given(
    flags=st.sampled_from([0, 1, 0x1001, 0x3081, 0x8000, 0x2000, 0x1000, 0xB000, 0x4000, 2]),
    kind=st.sampled_from([0x0800, 0x86DD, 0x6558, 0x880B, 0x88BE, 0x22EB, 0x883E, 0x8847, 0x1234]),
    filling=st.binary(max_size=24),
    data=st.data(),
)
def test_whatever_gre_holds_is_read_as_the_naive_twin_reads_it(
    flags: int, kind: int, filling: bytes, data: st.DataObject
) -> None:
    """PPTP, ERSPAN, WCCP and plain packets, behind headers of all lengths."""
    inside = data.draw(st.sampled_from([build.ipv4(build.tcp(b"x")), build.ethernet(build.ipv4(build.tcp(b"x")))]))
    body = struct.pack("!HH", flags, kind) + filling + inside
    frame = build.ethernet(build.ipv4(body, protocol=47))

    agree(build.pcap([frame], link=1))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=120), st.sampled_from([1, 113, 276, 0, 101]))
def test_noise_is_counted_and_never_read_beyond_its_end(noise: bytes, link: int) -> None:
    for compiled in (True, False):
        got = build.read(build.pcap([build.Record(noise, 10**9)], link=link), compiled=compiled)
        assert 1 == got.facts.frames == got.facts.tcp_segments + sum(got.facts.skipped.values())


def test_payload_length_comes_from_ip_and_not_from_what_was_captured() -> None:
    """A frame cut by the snap length, and a short one padded by Ethernet."""
    cut = build.ethernet(build.ipv4(build.tcp(b"x" * 1000, options=build.TIMESTAMPS)))
    padded = build.ethernet(build.ipv4(build.tcp())) + bytes(6)

    got = agree(build.pcap([build.Record(cut[:66], wirelen=len(cut)), padded]))

    assert [row["payload_len"] for row in got.rows] == [1000, 0]


def test_ip_length_zero_means_the_length_on_the_wire() -> None:
    """The sender left the cutting to its hardware; IPv6 writes 0 for jumbograms."""
    v4 = build.ethernet(build.ipv4(build.tcp(b"x" * 3000), length=0))
    v6 = build.ethernet(build.ipv6(build.tcp(b"x" * 70000), length=0), 0x86DD)
    records = [build.Record(frame[:100], wirelen=len(frame)) for frame in (v4, v6)]

    assert [row["payload_len"] for row in agree(build.pcap(records)).rows] == [3000, 70000]


@pytest.mark.parametrize(
    ("options", "bits"),
    [
        (build.TIMESTAMPS, 1),
        (b"\x08\x00\0\0", 64),
        (b"\x08\x01\0\0", 64),
        (b"\x08\x0c\0\0", 64),
        (b"\x03\x04\0\0\x04\x02\x01\x01", 64 | 8),
        (b"\x00\x08\x00\x00", 0),
        (b"\x01\x01\x01\x08", 64),
        (b"\x01\x01\x05\x12" + bytes(16), 16),
    ],
)
def test_options_with_wrong_lengths_are_malformed_and_end_nothing_else(options: bytes, bits: int) -> None:
    frame = build.ethernet(build.ipv4(build.tcp(b"abc", options=options)))

    (row,) = agree(build.pcap([frame])).rows

    assert (bits, 3) == (row["options"], row["payload_len"])


def test_options_that_the_snap_length_cuts_are_truncated() -> None:
    """CP006 depends on it."""
    frame = build.ethernet(build.ipv4(build.tcp(options=b"\x04\x02" + b"\x08\x0a" + bytes(8))))
    records = [build.Record(frame[:end], wirelen=len(frame)) for end in range(54, 67)]

    got = agree(build.pcap(records))

    assert [32, 32, *[32 | 8] * 10, 1 | 8] == [row["options"] for row in got.rows]
    assert got.facts.truncated_options == 12


def test_an_endless_chain_of_extension_headers_ends() -> None:
    chain = bytes([0, 0, 0, 0, 0, 0, 0, 0]) * 200

    assert agree(build.pcap([build.ethernet(build.ipv6(chain, protocol=0), 0x86DD)])).facts.skipped == {
        "broken IPv6 header": 1
    }


def test_only_the_first_fragment_has_ports() -> None:
    """RFC 791 3.2; a first fragment without a whole TCP header is no segment either."""
    first = build.ipv4(build.tcp(b"x" * 12), fragment=0x2000)
    rest = build.ipv4(b"x" * 24, fragment=0x0004)
    tiny = build.ipv4(build.tcp()[:8], fragment=0x2000)

    got = agree(build.pcap(map(build.ethernet, (first, rest, tiny))))

    assert [row["frame"] for row in got.rows] == [1]
    assert got.facts.skipped == {"IPv4 fragment": 2}


def test_vlans_and_tunnel_ids_keep_equal_addresses_apart() -> None:
    from tcptrace_tw.schema import scope

    ip = build.ipv4(build.tcp())
    qinq = build.ethernet(build.vlan(build.vlan(ip, 20), 10 | 0xE000, 0x8100), 0x88A8)
    priority = build.ethernet(build.vlan(ip, 0x6000), 0x8100)
    vxlan = build.ethernet(build.ipv4(build.udp(b"\x08\0\0\0" + b"\0\x10\0\0" + qinq, 4789), protocol=17))

    got = agree(build.pcap([build.ethernet(ip), priority, qinq, vxlan]))
    scopes = [int(row["scope"]) for row in got.rows]  # type: ignore[call-overload]

    assert [scope.scope_text(s) for s in scopes] == ["", "", "VLAN 10.20", "VXLAN 4096, VLAN 10.20"]
    assert [scope.vlan_of(s) for s in scopes] == [None, None, 10, 10]


def test_of_outer_and_inner_only_the_inner_segment_counts() -> None:
    inner = build.ipv4(build.tcp(seq=5), src="192.168.0.1")
    frame = build.ethernet(build.ipv4(struct.pack("!HH", 0, 0x0800) + inner, protocol=47))

    (row,) = agree(build.pcap([frame])).rows

    assert (row["seq"], row["src"]) == (5, (0, 0xFFFFC0A80001))


@both
@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(build.udp(struct.pack("!BBHI", 0x30, 255, 0, 1) + build.ipv4(build.tcp(seq=5)), 2152), id="GTP-U"),
        pytest.param(
            build.udp(
                struct.pack("!BBHIHBB", 0x34, 255, 0, 1, 0, 0, 0x85) + b"\x01\0\x09\0" + build.ipv4(build.tcp(seq=5)),
                2152,
            ),
            id="GTP-U with extension",
        ),
        pytest.param(build.udp(build.ipv6(build.tcp(seq=5)), 3544), id="Teredo"),
        pytest.param(build.udp(bytes(2) + bytes(6) + build.ipv6(build.tcp(seq=5)), 3544), id="Teredo with origin"),
        pytest.param(
            build.udp(b"\x0c\0\0\x01\0\0\0\0" + build.ipv4(build.tcp(seq=5)), 4790), id="VXLAN-GPE without Ethernet"
        ),
    ],
)
def test_segments_are_found_in_tunnels_over_udp(frame: bytes, compiled: bool) -> None:
    data = build.pcap([build.ethernet(build.ipv4(frame, protocol=17))])

    assert [row["seq"] for row in build.read(data, compiled=compiled).rows] == [5]


@both
@pytest.mark.parametrize(
    ("kind", "head"),
    [
        pytest.param(0x88E7, bytes(4) + build.ethernet(b""), id="802.1ah"),
        pytest.param(0x8903, bytes(2) + build.ethernet(b""), id="FabricPath"),
        pytest.param(0x893F, bytes(6) + b"\x08\0", id="802.1BR"),
        pytest.param(0x8909, b"\x01\x01\0\x01\0\x02\x08\0", id="Cisco metadata"),
        pytest.param(0x8909, b"\x01\x02\0\x01\0\x02\0\x01\0\x03\x08\0", id="Cisco metadata, two options"),
        pytest.param(0x8864, bytes(6) + b"\x02\x81" + b"\0\0\x01\0", id="MPLS in PPPoE"),
        pytest.param(0x8847, b"\0\0\x01\0" + bytes(4) + build.ethernet(b""), id="pseudowire"),
    ],
)
def test_segments_are_found_behind_tags(kind: int, head: bytes, compiled: bool) -> None:
    data = build.pcap([build.ethernet(head + build.ipv4(build.tcp(seq=5)), kind)])

    assert [row["seq"] for row in build.read(data, compiled=compiled).rows] == [5]


def test_gre_version_1_and_erspan_lead_to_the_segment() -> None:
    ip = build.ipv4(build.tcp(seq=5))
    pptp = struct.pack("!HHHHI", 0x3001, 0x880B, 0, 1, 1) + b"\xff\x03\x00\x21" + ip
    erspan = struct.pack("!HHI", 0x1000, 0x88BE, 1) + bytes(8) + build.ethernet(ip)
    frames_ = [build.ethernet(build.ipv4(payload, protocol=47)) for payload in (pptp, erspan)]

    for compiled in (True, False):
        assert [row["seq"] for row in build.read(build.pcap(frames_), compiled=compiled).rows] == [5, 5]


SNAP_IPV4 = b"\xaa\xaa\x03\0\0\0\x08\0"


@both
@pytest.mark.parametrize(
    ("link", "head"),
    [
        pytest.param(9, b"\xff\x03\0\x21", id="PPP"),
        pytest.param(9, b"\x21", id="PPP, compressed"),
        pytest.param(104, b"\x0f\0\x08\0", id="Cisco HDLC"),
        pytest.param(9, b"\x0f\0\x08\0", id="Cisco HDLC, called PPP"),
        pytest.param(9, b"\xff\x03\x02\x81" + b"\0\0\x01\0", id="MPLS in PPP"),
        pytest.param(107, b"\x18\x41\x03\xcc", id="Frame Relay"),
        pytest.param(107, b"\x18\x41\x08\x00", id="Frame Relay, Cisco"),
        pytest.param(10, b"\x50" + bytes(12) + SNAP_IPV4, id="FDDI"),
        pytest.param(6, b"\x10\x40" + bytes(12) + SNAP_IPV4, id="Token Ring"),
        pytest.param(129, bytes(4) + b"\xf0", id="ARCNET"),
        pytest.param(100, SNAP_IPV4, id="ATM"),
        pytest.param(117, b"\x3d" + bytes(63), id="pflog"),
        pytest.param(109, bytes(12), id="enc"),
        pytest.param(239, b"\x02\0\0\0" + b"\x08\0\x01\0\x08\0\0\0" + b"\x2c\0\x09\0", id="NFLOG"),
        pytest.param(105, b"\x08\x01" + bytes(22) + SNAP_IPV4, id="802.11"),
        pytest.param(127, b"\0\0\x08\0\0\0\0\0" + b"\x88\x01" + bytes(24) + SNAP_IPV4, id="802.11 QoS with radiotap"),
        pytest.param(192, struct.pack("<BBHI", 0, 0, 8, 101), id="PPI"),
        pytest.param(258, struct.pack("<III", 108, 1, 101) + bytes(96), id="PKTAP"),
        pytest.param(284, build.ethernet(b"", 0x4000) + b"\0\0" + b"\x08\0", id="DSA"),
    ],
)
def test_rare_link_types_lead_to_the_segment(link: int, head: bytes, compiled: bool) -> None:
    """In frame order, between frames that are none: the kernel leaves a row open for each."""
    good = head + build.ipv4(build.tcp(seq=5))
    data = build.pcap([good, head[:2], good, good[: len(head) + 10], good], link=link)

    got = build.read(data, compiled=compiled)

    assert [(row["frame"], row["seq"]) for row in got.rows] == [(1, 5), (3, 5), (5, 5)]
    assert 5 == got.facts.frames == 3 + sum(got.facts.skipped.values())


@both
def test_a_link_type_that_nobody_knows_is_named(compiled: bool) -> None:
    got = build.read(build.pcap([b"abc", b"def"], link=231), compiled=compiled)

    assert got.facts.skipped == {"link type not known: D-Bus": 2}
    assert got.facts.links == ("D-Bus",)
