"""Sanity checks: a recording that fails one of them is not written.

Each compares two witnesses that do not know each other, because a missing
event would otherwise look like a fact about TCP.
"""

from tests.lab import capture, ftrace
from tests.lab import kernel_programs as programs
from tests.lab.segment import ACK, SYN

CLOSE_TO_WIRE_S = 0.001  # SYN-SENT to the SYN at the client's own interface
FAR_FROM_WIRE_S = 0.05  # the same across the relay, on a busy machine


def failures(lab, historian):
    """Sentences on what is wrong; empty for a sound recording."""
    return [sentence for check in CHECKS for sentence in check(lab, historian)]


def nothing_lost(lab, historian):
    """No witness has lost anything."""
    counts = {"trace events": lab.lost, "frames by tcpdump": lab.dropped, "frames by the relay": lab.relay_lost}
    yield from (f"{count} {what} lost" for what, count in counts.items() if count)
    if lab.kernel.full:
        yield "the ring buffer of the kernel record was full"


def tracers_agree(lab, historian):
    """Both tracers saw the same number of state changes."""
    addresses = lab.kernel.addresses
    one = sum(e.kind == programs.SET_STATE and e.peer[0] in addresses for e in lab.kernel.events)
    other = ftrace.state_changes(lab.trace)
    if one != other:
        yield f"state changes: kernel record {one}, tracefs {other}"


def counters_agree(lab, historian):
    """Entries and opens of each namespace are those of its own counters."""
    for host in lab.topology.hosts:
        before, after = lab.before[host.name], lab.after[host.name]
        lives = [life for life in historian.lives if life.host == host.name]
        entries = sum(life.timewait is not None for life in lives)
        counted = sum(after[name] - before[name] for name in ("TW", "TWKilled"))
        if entries != counted:
            yield f"{host.name}: {entries} timewait entries traced, {counted} counted"
        opens = sum(life.open in ("active", "simultaneous") for life in lives)
        counted = after["ActiveOpens"] - before["ActiveOpens"]
        if opens != counted:
            yield f"{host.name}: {opens} active opens traced, {counted} counted"


def wire_agrees(lab, historian):
    """Each captured first SYN stands beside a SYN-SENT of its sender."""
    if lab.situation.interface or lab.situation.snaplen or not lab.situation.is_wire_checked:
        return
    limit = CLOSE_TO_WIRE_S if lab.situation.capture == "client" else FAR_FROM_WIRE_S
    wires = {}
    for time, segment in capture.segments(lab.capture.path):
        if segment.flags & (SYN | ACK) == SYN:
            wires.setdefault((segment.src, segment.sport, segment.dst, segment.dport), []).append(time)
    for life in historian.lives:
        if life.open == "active" and life.host == lab.client.name:
            sent = life.transitions[0][0]
            gaps = [wire - sent for wire in wires.get((*life.local, *life.peer), [])]
            if not any(-limit < gap < limit for gap in gaps):
                yield f"SYN-SENT of {life.local} at {sent:.6f} has no SYN on the wire: {gaps}"


def clocks_agree(lab, historian):
    """The wall clock was not set during the recording."""
    if abs(lab.kernel.clock.drift_ns) > 100_000:
        yield f"clock drifted by {lab.kernel.clock.drift_ns} ns"


def polled_often_enough(lab, historian):
    """Between two looks at a timewait entry at most one segment reached it."""
    yield from (f"{event.local}: several segments between two looks" for event in historian.ambiguous)


def every_change_has_a_cause(lab, historian):
    """A change of a timewait entry seen by polling comes with the segment that made it."""
    if not lab.situation.is_bulk:
        yield from (f"{event.local}: its timewait entry changed without a segment" for event in historian.unexplained)


CHECKS = (
    nothing_lost,
    polled_often_enough,
    every_change_has_a_cause,
    tracers_agree,
    counters_agree,
    wire_agrees,
    clocks_agree,
)
