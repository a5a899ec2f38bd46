"""RU: a SYN arrived while the receiver still had the old connection (RFC 9293 3.5.1; RFC 5961 4.2).

``decisions/syn_answers.py`` has the decision table.
"""

from tcptrace_tw.rules.decisions.syn_answers import ALIVE, UNSEEN, is_challenged, is_reset, stalls, went_whole_way
from tcptrace_tw.rules.predicates import STALL_NS, SYN_FRAMES
from tcptrace_tw.rules.rule import Advice, Grade, Mask, Rows, Rule, Wording, always, is_observed
from tcptrace_tw.schema.observed import BOTH_DIRECTIONS, OPENING, PAYLOAD
from tcptrace_tw.schema.words import ANSWER_CHALLENGE, CONFIRMED, ERROR, LIKELY, NOTICE, PREDICTED, WARNING


def syn_into_established(reuses: Rows) -> Mask:
    """RU011: the answer shows that the receiver still had the old connection."""
    return reuses.verdict == ALIVE


def goes_on_meanwhile(reuses: Rows) -> Mask:
    """The earlier connection went on after the SYN: it is not the client's old one that was forgotten."""
    return reuses.is_old_alive != 0


_RETRIED = "[; {reset_frame:?}the client sent RST][; it retransmitted the SYN {syn_retries:time}][ in vain{outcome:=gave-up}][; it connected after {cost_ns}]"

SYN_INTO_ESTABLISHED = Rule(
    id="RU011",
    name="syn-into-established",
    severity=WARNING,
    summary="A new SYN arrived while the peer still had the previous connection.",
    table="reuses",
    predicate=syn_into_established,
    grades=(
        Grade(lambda r: is_challenged(r) & is_observed(r, OPENING, PAYLOAD) & stalls(r), ERROR, CONFIRMED, "the delay was 1 s or longer, or it never connected"),
        Grade(lambda r: is_challenged(r) & stalls(r), ERROR, LIKELY, "the same, and not all of the previous connection was captured"),
        Grade(lambda r: (r.answer == ANSWER_CHALLENGE) & ~is_observed(r, OPENING, PAYLOAD), WARNING, LIKELY, "not all of the previous connection was captured: it may have been closing"),
        Grade(lambda r: r.answer == ANSWER_CHALLENGE, WARNING, CONFIRMED, "a challenge ACK with the old sequence numbers"),
        Grade(is_reset, WARNING, LIKELY),
        Grade(always, WARNING, PREDICTED, "no answer"),
    ),
    wordings=(
        Wording(lambda r: is_challenged(r) & ~is_observed(r, OPENING, PAYLOAD, BOTH_DIRECTIONS), "not all of the previous connection was captured", "new SYN from {ip}:{port} was challenged by {peer_ip}:{peer_port}, which still holds the previous connection, in a state that was not captured" + _RETRIED),
    ),
    message="new SYN from {ip}:{port} arrived in {receiver_state} of {peer_ip}:{peer_port}, which[ sent a challenge ACK{answer:=challenge-ack}][ sent RST{answer:=rst}][ refused it{answer:=refused}][ did not answer{answer:=none}]" + _RETRIED,
    frames=SYN_FRAMES,
    values=("receiver_state", "gap_ns", "cost_ns", "isn_delta", "answer", "is_old_alive"),
    set_when=(
        "the receiver is in a synchronised state and has not sent its last FIN",
        "it answers with its old sequence numbers, or not at all",
    ),
    not_set_when=(
        "the SYN belongs to the same connection",
        "a SYN+ACK follows at once: the receiver no longer had the previous connection",
    ),
    rfc=("RFC 9293 3.5.1", "RFC 5961 4.2"),
    remedy="Look if the client was restarted, or if a NAT or firewall forgot the connection and gave its port to another client: keep-alives on the server (TCP_KEEPIDLE) end such half-open connections. A load balancer that keeps the client's address and port sends two of its connections to one server: switch that off, or use one address of it.",
    advice=(
        Advice(goes_on_meanwhile, "the earlier connection went on", "Two senders use this address and port at once: look for a NAT with too few ports or two of them with one address, or a load balancer that keeps the client's address and port (AWS NLB: client IP preservation, cross-zone) and leads two of its addresses to one server. Otherwise somebody forges SYNs."),
    ),
    example="syn-into-established",
    counter="TcpExtTCPSYNChallenge",
    rival="a load balancer that keeps the client's address, and leads a new connection to a server that has the old one",
    key="attempt_id",
)  # fmt: skip


