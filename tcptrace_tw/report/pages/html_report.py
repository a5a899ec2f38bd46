"""The report as HTML: the same parts and the same words as on the terminal, with ladders to unfold."""

from collections.abc import Mapping, Sequence

from tcptrace_tw.report.pages.connection_report import Story
from tcptrace_tw.report.pages.html_ladder import story_html
from tcptrace_tw.report.pages.html_style import facts, page, text
from tcptrace_tw.report.pages.ladder import Ladder
from tcptrace_tw.report.pages.sentences import (
    capture_facts,
    connection_facts,
    delay_text,
    frames_text,
    grades_text,
    options,
    outlived_facts,
    port_uses,
)
from tcptrace_tw.report.pages.svg import curve_svg
from tcptrace_tw.report.summary.digest import Digest, IncidentDigest, RuleDigest, TimeWaitDigest
from tcptrace_tw.report.summary.headline import conclusion, headline, least_of, sentence, severities
from tcptrace_tw.report.words.findings import Finding, connection_of
from tcptrace_tw.report.words.phrases import command, counted
from tcptrace_tw.report.words.text import duration_text, time_text
from tcptrace_tw.schema import words as w

Stories = Mapping[int, tuple[Story, Ladder]]
"""What is known of the connections that findings are about, by their numbers."""

_MOST_POOLS = 20


def wanted(digest: Digest, most: int) -> list[int]:
    """The connections whose ladders the page has: those of the examples, the worst first."""
    shown = [example for rule in digest.findings for example in _shown(rule)]
    numbers = dict.fromkeys(connection_of(example.finding_id) for example in shown)
    return sorted([number for number in numbers if number][:most])


def document(digest: Digest, captures: Sequence[str], stories: Stories) -> str:
    """The whole page; ``captures`` are the paths as they were given, for the commands to paste."""
    names = ", ".join(file.name for file in digest.capture.files) or "capture"
    body = digest_html(digest, captures, stories)
    made = f"{digest.tool} {digest.tool_version}"
    return page(f"{names}: TIME-WAIT report", f'{body}<p class="dim">Made by {text(made)}.</p>')


def digest_html(digest: Digest, captures: Sequence[str] = (), stories: Stories | None = None) -> str:
    """The parts of the report, the conclusion first."""
    captures = captures or [file.name for file in digest.capture.files]
    label, rest = capture_facts(digest)
    return (
        f"<h1>{text(conclusion(digest) or headline(digest, least_of(digest)))}</h1>"
        f"<p>{text(headline(digest, least_of(digest)))}</p>"
        f"{_incidents(digest.incidents)}"
        f"<h2>Capture {text(label)}</h2>{facts(rest)}"
        f"<h2>Connections {digest.connections.total:,}</h2>{facts(connection_facts(digest.connections))}"
        f"{_time_wait(digest.time_wait)}"
        f"<h2>Findings: {text(severities(digest) or 'none')}</h2>"
        f"{_overview(digest.findings)}"
        f"{facts([('caveat', caveat) for caveat in digest.caveats])}"
        + "".join(_rule(rule, digest, captures, stories or {}) for rule in digest.findings)
    )


def _incidents(incidents: Sequence[IncidentDigest]) -> str:
    """What happened, the worst first, with links to the rules."""
    if not incidents:
        return ""
    rows = []
    for each in incidents:
        links = ", ".join(f'<a href="#{text(rule.rule)}">{text(rule.rule)}</a> {rule.count:,}x' for rule in each.rules)
        cost = "" if each.cost_ns is None else duration_text(each.cost_ns)
        rows.append(
            f'<tr><td class="n" data-key="{each.incident_id}">{each.incident_id}</td>'
            f'<td class="{text(each.severity)}" data-key="{w.SEVERITY.code(each.severity)}">{text(each.severity)}</td>'
            f"<td>{text(sentence(each))}</td>"
            f'<td class="n" data-key="{each.cost_ns or 0}">{cost}</td><td>{links}</td></tr>'
        )
    head = (
        '<th scope="col" class="n">incident</th><th scope="col">severity</th><th scope="col">what happened</th>'
        '<th scope="col" class="n">delay</th><th scope="col">rules</th>'
    )
    return f'<table class="sortable"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def _overview(rules: Sequence[RuleDigest]) -> str:
    """All rules in a table to sort."""
    if not rules:
        return ""
    rows = []
    for rule in rules:
        severity, sure = w.SEVERITY.code(rule.severity), w.CONFIDENCE.code(rule.confidence)
        cost = "" if rule.cost_ns is None else duration_text(rule.cost_ns)
        rows.append(
            f'<tr><td class="{text(rule.severity)}" data-key="{severity}">{text(rule.severity)}</td>'
            f'<td><a href="#{text(rule.rule)}">{text(rule.rule)}</a></td><td>{text(rule.name)}</td>'
            f'<td class="n" data-key="{rule.count}">{rule.count:,}</td>'
            f'<td data-key="{sure}">{text(rule.confidence)}</td>'
            f'<td class="n" data-key="{rule.cost_ns or 0}">{cost}</td><td>{text(rule.summary)}</td></tr>'
        )
    head = "".join(
        f'<th scope="col"{kind}>{name}</th>'
        for name, kind in (
            ("severity", ""), ("rule", ""), ("name", ""), ("count", ' class="n"'), ("confidence", ""),
            ("delay", ' class="n"'), ("meaning", ""),
        )
    )  # fmt: skip
    return f'<table class="sortable"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def _time_wait(digest: TimeWaitDigest) -> str:
    if not digest.spans:
        return "<h2>TIME-WAIT: none</h2>"
    ended = [("ended", ", ".join(f"{word} {count:,}" for word, count in digest.end_reason.items()))]
    if digest.restarts:
        ended.append(("restarted", counted(digest.restarts, "time")))
    ended += outlived_facts(digest)
    ended += port_uses(digest.ports)
    title = f"{counted(digest.spans, 'period')}, peak {digest.curve.peak:,}"
    return f"<h2>TIME-WAIT: {title}</h2>{curve_svg(digest.curve)}{facts(ended)}{_pools(digest)}"


