"""Checks over synthetic findings: what the formats, the policy and the baseline are tested with."""

from datetime import date

import numpy as np

from tcptrace_tw.checking.check import Judge, Judged
from tcptrace_tw.checking.plan import Plan
from tcptrace_tw.report.checks.checked import Checked
from tcptrace_tw.schema import words as w
from tests.report_rows import findings, put_ip, reuses

TODAY = date(2026, 11, 21)
ERROR = {"id": "LA003", "name": "syn-reset-in-last-ack", "severity": w.ERROR, "confidence": w.LIKELY}


def spread(clients: int, each: int = 1):
    """SYNs of many clients towards one service, from a new port each time."""
    rows = reuses(clients * each)
    for i in range(rows.size):
        client = i // each
        put_ip(rows[i : i + 1].view(np.recarray), "ip", f"10.0.{client >> 8}.{client & 255}")
    rows.port = 1024 + np.arange(rows.size) % 60000
    return rows


def judged(*chunks, plan: Plan | None = None, files=("lab.pcap",)) -> Judged:
    """What a judge makes of these findings."""
    judge = Judge(plan or Plan(), TODAY, len(files) > 1)
    for chunk in chunks or (findings(), findings(reuses(1), **ERROR)):
        judge.findings(chunk)
    return Judged.of(judge, list(files), list(files), {"profile": "linux"})


def checked(*chunks, plan: Plan | None = None, files=("lab.pcap",)) -> Checked:
    """The whole check: two notices of one group and one error, unless told otherwise."""
    return judged(*chunks, plan=plan, files=files).verdict(plan or Plan())
