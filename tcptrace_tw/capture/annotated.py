"""Copies whole captures into one pcapng file and puts comments on packets: a second pass, after that of the analysis.

Packet bytes, times, interfaces and every other block stay as they are, but for these: records of pcap files become
blocks; a Simple Packet Block that gets a comment becomes an Enhanced one, because it has no room for options; a
section that names its own length no longer does. A file ends where the reader ends, so a frame has the same number in
both passes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from tempfile import TemporaryFile
from typing import Protocol

from tcptrace_tw.atomic import AtomicFile
from tcptrace_tw.capture import frames as fr
from tcptrace_tw.capture import interfaces, pcap, pcapng
from tcptrace_tw.capture.block_walk import BlockWalk
from tcptrace_tw.capture.blocks import RecordPacker, order_of, section_of, with_comments
from tcptrace_tw.capture.export import ROOM, check_format, first_bytes
from tcptrace_tw.capture.facts import FileFacts
from tcptrace_tw.capture.source import open_stream
from tcptrace_tw.capture.window import Window
from tcptrace_tw.position import Position

MANY_BYTES = 1 << 20
"""So much is written at once."""


class Comments(Protocol):
    """What is to be said of the frames."""

    def of(self, file: int, number: int) -> Sequence[bytes]:
        """The comments for one frame, in UTF-8; frames are asked for in rising order."""


def check(captures: Sequence[str]) -> None:
    """``UsageError`` where the frames of one of the files cannot be copied."""
    for name in captures:
        header = first_bytes(name)
        check_format(name, header, "annotate")
        if pcap.is_pcap(header) and len(header) == pcap.HEADER_LEN:
            section_of(pcap.parse_header(header))


class Annotator:
    """Copies captures; ``position`` says how far it is."""

    def __init__(self, captures: Sequence[str], comments: Comments, out: AtomicFile, *, compiled: bool) -> None:
        self.frames = 0
        self.commented = 0
        """Frames that got a comment."""
        self.made = 0
        """Simple Packet Blocks that became Enhanced ones."""
        self._captures = captures
        self._comments = comments
        self._compiled = compiled
        self._pieces: list[bytes] = []
        self._waiting = 0
        self._out = out
        self._position: Callable[[], tuple[int, int | None]] = lambda: (0, None)

    def copy(self) -> None:
        """Copy all: what is then still to be done is ``AtomicFile.commit``."""
        for index, name in enumerate(self._captures):
            with open_stream(name) as stream:
                self._position = lambda stream=stream: (stream.position, stream.size)  # type: ignore[misc]
                window = Window(stream, compiled=self._compiled)
                window.need(4)
                copy = self._copy_blocks if pcapng.is_pcapng(window.peek(4)) else self._copy_records
                copy(window, index)
        self._flush()

    def position(self) -> Position:
        """How far it is; any thread may ask."""
        return Position(*self._position(), self.frames, 0, None)

    def _copy_records(self, window: Window, index: int) -> None:
        """The records of a pcap file, each as an Enhanced Packet Block."""
        window.need(pcap.HEADER_LEN)
        link_word = window.peek(pcap.HEADER_LEN)[20:]
        file = pcap.PcapFile(window, FileFacts(""), compiled=self._compiled)
        header, order, packer = file.header, order_of(file.header), RecordPacker(file.header)
        self._write(section_of(header, int.from_bytes(link_word, "big" if header.is_big else "little")))
        found = fr.Frames(ROOM, compiled=self._compiled)
        number, outcome = 0, fr.FULL
        while outcome != fr.DAMAGED:
            count, outcome = file.scan(window, found, ROOM)
            for at, caplen in zip(found.at[:count].tolist(), found.caplen[:count].tolist(), strict=True):
                number += 1
                texts = self._texts(index, number)
                self._write(packer.packet(window.view, at, caplen, with_comments(order, b"", texts) if texts else b""))
            if outcome == fr.DRY and not window.refill():
                return

    def _copy_blocks(self, window: Window, index: int) -> None:
        """The blocks of a pcapng file; what lies between two blocks that change is copied as one piece."""
        walk, number = BlockWalk(), 0
        at = done = window.start
        while (outcome := walk.look(window.view, at, window.end)) != fr.DAMAGED:
            if outcome != fr.FULL:
                self._write(bytes(window.view[done:at]))
                window.start = at
                if not (window.refill() if outcome == fr.DRY else self._copy_large(window, walk.step)):
                    return
                at = done = window.start
                continue
            number += walk.is_packet
            changed = self._changed(walk, window.view, at, index, number)
            if changed:
                self._write(bytes(window.view[done:at]))
                self._write(changed)
                done = at + walk.step
            at += walk.step
        self._write(bytes(window.view[done:at]))

    def _changed(self, walk: BlockWalk, view: memoryview, at: int, index: int, number: int) -> bytes:
        """The block as it is to be; nothing where it stays as it is."""
        if walk.is_packet:
            texts = self._texts(index, number)
            if not texts:
                return b""
            self.made += walk.is_simple
            return walk.commented(view, at, texts)
        return walk.section(view, at) if walk.kind == interfaces.SECTION else b""

    def _copy_large(self, window: Window, step: int) -> bool:
        """Copy a block that is too large for memory, if all of it is there."""
        with TemporaryFile() as spool:
            while step:
                if window.start == window.end and not window.refill():
                    return False
                piece = window.view[window.start : min(window.end, window.start + step)]
                spool.write(piece)
                window.start += len(piece)
                step -= len(piece)
            spool.seek(0)
            while piece_again := spool.read(MANY_BYTES):
                self._write(piece_again)
        return True

    def _texts(self, index: int, number: int) -> Sequence[bytes]:
        texts = self._comments.of(index, number)
        self.frames += 1
        self.commented += bool(texts)
        return texts

    def _write(self, data: bytes) -> None:
        self._pieces.append(data)
        self._waiting += len(data)
        if self._waiting >= MANY_BYTES:
            self._flush()

    def _flush(self) -> None:
        self._out.write(b"".join(self._pieces))
        self._pieces, self._waiting = [], 0
