"""PA: segments that a receiver drops because of their timestamp (RFC 7323 5.3, RFC 6191).

``decisions/stale_segments.py`` has the decision table.
"""

import numpy as np

from tcptrace_tw.rules.decisions.stale_segments import (
    ACCEPTED,
    DROPPED,
    LIKELY_DROPPED,
    OLD_DUPLICATE,
    PREDICTED_DROPPED,
    STALE_ACK,
)
from tcptrace_tw.rules.rule import Grade, Mask, Rows, Rule, always
from tcptrace_tw.schema.words import CONFIRMED, ERROR, INFO, LIKELY, PREDICTED, WARNING


def paws_drop(r: Rows) -> Mask:
    """PA001."""
    return (r.verdict == DROPPED) | (r.verdict == LIKELY_DROPPED) | (r.verdict == PREDICTED_DROPPED)


STALL_NS = 1_000_000_000

MANY_DROPS = 3


def hurts(r: Rows) -> Mask:
    """The data was delayed by 1 s or longer, or at least three segments of the connection were dropped."""
    long = (r.acked_time >= 0) & (r.acked_time - r.time >= STALL_NS)
    _, inverse, counts = np.unique(r.connection_id, return_inverse=True, return_counts=True)
    many: Mask = counts[inverse] >= MANY_DROPS
    return long | many


_EVIDENCE = ("ts_recent_frame", "echo_frame", "frame", "answer_frame", "retransmit_frame", "acked_frame")

PAWS_DROP = Rule(
    id="PA001",
    name="paws-drop",
    severity=WARNING,
    summary="The receiver dropped new data or a FIN because of its stale timestamp (PAWS).",
    table="stale_segments",
    predicate=paws_drop,
    grades=(
        Grade(lambda r: (r.is_clock_broken != 0) & (r.verdict == DROPPED), WARNING, LIKELY, "the sender's own clock goes backwards: PA007 is the cause"),
        Grade(lambda r: r.is_clock_broken != 0, WARNING, PREDICTED, "the sender's own clock goes backwards: PA007"),
        Grade(lambda r: (r.verdict == DROPPED) & hurts(r), ERROR, CONFIRMED),
        Grade(lambda r: r.verdict == DROPPED, WARNING, CONFIRMED),
        Grade(lambda r: (r.verdict == LIKELY_DROPPED) & hurts(r), ERROR, LIKELY),
        Grade(lambda r: r.verdict == LIKELY_DROPPED, WARNING, LIKELY),
        Grade(always, WARNING, PREDICTED),
    ),
    message="{peer_ip}:{peer_port} {?}dropped {count:segment} from {ip}:{port} as old duplicates (PAWS): TSval {tsval} is below the last one that it had accepted, {ts_recent}",
    frames=_EVIDENCE,
    values=("tsval", "ts_recent", "payload_len", "seq_delta", "verdict"),
    set_when=(
        "TSval is below a value that the receiver has echoed, by more than one tick",
        "the segment is the next one that the receiver expects",
    ),
    not_set_when=(
        "the segment is a pure ACK, a keep-alive probe, a RST, or bytes that the receiver already had",
        "it is acknowledged without a retransmission: that is PA002",
    ),
    rfc=("RFC 7323 5.3",),
    remedy="Find out why segments arrive late, or why two hosts share one 4-tuple (reordering, NAT, a merged capture).",
    example="paws-drop",
    counter="TcpExtPAWSEstab",
    rival="loss between the capture point and the receiver, if no answer was captured",
)  # fmt: skip


def paws_not_enforced(r: Rows) -> Mask:
    """PA002."""
    return r.verdict == ACCEPTED


PAWS_NOT_ENFORCED = Rule(
    id="PA002",
    name="paws-not-enforced",
    severity=INFO,
    summary="The receiver accepted a segment with a stale timestamp.",
    table="stale_segments",
    predicate=paws_not_enforced,
    grades=(Grade(always, INFO, CONFIRMED),),
    message="{peer_ip}:{peer_port} accepted a segment from {ip}:{port} with TSval {tsval}, below TS.Recent {ts_recent}",
    frames=_EVIDENCE,
    values=("tsval", "ts_recent", "payload_len"),
    set_when=("a stale segment is acknowledged although no other copy of its bytes was captured",),
    not_set_when=("the bytes were retransmitted before they were acknowledged",),
    rfc=("RFC 7323 5.3",),
    remedy="Nothing to do: the receiver's stack, or a proxy in front of it, does not apply PAWS.",
    example="paws-not-enforced",
)


def old_duplicate_rejected(r: Rows) -> Mask:
    """PA003."""
    return r.verdict == OLD_DUPLICATE


OLD_DUPLICATE_REJECTED = Rule(
    id="PA003",
    name="old-duplicate-rejected",
    severity=INFO,
    summary="The receiver rejected a late duplicate of received bytes, by PAWS or by the sequence number check.",
    table="stale_segments",
    predicate=old_duplicate_rejected,
    grades=(
        Grade(lambda r: (r.dsack_frame >= 0) | (r.answer_frame >= 0), INFO, CONFIRMED),
        Grade(always, INFO, PREDICTED),
    ),
    message="{peer_ip}:{peer_port} rejected a late duplicate[ of {payload_len:byte}] from {ip}:{port}[; it is an old segment of the previous connection{is_before_syn:?}]",
    frames=("frame", "answer_frame", "dsack_frame"),
    values=("tsval", "ts_recent", "seq_delta", "payload_len"),
    set_when=("TSval is below TS.Recent, and the bytes are below RCV.NXT",),
    not_set_when=("the bytes are new: that is PA001",),
    rfc=("RFC 7323 5.3",),
    remedy="Nothing to do.",
    example="old-duplicate-rejected",
)


def stale_ack(r: Rows) -> Mask:
    """PA005."""
    return r.verdict == STALE_ACK


STALE_ACK_RULE = Rule(
    id="PA005",
    name="stale-ack",
    severity=INFO,
    summary="A pure ACK has an old timestamp: later segments overtook it.",
    table="stale_segments",
    predicate=stale_ack,
    grades=(Grade(always, INFO, PREDICTED, "its effect is not visible"),),
    message="a pure ACK from {ip}:{port} to {peer_ip}:{peer_port} has TSval {tsval}, below TS.Recent {ts_recent}",
    frames=("ts_recent_frame", "echo_frame", "frame"),
    values=("tsval", "ts_recent", "seq_delta", "count"),
    set_when=("a segment without payload and FIN has a TSval below TS.Recent, by more than one tick",),
    not_set_when=("it carries payload or a FIN",),
    rfc=("RFC 7323 5.3",),
    remedy="Nothing to do. Many of them mean reordering.",
    example="stale-ack",
    counter="TcpExtPAWSOldAck",
)

RULES = (
    PAWS_DROP,
    PAWS_NOT_ENFORCED,
    OLD_DUPLICATE_REJECTED,
    STALE_ACK_RULE,
)
