"""A whole report in one line, and its conclusion in one sentence."""

from tcptrace_tw.report.summary.digest import Digest
from tcptrace_tw.report.words.phrases import counted, span
from tcptrace_tw.schema.words import SEVERITY


def severities(digest: Digest, least: str = "info") -> str:
    """``1 error, 3 warnings``: all findings of ``least`` severity and worse, the worst first."""
    totals = dict.fromkeys(reversed(SEVERITY.words[SEVERITY.code(least) :]), 0)
    for rule in digest.findings:
        for name, count in rule.severities.items():
            if name in totals:
                totals[name] += count
    return ", ".join(counted(n, name, "info" if name == "info" else "") for name, n in totals.items() if n)


def headline(digest: Digest, least: str = "info") -> str:
    """``100,000 connections, peak 84,703 TIME-WAIT sockets; 1 error, 3 warnings``."""
    connections = counted(digest.connections.total, "connection")
    peak = digest.time_wait.curve.peak
    about = "" if digest.time_wait.curve.is_exact else "about "
    held = f", peak {about}{counted(peak, 'TIME-WAIT socket')}" if peak else ", no TIME-WAIT sockets"
    nothing = f"no findings above {SEVERITY.words[SEVERITY.code(least) - 1]}" if digest.findings else "no findings"
    return f"{connections}{held if digest.connections.total else ''}; {severities(digest, least) or nothing}"


def conclusion(digest: Digest) -> str:
    """The worst finding above info in a sentence, how often it happened and what it cost; empty where there is none."""
    worst = next((rule for rule in digest.findings if rule.severity != "info" and rule.examples), None)
    if worst is None:
        return ""
    message = worst.examples[0].message
    hedge = "" if worst.confidence == "confirmed" else f" ({worst.confidence})"
    often = f" That happened {worst.count:,} times" if worst.count > 1 else ""
    if often and worst.cost_known > 1 and worst.cost_ns and worst.cost_most_ns:
        often += f": {span(worst.cost_ns)} of delay in total, {span(worst.cost_most_ns)} at worst"
    return f"{message[0].upper()}{message[1:]}{hedge}.{often}{'.' if often else ''}"
