"""The ladder of one connection in HTML: a table, so that it can be read aloud, searched and copied."""

from tcptrace_tw.report.pages.connection_report import Story
from tcptrace_tw.report.pages.html_style import facts, text
from tcptrace_tw.report.pages.ladder import Ladder, LadderLine, Note, Style
from tcptrace_tw.report.pages.ladder_page import frame_of, times_of

_SIDES = {1: "right", -1: "left", 0: "none"}
_SPOKEN = {1: "orig to resp", -1: "resp to orig", 0: "no segment"}


def ladder_html(ladder: Ladder, style: Style | None = None) -> str:
    """The table of the ladder."""
    style = style or Style()
    rungs = ladder.rungs(style)
    if not rungs:
        return '<p class="dim">No segment and no state change is known.</p>'
    head = ladder.head
    rows = "".join(_row(rung, time) for rung, time in zip(rungs, times_of(rungs, style), strict=True))
    return (
        f'<table class="ladder" aria-label="Ladder of connection {head.connection_id}"><thead><tr>'
        '<th class="n" scope="col">time</th><th class="n" scope="col">frame</th>'
        f'<th class="orig" scope="col">orig {text(head.orig)}</th><th></th>'
        f'<th scope="col">resp {text(head.resp)}</th></tr></thead><tbody>{rows}</tbody></table>'
    )


def story_html(story: Story, ladder: Ladder) -> str:
    """Everything about one connection, as ``tcptrace-tw show`` says it."""
    head = ladder.head
    title = f"<h3>Connection {head.connection_id}</h3> {text(head.orig)} (orig) {text(head.resp)} (resp)"
    filter_ = f'<p><span class="dim">Wireshark</span> <code>{text(story.display_filter)}</code></p>'
    return f"<div>{title}</div>{facts(story.facts())}{ladder_html(ladder)}{facts(story.ends())}{filter_}"


def _row(rung: LadderLine, time: str) -> str:
    label = f"{rung.label}  {rung.stamps}" if rung.stamps else rung.label
    kind = ' class="other"' if rung.is_other else ""
    return (
        f'<tr{kind}><td class="n">{text(time)}</td><td class="n">{frame_of(rung)}</td>'
        f'<td class="orig state">{text(rung.orig_state)}</td>'
        f'<td class="arrow {_SIDES[rung.direction]}" aria-label="{_SPOKEN[rung.direction]}: {text(label)}">'
        f"<span>{text(label)}</span></td>"
        f'<td class="state">{text(rung.resp_state)}</td></tr>' + "".join(_note(note) for note in rung.notes)
    )


def _note(note: Note) -> str:
    name, colon, rest = note.text.partition(":")
    return (
        f'<tr class="note"><td></td><td></td><td colspan="3">▲ <span class="{text(note.severity)}">'
        f"{text(name + colon)}</span>{text(rest)}</td></tr>"
    )
