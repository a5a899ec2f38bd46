"""SI, RU: a connection or a SYN that went on from another port, or met one to another address: a NAT, a load balancer."""

from tcptrace_tw.rules.rule import Advice, Grade, Mask, Rows, Rule, Wording, always
from tcptrace_tw.schema.words import (
    CONFIRMED,
    ERROR,
    INFO,
    LIKELY,
    MOVE_OTHER_ADDRESS,
    MOVE_REBINDING,
    MOVE_RETRY,
    MOVE_UNTRANSLATED,
    MOVE_UNTRANSLATED_ANSWER,
    NOTICE,
    WARNING,
)


def nat_rebinding(moves: Rows) -> Mask:
    """SI010."""
    return moves.move == MOVE_REBINDING


def is_other_peer(r: Rows) -> Mask:
    """The client's end is the same, its peer is not."""
    is_same = (r.previous_peer_ip_hi == r.peer_ip_hi) & (r.previous_peer_ip_lo == r.peer_ip_lo)
    return ~(is_same & (r.previous_peer_port == r.peer_port))


NAT_REBINDING = Rule(
    id="SI010",
    name="nat-rebinding",
    severity=WARNING,
    summary="A connection went on from another port or address: a NAT had forgotten its mapping.",
    table="moves",
    predicate=nat_rebinding,
    grades=(
        Grade(lambda r: r.is_reset != 0, WARNING, LIKELY, "the peer does not know the new port, and reset it"),
        Grade(always, NOTICE, LIKELY),
    ),
    message="the connection of {ip} with {peer_ip}:{peer_port} went on from port {port} instead of {previous_port}, after {gap_ns} of "
    "silence: a NAT had {?}forgotten its mapping[, and the peer reset the connection{is_reset:?}]",
    wordings=(
        Wording(is_other_peer, "the service has another address", "the connection of {ip}:{port} with {previous_peer_ip}:{previous_peer_port} went on with {peer_ip}:{peer_port}, after {gap_ns} of silence: a NAT or load balancer had {?}forgotten its mapping[, and the connection was reset{is_reset:?}]"),
    ),
    frames=("previous_frame", "frame"),
    values=("previous_port", "gap_ns"),
    set_when=(
        "the first segment of a connection without SYN has exactly the next numbers of another one",
        "the other one is open, and was silent until the end of the capture: for 1 s or longer, or a RST answered",
    ),
    not_set_when=("both are captured at the same time: the same segments before and behind a NAT",),
    rfc=("RFC 5382 REQ-5", "RFC 4787 4.3"),
    remedy="Send keep-alives (TCP_KEEPIDLE) more often than the NAT forgets; on the NAT look if its table was flushed or is full (conntrack -S, net.netfilter.nf_conntrack_tcp_timeout_established).",
    example="nat-rebinding",
    rival="a segment that left without translation, or through another gateway",
)  # fmt: skip


def segment_untranslated(moves: Rows) -> Mask:
    """SI018."""
    return (moves.move == MOVE_UNTRANSLATED) | is_answer(moves)


def is_answer(moves: Rows) -> Mask:
    """It is the SYN+ACK: the connect failed."""
    return moves.move == MOVE_UNTRANSLATED_ANSWER


