"""A capture copied with comments: every packet, time and other block is as it was, in every kind of file."""

from __future__ import annotations

import gzip
import itertools
import random
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcptrace_tw.atomic import AtomicFile
from tcptrace_tw.capture import annotated, block_walk, interfaces
from tcptrace_tw.capture.annotated import Annotator
from tcptrace_tw.capture.blocks import with_comments
from tcptrace_tw.errors import CaptureError, UsageError
from tests import capture_bytes as build

CORPUS = sorted(
    path
    for path in (Path(__file__).parent / "fuzz" / "corpus").iterdir()
    if ".pcap" in path.suffixes[0] and path.name != "bomb.pcap.gz"  # that one unpacks to more than memory holds
)
TOOLS = pytest.mark.skipif(
    shutil.which("tshark") is None or shutil.which("capinfos") is None, reason="tshark and capinfos are not installed"
)
SEGMENT = build.ethernet(build.ipv4(build.tcp(b"text")))
LONGER = build.ethernet(build.ipv4(build.tcp(b"longer text")))
TIME = 1_700_000_000_123_456_789


class Said:
    """Comments for some frames, by number; ``every`` is for all others."""

    def __init__(self, texts: dict[int, list[bytes]] | None = None, every: bytes = b"") -> None:
        self.texts = texts or {}
        self.every = every
        self.asked: list[tuple[int, int]] = []

    def of(self, file: int, number: int) -> list[bytes]:
        self.asked.append((file, number))
        return self.texts.get(number, [self.every] if self.every else [])


def copy(data: bytes, said: Said, folder: Path, *, compiled: bool = False) -> bytes:
    source, out = folder / "in", folder / "out.pcapng"
    source.write_bytes(data)
    with AtomicFile(out) as file:
        Annotator([str(source)], said, file, compiled=compiled).copy()
        file.commit()
    return out.read_bytes()


def blocks(data: bytes, order: str) -> list[tuple[int, bytes]]:
    """Kind and body of the blocks of one section."""
    found, at = [], 0
    while at < len(data):
        kind, length = struct.unpack_from(f"{order}II", data, at)
        assert data[at + length - 4 : at + length] == data[at + 4 : at + 8]
        found.append((kind, data[at + 8 : at + length - 4]))
        at += length
    return found


def tshark(path: Path, *fields: str) -> list[list[str]]:
    command = ["tshark", "-n", "-r", str(path), "-T", "fields", "-E", "occurrence=a", "-E", "aggregator=|"]
    done = subprocess.run(
        [*command, *(part for field in fields for part in ("-e", field))], capture_output=True, text=True, check=True
    )
    return [line.split("\t") for line in done.stdout.splitlines()]


def frames_and_times(path: Path) -> list[list[str]]:
    """What another program reads of a file: times, lengths, link types, and the bytes."""
    what = ("frame.time_epoch", "frame.cap_len", "frame.len", "frame.encap_type")
    text = subprocess.run(["tshark", "-n", "-x", "-r", str(path)], capture_output=True, text=True, check=True).stdout
    return [*tshark(path, *what), text.splitlines()]


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("nano", [False, True])
@pytest.mark.parametrize("compiled", [False, True])
def test_pcap_becomes_pcapng(tmp_path, order, nano, compiled):
    """Frames, lengths and times are equal; so are the link type and the snap length."""
    time = TIME if nano else TIME // 1000 * 1000
    records = [build.Record(SEGMENT, time), build.Record(LONGER[:60], time + 5_000_000_000, wirelen=len(LONGER))]
    data = build.pcap(records, order=order, nano=nano, snaplen=60)
    out = copy(data, Said({2: [b"here"]}), tmp_path, compiled=compiled)
    read = build.read(out)

    assert blocks(out, order)[3][1].endswith(struct.pack(f"{order}HH", 1, 4) + b"here" + bytes(4))
    assert read.rows == build.read(data).rows
    assert read.facts.snaplen == 60 and read.facts.frames == 2
    assert (read.facts.first_time, read.facts.last_time) == (time, time + 5_000_000_000)
    assert read.facts.wire_bytes == len(SEGMENT) + len(LONGER)


