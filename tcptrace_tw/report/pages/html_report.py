"""The report as one HTML page: the conclusion, the worst incident in full, the pictures, and everything else folded."""

from collections.abc import Iterable, Sequence

from tcptrace_tw.report.pages.html_incidents import Drawn, Stories, incidents_html
from tcptrace_tw.report.pages.html_style import fact_rows, facts, page, pastes, sortable, text
from tcptrace_tw.report.pages.sentences import (
    capture_facts,
    connection_facts,
    delay_text,
    grades_text,
    options,
    outlived_facts,
    port_uses,
)
from tcptrace_tw.report.pictures.chart import Chart
from tcptrace_tw.report.pictures.figure import figure
from tcptrace_tw.report.summary.digest import Digest, RuleDigest, TimeWaitDigest
from tcptrace_tw.report.summary.headline import conclusion, headline, least_of, severities
from tcptrace_tw.report.words.findings import Finding, connection_of
from tcptrace_tw.report.words.phrases import command, counted, moment, span
from tcptrace_tw.report.words.text import duration_text, time_text
from tcptrace_tw.schema import words as w

_MOST_POOLS = 20
_FEW_LINES = 40
_FEW_CONNECTIONS = 100_000
"""Of more, ordinary mechanisms have no ladders: each ladder wants another look at the capture."""


def wanted(digest: Digest, most: int) -> list[int]:
    """The connections whose ladders the page has: of incidents, then of other rules, the worst first."""
    shown = [example for incident in digest.incidents for example in incident.examples]
    rules = [
        rule for rule in digest.findings if rule.severity != "info" or digest.connections.total <= _FEW_CONNECTIONS
    ]
    shown += [example for rule in rules for example in _shown(rule)]
    numbers = dict.fromkeys(connection_of(example.finding_id) for example in shown)
    return sorted([number for number in numbers if number][:most])


def document(digest: Digest, captures: Sequence[str], stories: Stories, charts: Iterable[Chart] = ()) -> str:
    """The whole page; ``captures`` are the paths as they were given, for the commands to paste."""
    names = ", ".join(file.name for file in digest.capture.files) or "capture"
    body = digest_html(digest, captures, stories, charts)
    made = f"{digest.tool} {digest.tool_version}"
    first = digest.capture.first_time
    when = f"<span>{text(moment(first))}, {text(span(digest.capture.duration_ns))}</span>" if first is not None else ""
    has_pictures = 'id="pictures"' in body
    top = f"<strong>TIME-WAIT report</strong><span>{text(names)}</span>{when}{_links(digest, has_pictures)}"
    return page(f"{names}: TIME-WAIT report", top, body, f"Made by {text(made)}.")


def digest_html(
    digest: Digest, captures: Sequence[str] = (), stories: Stories | None = None, charts: Iterable[Chart] = ()
) -> str:
    """The parts of the report, the conclusion first."""
    captures = captures or [file.name for file in digest.capture.files]
    drawn = Drawn(digest, captures, stories or {}, {chart.name: chart for chart in charts})
    said = conclusion(digest)
    lead = f'<p class="lead">{text(headline(digest, least_of(digest)))}</p>' if said else ""
    return (
        f"<h1>{text(said or headline(digest, least_of(digest)))}</h1>{lead}"
        + "".join(f'<p class="lead">{text(caveat)}</p>' for caveat in digest.caveats)
        + incidents_html(drawn)
        + _pictures(drawn)
        + _time_wait(digest.time_wait)
        + _capture(digest)
        + _findings(drawn)
    )


def _links(digest: Digest, has_pictures: bool) -> str:
    parts = [("pictures", "Pictures")] if has_pictures else []
    parts += [("time-wait-h", "TIME-WAIT"), ("capture", "Capture"), ("rules", "Rules")]
    if digest.incidents:
        parts.insert(0, ("i1", "Worst incident"))
    if len(digest.incidents) > 1:
        parts.insert(1, ("incidents", "More incidents"))
    links = "".join(f'<li><a href="#{anchor}">{name}</a></li>' for anchor, name in parts)
    return f'<nav aria-label="Parts of the page"><ul>{links}</ul></nav>'


def _pictures(drawn: Drawn) -> str:
    """Those of the whole capture that do not stand in the worst incident."""
    figures = "".join(figure(chart) for chart in drawn.charts.values())
    if not figures:
        return ""
    head = '<h2 id="pictures-h">Pictures of the whole capture</h2>'
    return f'<section id="pictures" aria-labelledby="pictures-h">{head}{figures}</section>'


def _capture(digest: Digest) -> str:
    label, rest = capture_facts(digest)
    return (
        f'<section id="capture" aria-labelledby="capture-h"><h2 id="capture-h">Capture {text(label)}</h2>{facts(rest)}'
        f"<h3>Connections: {digest.connections.total:,}</h3>{facts(connection_facts(digest.connections))}</section>"
    )


