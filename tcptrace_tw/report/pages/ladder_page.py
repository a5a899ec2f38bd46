"""The ladder of one connection on a terminal."""

from typing import NamedTuple

from rich.console import Console
from rich.text import Text

from tcptrace_tw.report.pages.ladder import Ladder, LadderLine, Note, Style, stamp
from tcptrace_tw.report.pages.page import folded
from tcptrace_tw.report.words.styles import LABEL, SEVERITY_STYLES
from tcptrace_tw.report.words.text import FRAME_MASK

_STATE_WIDTH = 12
_LEAST_ARROW = 26
_DASHES = 4
"""A dash and a blank on each side of a label, at the least."""


class Layout(NamedTuple):
    """How wide the columns are, what stands between them, and what each arrow says."""

    time: int
    frame: int
    state: int
    """Of orig; the states of resp end the line."""
    arrow: int
    gap: str
    labels: list[str]
    is_broken: bool
    """Whether the connection that a state belongs to stands in a line below it."""


def draw(console: Console, ladder: Ladder, style: Style) -> None:
    """Print the ladder; without segments it shows the state changes alone."""
    rungs = ladder.rungs(style)
    if not rungs:
        return
    times, frames = times_of(rungs, style), [frame_of(rung) for rung in rungs]
    layout = _layout(console.width, rungs, times, frames)
    is_ascii, gap = console.options.ascii_only, layout.gap
    header = f"{gap}{'time':>{layout.time}}{gap}{'frame':>{layout.frame}}{gap}{'orig':>{layout.state}}"
    console.print(Text(f"{header}{gap}{'':{layout.arrow}}{gap}resp", LABEL), soft_wrap=True)
    for rung, label, time, frame in zip(rungs, layout.labels, times, frames, strict=True):
        line = Text(f"{gap}{time:>{layout.time}}{gap}{frame:>{layout.frame}}{gap}")
        orig, resp = (_pieces(state, layout.is_broken) for state in (rung.orig_state, rung.resp_state))
        line.append(f"{orig[0]:>{layout.state}}{gap}", "bold" if rung.orig_state else LABEL)
        is_dim = rung.is_other or not rung.direction
        line.append(_arrow(rung.direction, label, layout.arrow, is_ascii), LABEL if is_dim else "")
        line.append(f"{gap}{resp[0]}".rstrip(), "bold")
        line.rstrip()
        console.print(line, soft_wrap=True)
        if orig[1] or resp[1]:
            below = f"{'':{layout.time + layout.frame + 3 * len(gap)}}{orig[1]:>{layout.state}}"
            console.print(Text(f"{below}{gap}{'':{layout.arrow}}{gap}{resp[1]}".rstrip(), LABEL), soft_wrap=True)
        for note in rung.notes:
            _print_note(console, note, layout.time + layout.frame + 3 * len(gap))


def times_of(rungs: list[LadderLine], style: Style) -> list[str]:
    """The time of each line, as the style wants it."""
    first = rungs[0].time
    before = [rungs[0], *rungs]
    return [stamp(r.time, first, b.time, style.time_format) for r, b in zip(rungs, before, strict=False)]


def frame_of(rung: LadderLine) -> str:
    """The number of the frame in its file."""
    return "" if rung.frame is None else f"{rung.frame & FRAME_MASK}"


def _layout(width: int, rungs: list[LadderLine], times: list[str], frames: list[str]) -> Layout:
    """With timestamps where there is room; where there is little, closer together and with short labels."""
    time, frame = max(map(len, times)), max(5, *map(len, frames))
    for is_broken in (False, True):
        state, other = (_width([getattr(r, name) for r in rungs], is_broken) for name in ("orig_state", "resp_state"))
        room = width - time - frame - state - other - 10
        labels = [f"{r.label}  {r.stamps}" if r.stamps else r.label for r in rungs]
        if max(map(len, labels)) + 6 > room:
            labels = [rung.label for rung in rungs]
        if max(map(len, labels)) + _DASHES <= room:
            arrow = max(_LEAST_ARROW, min(room, max(map(len, labels)) + 10))
            return Layout(time, frame, state, arrow, "  ", labels, is_broken)
    labels = [rung.short or rung.label for rung in rungs]
    room = width - time - frame - state - other - 5
    longest = max(map(len, labels)) + _DASHES
    return Layout(time, frame, state, max(longest, min(room, longest + 6)), " ", labels, True)


def _pieces(state: str, is_broken: bool) -> tuple[str, str]:
    """A state, and below it the connection that it belongs to."""
    name, space, connection = state.partition(" ")
    return (name, connection) if is_broken and space else (state, "")


def _width(states: list[str], is_broken: bool) -> int:
    return max(_STATE_WIDTH, *(len(piece) for state in states for piece in _pieces(state, is_broken)))


def _arrow(direction: int, label: str, room: int, is_ascii: bool) -> str:
    if not direction:
        return f" {label} ".center(room, "." if is_ascii else "·")
    dash, left, right = ("-", "<", ">") if is_ascii else ("─", "◀", "▶")
    label = f" {label} ".center(room - 2, dash)
    return f"{dash}{label}{right}" if direction > 0 else f"{left}{label}{dash}"


def _print_note(console: Console, note: Note, margin: int) -> None:
    """The rule in the colour of its severity, the sentence in plain type."""
    mark = "^" if console.options.ascii_only else "▲"
    for number, piece in enumerate(folded(note.text, max(30, console.width - margin - 2))):
        line = Text(f"{' ' * margin}{mark if number == 0 else ' '} ", SEVERITY_STYLES[note.severity])
        name, colon, rest = piece.partition(":") if number == 0 else ("", "", piece)
        line.append(f"{name}{colon}").append(rest, LABEL if note.severity == "info" else "not bold default")
        console.print(line, soft_wrap=True)
