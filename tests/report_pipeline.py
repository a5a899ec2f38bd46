"""A pipeline that reads nothing and hands synthetic rows to the sinks: for tests of what lies behind it."""

import numpy as np

from tcptrace_tw.capture.facts import CaptureFacts, FileFacts
from tcptrace_tw.errors import CaptureError
from tcptrace_tw.pipeline import Summary
from tcptrace_tw.report.pages.ladder import Step
from tcptrace_tw.schema import columns as c
from tcptrace_tw.schema import words as w
from tests.report_rows import SECOND, START, blank, connections, findings, put_ip, reuses, time_wait

DAMAGE = "byte 81932: record claims 70000 bytes, but the snap length is 65535; the 24 frames before it were kept"


def facts(name: str, damage: str | None = None) -> FileFacts:
    """A file of 24 frames."""
    return FileFacts(
        name=name,
        format="pcap",
        links=("Ethernet",),
        snaplen=262144,
        size=2345,
        frames=26,
        captured_bytes=2000,
        wire_bytes=2000,
        tcp_segments=24,
        first_time=START,
        last_time=START + 3 * SECOND,
        skipped={"ARP": 2},
        damage=damage,
    )


def transitions():
    """The server's way to TIME-WAIT on connection 1, and its timer."""
    path = (
        ("CLOSED", "SYN-RECEIVED", "SYN+ACK sent", 2),
        ("SYN-RECEIVED", "ESTABLISHED", "ACK of SYN received", 3),
        ("ESTABLISHED", "FIN-WAIT-1", "FIN sent", 5),
        ("FIN-WAIT-1", "TIME-WAIT", "FIN and ACK of FIN received", 7),
        ("TIME-WAIT", "CLOSED", "timeout", -1),
    )
    rows = blank(c.TRANSITIONS, len(path))
    put_ip(rows, "ip", "198.51.100.7")
    rows.port = 80
    for i, (before, after, event, frame) in enumerate(path):
        rows.transition_id[i], rows.connection_id[i], rows.endpoint[i] = i + 1, 1, w.RESP
        rows.from_state[i], rows.to_state[i] = w.STATE.code(before), w.STATE.code(after)
        rows.event[i], rows.basis[i] = w.EVENT.code(event), w.BASIS.code("timer" if frame < 0 else "sent")
        rows.frame[i] = frame
        rows.time[i] = START + (60 * SECOND if frame < 0 else frame * 1_000_000)
    return rows


def analyze(captures, settings, sinks, progress=None, notice=None):
    """Three connections closed by the server, two SYNs over them."""
    if "missing.pcap" in captures:
        raise CaptureError("missing.pcap: no such file")
    damage = DAMAGE if "cut.pcap" in captures else None
    error = {"id": "LA003", "name": "syn-reset-in-last-ack", "severity": w.ERROR, "confidence": w.LIKELY}
    for sink in sinks:
        tables = {"connections": connections(3), "transitions": transitions(), "time_wait": time_wait(3)}
        for name, rows in {**tables, "reuses": reuses(2)}.items():
            if name in sink.tables:
                sink.rows(name, np.asarray(rows))
    rows = reuses(2)
    rows.connection_id = [1, 2]
    for said in [findings(rows), *([findings(rows[:1], **error)] if "bad.pcap" in captures else [])]:
        for sink in sinks:
            sink.findings(said)
    return Summary(CaptureFacts([facts(name, damage) for name in captures]), settings, 3, 5)


def ladder(captures, settings, connection_id, notice=None):
    """The segments of connection 1."""
    syn, ack, fin = c.SYN, c.ACK, c.FIN
    path = (
        (True, syn, 100, 0, 0, "SYN-SENT", "LISTEN"),
        (False, syn | ack, 900, 101, 0, "ESTABLISHED", "SYN-RECEIVED"),
        (True, ack, 101, 901, 0, "ESTABLISHED", "ESTABLISHED"),
        (True, ack | c.PSH, 101, 901, 80, "ESTABLISHED", "ESTABLISHED"),
        (False, ack | fin, 901, 181, 0, "CLOSE-WAIT", "FIN-WAIT-1"),
        (True, ack | fin, 181, 902, 0, "LAST-ACK", "TIME-WAIT"),
        (False, ack, 902, 182, 0, "CLOSED", "TIME-WAIT"),
    )
    steps = []
    for i, (is_orig, flags, seq, number, length, *states) in enumerate(path):
        codes = [w.STATE.code(state) for state in states]
        time = START + (i + 1) * 1_000_000
        steps.append(Step(time, i + 1, is_orig, flags, seq, number, length, 5000 + i, 700, *codes))
    return np.asarray(connections(1)), steps


def ladders(captures, settings, connection_ids, connections=None, notice=None, progress=None, transitions=None):
    """The same for several connections, all of them alike."""
    return {number: ladder(captures, settings, number)[1] for number in connection_ids}