def _findings(drawn: Drawn) -> str:
    """All rules in a table to sort, and each of them to unfold."""
    rules = drawn.digest.findings
    rows = []
    for rule in rules:
        severity, sure = w.SEVERITY.code(rule.severity), w.CONFIDENCE.code(rule.confidence)
        cost = "" if rule.delay_ns is None else duration_text(rule.delay_ns)
        delayed = f' data-label="delay"><span>{cost}</span>' if cost else ">"
        rows.append(
            f'<tr><td class="id {text(rule.severity)}" data-key="{severity}">{text(rule.severity)}</td>'
            f'<td class="id"><a href="#{text(rule.rule)}">{text(rule.rule)}</a></td>'
            f'<td class="id">{text(rule.name)}</td>'
            f'<td class="n" data-label="count" data-key="{rule.count}">{rule.count:,}</td>'
            f'<td data-key="{sure}">{text(rule.confidence)}</td>'
            f'<td class="n" data-key="{rule.delay_ns or 0}"{delayed}</td><td>{text(rule.summary)}</td></tr>'
        )
    head = [
        ("severity", ""),
        ("rule", ""),
        ("name", ""),
        ("count", "n"),
        ("confidence", ""),
        ("delay", "n"),
        ("meaning", ""),
    ]
    title = f"Findings by rule: {text(severities(drawn.digest) or 'none')}"
    return (
        f'<section id="rules" aria-labelledby="rules-h"><h2 id="rules-h">{title}</h2>'
        f"{sortable('Findings by rule', head, rows)}{''.join(_rule(rule, drawn) for rule in rules)}</section>"
    )


def _time_wait(digest: TimeWaitDigest) -> str:
    if not digest.spans:
        return '<section aria-labelledby="time-wait-h"><h2 id="time-wait-h">TIME-WAIT: none</h2></section>'
    ended = [("ended", ", ".join(f"{word} {count:,}" for word, count in digest.end_reason.items()))]
    if digest.restarts:
        ended.append(("restarted", counted(digest.restarts, "time")))
    ended += outlived_facts(digest)
    ended += port_uses(digest.ports)
    title = f"TIME-WAIT: {counted(digest.spans, 'period')}, peak {digest.curve.peak:,}"
    head = f'<h2 id="time-wait-h">{title}</h2>'
    return f'<section aria-labelledby="time-wait-h">{head}{facts(ended)}{_pools(digest)}</section>'


def _pools(digest: TimeWaitDigest) -> str:
    rows = [
        f'<tr><td>{text(pool.role)}</td><td>{text(pool.ip)}</td><td data-label="service">{text(pool.service)}</td>'
        f'<td class="n" data-label="peak" data-key="{pool.peak}">{pool.peak:,}</td>'
        f'<td class="n" data-label="periods" data-key="{pool.spans}">{pool.spans:,}</td></tr>'
        for pool in digest.pools[:_MOST_POOLS]
    ]
    head = [("side", ""), ("TIME-WAIT on", ""), ("service", ""), ("peak", "n"), ("periods", "n")]
    left_out = digest.pool_count - min(_MOST_POOLS, len(digest.pools))
    more = f'<p class="dim">and {left_out:,} more</p>' if left_out > 0 else ""
    return sortable("TIME-WAIT by address and service", head, rows) + more


def _rule(rule: RuleDigest, drawn: Drawn) -> str:
    said = [("meaning", rule.summary)]
    if rule.count > 1 and rule.delay_ns is not None:
        said.append(("delay", delay_text(rule)))
    if rule.first_time is not None and rule.last_time is not None and rule.count > 1:
        said.append(("between", f"{time_text(rule.first_time)} and {time_text(rule.last_time)}"))
    said.append(("remedy", rule.remedy))
    lines, chosen = [("explain", command("rules", [rule.rule]))], options(drawn.digest.settings)
    if rule.count > 1:
        lines.append(("list all", command("check", drawn.captures, "--select", rule.rule, "--show", "info", *chosen)))
    shown = _shown(rule)
    examples = "".join(_example(example, drawn) for example in shown)
    left_out = rule.count - len(shown)
    more = f'<p class="dim">and {left_out:,} more</p>' if left_out > 0 and shown else ""
    return (
        f'<details id="{text(rule.rule)}"><summary><span class="{text(rule.severity)}">{text(rule.severity)}</span> '
        f"<h3>{text(rule.rule)} {text(rule.name)}</h3> {text(grades_text(rule))}</summary>"
        f'<div class="body">{facts(said)}{pastes(lines)}{examples}{more}</div></details>'
    )


def _shown(rule: RuleDigest) -> Sequence[Finding]:
    """Of an ordinary mechanism one example is enough."""
    return rule.examples if rule.severity != "info" else rule.examples[:1]


def _example(example: Finding, drawn: Drawn) -> str:
    number = int(connection_of(example.finding_id))
    body = drawn.connection(number, example, 4, _FEW_LINES, with_picture=False)
    ladder = f'<details><summary>ladder diagram</summary><div class="body">{body}</div></details>' if body else ""
    if not body and number in drawn.ladders:
        ladder = f'<p>Its ladder: <a href="#c{number}">connection {number}</a>.</p>'
    said = [("graded", text(f"{example.severity}, {example.confidence}"))]
    if example.frames:
        said.append(("frames", drawn.frames(example)))
    if example.rival:
        said.append(("could also be", text(example.rival)))
    said += [("caveat", text(caveat)) for caveat in example.caveats]
    lines = [("Wireshark", example.display_filter)]
    if number:
        chosen = options(drawn.digest.settings)
        lines.insert(0, ("look", command("show", drawn.captures, "--finding", str(example.finding_id), *chosen)))
    return f"<p><strong>{text(example.message)}</strong></p>{fact_rows(said)}{pastes(lines)}{ladder}"