def syn_challenged_unseen(reuses: Rows) -> Mask:
    """RU013: the client's RST, or its SYN again, shows that the answer was of no use to it."""
    return (reuses.verdict == UNSEEN) & ((reuses.reset_frame >= 0) | (reuses.syn_retries > 0))


def has_isn_of_answer(reuses: Rows) -> Mask:
    """The first answer has the sequence number that the SYN+ACK has later: it is of this connection, and no earlier one."""
    return (reuses.opened_frame >= 0) & (reuses.answer_frame >= 0) & (reuses.answer_isn_delta == 0)


SYN_CHALLENGED_UNSEEN = Rule(
    id="RU013",
    name="syn-challenged-unseen",
    severity=WARNING,
    summary="A SYN was answered with other sequence numbers: the peer holds an earlier connection of this 4-tuple that is not in the capture.",
    table="reuses",
    predicate=syn_challenged_unseen,
    grades=(
        Grade(lambda r: went_whole_way(r) & (r.cost_ns >= STALL_NS), ERROR, CONFIRMED, "the delay was 1 s or longer"),
        Grade(lambda r: stalls(r) & (r.reset_frame >= 0), ERROR, CONFIRMED, "it never connected"),
        Grade(stalls, ERROR, LIKELY, "the client sent no RST: it may not have got the answer"),
        Grade(
            lambda r: r.reset_frame >= 0,
            NOTICE,
            CONFIRMED,
            "the delay was shorter than 1 s, or the capture ended before it was known",
        ),
        Grade(always, NOTICE, LIKELY),
    ),
    message="SYN from {ip}:{port} challenged by {peer_ip}:{peer_port}, which {?}holds an earlier connection of this 4-tuple that is not in the capture (or came through a load balancer, under another address)[; {reset_frame:?}the client sent RST][; it retransmitted the SYN {syn_retries:time}][; it connected after {cost_ns}]",
    wordings=(
        Wording(
            has_isn_of_answer,
            "the first answer has the sequence number of the SYN+ACK",
            "{peer_ip}:{peer_port} first answered the SYN from {ip}:{port} with an ACK field that is not ISN + 1, and later with a SYN+ACK of the same sequence number[; {reset_frame:?}the client sent RST][; it retransmitted the SYN {syn_retries:time}][; it connected after {cost_ns}]",
        ),
    ),
    frames=("syn_frame", "answer_frame", "reset_frame", "retry_frame", "opened_frame"),
    values=("cost_ns", "isn_delta", "tsval_delta", "syn_retries", "outcome"),
    set_when=(
        "an ACK, or a SYN+ACK of another SYN, comes for a SYN, and its ACK field is not ISN + 1",
        "the client answers with RST, or retransmits the SYN",
    ),
    not_set_when=("the capture holds the earlier connection: RU004, RU011, LA001",),
    rfc=("RFC 9293 3.5.1", "RFC 9293 3.10.7.3", "RFC 5961 4.2"),
    remedy="On the server, ss -tano shows in which state it holds the earlier connection of this port. Let whoever chooses source ports reuse them later: a wider net.ipv4.ip_local_port_range on the client, more ports or addresses on a NAT. Behind a load balancer that keeps client addresses (AWS NLB: client IP preservation) two of its addresses lead to one server: use one of them, or switch that off.",
    advice=(
        Advice(
            has_isn_of_answer,
            "the first answer has the sequence number of the SYN+ACK",
            "No earlier connection sends that number. Look for a device before the server that tests clients by a wrong ACK (DDoS protection: out-of-sequence or RST authentication), or a TCP stack that is broken.",
        ),
    ),
    example="syn-challenged-unseen",
    rival="a device that answers for the host, or tests clients like this (DDoS protection)",
    key="attempt_id",
)

RULES = (
    SYN_INTO_ESTABLISHED,
    SYN_CHALLENGED_UNSEEN,
)
