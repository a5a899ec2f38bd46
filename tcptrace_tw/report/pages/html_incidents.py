"""The incidents of the page: what happened, what to do, the states, the ladder, and where to look further."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tcptrace_tw.report.pages.connection_pictures import sequence_of, states_chart
from tcptrace_tw.report.pages.connection_report import Story
from tcptrace_tw.report.pages.html_ladder import anchor, around_html, block_html
from tcptrace_tw.report.pages.html_style import fact_rows, pastes, text
from tcptrace_tw.report.pages.ladder import Ladder, Style
from tcptrace_tw.report.pages.sentences import delay_text, options
from tcptrace_tw.report.pictures.chart import Chart
from tcptrace_tw.report.pictures.figure import figure
from tcptrace_tw.report.summary.digest import Digest, IncidentDigest
from tcptrace_tw.report.summary.headline import sentence
from tcptrace_tw.report.words.findings import Finding, connection_of
from tcptrace_tw.report.words.phrases import command
from tcptrace_tw.report.words.text import FRAME_MASK
from tcptrace_tw.schema.columns import FRAME_BITS

Stories = Mapping[int, tuple[Story, Ladder]]
"""What is known of the connections that findings are about, by their numbers."""

BUDGET = 1_200_000
"""Letters of all ladders together: a page stays below 2 MB."""

MOST_LINES = 200
FEWER_LINES = 60
"""Lines of a ladder, of the worst incident's and of the others."""

MOST_INCIDENTS = 100

PICTURES = {"PE": "ports", "TW": "ports", "SI": "silence", "HS": "latency", "PA": "clocks"}
"""By family of the rule, the picture of the whole capture that tells the story of the worst incident."""

COMMON = 10
"""From this number of findings on, a picture of the whole capture says more than one connection does."""

WITHOUT_STATES = ("PE", "TW", "CP")
"""Families whose stories are about many connections: the states of one of them say little."""


@dataclass
class Drawn:
    """What of the page is drawn already: each ladder stands once, and other places lead to it."""

    digest: Digest
    captures: Sequence[str]
    stories: Stories
    charts: dict[str, Chart] = field(default_factory=dict)
    """The pictures of the whole capture by name; one that tells the story of the worst incident stands there."""
    left: int = field(default_factory=lambda: BUDGET)
    ladders: set[int] = field(default_factory=set)
    """Numbers of the connections whose ladder stands in the page."""

    @property
    def files(self) -> list[str]:
        """Their names, where a frame needs the name of its file."""
        return [file.name for file in self.digest.capture.files] if self.digest.several_files else []

    def connection(self, number: int, finding: Finding, level: int, lines: int, *, with_picture: bool = True) -> str:
        """The states and the ladder of one connection, if they are known and there is room for them."""
        if number not in self.stories or number in self.ladders or self.left <= 0:
            return ""
        story, ladder = self.stories[number]
        style = Style(most=lines)
        rungs = ladder.rungs(style)
        hits = {rung.frame for rung in rungs if rung.frame is not None and self._names(finding, rung.frame)}
        links = {rung.frame: f"#{anchor(number, rung.frame)}" for rung in rungs if rung.frame is not None}
        others = [self.stories[other][0] for other in story.met if other in self.stories]
        chart = states_chart(story, ladder, others, links, hits) if with_picture else None
        picture = figure(chart, f"c{number}-", level) if chart is not None else ""
        ends = f"{text(ladder.head.orig)} to {text(ladder.head.resp)}"
        head = f'<h{level} id="c{number}">Connection {number}: {ends}</h{level}>'
        told = f"{picture}{head}{around_html(story, block_html(ladder, hits, style))}"
        if with_picture and story.payload:
            told += _sequence(ladder, number, level)
        self.left -= len(told)
        self.ladders.add(number)
        return told

    def _names(self, finding: Finding, frame: int) -> bool:
        return frame & FRAME_MASK in finding.frames and (not self.files or frame >> FRAME_BITS == finding.file)

    def frames(self, finding: Finding) -> str:
        """The evidence: each frame leads to its row of the ladder."""
        number = connection_of(finding.finding_id)
        known: set[int] = set()
        if number in self.ladders:
            rungs = self.stories[number][1].rungs(Style(most=MOST_LINES))
            known = {rung.frame for rung in rungs if rung.frame is not None}
        file = (finding.file or 0) if self.files else 0
        shown = []
        for frame in finding.frames:
            whole = file << FRAME_BITS | frame
            shown.append(f'<a href="#{anchor(number, whole)}">{frame}</a>' if whole in known else str(frame))
        of_file = f" of {text(self.files[file])}" if self.files and finding.frames else ""
        about = f" (connection {finding.connection_id})" if finding.connection_id is not None else ""
        return (", ".join(shown) or "none") + of_file + about


