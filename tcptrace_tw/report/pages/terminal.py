"""The report on a terminal: what the capture is, how connections ended, the TIME-WAIT sockets, the findings."""

from collections.abc import Callable, Sequence

from rich.console import Console
from rich.text import Text

from tcptrace_tw.report.pages import curve
from tcptrace_tw.report.pages.page import Page, folded
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
from tcptrace_tw.report.summary.digest import ConnectionsDigest, Digest, RuleDigest, TimeWaitDigest
from tcptrace_tw.report.summary.headline import conclusion, headline, severities
from tcptrace_tw.report.summary.occupancy import Curve
from tcptrace_tw.report.words.findings import Finding, connection_of
from tcptrace_tw.report.words.phrases import clock, command, counted, moment, span, tally
from tcptrace_tw.report.words.styles import CURVE, DAMAGE, LABEL, SEVERITY_STYLES
from tcptrace_tw.schema import words as w

_MOST_POOLS = 6
_MOST_RULES = 6
_CURVE_STEPS, _CURVE_HEIGHT = 96, 3
_DAY_NS = 86_400_000_000_000


def draw(digest: Digest, console: Console, captures: Sequence[str]) -> None:
    """Print the report; ``captures`` are the paths as they were given, for the commands to paste."""
    report = _Report(console, captures, options(digest.settings))
    report.headline(digest)
    report.capture(digest)
    report.connections(digest.connections)
    report.time_wait(digest.time_wait)
    report.findings(digest)


