"""Copies frames of a capture into a file of their own, byte for byte, in a second pass over the capture.

pcap records stay pcap records of the same link type, resolution and byte order, and pcapng blocks stay blocks. Where
files of several kinds meet, each becomes a section of one pcapng file.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.atomic import AtomicFile
from tcptrace_tw.capture import frames as fr
from tcptrace_tw.capture import interfaces, pcap, pcapng
from tcptrace_tw.capture.blocks import RecordPacker, section_of
from tcptrace_tw.capture.facts import FileFacts
from tcptrace_tw.capture.pcapng_scan import BLOCK_MAX, BLOCK_MIN
from tcptrace_tw.capture.source import STDIN, Stream, open_stream
from tcptrace_tw.capture.window import Window
from tcptrace_tw.errors import CaptureError, UsageError
from tcptrace_tw.position import Taken
from tcptrace_tw.schema.columns import FRAME_BITS

ROOM = 16384
_NAMES, _SECRETS = 4, 10
_DESCRIBING = (interfaces.INTERFACE, _NAMES, _SECRETS)
_PACKETS = (interfaces.PACKET, interfaces.SIMPLE_PACKET, interfaces.OLD_PACKET)

Write = Callable[[bytes], object]


def copy_frames(
    captures: Sequence[str],
    frames: NDArray[np.int64],
    out: str | AtomicFile,
    *,
    compiled: bool = False,
    taken: Taken | None = None,
) -> int:
    """Write the frames, in their order, to ``out`` (``-``: stdout), and return how many there were.

    ``captures`` are the files in the order in which they were numbered; ``frames`` is sorted, each ``file << 40`` plus
    number. The file appears whole or not at all. Raises ``UsageError`` where it would overwrite a capture or its name
    contradicts its format, ``CaptureError`` where a frame is not there. ``taken`` is told how far it is.
    """
    wanted = {
        captures[file]: frames[frames >> FRAME_BITS == file] & ((1 << FRAME_BITS) - 1)
        for file in np.unique(frames >> FRAME_BITS).tolist()
    }
    target = out if isinstance(out, str) else out.target
    for name in wanted:
        _check(name, target)
    headers = {name: first_bytes(name) for name in wanted}
    for name, header in headers.items():
        check_format(name, header)
    is_pcapng = _is_pcapng(headers, target)
    with AtomicFile(out) if isinstance(out, str) else out as file:
        if not is_pcapng:
            file.write(_common_header(list(headers.values())))
        taken = taken or Taken(captures)
        for name, numbers in wanted.items():
            with open_stream(name) as stream, taken.following(captures.index(name), stream):
                _copy_file(stream, numbers, file.write, is_pcapng, compiled)
        file.commit()
    return int(frames.size)


def _check(name: str, out: str) -> None:
    if name == STDIN:
        raise UsageError("export reads the capture twice, and stdin can be read only once; write it to a file first")
    if os.path.exists(out) and os.path.exists(name) and os.path.samefile(name, out):
        raise UsageError(f"{out}: is the capture itself; name another file")


def first_bytes(name: str) -> bytes:
    """The begin of a capture, unpacked: as much as the header of a pcap file."""
    buffer = memoryview(bytearray(pcap.HEADER_LEN))
    done = 0
    with open_stream(name) as stream:
        while count := stream.readinto(buffer[done:]):
            done += count
    return bytes(buffer[:done])


def check_format(name: str, header: bytes, command: str = "export") -> None:
    """``UsageError`` where the frames of a capture cannot be copied."""
    if not pcap.is_pcap(header) and not pcapng.is_pcapng(header[:4]):
        hint = f"convert it with editcap -F pcapng IN OUT, then {command}"
        raise UsageError(f"{name}: is neither pcap nor pcapng; {hint}")


def _is_pcapng(headers: dict[str, bytes], out: str) -> bool:
    """Whether the output is pcapng: the user says so by its name, or the capture is, or no pcap header fits all."""
    if out.endswith(".pcapng"):
        return True
    needs = [name for name, header in headers.items() if pcapng.is_pcapng(header[:4])]
    if not needs and len({_kind(header) for header in headers.values()}) > 1:
        needs = list(headers)[1:2]
    if needs and out.endswith((".pcap", ".cap")):
        raise UsageError(f"{out}: {needs[0]} does not fit into a pcap file; name it {Path(out).stem}.pcapng")
    return bool(needs)


def _kind(header: bytes) -> bytes:
    """What pcap files must have in common to share a header: all but the snap length."""
    return header[:16] + header[20:]


def _common_header(headers: Sequence[bytes]) -> bytes:
    if not headers:
        return struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, pcap.CAPLEN_MAX, 1)
    return max(headers, key=lambda header: pcap.parse_header(header).snaplen)


def _copy_file(stream: Stream, numbers: NDArray[np.int64], write: Write, is_pcapng: bool, compiled: bool) -> None:
    window = Window(stream, compiled=compiled)
    window.need(4)
    if pcapng.is_pcapng(window.peek(4)):
        left = _copy_blocks(window, numbers.tolist(), write)
    else:
        left = _copy_records(window, numbers, write, is_pcapng, compiled)
    if left:
        raise CaptureError(f"{stream.name}: has no frame {left[0]}; is it the capture that was analysed?")


def _copy_records(
    window: Window, numbers: NDArray[np.int64], write: Write, is_pcapng: bool, compiled: bool
) -> list[int]:
    """Copy records of a pcap file; return the numbers that are not there."""
    file = pcap.PcapFile(window, FileFacts(""), compiled=compiled)
    if is_pcapng:
        write(section_of(file.header))
    found, packer = fr.Frames(ROOM, compiled=compiled), RecordPacker(file.header)
    before, done = 0, 0
    while done < numbers.size:
        count, outcome = file.scan(window, found, ROOM)
        stop = int(np.searchsorted(numbers, before + count, "right"))
        for i in (numbers[done:stop] - before - 1).tolist():
            at, caplen = int(found.at[i]), int(found.caplen[i])
            if is_pcapng:
                write(packer.packet(window.view, at, caplen))
            else:
                write(bytes(window.view[at - file.header.record_len : at + caplen]))
        before, done = before + count, stop
        if outcome == fr.DAMAGED or (outcome == fr.DRY and not window.refill()):
            break
    return [int(number) for number in numbers[done:]]


def _copy_blocks(window: Window, numbers: list[int], write: Write) -> list[int]:
    """Copy packet blocks, and the blocks that describe them; return the numbers that are not there.

    Statistics are left behind: they count the whole capture.
    """
    number = done = 0
    pending = bytearray()  # descriptions, written with the first packet that may need them
    for kind, block in _blocks(window):
        if kind == interfaces.SECTION:
            pending = bytearray(block)
            pending[16:24] = b"\xff" * 8  # the length of the section: not known
        elif kind in _DESCRIBING:
            pending += block
        else:
            number += 1
            if number == numbers[done]:
                write(bytes(pending) + block)
                pending = bytearray()
                done += 1
                if done == len(numbers):
                    break
    return numbers[done:]


def _blocks(window: Window) -> Iterator[tuple[int, bytes]]:
    """The blocks that matter, up to the end or the damage."""
    order = "<"
    while window.need(12):
        start = window.peek(12)
        if start[:4] == b"\x0a\x0d\x0d\x0a":
            order = ">" if start[8:] == interfaces.BIG else "<"
        kind, length = struct.unpack(f"{order}II", start[:8])
        step = (length + 3) & ~3
        if kind in (interfaces.SECTION, *_DESCRIBING, *_PACKETS):
            if not BLOCK_MIN <= length <= BLOCK_MAX or not window.need(step):
                return
            yield kind, window.take(step)
        elif length < BLOCK_MIN or not window.skip(step):
            return