def _pools(digest: TimeWaitDigest) -> str:
    rows = "".join(
        f"<tr><td>{text(pool.role)}</td><td>{text(pool.ip)}</td><td>{text(pool.service)}</td>"
        f'<td class="n" data-key="{pool.peak}">{pool.peak:,}</td>'
        f'<td class="n" data-key="{pool.spans}">{pool.spans:,}</td></tr>'
        for pool in digest.pools[:_MOST_POOLS]
    )
    head = (
        '<th scope="col">side</th><th scope="col">TIME-WAIT on</th><th scope="col">service</th>'
        '<th scope="col" class="n">peak</th><th scope="col" class="n">periods</th>'
    )
    left_out = digest.pool_count - min(_MOST_POOLS, len(digest.pools))
    more = f'<p class="dim">and {left_out:,} more</p>' if left_out > 0 else ""
    return f'<table class="sortable"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{more}'


def _rule(rule: RuleDigest, digest: Digest, captures: Sequence[str], stories: Stories) -> str:
    said = [("meaning", rule.summary)]
    if rule.count > 1 and rule.cost_ns is not None:
        said.append(("delay", delay_text(rule)))
    if rule.first_time is not None and rule.last_time is not None and rule.count > 1:
        said.append(("between", f"{time_text(rule.first_time)} and {time_text(rule.last_time)}"))
    said.append(("remedy", rule.remedy))
    pastes, chosen = [("explain", command("rules", [rule.rule]))], options(digest.settings)
    if rule.count > 1:
        pastes.append(("list all", command("check", captures, "--select", rule.rule, "--show", "info", *chosen)))
    shown = _shown(rule)
    examples = "".join(_example(example, digest, captures, stories) for example in shown)
    left_out = rule.count - len(shown)
    more = f'<p class="dim">and {left_out:,} more</p>' if left_out > 0 and shown else ""
    return (
        f'<details id="{text(rule.rule)}"><summary><span class="{text(rule.severity)}">{text(rule.severity)}</span> '
        f"<h3>{text(rule.rule)} {text(rule.name)}</h3> {text(grades_text(rule))}</summary>"
        f'<div class="body">{facts(said)}{_pastes(pastes)}{examples}{more}</div></details>'
    )


def _shown(rule: RuleDigest) -> Sequence[Finding]:
    """Of an ordinary mechanism one example is enough."""
    return rule.examples if rule.severity != "info" else rule.examples[:1]


def _example(example: Finding, digest: Digest, captures: Sequence[str], stories: Stories) -> str:
    files = [file.name for file in digest.capture.files] if digest.several_files else []
    said = [("graded", f"{example.severity}, {example.confidence}")]
    if example.frames:
        said.append(("frames", frames_text(example, files)))
    if example.rival:
        said.append(("could also be", example.rival))
    said += [("caveat", caveat) for caveat in example.caveats]
    pastes = [("Wireshark", example.display_filter)]
    number = connection_of(example.finding_id)
    if number:
        pastes.insert(
            0, ("look", command("show", captures, "--finding", str(example.finding_id), *options(digest.settings)))
        )
    ladder = ""
    if number in stories:
        unfolded = story_html(*stories[number])
        ladder = f'<details><summary>ladder diagram</summary><div class="body">{unfolded}</div></details>'
    return f"<p><strong>{text(example.message)}</strong></p>{facts(said)}{_pastes(pastes)}{ladder}"


def _pastes(rows: Sequence[tuple[str, str]]) -> str:
    cells = "".join(
        f'<tr><th scope="row">{text(label)}</th><td><code>{text(line)}</code></td></tr>' for label, line in rows
    )
    return f"<table>{cells}</table>"
