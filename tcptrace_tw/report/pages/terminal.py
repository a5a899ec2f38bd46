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
    options,
    outlived_facts,
    port_uses,
)
from tcptrace_tw.report.summary.digest import ConnectionsDigest, Digest, IncidentDigest, TimeWaitDigest
from tcptrace_tw.report.summary.headline import conclusion, headline, least_of, sentence
from tcptrace_tw.report.summary.occupancy import Curve, Pool
from tcptrace_tw.report.summary.port_usage import PortUse
from tcptrace_tw.report.words.findings import Finding, connection_of
from tcptrace_tw.report.words.phrases import clock, command, counted, moment, span, tally
from tcptrace_tw.report.words.styles import CURVE, DAMAGE, LABEL, SEVERITY_STYLES
from tcptrace_tw.schema import words as w

_MOST_POOLS = 6
_MOST_INCIDENTS, _MOST_OTHERS = 4, 12
_CURVE_STEPS, _CURVE_HEIGHT, _POOL_HEIGHT = 96, 3, 2
_SCALE = 7
"""Room for the numbers left of a curve."""
_WORTH = 10
"""A client or server has a curve if it holds this part of all or more."""
_SEEN = 16
"""A curve whose peak is this part of the range or less would only be flat under it: there the peak is the top."""
_DAY_NS = 86_400_000_000_000


def draw(digest: Digest, console: Console, captures: Sequence[str]) -> None:
    """Print the report; ``captures`` are the paths as they were given, for the commands to paste."""
    report = _Report(console, captures, options(digest.settings))
    report.is_part = any(digest.settings.get(name) for name in ("select", "ignore", "filter", "since", "until"))
    report.has_several_files = digest.several_files
    report.headline(digest)
    report.incidents(digest)
    report.capture(digest)
    report.connections(digest.connections)
    report.time_wait(digest.time_wait)
    report.mechanisms(digest)


