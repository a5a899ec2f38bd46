"""Files become frames: exact times, every record, nothing behind the damage, whatever the size of the pieces."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcptrace_tw.capture.reader import Reader
from tcptrace_tw.errors import CaptureError
from tests import capture_bytes as build
from tests.naive import decode as naive
from tests.test_capture_decode import agree, both

pytestmark = pytest.mark.filterwarnings("error")

FRAME = build.ethernet(build.ipv4(build.tcp(b"abc", options=build.TIMESTAMPS)))
ARP = build.ethernet(bytes(28), 0x0806)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("nano", [True, False])
def test_all_four_magics_give_exact_nanoseconds(order: str, nano: bool) -> None:
    time_ns = 1_700_000_000_123_456_789 if nano else 1_700_000_000_123_456_000

    got = agree(build.pcap([build.Record(FRAME, time_ns)], order=order, nano=nano))

    assert [time_ns] == [row["time"] for row in got.rows]
    unit, endian = "nanoseconds" if nano else "microseconds", "little" if order == "<" else "big"
    assert f"pcap, {unit}, {endian}-endian" == got.facts.format


def test_facts_tell_what_the_file_holds() -> None:
    records = [build.Record(FRAME, 3000), build.Record(ARP, 2000), build.Record(FRAME[:60], 5000, len(FRAME))]

    facts = agree(build.pcap(records, snaplen=96)).facts

    assert (facts.frames, facts.tcp_segments, facts.skipped) == (3, 2, {"ARP": 1})
    assert (facts.first_time, facts.last_time, facts.backward_steps) == (2000, 5000, 1)
    assert (len(FRAME) + len(ARP) + 60, 2 * len(FRAME) + len(ARP)) == (facts.captured_bytes, facts.wire_bytes)
    assert (facts.snaplen, facts.links, facts.truncated_options) == (96, ("Ethernet",), 1)


def test_fcs_bits_in_the_link_type_are_no_link_type() -> None:
    assert agree(build.pcap([FRAME], link=0x14000001)).facts.links == ("Ethernet",)


@both
@pytest.mark.parametrize("version", [(2, 4), (2, 3), (2, 0), (2, 99), (543, 0), (1, 2)])
def test_odd_versions_are_read(version: tuple[int, int], compiled: bool) -> None:
    """Before 2.3 the two lengths of a record stood the other way round."""
    got = build.read(build.pcap([build.Record(FRAME, wirelen=len(FRAME))], version=version), compiled=compiled)

    assert got.facts.tcp_segments == 1


@both
def test_the_modified_format_has_longer_record_headers(compiled: bool) -> None:
    data = struct.pack("<IHHiIII", 0xA1B2CD34, 2, 4, 0, 0, 65535, 1)
    data += (struct.pack("<IIII", 1, 2, len(FRAME), len(FRAME)) + bytes(8) + FRAME) * 2

    assert build.read(data, compiled=compiled).facts.tcp_segments == 2


def test_a_record_beyond_the_snap_length_is_damage_with_its_place() -> None:
    """Style guide, Errors: where, what, and what was kept."""
    good = build.pcap([FRAME] * 3)
    bad = struct.pack("<IIII", 0, 0, 70000, 60) + FRAME * 2000

    facts = agree(good + bad).facts

    expected = (
        f"byte {len(good)}: record claims 70000 bytes, but the snap length is 65535; the 3 frames before it were kept"
    )
    assert expected == facts.damage


def test_a_record_beyond_the_snap_length_that_was_as_long_on_the_wire_is_believed() -> None:
    """libpcap and Wireshark do so too: with offloads, writers often name a snap length that is too small."""
    big = build.ethernet(build.ipv4(build.tcp(b"x" * 70000), length=0))

    assert agree(build.pcap([big, FRAME])).facts.tcp_segments == 2


def test_a_record_of_four_gigabytes_is_damage() -> None:
    good = build.pcap([FRAME])

    facts = agree(good + struct.pack("<IIII", 0, 0, 0xFFFFFFFF, 0xFFFFFFFF) + bytes(100)).facts

    assert facts.damage is not None
    assert "record claims 4294967295 bytes" in facts.damage


@given(cut=st.integers(0, 200))
@settings(max_examples=60, deadline=None)
def test_a_file_that_was_cut_keeps_every_whole_record(cut: int) -> None:
    data = build.pcap([FRAME, ARP, FRAME])
    if len(data) - cut >= 24 + 16 + len(FRAME):
        agree(data[: len(data) - cut])


@both
@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "test.pcap: byte 0: the file is empty"),
        (b"\xd4\xc3\xb2\xa1\x02", "test.pcap: byte 5: the file ends inside the pcap header"),
        (b"hello, world\n" * 9, "a text file, not a capture"),
        (b"\x1f", "neither pcap nor pcapng"),
        (build.pcap([FRAME])[:50], "byte 24: the file ends after 10 of the"),
        (build.section()[:20], "byte 0: the file ends after 20 of the 28 bytes of a block"),
    ],
)
def test_what_cannot_be_read_at_all_is_an_error_in_one_line(data: bytes, words: str, compiled: bool) -> None:
    with pytest.raises(CaptureError, match=r"^test\.pcap: ") as caught:
        build.read(data, compiled=compiled)

    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@both
def test_a_file_without_frames_is_read(compiled: bool) -> None:
    facts = build.read(build.pcap([]), compiled=compiled).facts

    assert (facts.frames, facts.first_time, facts.damage) == (0, None, None)


@both
def test_frame_numbers_name_their_file(compiled: bool) -> None:
    got = build.read(build.pcap([ARP, FRAME]), compiled=compiled, file_index=3)

    assert [row["frame"] for row in got.rows] == [3 << 40 | 2]


@both
def test_a_prompt_reader_hands_on_what_has_come(compiled: bool) -> None:
    """The window is far from full, and so is the batch."""
    stream = build.Bytes(build.pcap([FRAME] * 3), step=24 + 16 + len(FRAME))
    reader = Reader(stream, compiled=compiled, is_prompt=True)

    assert [batch.seq.size for batch in reader.batches()] == [1, 1, 1]


@both
def test_damage_of_the_packed_data_is_told_instead_of_its_consequence(compiled: bool) -> None:
    stream = build.Bytes(build.pcap([FRAME] * 3)[:-5], damage="byte 99: gzip data is cut off; the 7 bytes were kept")
    reader = Reader(stream, compiled=compiled)

    assert sum(1 for _ in reader.batches()) == 1
    assert reader.facts.damage == "byte 99: gzip data is cut off; the 2 frames before it were kept"


mixed = st.lists(
    st.one_of(
        st.sampled_from([FRAME, ARP, b"", FRAME[:40]]),
        st.integers(0, 3000).map(lambda n: build.ethernet(build.ipv4(build.tcp(bytes(n))))),
    ),
    max_size=30,
)


@settings(max_examples=150, deadline=None)
@given(
    frames=mixed,
    is_pcapng=st.booleans(),
    link=st.sampled_from([1, 192]),
    step=st.integers(1, 4000),
    window_size=st.integers(1, 3000),
    batch_size=st.integers(1, 40),
    compiled=st.booleans(),
)
def test_any_way_of_cutting_the_file_gives_the_same(
    frames: list[bytes], is_pcapng: bool, link: int, step: int, window_size: int, batch_size: int, compiled: bool
) -> None:
    """Pieces of the stream, size of the window, size of the batch; also for frames that go to ``slow``."""
    frames = [frame if link == 1 else struct.pack("<BBHI", 0, 0, 8, 1) + frame for frame in frames]
    data = build.pcap([build.Record(frame, time_ns=10**9) for frame in frames], link=link)
    if is_pcapng:
        unknown = build.block(0xBAD, bytes(1000))
        data = build.section() + build.interface(link) + unknown.join(build.packet(f, i) for i, f in enumerate(frames))
    whole = build.read(data)

    pieces = build.read(data, compiled=compiled, step=step, window_size=window_size, batch_size=batch_size)

    assert whole == pieces


# pcapng


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("tsresol", "ticks", "time_ns"),
    [
        (None, 1_700_000_000_123_456, 1_700_000_000_123_456_000),
        (6, 1_700_000_000_123_456, 1_700_000_000_123_456_000),
        (9, 1_700_000_000_123_456_789, 1_700_000_000_123_456_789),
        (3, 1_700_000_000_123, 1_700_000_000_123_000_000),
        (0, 1_700_000_000, 1_700_000_000_000_000_000),
        (12, 1_700_000_000_123_456, 1_700_000_000_123),
        (0x80 | 10, 1_700_000_000 * 1024 + 1, 1_700_000_000_000_976_562),
        (0x80 | 32, (1_700_000_000 << 32) + 0xFFFFFFFF, 1_700_000_000_999_999_999),
        (0x80 | 40, (1_000_000 << 40) + 1, 1_000_000_000_000_000),
        (0x80 | 0, 1_700_000_000, 1_700_000_000_000_000_000),
        (0x80 | 63, 2**62 + 2**33, 500_000_000),
        (0x80 | 63, 2**63, 1_000_000_000),
        (0x80 | 32, (3_000_000_000 << 32) + (1 << 31), 3_000_000_000_500_000_000),
        (0x80 | 64, 2**63, 500_000_000),
        (0x80 | 1, 3, 1_500_000_000),
        (10, 17_000_000_001_000_000_000, 1_700_000_000_100_000_000),
        (9, 4_600_000_000_000_000_000, 4_600_000_000_000_000_000),
    ],
)
def test_every_resolution_gives_exact_nanoseconds(order: str, tsresol: int | None, ticks: int, time_ns: int) -> None:
    """Section 4.2 of the pcapng draft: powers of ten and of two."""
    data = build.section(order) + build.interface(order=order, tsresol=tsresol)
    data += build.packet(FRAME, ticks, order=order)

    assert [time_ns] == [row["time"] for row in agree(data).rows]


@settings(max_examples=300, deadline=None)
@given(
    exponent=st.one_of(st.integers(0, 18), st.integers(0x80, 0xFF)),
    offset_s=st.one_of(st.sampled_from([0, -1, -(2**62), 2**62, -(2**63), 2**63 - 1]), st.integers(-(2**34), 2**34)),
    ticks=st.lists(st.one_of(st.integers(0, 2**64 - 1), st.integers(0, 100).map(lambda n: 2**63 - n)), max_size=6),
    times=st.lists(st.integers(-(2**62), 2**62), max_size=6),
)
def test_any_timestamp_is_believed_or_replaced(
    exponent: int, offset_s: int, ticks: list[int], times: list[int]
) -> None:
    """From 1970 to 2115 every time is exact; any other goes on from the frame before it."""
    ticks_per_s = 2 ** (exponent & 127) if exponent & 128 else 10**exponent
    ticks = ticks + [(time_ns - offset_s * 10**9) * ticks_per_s // 10**9 % 2**64 for time_ns in times]
    data = build.section() + build.interface(tsresol=exponent, offset_s=offset_s)
    data += b"".join(build.packet(FRAME, number) for number in ticks)
    expected = naive.decode_file(data).rows

    for compiled in (True, False):
        got = build.read(data, compiled=compiled)
        assert [row["time"] for row in expected] == [row["time"] for row in got.rows]
        assert all(0 <= row["time"] <= 4_600_000_000_000_000_000 for row in got.rows)  # type: ignore[operator]


def test_times_before_1970_keep_their_distances() -> None:
    """An offset of minus one hour on a clock that starts at 0: the capture begins in 1970, and lasts as long."""
    data = build.section() + build.interface(offset_s=-3600)
    data += b"".join(build.packet(FRAME, ticks) for ticks in (0, 7_000_000, 3_599_000_000, 3_601_000_000))
    got = agree(data)

    assert [row["time"] for row in got.rows] == [0, 7 * 10**9, 3_599 * 10**9, 10**9]
    assert got.facts.unfit_times == 3
    assert (got.facts.first_time, got.facts.last_time) == (0, 3_599 * 10**9)


def test_a_time_that_cannot_be_does_not_move_the_clock() -> None:
    data = build.section() + build.interface()
    data += b"".join(build.packet(FRAME, ticks) for ticks in (5_000_000, 2**64 - 1, 2**62, 6_000_000))
    got = agree(data)

    assert [row["time"] for row in got.rows] == [5 * 10**9, 5 * 10**9, 5 * 10**9, 6 * 10**9]
    assert got.facts.unfit_times == 2


def test_interfaces_differ_and_sections_begin_anew() -> None:
    """Issue of other readers: only the first interface, or the first section, is believed."""
    data = build.section() + build.interface(tsresol=9) + build.interface(link=101, tsresol=6, offset_s=10)
    data += build.packet(FRAME, 1) + build.packet(FRAME[14:], 1, which=1)
    data += build.section(">") + build.interface(order=">", link=113, tsresol=3)
    data += build.packet(bytes(14) + b"\x08\0" + FRAME[14:], 1, order=">")

    got = agree(data)

    assert [row["time"] for row in got.rows] == [1, 10_000_001_000, 1_000_000]
    assert got.facts.links == ("Ethernet", "raw IP", "Linux cooked v1")
    assert got.facts.format == "pcapng, nanoseconds, little-endian"


def test_simple_and_old_packets_are_read() -> None:
    data = build.section() + build.interface(snaplen=60)
    data += build.old_packet(FRAME, 7) + build.simple_packet(FRAME[:60], wirelen=len(FRAME)) + build.packet(FRAME, 9)

    got = agree(data)

    assert [row["time"] for row in got.rows] == [7000, 7000, 9000]
    assert [row["payload_len"] for row in got.rows] == [3, 3, 3]


def test_lost_frames_are_the_last_statistics_of_each_interface() -> None:
    data = build.section() + build.interface() + build.interface() + build.packet(FRAME)
    data += build.statistics(0, 5) + build.statistics(1, 1) + build.statistics(0, 8)

    assert agree(data).facts.lost_frames == 9


def test_unknown_blocks_are_passed_over_however_long() -> None:
    data = build.section() + build.interface() + build.packet(FRAME)
    data += build.block(0x80000BAD, bytes(3_000_000)) + build.packet(FRAME)

    assert agree(data, window_size=4096).facts.tcp_segments == 2


@pytest.mark.parametrize(
    ("counts", "lost", "absurd"),
    [
        ((2**64 - 1,), 0, 0),
        ((3, 2**64 - 1), 0, 0),
        ((2**64 - 2,), 0, 2**64 - 2),
        ((2**63,), 0, 2**63),
        ((2**56 + 1,), 0, 2**56 + 1),
        ((2**56,), 2**56, 0),
        ((2**62, 5), 5, 2**62),
    ],
)
def test_a_count_of_lost_frames_that_cannot_be_is_not_known(counts: tuple[int, ...], lost: int, absurd: int) -> None:
    """Writers put 2^64-1 where the system does not count."""
    data = build.section() + build.interface() + build.packet(FRAME)
    facts = agree(data + b"".join(build.statistics(0, count) for count in counts)).facts

    assert (lost, absurd) == (facts.lost_frames, facts.absurd_loss)


def test_many_interfaces_that_lost_much_add_up_to_a_number() -> None:
    data = build.section() + build.interface() * 300 + build.packet(FRAME)
    data += b"".join(build.statistics(which, 2**56) for which in range(300))

    assert agree(data).facts.lost_frames == 2**56


def test_what_follows_many_options_or_64_kib_is_not_looked_at() -> None:
    """The first 256 options of a block say what its clock is."""
    comment = build.option(1, b"x")
    nano = build.option(9, b"\x09")
    for before, time_ns in ((comment * 255, 7), (comment * 256, 7000), (build.option(2, bytes(60_000)), 7)):
        body = struct.pack("<HHI", 1, 0, 0) + before + nano
        data = build.section() + build.block(1, body) + build.packet(FRAME, 7)
        assert [time_ns] == [row["time"] for row in build.read(data).rows]
    large = struct.pack("<HHI", 1, 0, 0) + nano + build.option(2, bytes(60_000)) * 40
    data = build.section() + build.block(1, large) + build.packet(FRAME, 7) + build.block(1, large)[:-9]
    got = build.read(data)

    assert [row["time"] for row in got.rows] == [7]
    assert got.facts.damage is not None
    assert "the file ends 9 bytes before the end of a block" in got.facts.damage


PREFIX = build.section() + build.interface() + build.packet(FRAME)


@pytest.mark.parametrize(
    ("tail", "words"),
    [
        (struct.pack("<II", 6, 0) + bytes(60), "block of type 6 claims 0 bytes"),
        (struct.pack("<II", 0xBAD, 0) + bytes(60), "block of type 2989 claims 0 bytes"),
        (struct.pack("<II", 6, 0xFFFFFFF0) + bytes(60), "block of type 6 claims 4294967280 bytes"),
        (build.packet(FRAME, which=1), "packet of interface 1, but the section has described 1"),
        (build.packet(FRAME)[:-4] + bytes(4), "has length"),
        (build.block(6, struct.pack("<IIIII", 0, 0, 0, 500, 500)), "packet of 500 bytes in a block of 32 bytes"),
        (build.packet(FRAME)[:30], "the file ends after 30 of the"),
        (struct.pack("<II", 0xBAD, 4000) + bytes(60), "before the end of a block"),
        (b"\n\r\r\n" + struct.pack("<II", 28, 7) + bytes(16), "byte order"),
        (b"\0\0", "the file ends after 2 bytes of a block"),
    ],
)
def test_broken_blocks_are_damage_and_never_a_loop(tail: bytes, words: str) -> None:
    damage = agree(PREFIX + tail).facts.damage

    assert damage is not None
    assert words in damage
    assert damage.endswith("; the 1 frame before it was kept")
    if "before the end" not in words:
        assert damage.startswith(f"byte {len(PREFIX)}: ")


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_pcapng_file_with_flipped_bytes_is_read_like_the_naive_twin_reads_it(data: st.DataObject) -> None:
    good = (
        PREFIX
        + build.interface(link=101, tsresol=9)
        + build.packet(FRAME[14:], 5, which=1)
        + build.simple_packet(FRAME)
    )
    body = bytearray(good + build.packet(FRAME, 2**40) + build.statistics(0, 3) + build.packet(ARP))
    for _ in range(data.draw(st.integers(1, 2))):
        at = data.draw(st.integers(len(PREFIX), len(body) - 1))
        body[at] = data.draw(st.integers(0, 255))
    expected = naive.decode_file(bytes(body))

    got = build.read(bytes(body), compiled=True)

    assert got == build.read(bytes(body), compiled=False)
    assert expected.frames >= got.facts.frames
    if "link type not known" in expected.skipped:  # or known to ``slow``
        return
    assert expected.rows[: len(got.rows)] == got.rows
    if got.facts.damage is None:
        assert (expected.frames, expected.skipped) == (got.facts.frames, got.facts.skipped)