def incidents_html(drawn: Drawn) -> str:
    """The worst one open, the others folded."""
    incidents = drawn.digest.incidents[:MOST_INCIDENTS]
    if not incidents:
        return ""
    worst, others = incidents[0], incidents[1:]
    parties = _parties(worst)
    told = (
        f'<article class="incident worst {text(worst.severity)}" id="i{worst.incident_id}" aria-labelledby="i1-h">'
        f'<div class="kind">{_badge(worst)}<h2 id="i1-h">{text(worst.rule)} {text(worst.name)}</h2>'
        f'<span class="dim">{text(worst.confidence)}{f", {parties}" if parties else ""}</span></div>'
        f"{_body(worst, drawn, 3, is_worst=True)}</article>"
    )
    if not others:
        return told
    rest = "".join(_folded(each, drawn) for each in others)
    head = '<h2 id="more-h">More incidents</h2>'
    return f'{told}<section class="more" id="incidents" aria-labelledby="more-h">{head}{rest}</section>'


def _sequence(ladder: Ladder, number: int, level: int) -> str:
    """Time and sequence numbers of a connection that carried something: folded."""
    chart = sequence_of(ladder)
    if chart is None:
        return ""
    drawn = figure(chart, f"c{number}-", level)
    return f'<details><summary>time and sequence numbers</summary><div class="body">{drawn}</div></details>'


def _folded(incident: IncidentDigest, drawn: Drawn) -> str:
    return (
        f'<details class="incident" id="i{incident.incident_id}"><summary>{_badge(incident)} '
        f"<h3>{text(sentence(incident))}</h3></summary>"
        f'<div class="body"><p class="dim">{text(incident.rule)} {text(incident.name)}, {text(incident.confidence)}; '
        f"{_parties(incident)}</p>{_body(incident, drawn, 4)}</div></details>"
    )


def _badge(incident: IncidentDigest) -> str:
    return f'<span class="badge {text(incident.severity)}">{text(incident.severity)}</span>'


def _parties(incident: IncidentDigest) -> str:
    return text(" to ".join(filter(None, (incident.client, incident.service))))


def _body(incident: IncidentDigest, drawn: Drawn, level: int, *, is_worst: bool = False) -> str:
    example = incident.examples[0]
    number = connection_of(example.finding_id)
    lines = MOST_LINES if is_worst else FEWER_LINES
    has_states = not incident.rule.startswith(WITHOUT_STATES)
    connection = drawn.connection(int(number), example, level, lines, with_picture=has_states)
    is_common = incident.count >= COMMON or not has_states
    name = PICTURES.get(incident.rule[:2], "") if is_worst and is_common else ""
    chart = drawn.charts.pop(name, None)
    picture = figure(chart, level=level) if chart is not None else ""
    if not connection and int(number) in drawn.ladders:
        connection = f'<p>Its ladder is shown <a href="#c{number}">above</a>.</p>'
    said = []
    if incident.count > 1:
        said.append(("worst", text(example.message)))
    if example.frames:
        said.append(("frames", drawn.frames(example)))
    if incident.count > 1 and incident.delay_ns is not None:
        said.append(("delay", text(delay_text(incident))))
    if example.rival:
        said.append(("could also be", text(example.rival)))
    said += [("caveat", text(caveat)) for caveat in example.caveats]
    links = ", ".join(f'<a href="#{text(rule.rule)}">{text(rule.rule)}</a> {rule.count:,}x' for rule in incident.rules)
    said.append(("rules", links))
    remedy = f'<div class="remedy"><h{level}>What to do</h{level}><p>{text(incident.remedy)}</p></div>'
    told = f"{remedy}{picture}{fact_rows(said)}{connection}"
    return f"{told}{_more(incident, drawn, level + 1)}{pastes(_pastes(incident, drawn))}"


def _more(incident: IncidentDigest, drawn: Drawn, level: int) -> str:
    """The other connections that it names: folded."""
    told = []
    for example in incident.examples[1:]:
        number = int(connection_of(example.finding_id))
        body = drawn.connection(number, example, level, FEWER_LINES, with_picture=False)
        if body:
            told.append(f"<details><summary>{text(example.message)}</summary>"
                        f'<div class="body">{body}</div></details>')  # fmt: skip
    return "".join(told)


def _pastes(incident: IncidentDigest, drawn: Drawn) -> list[tuple[str, str]]:
    example, chosen = incident.examples[0], options(drawn.digest.settings)
    rows = []
    if connection_of(example.finding_id):
        rows.append(("look", command("show", drawn.captures, "--finding", str(example.finding_id), *chosen)))
    if incident.count > 1:
        rows.append(
            ("list all", command("check", drawn.captures, "--select", incident.rule, "--show", "info", *chosen))
        )
    return [*rows, ("Wireshark", example.display_filter)]