def test_the_length_of_the_frame_check_sequence_goes_along(tmp_path):
    """The upper bits of the link word: four bytes at the end of each frame are no payload."""
    data = bytearray(build.pcap([SEGMENT]))
    data[20:24] = struct.pack("<I", 1 | 1 << 26 | 2 << 28)

    assert build.option(13, b"\x04") in copy(bytes(data), Said(), tmp_path)


OTHERS = [
    (4, struct.pack("<HH", 1, 8) + b"\x0a\0\0\1one\0" + bytes(4)),  # name resolution
    (10, b"KEYS" + struct.pack("<I", 5) + b"abcde\0\0\0"),  # decryption secrets
    (0x0BAD, b"\x01\0\0\0 custom "),
    (0x40000BAD, b"\x02\0\0\0more"),
    (0x7777, b"nobody knows"),
    (5, struct.pack("<III", 0, 0, 9) + build.option(4, struct.pack("<Q", 7)) + bytes(4)),
]


def test_all_other_blocks_stay_where_they_were(tmp_path):
    """Name resolution, secrets, custom, unknown and statistics blocks, between packets with and without comments."""
    data = build.section() + build.interface(tsresol=9)
    for kind, body in OTHERS:
        data += build.block(kind, body) + build.packet(SEGMENT, TIME)
    data += build.block(*OTHERS[0])
    before, after = blocks(data, "<"), blocks(copy(data, Said({1: [b"a"], 4: [b"b"], 5: [b"c"]}), tmp_path), "<")

    assert len(before) == len(after)
    packets = [number for number, (kind, _) in enumerate(before) if kind == 6]
    changed = [number for number, pair in enumerate(zip(before, after, strict=True)) if pair[0] != pair[1]]
    assert changed == [packets[0], packets[3], packets[4]]
    for number in changed:
        assert after[number][1].startswith(before[number][1])


def test_what_is_not_commented_stays_byte_for_byte(tmp_path):
    data = build.section() + build.interface() + build.packet(SEGMENT, 5) + build.simple_packet(SEGMENT)
    assert copy(data, Said(), tmp_path) == data


@pytest.mark.parametrize("order", "<>")
def test_options_of_a_packet_stay(tmp_path, order):
    """Flags, a comment, a custom option: all before the new comment, and the end of options behind it."""
    own = build.option(2, struct.pack(f"{order}I", 1), order) + build.option(1, b"mine", order)
    head = struct.pack(f"{order}IIIII", 0, 0, 9, len(SEGMENT), len(SEGMENT))
    body = head + SEGMENT + bytes(-len(SEGMENT) % 4)
    data = build.section(order) + build.interface(order=order)
    for end in (b"", bytes(4)):
        out = copy(data + build.block(6, body + own + end, order), Said({1: [b"ours", b"and more"]}), tmp_path)
        added = build.option(1, b"ours", order) + build.option(1, b"and more", order)
        assert blocks(out, order)[2][1] == body + own + added + bytes(4)


@pytest.mark.parametrize("options", [b"\xff\xff\xff\xff", b"\x02\0\x20\0abc\0", b"\1\0\1\0"])
def test_options_that_are_not_sound_stay_behind_the_comment(options):
    assert with_comments("<", options, [b"new!"]) == build.option(1, b"new!") + options


def test_a_comment_that_is_too_long_is_cut():
    assert with_comments("<", b"", [b"x" * 70_000]) == build.option(1, b"x" * 65_535) + bytes(4)


def test_a_simple_packet_with_a_comment_becomes_an_enhanced_one(tmp_path):
    """It has the bytes and the length that it had, and the time that the reader gives it: that of the packet before."""
    data = build.section() + build.interface(tsresol=3, snaplen=60) + build.interface(tsresol=9, offset_s=100)
    data += build.simple_packet(SEGMENT) + build.packet(SEGMENT, 1_700_000_000_250_000_000, which=1)
    data += build.simple_packet(LONGER[:60], wirelen=len(LONGER)) + build.simple_packet(SEGMENT)
    out = copy(data, Said({1: [b"first"], 3: [b"third"]}), tmp_path)
    kinds = [kind for kind, _ in blocks(out, "<")]
    before, after = build.read(data), build.read(out)

    assert kinds == [interfaces.SECTION, 1, 1, 6, 6, 6, 3]
    assert after.rows == before.rows
    assert block_walk.NO_TIME in blocks(out, "<")[3][1]
    assert after.facts.wire_bytes == before.facts.wire_bytes


