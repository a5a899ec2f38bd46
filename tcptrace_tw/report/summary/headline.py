"""A whole report in one line, and its conclusion in one sentence."""

from tcptrace_tw.report.summary.digest import Digest, IncidentDigest
from tcptrace_tw.report.summary.incidents import MOST_TOLD
from tcptrace_tw.report.words.phrases import counted
from tcptrace_tw.rules.runner import chosen
from tcptrace_tw.schema.words import SEVERITY


def severities(digest: Digest, least: str = "info") -> str:
    """``1 error, 3 warnings``: all findings of ``least`` severity and worse, the worst first."""
    totals = dict.fromkeys(reversed(SEVERITY.words[SEVERITY.code(least) :]), 0)
    for rule in digest.findings:
        for name, count in rule.severities.items():
            if name in totals:
                totals[name] += count
    return ", ".join(counted(n, name, "info" if name == "info" else "") for name, n in totals.items() if n)


def least_of(digest: Digest) -> str:
    """The lowest severity that the report counts in its headline: ordinary mechanisms stay below."""
    asked = digest.settings.get("findings", "notice")
    return "notice" if asked == "info" else str(asked)


def headline(digest: Digest, least: str = "info") -> str:
    """``100,000 connections, peak 84,703 TIME-WAIT sockets; 1 error, 3 warnings``."""
    connections = counted(digest.connections.total, "connection")
    peak = digest.time_wait.curve.peak
    about = "" if digest.time_wait.curve.is_exact else "about "
    held = f", peak {about}{counted(peak, 'TIME-WAIT socket')}" if peak else ", no TIME-WAIT sockets"
    nothing = f"no findings above {SEVERITY.words[SEVERITY.code(least) - 1]}" if digest.findings else "no findings"
    found = severities(digest, least) or nothing
    least_of_all = "at least " if len(digest.incidents) >= MOST_TOLD else ""
    many = f" in {least_of_all}{counted(len(digest.incidents), 'incident')}" if digest.incidents else ""
    return f"{connections}{held if digest.connections.total else ''}; {found}{many}"


LOOKED_FOR = {"TW": "TIME-WAIT", "RU": "reuse of 4-tuples", "PA": "timestamps (PAWS)", "LA": "LAST-ACK", "RS": "resets",
              "HS": "handshakes", "SI": "silence", "PE": "source ports"}  # fmt: skip
"""Families of rules, as the report names what it has looked for."""


def conclusion(digest: Digest) -> str:
    """The worst incident in one sentence, and how sure it is; where there is none, what was looked for."""
    if digest.incidents:
        return sentence(digest.incidents[0])
    if not digest.connections.total:
        return ""
    rules = chosen(*(tuple(digest.settings.get(name) or ()) for name in ("select", "ignore")))
    families = dict.fromkeys(rule.id[:2] for rule in rules)
    looked = ", ".join(LOOKED_FOR[family] for family in families if family in LOOKED_FOR)
    return f"Nothing stands out{_unknown_closers(digest)}. Looked for: {looked}." if looked else ""


def _unknown_closers(digest: Digest) -> str:
    """What a capture that began late leaves open."""
    unknown = digest.connections.active_closer.get("unknown", 0)
    if not unknown:
        return ""
    of = f"{unknown:,} of {counted(digest.connections.total, 'connection')}"
    return f", but the capture began late: who closed first is not known of {of}"


def sentence(incident: IncidentDigest) -> str:
    """What happened, with a capital letter and a full stop."""
    return f"{incident.sentence[0].upper()}{incident.sentence[1:]}."