SEGMENT_UNTRANSLATED = Rule(
    id="SI018",
    name="segment-untranslated",
    severity=WARNING,
    summary="A segment reached a client from another address than it had connected to: a NAT did not translate it.",
    table="moves",
    predicate=segment_untranslated,
    grades=(
        Grade(is_answer, ERROR, LIKELY, "it is the SYN+ACK: the connect failed"),
        Grade(lambda r: r.is_reset != 0, WARNING, LIKELY, "the client's host does not know that address, and reset the segment"),
        Grade(always, NOTICE, LIKELY),
    ),
    message="{ip}:{port} is connected to {previous_peer_ip}:{previous_peer_port}, but a segment of that connection came from "
    "{peer_ip}:{peer_port}: {?}a NAT did not translate it[; the host of {ip} has no such connection and answered with RST{is_reset:?}]",
    wordings=(
        Wording(is_answer, "it is the SYN+ACK", "{ip}:{port} sent its SYN to {previous_peer_ip}:{previous_peer_port}, but the SYN+ACK that answers it came from {peer_ip}:{peer_port}: {?}a NAT did not translate it back[; the host of {ip} had sent no SYN there and answered with RST{is_reset:?}]; the connect failed"),
    ),
    frames=("previous_frame", "frame"),
    values=("previous_peer_ip", "previous_peer_port"),
    set_when=(
        "a segment comes to the address and port of an open connection, but not from its peer",
        "it acknowledges bytes that this connection had sent, and its sequence number is near what came; or both are the next ones",
        "the client sends nothing but RSTs or ACKs there",
        "or a SYN+ACK acknowledges the ISN of a SYN from that address and port, which was repeated and not answered",
    ),
    not_set_when=(
        "it acknowledges other numbers: another connection from the same port",
        "the client sends data to that address, too: it is another connection",
    ),
    rfc=("RFC 5382 REQ-3", "RFC 9293 3.10.7.1"),
    remedy="On the gateway, node or load balancer that translates the address of the service: set net.netfilter.nf_conntrack_tcp_be_liberal=1, or drop packets in conntrack state INVALID; look if its table was flushed or is full (conntrack -S).",
    advice=(
        Advice(is_answer, "it is the SYN+ACK", "See that the answers pass the gateway, node or load balancer that translates the address of the service: sysctl net.bridge.bridge-nf-call-iptables=1 where client and server are on one bridge (Kubernetes, Docker), a route back through the NAT elsewhere, or source NAT as well (kube-proxy --masquerade-all)."),
    ),
    example="segment-untranslated",
    rival="an answer that took another way, past the NAT (asymmetric routing)",
)  # fmt: skip


def syn_from_other_port(moves: Rows) -> Mask:
    """SI013."""
    return moves.move == MOVE_RETRY


SYN_FROM_OTHER_PORT = Rule(
    id="SI013",
    name="syn-from-other-port",
    severity=INFO,
    summary="A SYN was sent again from another port of the same address: a NAT chose a new one for the retry.",
    table="moves",
    predicate=syn_from_other_port,
    grades=(Grade(always, INFO, CONFIRMED),),
    message="the SYN of {ip}:{port} to {peer_ip}:{peer_port} is that of port {previous_port}, {gap_ns} later: one connect",
    frames=("previous_frame", "frame"),
    values=("previous_port", "gap_ns", "cost_ns"),
    set_when=(
        "a SYN has the ISN of an earlier one of the same address, which came to nothing, a later timestamp, and another port",
        "or the same where the snap length has cut off the timestamps",
    ),
    not_set_when=(
        "the port is the same: a retransmission",
        "there are no timestamps, or the earlier SYN was refused: a program that uses one ISN for all",
    ),
    rfc=("RFC 5382 REQ-1",),
    remedy="Nothing to do for this alone; the NAT has few ports for this service, or forgets a refused SYN at once.",
    example="syn-from-other-port",
)


def syn_met_other_address(moves: Rows) -> Mask:
    """RU014."""
    return moves.move == MOVE_OTHER_ADDRESS


SYN_MET_OTHER_ADDRESS = Rule(
    id="RU014",
    name="syn-met-other-address",
    severity=INFO,
    summary="A SYN was challenged with the numbers of a connection from the same port to another address: a load balancer led both to one server.",
    table="moves",
    predicate=syn_met_other_address,
    grades=(Grade(always, INFO, CONFIRMED, "both numbers of the challenge ACK are those of that connection"),),
    message="what its SYN met is connection {previous_connection_id}, from {ip}:{port} to {previous_peer_ip}:{peer_port}: a load balancer keeps the client's address, and led both to one server",
    frames=("frame",),
    values=("previous_connection_id", "previous_peer_ip", "gap_ns"),
    set_when=(
        "a SYN is answered with other numbers, and none of its own 4-tuple's earlier connections is in the capture",
        "the ACK field and the sequence number of the answer lie within a connection from the same address and port to another address, on the same port",
    ),
    not_set_when=("one of the numbers lies outside", "that connection began after the SYN"),
    rfc=("RFC 9293 3.10.7.3",),
    remedy="Use one of the load balancer's addresses, or switch off that it keeps client addresses (AWS NLB: client IP preservation, cross-zone load balancing): two of its addresses lead to one server.",
    example="syn-met-other-address",
)  # fmt: skip

RULES = (
    NAT_REBINDING,
    SEGMENT_UNTRANSLATED,
    SYN_FROM_OTHER_PORT,
    SYN_MET_OTHER_ADDRESS,
)