def test_an_old_packet_block_keeps_its_kind_and_its_drops(tmp_path):
    data = build.section() + build.interface() + build.old_packet(SEGMENT, 77)
    out = blocks(copy(data, Said(every=b"old"), tmp_path), "<")

    assert out[2][0] == interfaces.OLD_PACKET
    assert out[2][1].startswith(blocks(data, "<")[2][1]) and b"old" in out[2][1]


def test_sections_of_both_byte_orders_and_several_interfaces(tmp_path):
    """A section that says how long it is no longer does; its options stay."""
    head = struct.pack(">IHHq", 0x1A2B3C4D, 1, 0, 4096) + build.option(4, b"writer", ">")
    data = build.section() + build.interface() + build.packet(SEGMENT, 10**6)
    data += build.block(0x0A0D0D0A, head, ">") + build.interface(build.RAW, order=">", tsresol=0x8A)
    data += build.interface(order=">", tsresol=9) + build.packet(SEGMENT, TIME, which=1, order=">")
    data += build.packet(SEGMENT[14:], 1024 * 5, which=0, order=">")
    out = copy(data, Said(every=b"all"), tmp_path)

    assert build.read(out).rows == build.read(data).rows
    assert struct.pack(">q", -1) + build.option(4, b"writer", ">") in out


def test_frames_are_numbered_through_all_sections_and_files(tmp_path):
    section = build.section() + build.interface() + build.packet(SEGMENT, 1)
    (tmp_path / "a").write_bytes(section + build.block(0x99, b"unknown") + section)
    (tmp_path / "b").write_bytes(gzip.compress(build.pcap([SEGMENT, SEGMENT])))
    said = Said(every=b"x")
    with AtomicFile(tmp_path / "out") as file:
        copier = Annotator([str(tmp_path / "a"), str(tmp_path / "b")], said, file, compiled=False)
        copier.copy()
        file.commit()

    assert said.asked == [(0, 1), (0, 2), (1, 1), (1, 2)]
    assert (copier.frames, copier.commented) == (4, 4)
    assert build.read((tmp_path / "out").read_bytes()).facts.frames == 4


def test_a_block_that_is_too_large_for_memory_is_copied_whole_or_not_at_all(tmp_path):
    large = build.block(0x0BAD, bytes(1000) * 17_000)
    data = build.section() + build.interface() + build.packet(SEGMENT, 1) + large
    whole = data + build.packet(SEGMENT, 2)

    assert copy(whole, Said(), tmp_path) == whole
    assert copy(data[:-5], Said(), tmp_path) == data[: -len(large)]


@pytest.mark.parametrize("data", [b"snoop\0\0\0" + bytes(40), build.erf([build.Record(SEGMENT, TIME)])])
def test_other_formats_are_refused(tmp_path, data):
    (tmp_path / "in").write_bytes(data)
    with pytest.raises(UsageError, match="neither pcap nor pcapng; convert it with editcap"):
        annotated.check([str(tmp_path / "in")])


def test_a_link_type_that_pcapng_cannot_hold_is_refused(tmp_path):
    (tmp_path / "in").write_bytes(build.pcap([SEGMENT], link=65_537))
    with pytest.raises(UsageError, match="link type 65537 is too high for pcapng"):
        annotated.check([str(tmp_path / "in")])


def agrees_with_the_reader(data: bytes, folder: Path) -> bool:
    """Copying ends where the reader ends, with the same frames; False where there is nothing to read."""
    try:
        before = build.read(data)
        (folder / "in").write_bytes(data)
        annotated.check([str(folder / "in")])
    except (CaptureError, UsageError):
        return False
    once = copy(data, Said(every=b"said"), folder)
    after = build.read(once)
    assert after.facts.frames == before.facts.frames
    assert after.rows == before.rows
    assert after.facts.damage is None
    assert (after.facts.captured_bytes, after.facts.wire_bytes) == (
        before.facts.captured_bytes,
        before.facts.wire_bytes,
    )
    assert build.read(copy(once, Said(every=b"again"), folder)).rows == before.rows
    return True


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_a_hostile_file_is_copied_up_to_where_the_reader_ends(path, tmp_path):
    data = path.read_bytes()
    agrees_with_the_reader(gzip.decompress(data) if path.suffix == ".gz" else data, tmp_path)