class _Report(Page):
    """The parts of the report, and what to call the capture and the settings in a command."""

    def __init__(self, console: Console, captures: Sequence[str], options: Sequence[str] = ()) -> None:
        super().__init__(console)
        self.captures = captures
        self.options = options

    def headline(self, digest: Digest) -> None:
        """The conclusion, the whole report in one line, and the rules that matter in a line each."""
        said = conclusion(digest)
        if said:
            for piece in folded(said, self.console.width):
                self.console.print(Text(piece, "bold"), soft_wrap=True)
            self.console.print()
        self.console.print(Text(headline(digest, "notice"), "" if said else "bold"))
        rules = [rule for rule in digest.findings if rule.severity != "info"]
        if not rules:
            return
        self.console.print()
        rows = [(rule.severity, rule.rule, f"{rule.count:,}x", rule.summary) for rule in rules[:_MOST_RULES]]
        self.columns(rows, right={2}, styles={0: [SEVERITY_STYLES[row[0]] for row in rows]})
        if len(rules) > _MOST_RULES:
            self.console.print(Text(f"  and {counted(len(rules) - _MOST_RULES, 'more rule')} below", LABEL))

    def capture(self, digest: Digest) -> None:
        label, facts = capture_facts(digest)
        self.heading("Capture", label)
        for name, said in facts:
            self.line(name, said, DAMAGE if name == "damaged" else "")

    def connections(self, digest: ConnectionsDigest) -> None:
        self.heading("Connections", f"{digest.total:,}")
        for name, said in connection_facts(digest):
            self.line(name, said)

    def time_wait(self, digest: TimeWaitDigest) -> None:
        if not digest.spans:
            self.heading("TIME-WAIT", "none")
            return
        peak, when = digest.curve.peak, digest.curve.peak_time
        at = f" at {_time_of(digest.curve)(when)}" if when is not None else ""
        self.heading("TIME-WAIT", f"{counted(digest.spans, 'period')}, peak {peak:,}{at}")
        self._curve(digest)
        self.line("ended", tally(digest.end_reason, w.END_REASON.words))
        if digest.restarts:
            self.line("restarted", counted(digest.restarts, "time"))
        for label, said in outlived_facts(digest):
            self.line(label, said)
        self._pools(digest)

    def _curve(self, digest: TimeWaitDigest) -> None:
        data = digest.curve
        if data.start is None or len(data.open) < 2:
            return
        margin = max(len(f"{data.peak:,}"), 1)
        width = min(_CURVE_STEPS, self.console.width - margin - 5)
        levels = curve.stretch(data.open, width)
        height = min(_CURVE_HEIGHT, max(1, data.peak))
        lines = curve.draw(levels, width, height, self.console.options.ascii_only)
        edge = "|" if self.console.options.ascii_only else "┤"
        for number, line in enumerate(lines):
            scale = f"{data.peak:,}" if number == 0 else "0" if number == len(lines) - 1 else ""
            label = Text.assemble("  ", (f"{scale:>{margin}} {edge}", LABEL), (line.rstrip(), CURVE))
            self.console.print(label, no_wrap=True, overflow="crop")
        length = data.step_ns * len(data.open)
        first, last = _time_of(data)(data.start), f"+{span(length)}"
        gap = " " * max(1, width - len(first) - len(last))
        self.console.print(Text(f"  {'':{margin}}  {first}{gap}{last}", LABEL), no_wrap=True, overflow="crop")

    def _pools(self, digest: TimeWaitDigest) -> None:
        rows = [("TIME-WAIT on", "peak", "periods")]
        for pool in digest.pools[:_MOST_POOLS]:
            side = f"server {pool.service}" if pool.role == "server" else f"client {pool.ip} to {pool.service}"
            rows.append((side, f"{pool.peak:,}", f"{pool.spans:,}"))
        self.columns(rows, right={1, 2}, head=True)
        left_out = digest.pool_count - min(_MOST_POOLS, len(digest.pools))
        if left_out > 0:
            self.console.print(Text(f"  and {left_out:,} more; --json has the first 20", LABEL))
        for label, said in port_uses(digest.ports):
            self.line(label, said)

    def findings(self, digest: Digest) -> None:
        self.heading("Findings", severities(digest) or "none")
        for caveat in digest.caveats:
            self.line("caveat", caveat)
        several = digest.several_files
        files = [file.name for file in digest.capture.files]
        for rule in digest.findings:
            if rule.severity == "info":
                continue
            self._finding(rule, files if several else [])
        self._mechanisms([rule for rule in digest.findings if rule.severity == "info"])
        if digest.findings:
            self.console.print()
            self.paste("explain", command("rules", [digest.findings[0].rule]))

    def _finding(self, rule: RuleDigest, files: list[str]) -> None:
        self.console.print()
        head = Text.assemble(
            "  ", (rule.severity, SEVERITY_STYLES[rule.severity]), "  ", (f"{rule.rule} {rule.name}", "bold")
        )
        graded = grades_text(rule)
        is_long = len(head) + len(graded) + 2 > self.console.width
        self.console.print(head if is_long else head.append(f"  {graded}"))
        if is_long:
            self.line("graded", graded)
        if not rule.examples:
            return
        example = rule.examples[0]
        self.line("example" if rule.count > 1 else "finding", example.message)
        if example.frames:
            self.line("frames", frames_text(example, files))
        if rule.count > 1 and rule.cost_ns is not None:
            self.line("delay", delay_text(rule))
        if example.rival:
            self.line("could also be", example.rival)
        for caveat in example.caveats:
            self.line("caveat", caveat)
        self.line("remedy", rule.remedy)
        self._pastes(rule, example)

    def _pastes(self, rule: RuleDigest, example: Finding) -> None:
        """How to see more: one connection, all findings of the rule, and the frames in Wireshark."""
        if example.connection_id is not None or connection_of(example.finding_id):
            self.paste("look", command("show", self.captures, "--finding", str(example.finding_id), *self.options))
        if rule.count > 1:
            self.paste(
                "list all", command("check", self.captures, "--select", rule.rule, "--show", "info", *self.options)
            )
        self.paste("Wireshark", example.display_filter)

    def _mechanisms(self, rules: list[RuleDigest]) -> None:
        """Ordinary mechanisms, only counted: one line each."""
        if not rules:
            return
        self.console.print()
        self.console.print(Text.assemble("  ", ("info", SEVERITY_STYLES["info"]), "  ordinary mechanisms, counted"))
        rows = [(f"{rule.rule} {rule.name}", f"{rule.count:,}", rule.summary) for rule in rules]
        self.columns(rows, right={1})


def _time_of(data: Curve) -> Callable[[int], str]:
    """The time of day is enough for a curve that is shorter than a day."""
    return clock if data.step_ns * len(data.open) < _DAY_NS else moment
