"""The ladder of one connection on a terminal."""

import textwrap
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from tcptrace_tw.report.ladder import Head, Note, Others, Rung, Step, Style, Turn, attach, rungs_of, stamp
from tcptrace_tw.report.page import Page
from tcptrace_tw.report.styles import LABEL, SEVERITY_STYLES
from tcptrace_tw.report.text import FRAME_MASK

_STATE_WIDTH = 12
_LEAST_ARROW = 26


def draw(
    console: Console,
    head: Head,
    steps: Sequence[Step],
    turns: Sequence[Turn],
    notes: Sequence[Note],
    style: Style,
    others: Others | None = None,
) -> None:
    """Print the ladder; without ``steps`` it shows the state changes alone."""
    page = Page(console)
    page.heading(f"Connection {head.connection_id}", f"{head.orig} (orig)  {head.resp} (resp)")
    page.line("closed", f"{head.close}, first by {head.active_closer}")
    page.line("history", head.history)
    console.print()
    rungs = rungs_of(head, steps, turns, style, others)
    attach(rungs, notes)
    _print_rungs(console, rungs, style)


def _print_rungs(console: Console, rungs: list[Rung], style: Style) -> None:
    if not rungs:
        return
    first = rungs[0].time
    times = [stamp(r.time, first, b.time, style.time_format) for r, b in zip(rungs, [rungs[0], *rungs], strict=False)]
    frames = [f"{r.frame & FRAME_MASK}" if r.frame is not None else "" for r in rungs]
    time_width, frame_width = max(map(len, times)), max(5, *map(len, frames))
    room = console.width - time_width - frame_width - 2 * _STATE_WIDTH - 10
    has_room = max(len(r.label) + len(r.stamps) for r in rungs) + 6 <= room
    labels = [f"{r.label}  {r.stamps}" if has_room and r.stamps else r.label for r in rungs]
    room = max(_LEAST_ARROW, min(room, max(map(len, labels)) + 10))
    is_ascii = console.options.ascii_only
    header = f"  {'time':>{time_width}}  {'frame':>{frame_width}}  {'orig':>{_STATE_WIDTH}}  {'':{room}}  resp"
    console.print(Text(header, LABEL), soft_wrap=True)
    for rung, label, time, frame in zip(rungs, labels, times, frames, strict=True):
        line = Text(f"  {time:>{time_width}}  {frame:>{frame_width}}  ")
        line.append(f"{rung.orig_state:>{_STATE_WIDTH}}  ", "bold" if rung.orig_state else LABEL)
        line.append(_arrow(rung.direction, label, room, is_ascii), "" if rung.direction else LABEL)
        line.append(f"  {rung.resp_state}".rstrip(), "bold")
        line.rstrip()
        console.print(line, soft_wrap=True)
        for note in rung.notes:
            _print_note(console, note, time_width + frame_width + 6)


def _arrow(direction: int, label: str, room: int, is_ascii: bool) -> str:
    if not direction:
        return f" {label} ".center(room, "." if is_ascii else "·")
    dash, left, right = ("-", "<", ">") if is_ascii else ("─", "◀", "▶")
    label = f" {label} ".center(room - 2, dash)
    return f"{dash}{label}{right}" if direction > 0 else f"{left}{label}{dash}"


def _print_note(console: Console, note: Note, margin: int) -> None:
    mark = "^" if console.options.ascii_only else "▲"
    pieces = textwrap.wrap(note.text, max(30, console.width - margin - 2), break_on_hyphens=False)
    for number, piece in enumerate(pieces):
        lead = f"{' ' * margin}{mark if number == 0 else ' '} "
        console.print(Text.assemble(lead, (piece, SEVERITY_STYLES[note.severity])), soft_wrap=True)