FILES = (
    build.pcap([build.Record(SEGMENT, TIME), build.Record(LONGER, TIME + 1000)] * 3),
    build.section() + build.interface() + build.packet(SEGMENT, 5) + build.simple_packet(LONGER)
    + build.block(0x0BAD, b"abcd1234") + build.old_packet(SEGMENT, 6) + build.statistics(0, 3)
    + build.section(">") + build.interface(order=">") + build.packet(LONGER, 9, order=">"),
)  # fmt: skip


@pytest.mark.parametrize("data", FILES, ids=["pcap", "pcapng"])
def test_a_file_that_is_cut_off_anywhere_is_copied_as_far_as_it_is_read(data, tmp_path):
    assert sum(agrees_with_the_reader(data[:end], tmp_path) for end in range(24, len(data) + 1, 3)) > len(data) // 6


@settings(max_examples=80, deadline=None)
@given(which=st.integers(0, 1), flips=st.lists(st.tuples(st.integers(0, 700), st.integers(0, 255)), max_size=4))
def test_damage_anywhere_ends_the_copy_where_it_ends_the_reader(which, flips, tmp_path_factory):
    data = bytearray(FILES[which])
    for at, value in flips:
        data[at % len(data)] = value
    folder = tmp_path_factory.getbasetemp()
    if bytes(data[:4]) in (FILES[0][:4], FILES[1][:4]):
        agrees_with_the_reader(bytes(data), folder)


@TOOLS
@pytest.mark.parametrize("number", range(2))
def test_tshark_reads_the_same_packets_and_the_comments(number, tmp_path):
    """Bytes, times, lengths and link types, before and after; capinfos has no complaint."""
    mixed = build.section(">") + build.interface(order=">", tsresol=9) + build.interface(build.RAW, order=">")
    for i in range(6):
        mixed += build.packet(SEGMENT, TIME + i * 12_345, order=">")
        mixed += build.packet(SEGMENT[14:], TIME // 1000 + i, which=1, order=">")
    mixed += build.section() + build.interface(tsresol=0x94, offset_s=7) + build.packet(LONGER, 2**20 * 10**9 + 77)
    data = (build.pcap([build.Record(SEGMENT, TIME + i) for i in range(9)], nano=True, order=">"), mixed)[number]
    out = tmp_path / "out.pcapng"
    copy(data, Said({2: [b"client: ESTABLISHED -> FIN-WAIT-1", "RU004 größer".encode()], 4: [b"four"]}), tmp_path)
    comments = {int(n): text for n, text in tshark(out, "frame.number", "frame.comment") if text}

    assert frames_and_times(out) == frames_and_times(tmp_path / "in")
    assert comments == {2: "client: ESTABLISHED -> FIN-WAIT-1|RU004 größer", 4: "four"}
    done = subprocess.run(["capinfos", "-M", str(out)], capture_output=True, text=True, check=True)
    assert "isn't" not in done.stderr and "damaged" not in done.stderr and "cut short" not in done.stderr


def test_random_clocks_give_times_back():
    """A simple packet after one of another clock: its time is exact wherever its own clock can say it."""
    rng = random.Random(5)
    for shift, multiplier, divisor in itertools.product((0, 1, 20, 40), (1, 1000, 10**9), (1, 10, 1000)):
        clock = interfaces.Clock(shift, multiplier if divisor == 1 else 1, divisor, rng.choice((0, 3_000_000_000)))
        for _ in range(20):
            ticks = rng.randrange(1, 1 << 50)
            time = interfaces.time_of(ticks >> 32, ticks & 0xFFFFFFFF, *clock)
            if time < interfaces.LATEST and time >= clock.offset_ns:
                again = block_walk.ticks_of(time, clock)
                assert interfaces.time_of(again >> 32, again & 0xFFFFFFFF, *clock) == time
