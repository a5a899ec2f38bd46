"""Findings as batches of a check."""

from functools import partial

import numpy as np

from tcptrace_tw.report.checks.checked import NO_PORT, Batch, Ints, Subject
from tcptrace_tw.report.words import findings as about
from tcptrace_tw.report.words.messages import message
from tcptrace_tw.rules.rule import RuleHits


def batch_of(findings: RuleHits, several_files: bool = False) -> Batch:
    """What one rule says about a chunk; its incidents are not known yet."""
    fields, nothing = about.peer_fields(findings), np.full(findings.rows.size, -1)
    return Batch(
        findings.rule.id,
        findings.rule.name,
        about.finding_ids(findings),
        about.main_frames(findings),
        findings.severity,
        findings.confidence,
        _subject(findings, fields),
        sum(bool(name) for name in (fields[0], fields[2])),
        nothing,
        nothing,
        about.connection_ids(findings),
        np.arange(findings.rows.size),
        partial(message, findings, several_files=several_files),
        partial(about.finding, findings, several_files=several_files),
    )


def _subject(findings: RuleHits, fields: tuple[str, str, str, str]) -> Subject:
    def column(name: str) -> Ints:
        size = findings.rows.size
        return np.full(size, NO_PORT, np.int64) if not name else findings.rows[name].astype(np.int64)

    ip, port, peer, peer_port = fields
    halves = [f"{name}_{half}" if name else "" for name in (ip, peer) for half in ("hi", "lo")]
    ip_hi, ip_lo, peer_hi, peer_lo = (column(name) for name in halves)
    return Subject(ip_hi, ip_lo, column(port), peer_hi, peer_lo, column(peer_port), about.endpoints(findings))
