"""The pictures of the site, drawn from fixtures: one for each rule, those of the first page, and screenshots.

``python -m tests.docs.rule_pictures`` writes them; it takes a minute, so tests only look at some of them. The
screenshots want Chromium, and stay as they are without it.
"""

from __future__ import annotations

import re
import tempfile
from html import unescape
from pathlib import Path

import tcptrace_tw as tw
from tcptrace_tw.report.words.findings import connection_of
from tcptrace_tw.rules import RULES
from tcptrace_tw.rules.rule import Rule

ROOT = Path(__file__).parent.parent.parent
PICTURES = ROOT / "docs" / "pictures"

OF_ALL = {"PE001": "ports", "PE002": "ports", "PE003": "ports", "PE004": "ports", "TW010": "ports", "PA009": "clocks"}
"""Rules about many connections, and the picture that shows what they found; the others show the states of one."""

WITHOUT = ("CP",)
"""Families about the capture itself: there is nothing to draw."""

FIRST_PAGE = {
    "last-ack-states": ("kernel-syn-into-last-ack", "states", (2,)),
    "narrow-ports": ("kernel-narrow-ports-client-closes", "ports", ()),
    "nat-clocks": ("nat-many-clocks", "clocks", ()),
    "retransmissions": ("kernel-retransmit-reorder", "sequence", (1,)),
    "nat-latency": ("kernel-nat-few-ports", "latency", ()),
}
"""Name, fixture, picture and its arguments."""

SCREENSHOTS = {"report-desk": (1200, 1150, False), "report-phone": (390, 1150, True)}
"""Name, width, height, and whether it is dark; all of one fixture."""

SHOWN = "kernel-nat-few-ports"


def capture_of(name: str, folder: Path) -> Path:
    """The capture of a fixture; one that is a scenario is written into ``folder``."""
    from tests.scenario import parse, render

    recorded = ROOT / "fixtures" / name / "capture.pcap"
    if recorded.exists():
        return recorded
    scenario = parse((ROOT / "fixtures" / name / "scenario.pkt").read_text())
    written = folder / f"{name}.pcap"
    written.write_bytes(render(scenario.frames, scenario.link))
    return written


def of_rule(rule: Rule, folder: Path) -> str:
    """The picture of the example of a rule, as SVG."""
    trace = tw.analyze(capture_of(rule.example, folder), findings="info")
    if rule.id in OF_ALL:
        return getattr(trace.plot, OF_ALL[rule.id])().svg()
    found = trace.findings[trace.findings.rule == rule.id].iloc[0]
    number = int(connection_of(found.finding_id))
    known = set(trace.connections.connection_id)
    return trace.plot.states(number if number in known else int(found.previous_connection_id)).svg()


def rules_with_pictures() -> list[Rule]:
    """The rules whose example can be drawn."""
    return [rule for rule in RULES if not rule.id.startswith(WITHOUT)]


def of_first_page(name: str, folder: Path) -> str:
    """One of the other pictures."""
    fixture, kind, arguments = FIRST_PAGE[name]
    return getattr(tw.analyze(capture_of(fixture, folder)).plot, kind)(*arguments).svg()


def reference(rule: Rule) -> str:
    """The line of the rule's page that shows the picture; its text alternative is that of the picture."""
    path = PICTURES / f"{rule.id}.svg"
    if not path.exists():
        return ""
    said = re.search(r"<desc[^>]*>(.*?)</desc>", path.read_text(encoding="utf-8"), re.DOTALL)
    text = unescape(said[1] if said else "").replace("[", "(").replace("]", ")")
    return f"![{rule.example}: {text}](../pictures/{rule.id}.svg)\n\n"


def screenshots(folder: Path) -> None:
    """What the page looks like, by Chromium."""
    from typer.testing import CliRunner

    from tcptrace_tw.cli.app import app
    from tests import chromium

    page = folder / "report.html"
    capture = f"fixtures/{SHOWN}/capture.pcap"
    assert CliRunner().invoke(app, ["report", capture, "--html", str(page), "-q"]).exit_code == 0
    with chromium.Chromium() as browser:
        for name, (width, height, dark) in SCREENSHOTS.items():
            browser.open(page, width, dark=dark)
            browser.screenshot(PICTURES / f"{name}.png", height)


def main() -> None:
    """Write all of them."""
    from tests import chromium

    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for rule in rules_with_pictures():
            (PICTURES / f"{rule.id}.svg").write_text(of_rule(rule, Path(folder)), encoding="utf-8")
        for name in FIRST_PAGE:
            (PICTURES / f"{name}.svg").write_text(of_first_page(name, Path(folder)), encoding="utf-8")
        if chromium.TOOL is not None:
            screenshots(Path(folder))


if __name__ == "__main__":
    main()
