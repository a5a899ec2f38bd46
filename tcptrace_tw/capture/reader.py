"""One capture file, from a byte stream to batches of segments, in file order and in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from tcptrace_tw.capture import frames as fr
from tcptrace_tw.capture import link_types_slow, other_formats, pcap, pcapng, skip_reasons, unsupported_formats
from tcptrace_tw.capture.damage import is_damaged
from tcptrace_tw.capture.decode import SEGMENT, decode_frames, decode_one
from tcptrace_tw.capture.facts import FileFacts
from tcptrace_tw.capture.icmp import MOST_QUOTES, Quote, read_quote
from tcptrace_tw.capture.links import link_number
from tcptrace_tw.capture.window import WINDOW_SIZE, Stream, Window
from tcptrace_tw.errors import CaptureError
from tcptrace_tw.kernels import marks
from tcptrace_tw.kernels.arrays import zeros
from tcptrace_tw.schema import segments
from tcptrace_tw.schema.columns import FRAME_BITS, TRUNCATED

BATCH_SIZE = 1 << 15

MOST_WINDOWS = 12
"""The number of windows after which a batch is handed on as it is: with large frames it does not pay to wait."""

_NO_TIME = (1 << 63) - 1


class Format(Protocol):
    """A file format: it knows how to find frames in the window."""

    @property
    def links(self) -> tuple[int, ...]:
        """The link types of its frames."""

    def scan(self, window: Window, frames: fr.Frames, room: int) -> tuple[int, int]:
        """Note up to ``room`` frames and move the window past them; return their number and why it ended."""

    def damage(self, window: Window) -> str | None:
        """What is wrong with the bytes at the start of the window, which are no whole frame; None if there are none."""


class Reader:
    """Reads one capture file.

    ``stream`` delivers the bytes, decompressed. ``facts`` is complete when ``batches`` has come to its end; format,
    compression and snap length are there from the start. ``is_prompt`` is for live pipes: a batch holds what has come,
    nothing waits for a batch to be full. ``buffers`` is how many batches exist at a time. Raises ``CaptureError`` for
    what is not a capture.
    """

    def __init__(
        self,
        stream: Stream,
        *,
        compiled: bool,
        file_index: int = 0,
        batch_size: int = BATCH_SIZE,
        window_size: int = WINDOW_SIZE,
        is_prompt: bool = False,
        buffers: int = 1,
        quotes: list[Quote] | None = None,
        left_out: int = 0,
    ) -> None:
        """``quotes``: the list that takes the ICMP errors that quote a TCP segment; None leaves them out.

        ``left_out``: bytes of the file between its header and its frames that the stream does not have.
        """
        self.facts = FileFacts(stream.name, compression=stream.compression, size=stream.size)
        self._stream = stream
        self._compiled = compiled
        self._next_frame = (file_index << FRAME_BITS) + 1
        self._batch_size = batch_size
        self._is_prompt = is_prompt
        self._quotes = quotes
        self._window = Window(stream, compiled=compiled, size=window_size, is_prompt=is_prompt)
        self._frames = fr.Frames(batch_size, compiled=compiled)
        self._spare = [segments.allocate(batch_size) for _ in range(buffers)]
        self._handed = zeros((batch_size, 2), np.int64)
        self._skipped = zeros(skip_reasons.CODES, np.int64)
        self._totals = zeros(1, fr.TOTALS).view(np.recarray)
        self._totals.first_time = _NO_TIME
        self._decode_frames = marks.load(decode_frames, compiled=compiled)
        self._format = self._open()
        self._window.offset += left_out
        self.begin: int | None = None
        """Time of the first frame in the file, which need not be the earliest; None as long as there is none."""
        self.stopped: str | None = None
        """Where the frames end and why, if not at the end of the stream; known when ``batches`` has come to its end."""

    @property
    def end(self) -> int:
        """Offset in the file behind the frames that were read."""
        return self._window.offset + self._window.start

    @property
    def skipped(self) -> dict[int, int]:
        """Frames by the code of ``skip_reasons``."""
        return {code: int(self._skipped[code]) for code in np.flatnonzero(self._skipped).tolist()}

    def batches(self) -> Iterator[segments.Segments]:
        """Batches of segments in file order. A batch is valid until as many more as there are buffers are asked for."""
        n = windows = 0
        outcome = fr.FULL
        while outcome != fr.DAMAGED:
            count, outcome = self._format.scan(self._window, self._frames, self._batch_size - n)
            if self.begin is None and count:
                self.begin = int(self._frames.time[0])
            n = self._decode(count, n)
            is_enough = self._is_prompt or windows >= MOST_WINDOWS
            if (self._batch_size - n) * 8 < self._batch_size or (n and is_enough):
                yield self._finish_batch(n)
                n = windows = 0
            if outcome == fr.DRY:
                if not self._window.refill():
                    break
                windows += 1
        self._finish()
        if n:
            yield self._finish_batch(n)

    def _open(self) -> Format:
        window, name = self._window, self._stream.name
        if not window.need(4) and window.start == window.end:
            raise CaptureError(f"{name}: byte 0: the file is empty; capture again, or wait until it is written")
        magic = window.peek(4)
        if self._stream.damage is not None and window.end - window.start < pcap.HEADER_LEN:
            raise CaptureError(
                f"{name}: {self._stream.damage.partition('; ')[0]}; there is no frame before it: fetch it again"
            )
        if pcap.is_pcap(magic):
            return pcap.PcapFile(window, self.facts, compiled=self._compiled)
        if pcapng.is_pcapng(magic):
            return pcapng.PcapngFile(self.facts, compiled=self._compiled)
        window.need(other_formats.LOOK_BYTES)
        start = window.peek(other_formats.LOOK_BYTES)
        if other_formats.is_snoop(start):
            return other_formats.SnoopFile(window, self.facts)
        if other_formats.is_erf(start):
            return other_formats.ErfFile(window, self.facts)
        raise CaptureError(f"{name}: byte 0: {unsupported_formats.describe(start)}")

    def _decode(self, count: int, n: int) -> int:
        """Decode the frames of the last scan into the batch from row ``n`` on; return the next free row."""
        if not count:
            return n
        end, pending, errors = self._decode_frames(
            self._window.data,
            self._frames.as_argument,
            count,
            self._next_frame,
            self._spare[0],
            n,
            self._skipped,
            self._handed,
            self._totals,
        )
        if errors and self._quotes is not None:
            self._read_quotes(errors)
        self._next_frame += count
        return self._decode_slowly(pending, n, end) if pending else int(end)

    def _read_quotes(self, errors: int) -> None:
        """Read the frames of the last scan that may be ICMP errors, in the order of the file."""
        frames, view = self._frames, self._window.view
        for i in self._handed[-1 : -1 - errors : -1, 0].tolist():
            if len(self._quotes) == MOST_QUOTES:  # type: ignore[arg-type] # asked for by somebody who wants them
                return
            at, end = int(frames.at[i]), int(frames.at[i] + frames.caplen[i])
            quote = read_quote(view, at, end, int(frames.link[i]), int(frames.time[i]), self._next_frame + i)
            if quote is not None:
                self._quotes.append(quote)  # type: ignore[union-attr]

    def _decode_slowly(self, pending: int, start: int, end: int) -> int:
        """Fill the rows that the kernel left open between ``start`` and ``end``, close the gaps, return the next."""
        keep = np.ones(end - start, np.bool_)
        for i, row in self._handed[:pending].tolist():
            code = self._decode_one(i, row)
            if code != SEGMENT:
                self._skipped[code] += 1
                keep[row - start] = False
                continue
            options = int(self._spare[0].options[row])
            self._totals.truncated_options += 1 if options & TRUNCATED else 0
            self._totals.damaged += 1 if is_damaged(int(self._spare[0]["flags"][row]), options) else 0
        kept = start + int(np.count_nonzero(keep))
        batch = self._spare[0]
        batch[start:kept] = batch[start:end][keep]
        return kept

    def _decode_one(self, i: int, row: int) -> int:
        """One frame in Python: to compile the kernel once more for what is rare would take longer."""
        frames, data = self._frames, self._window.view
        at, end = int(frames.at[i]), int(frames.at[i] + frames.caplen[i])
        kind, inside = link_types_slow.peel(int(frames.link[i]), bytes(data[at:end]))
        wire_end = at + int(frames.wirelen[i])
        return int(decode_one(data, at + inside, end, wire_end, kind, 0, self._spare[0][row]))

    def _finish_batch(self, n: int) -> Any:
        batch = self._spare[0][:n]
        self._spare.append(self._spare.pop(0))
        self.facts.tcp_segments += n
        self._update_facts()
        return batch

    def _update_facts(self) -> None:
        facts = self.facts
        totals = fr.Totals(*self._totals.item())
        facts.frames = totals.frames
        facts.captured_bytes = totals.captured_bytes
        facts.wire_bytes = totals.wire_bytes
        facts.backward_steps = totals.backward_steps
        facts.truncated_options = totals.truncated_options
        facts.unfit_times = totals.unfit_times
        facts.damaged_segments = totals.damaged
        if facts.frames:
            facts.first_time, facts.last_time = totals.first_time, totals.last_time

    @property
    def unknown_links(self) -> str:
        """The link types of the file that have no decoder, as text."""
        unknown = [link for link in self._format.links if not link_types_slow.is_known(link)]
        more = f" and {len(unknown) - pcapng.LINKS_NAMED} more" if len(unknown) > pcapng.LINKS_NAMED else ""
        return ", ".join(map(link_number, unknown[: pcapng.LINKS_NAMED])) + more

    def _finish(self) -> None:
        """Complete the facts, and say what is damaged."""
        self._update_facts()
        facts, window = self.facts, self._window
        facts.skipped = skip_reasons.count_by_name(self._skipped, self.unknown_links)
        damage = self._format.damage(window)
        if self._stream.damage is not None:
            what = self._stream.damage.partition("; ")[0]
        elif damage is not None:
            what = f"byte {self.end}: {damage}"
        else:
            return
        if not facts.frames:
            raise CaptureError(f"{facts.name}: {what}; there is no whole frame before it: fetch it or capture again")
        self.stopped, facts.damage = what, with_kept(what, facts.frames)


def with_kept(what: str, frames: int) -> str:
    """What is damaged, and that the frames before it were kept."""
    kept = "1 frame before it was" if frames == 1 else f"{frames} frames before it were"
    return f"{what}; the {kept} kept"