class _Report(Page):
    """The parts of the report, and what to call the capture and the settings in a command."""

    def __init__(self, console: Console, captures: Sequence[str], options: Sequence[str] = ()) -> None:
        super().__init__(console)
        self.captures = captures
        self.options = options
        self.is_part = False
        """Whether rules or connections were left out, so that ``show`` would number the incidents otherwise."""
        self.has_several_files = False
        """Whether they were read as one capture, which ``check`` has to be told."""

    def headline(self, digest: Digest) -> None:
        """The conclusion, and the whole report in one line."""
        said = conclusion(digest)
        if said:
            for piece in folded(said, self.console.width):
                self.console.print(Text(piece, "bold"), soft_wrap=True)
            self.console.print()
        self.console.print(Text(headline(digest, least_of(digest)), "" if said else "bold"))
        for caveat in digest.caveats:
            self.line("caveat", caveat)

    def incidents(self, digest: Digest) -> None:
        """The worst ones in full, the others in a sentence each."""
        files = [file.name for file in digest.capture.files] if digest.several_files else []
        for incident in digest.incidents[:_MOST_INCIDENTS]:
            self._incident(incident, files)
        others = digest.incidents[_MOST_INCIDENTS:]
        if others:
            self.console.print()
            rows = [(str(each.incident_id), each.severity, sentence(each)) for each in others[:_MOST_OTHERS]]
            self.columns(rows, right={0}, styles={1: [SEVERITY_STYLES[row[1]] for row in rows]})
        if len(others) > _MOST_OTHERS:
            self.console.print(Text(f"  and {len(others) - _MOST_OTHERS:,} more; --json has the first 100", LABEL))
        if digest.incidents and "-" in self.captures:
            self.line("look", "a stream cannot be read twice: report - --save FILE keeps it, for show and list")

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
        self._curves(digest)
        self.line("ended", tally(digest.end_reason, w.END_REASON.words))
        if digest.restarts:
            self.line("restarted", counted(digest.restarts, "time"))
        for label, said in outlived_facts(digest):
            self.line(label, said)
        self._pools(digest)

    def _curves(self, digest: TimeWaitDigest) -> None:
        """All together, and those of single clients and servers; where there is one only, its own."""
        data = digest.curve
        if data.start is None or len(data.open) < 2:
            return
        pools = [pool for pool in digest.pools if pool.open and pool.peak * _WORTH >= data.peak]
        if digest.pool_count != 1 or not pools:
            self._curve(data.open, data.peak, _CURVE_HEIGHT)
        for pool in pools:
            named, top = _top(pool, digest.ports)
            self.console.print(Text(f"  {named}", LABEL), soft_wrap=True)
            self._curve(pool.open, top, _CURVE_HEIGHT if digest.pool_count == 1 else _POOL_HEIGHT)
        length = data.step_ns * len(data.open)
        first, last = _time_of(data)(data.start), f"+{span(length)}"
        gap = " " * max(1, self._curve_width() - len(first) - len(last))
        self.console.print(Text(f"  {'':{_SCALE}}  {first}{gap}{last}", LABEL), no_wrap=True, overflow="crop")

    def _curve_width(self) -> int:
        return min(_CURVE_STEPS, self.console.width - _SCALE - 5)

    def _curve(self, levels: Sequence[int], top: int, height: int) -> None:
        width = self._curve_width()
        height = min(height, max(1, top))
        lines = curve.draw(curve.stretch(levels, width), width, height, self.console.options.ascii_only, top)
        edge = "|" if self.console.options.ascii_only else "┤"
        for number, line in enumerate(lines):
            scale = f"{top:,}" if number == 0 else "0" if number == len(lines) - 1 else ""
            label = Text.assemble("  ", (f"{scale:>{_SCALE}} {edge}", LABEL), (line.rstrip(), CURVE))
            self.console.print(label, no_wrap=True, overflow="crop")

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

    def _incident(self, incident: IncidentDigest, files: list[str]) -> None:
        """What happened, the evidence of the worst case, and what to do."""
        self.console.print()
        parties = " > ".join(filter(None, (incident.client, incident.service)))
        head = Text.assemble(
            f"{incident.incident_id}  ", (incident.severity, SEVERITY_STYLES[incident.severity]),
            "  ", (f"{incident.rule} {incident.name}", "bold"),
        )  # fmt: skip
        self.console.print(head.append(f"  {parties}") if len(head) + len(parties) + 2 <= self.console.width else head)
        example = incident.examples[0]
        if incident.incident_id > 1:
            self.line("what", sentence(incident))
        if incident.count > 1:
            self.line("worst", example.message)
        if example.frames:
            self.line("frames", frames_text(example, files))
        if incident.count > 1 and incident.delay_ns is not None:
            self.line("delay", delay_text(incident))
        if example.rival:
            self.line("could also be", example.rival)
        for caveat in example.caveats:
            self.line("caveat", caveat)
        self.line("remedy", incident.remedy)
        if len(incident.rules) > 1 or incident.count > 1:
            self.line("rules", ", ".join(f"{rule.rule} {rule.count:,}x" for rule in incident.rules))
        self._pastes(incident, example)

    def _pastes(self, incident: IncidentDigest, example: Finding) -> None:
        """How to see more: the worst connections, all findings of the rule, and the frames in Wireshark."""
        if "-" in self.captures:
            self.paste("Wireshark", example.display_filter)
            return
        if connection_of(example.finding_id):
            name, number = ("--incident", incident.incident_id)
            if self.is_part:
                name, number = ("--finding", example.finding_id)
            self.paste("look", command("show", self.captures, name, str(number), *self.options))
        if incident.count > 1:
            together = ["--together"] if self.has_several_files else []
            listing = command("check", self.captures, "--select", incident.rule, *together, *self.options)
            self.paste("list all", listing)
        self.paste("Wireshark", example.display_filter)

    def mechanisms(self, digest: Digest) -> None:
        """What is only counted, one line each; ordinary mechanisms with an example, where they are asked for."""
        bar = max(w.SEVERITY.code(least_of(digest)), w.NOTICE)
        rules = [rule for rule in digest.findings if w.SEVERITY.code(rule.severity) < bar]
        if rules:
            self.heading("Ordinary mechanisms" if bar == w.NOTICE else "Below --findings", "counted")
            rows = [(f"{rule.rule} {rule.name}", f"{rule.count:,}", rule.summary) for rule in rules]
            self.columns(rows, right={1})
        for rule in rules:
            for example in rule.examples[:1]:
                self.line(rule.rule, example.message)
        if digest.findings:
            self.console.print()
            self.paste("explain", command("rules", [digest.findings[0].rule]))


def _top(pool: Pool, ports: Sequence[PortUse]) -> tuple[str, int]:
    """What a curve is called, and its top: the ports of the range, where the curve is seen under it."""
    if pool.role == "server":
        return f"server {pool.service}", pool.peak
    name = f"client {pool.ip} to {pool.service}"
    use = next((use for use in ports if (use.ip, use.service) == (pool.ip, pool.service)), None)
    if use is None:
        return name, pool.peak
    size = use.highest - use.lowest + 1 if use.is_every_port_seen and use.used > 1 else use.size
    first, last = (use.lowest, use.highest) if size != use.size else (use.range_first, use.range_last)
    if pool.peak * _SEEN <= size:
        return f"{name}; peak {pool.peak:,} of {size:,} ports", pool.peak
    return f"{name}; the top is its ports, {first} to {last}", max(size, pool.peak)


def _time_of(data: Curve) -> Callable[[int], str]:
    """The time of day is enough for a curve that is shorter than a day."""
    return clock if data.step_ns * len(data.open) < _DAY_NS else moment
