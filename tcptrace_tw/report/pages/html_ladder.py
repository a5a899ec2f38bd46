"""The ladder of one connection in HTML: a table, so that it can be read aloud, searched and copied.

The states of both endpoints are coloured bars down its sides, pauses are gaps, and the frames that findings name are
marked. Each row has an id, so that links lead to its frame.
"""

from collections.abc import Collection
from dataclasses import replace
from itertools import pairwise

from tcptrace_tw.report.pages.connection_report import Story
from tcptrace_tw.report.pages.html_style import facts, pastes, text
from tcptrace_tw.report.pages.ladder import Ladder, LadderLine, Note, Style
from tcptrace_tw.report.pages.ladder_page import frame_of, times_of
from tcptrace_tw.report.pictures.palette import STATE_COLORS
from tcptrace_tw.report.words.phrases import span
from tcptrace_tw.schema.columns import FRAME_BITS

_SIDES = {1: "right", -1: "left", 0: "none"}
_SPOKEN = {1: "orig to resp", -1: "resp to orig", 0: "no segment"}

_GAPS = ((10_000_000_000, "g4"), (1_000_000_000, "g3"), (100_000_000, "g2"), (10_000_000, "g1"))
"""The shortest pause (ns), and the class of the gap that is drawn for it."""

Hits = Collection[int]
"""Frames that a finding names."""


def ladder_html(ladder: Ladder, style: Style | None = None, hits: Hits = ()) -> str:
    """The table of the ladder."""
    style = style or Style()
    rungs = ladder.rungs(style)
    if not rungs:
        return '<p class="dim">No segment and no state change is known.</p>'
    raw = ladder.rungs(replace(style, is_relative=not style.is_relative))
    head = ladder.head
    rows, states = [], ["", ""]
    pauses = [0, *(after.time - before.time for before, after in pairwise(rungs))]
    for rung, other, time, pause in zip(rungs, raw, times_of(rungs, style), pauses, strict=True):
        rows.append(_pause(pause, states))
        states = [rung.orig_state or states[0], rung.resp_state or states[1]]
        rows.append(_row(rung, other.label, time, states, head.connection_id, rung.frame in hits))
    return (
        f'<table class="ladder" aria-label="Ladder of connection {head.connection_id}"><thead><tr>'
        '<th class="n t" scope="col">time</th><th class="n fr" scope="col">frame</th>'
        f'<th class="o" scope="col">orig {text(head.orig)}</th><th scope="col">segment</th>'
        f'<th class="r" scope="col">resp {text(head.resp)}</th></tr></thead><tbody>{"".join(rows)}</tbody></table>'
    )


def block_html(ladder: Ladder, hits: Hits = (), style: Style | None = None) -> str:
    """The ladder, with a box that switches between relative and raw numbers."""
    box = ""
    if ladder.steps:
        box = '<label class="toggle"><input type="checkbox"> raw sequence numbers</label>'
    return f'<div class="block">{box}{ladder_html(ladder, style, hits)}</div>'


def story_html(story: Story, ladder: Ladder, hits: Hits = ()) -> str:
    """Everything about one connection, as ``tcptrace-tw show`` says it."""
    head = ladder.head
    title = f"<h3>Connection {head.connection_id}</h3> {text(head.orig)} (orig) {text(head.resp)} (resp)"
    return f"<div>{title}</div>{around_html(story, block_html(ladder, hits))}"


def around_html(story: Story, ladder: str) -> str:
    """The facts of a connection, before and behind its ladder."""
    filter_ = pastes([("its 4-tuple", story.display_filter)])
    return f"{facts(story.facts())}{ladder}{facts(story.ends())}{filter_}"


def anchor(connection_id: int, frame: int) -> str:
    """The id of the row of a frame; of several files, their number comes first."""
    file, number = frame >> FRAME_BITS, frame & ((1 << FRAME_BITS) - 1)
    return f"f{connection_id}-{f'{file}.' if file else ''}{number}"


def _row(rung: LadderLine, raw: str, time: str, states: list[str], connection_id: int, is_hit: bool) -> str:
    kinds = " ".join(name for name, holds in (("other", rung.is_other), ("hit", is_hit)) if holds)
    kind = f' class="{kinds}"' if kinds else ""
    mark = "" if rung.frame is None else f' id="{anchor(connection_id, rung.frame)}"'
    stamps = f' <span class="ts"> {text(rung.stamps)}</span>' if rung.stamps else ""
    label = text(rung.label)
    if raw != rung.label:
        label = f'<span class="rel">{label}</span><span class="raw">{text(raw)}</span>'
    named = " (named by the finding)" if is_hit else ""
    return (
        f'<tr{mark}{kind}><td class="n t">{text(time)}</td><td class="n fr">{frame_of(rung)}</td>'
        f"{_side('o', states[0], rung.orig_state)}"
        f'<td class="arrow {_SIDES[rung.direction]}" aria-label="{_SPOKEN[rung.direction]}: {text(rung.label)}{named}">'
        f"<span>{label}{stamps}</span></td>{_side('r', states[1], rung.resp_state)}</tr>"
        + "".join(_note(note) for note in rung.notes)
    )


def _side(side: str, state: str, changed: str) -> str:
    """One endpoint: the colour of its state, also of an earlier connection, and its name where it changes."""
    name = f"<b>{text(changed)}</b>" if changed else ""
    return f'<td class="st {side} c-{STATE_COLORS.get(state.partition(" (")[0], "line")}">{name}</td>'


def _pause(pause: int, states: list[str]) -> str:
    """A gap as high as the pause is long, by powers of ten."""
    kind = next((kind for least, kind in _GAPS if pause >= least), "")
    if not kind:
        return ""
    said = f"pause of {span(pause)}" if pause >= _GAPS[2][0] else ""
    return (
        f'<tr class="pause {kind}"><td class="t"></td><td class="fr"></td>{_side("o", states[0], "")}'
        f'<td class="arrow none">{said}</td>{_side("r", states[1], "")}</tr>'
    )


def _note(note: Note) -> str:
    name, colon, rest = note.text.partition(":")
    return (
        f'<tr class="note"><td colspan="5">▲ <span class="{text(note.severity)}">'
        f"{text(name + colon)}</span>{text(rest)}</td></tr>"
    )
