"""LA: LAST-ACK (RFC 9293 3.10.7.4, RFC 5961 4.2)."""

from tcptrace_tw.protocol.states import CLOSE_WAIT, CLOSING, LAST_ACK
from tcptrace_tw.rules.reuse import is_ignored_at_first, went_whole_way
from tcptrace_tw.rules.rule import Grade, Mask, Rows, Rule, always
from tcptrace_tw.schema.columns import FIN
from tcptrace_tw.schema.observed import ACKS, BOTH_DIRECTIONS
from tcptrace_tw.schema.words import (
    ANSWER_CHALLENGE,
    ANSWER_RST,
    BOTH,
    CONFIRMED,
    ERROR,
    INFO,
    LIKELY,
    NONE,
    NOTICE,
    WARNING,
)

STALL_NS = 1_000_000_000


def met_last_ack(reuses: Rows) -> Mask:
    """The receiver of the SYN still waited for the ACK of its FIN, as far as the capture shows."""
    return (reuses.receiver_state == LAST_ACK) | (reuses.is_last_ack_lost != 0)


def syn_hits_last_ack(reuses: Rows) -> Mask:
    """LA001."""
    return met_last_ack(reuses) & (reuses.answer == ANSWER_CHALLENGE) & (reuses.opened_frame >= 0)


def syn_ignored_in_last_ack(reuses: Rows) -> Mask:
    """LA002."""
    silent = is_ignored_at_first(reuses)
    stuck = (reuses.answer == ANSWER_CHALLENGE) & (reuses.opened_frame < 0) & (reuses.syn_retries > 0)
    return met_last_ack(reuses) & (silent | stuck)


def syn_reset_in_last_ack(reuses: Rows) -> Mask:
    """LA003."""
    return met_last_ack(reuses) & (reuses.answer == ANSWER_RST)


def last_ack_lost(connections: Rows) -> Mask:
    """LA004."""
    repeated = connections.fin_repeat_frame >= 0
    if not repeated.any():  # as in most chunks
        return repeated
    return repeated & (connections.active_closer != BOTH) & (connections.active_closer != NONE)


def rst_on_last_ack(resets: Rows) -> Mask:
    """LA005."""
    return (
        (resets.receiver_state == LAST_ACK)
        & (resets.is_bare != 0)
        & (resets.is_echo != 0)
        & ((resets.trigger_flags & FIN) != 0)
        & (resets.trigger_len == 0)
        & (resets.unacked_bytes == 0)
        & (resets.is_repeat == 0)
        & (resets.is_stale_ack_answer == 0)
        & (resets.is_syn_pending == 0)
    )


def fin_then_rst_same_seq(resets: Rows) -> Mask:
    """LA008: Linux accepts a RST one below RCV.NXT in these states (tcp_reset_check).

    A host whose socket is gone answers a segment that crosses its FIN with the same number: such a RST is not meant here.
    """
    waiting = (
        (resets.receiver_state == CLOSE_WAIT) | (resets.receiver_state == LAST_ACK) | (resets.receiver_state == CLOSING)
    )
    answers = (resets.is_echo != 0) & (resets.trigger_frame > resets.fin_frame)
    return waiting & (resets.fin_frame >= 0) & (resets.seq_delta == -1) & ~answers


def rst_from_last_ack(resets: Rows) -> Mask:
    """LA006."""
    step = (resets.is_syn_pending != 0) | (resets.is_stale_ack_answer != 0)
    return (resets.sender_state == LAST_ACK) & ~step & ~fin_then_rst_same_seq(resets)


def last_ack_stuck(anomalies: Rows) -> Mask:
    """LA007."""
    return anomalies.is_stuck != 0


_EVIDENCE = ("fin_frame", "time_wait_frame", "syn_frame", "answer_frame", "reset_frame", "retry_frame", "opened_frame")

SYN_HITS_LAST_ACK = Rule(
    id="LA001",
    name="syn-hits-last-ack",
    severity=WARNING,
    summary="A SYN arrived while the server was in LAST-ACK; it succeeded only after a challenge ACK, a RST and a retry.",
    table="reuses",
    predicate=syn_hits_last_ack,
    grades=(
        Grade(lambda r: went_whole_way(r) & (r.cost_ns >= STALL_NS), ERROR, CONFIRMED, "the delay was 1 s or longer"),
        Grade(went_whole_way, WARNING, CONFIRMED, "every step was captured"),
        Grade(always, WARNING, LIKELY, "a step was not captured"),
    ),
    message="SYN from {ip}:{port} challenged in LAST-ACK of {peer_ip}:{peer_port}[; {reset_frame:?}the client sent RST][; it retransmitted the SYN {syn_retries:time}][; it connected after {cost_ns}]",
    frames=_EVIDENCE,
    values=("gap_ns", "cost_ns", "isn_delta", "tsval_delta", "syn_retries"),
    set_when=(
        "the receiver has sent its FIN and has not got the ACK of it",
        "it answers the SYN with a challenge ACK: an ACK with the old sequence numbers",
    ),
    not_set_when=("the receiver had reached CLOSED", "the SYN belongs to the same connection"),
    rfc=("RFC 9293 3.10.7.4", "RFC 5961 4.2"),
    remedy="Find out where the final ACK is lost; reuse ports later (tcp_tw_reuse_delay).",
    example="syn-hits-last-ack",
    counter="TcpExtTCPSYNChallenge",
    key="attempt_id",
)

SYN_IGNORED_IN_LAST_ACK = Rule(
    id="LA002",
    name="syn-ignored-in-last-ack",
    severity=ERROR,
    summary="A SYN arrived while the server was in LAST-ACK, and got no useful answer.",
    table="reuses",
    predicate=syn_ignored_in_last_ack,
    grades=(Grade(always, ERROR, LIKELY),),
    message="SYN from {ip}:{port} got no useful answer in LAST-ACK of {peer_ip}:{peer_port}; the client retransmitted it {syn_retries:time}[; it connected after {cost_ns}]",
    frames=_EVIDENCE,
    values=("gap_ns", "syn_retries", "isn_delta", "tsval_delta"),
    set_when=("the receiver is in LAST-ACK", "the SYN is retransmitted before any answer other than a challenge ACK"),
    not_set_when=("the connection opens after challenge ACK, RST and retry: that is LA001",),
    rfc=("RFC 9293 3.10.7.4", "RFC 5961 4.2"),
    remedy="Let the firewall pass the challenge ACK and the RST that answers it.",
    example="syn-ignored-in-last-ack",
    rival="loss on the way",
    key="attempt_id",
    needs=(BOTH_DIRECTIONS, ACKS),
)

SYN_RESET_IN_LAST_ACK = Rule(
    id="LA003",
    name="syn-reset-in-last-ack",
    severity=ERROR,
    summary="A SYN arrived while the server was in LAST-ACK and was answered with RST: the connect failed.",
    table="reuses",
    predicate=syn_reset_in_last_ack,
    grades=(
        Grade(lambda r: r.receiver_state == LAST_ACK, ERROR, CONFIRMED),
        Grade(always, ERROR, LIKELY, "the capture shows the final ACK, but the FIN was retransmitted after it"),
    ),
    message="SYN from {ip}:{port} arrived in LAST-ACK of {peer_ip}:{peer_port} and was answered with RST",
    frames=_EVIDENCE,
    values=("gap_ns", "isn_delta", "tsval_delta"),
    set_when=("the receiver is in LAST-ACK", "it answers the SYN with RST"),
    not_set_when=("the receiver had reached CLOSED: that is an ordinary refusal",),
    rfc=("RFC 9293 3.10.7.4",),
    remedy="Upgrade the server's stack (it follows RFC 793), or reuse ports later.",
    example="syn-reset-in-last-ack",
    rival="a server that no longer listened",
    key="attempt_id",
    needs=(ACKS,),
)

LAST_ACK_LOST = Rule(
    id="LA004",
    name="last-ack-lost",
    severity=NOTICE,
    summary="The passive closer retransmitted its FIN although the capture shows the final ACK: it was lost after the capture point.",
    table="connections",
    predicate=last_ack_lost,
    grades=(Grade(always, NOTICE, CONFIRMED),),
    message="[{active_closer:=orig}{resp_ip}:{resp_port} did not get the final ACK from {orig_ip}:{orig_port}][{active_closer:=resp}{orig_ip}:{orig_port} did not get the final ACK from {resp_ip}:{resp_port}][ and retransmitted its FIN {fin_repeats:time}]",
    frames=("orig_fin_frame", "resp_fin_frame", "fin_acked_frame", "fin_repeat_frame"),
    values=("fin_repeats", "active_closer"),
    set_when=("the FIN is retransmitted more than one round trip after its ACK",),
    not_set_when=("FIN and ACK crossed", "the capture recorded one frame twice"),
    rfc=("RFC 9293 3.6", "RFC 9293 3.10.7.4"),
    remedy="Look for loss between the capture point and the passive closer.",
    example="last-ack-lost",
    counter="TcpRetransSegs",
    time="last_time",
    needs=(ACKS,),
)

RST_ON_LAST_ACK = Rule(
    id="LA005",
    name="rst-on-last-ack",
    severity=WARNING,
    summary="The passive closer's FIN was answered with RST: the other side no longer had the connection.",
    table="resets",
    predicate=rst_on_last_ack,
    grades=(Grade(always, WARNING, CONFIRMED),),
    message="{ip}:{port} answered the FIN of {peer_ip}:{peer_port} with RST: it no longer had the connection",
    frames=("peer_fin_frame", "fin_frame", "trigger_frame", "frame"),
    values=("sender_state", "trigger_gap_ns"),
    set_when=("the passive closer is in LAST-ACK", "the RST carries the FIN's ACK field as its sequence number"),
    not_set_when=(
        "the RST answers a challenge ACK after a SYN",
        "data arrived with the FIN or before it, after close(): RS003",
        "the sender had already sent a RST",
    ),
    rfc=("RFC 9293 3.5.2",),
    remedy="Close sooner than the peer's FIN-WAIT-2 timeout (tcp_fin_timeout), or find out what removed its TIME-WAIT socket.",
    example="rst-on-last-ack",
    needs=(ACKS,),
)

RST_FROM_LAST_ACK = Rule(
    id="LA006",
    name="rst-from-last-ack",
    severity=WARNING,
    summary="The passive closer gave up in LAST-ACK and sent RST.",
    table="resets",
    predicate=rst_from_last_ack,
    grades=(Grade(always, WARNING, CONFIRMED),),
    message="{ip}:{port} gave up in LAST-ACK and sent RST to {peer_ip}:{peer_port}",
    frames=("peer_fin_frame", "fin_frame", "frame"),
    values=("receiver_state", "trigger_gap_ns", "retransmits"),
    set_when=("the endpoint that sent its FIN second, and has not got the ACK of it, sends RST",),
    not_set_when=(
        "the RST answers a challenge ACK after a SYN",
        "it has the sequence number of the FIN: that is LA008",
    ),
    rfc=("RFC 9293 3.10.7.4",),
    remedy="Find out where the final ACK is lost; check orphan limits (tcp_orphan_retries, tcp_max_orphans) and killed processes.",
    example="rst-from-last-ack",
    counter="TcpExtTCPAbortOnMemory",
    needs=(BOTH_DIRECTIONS, ACKS),
)

LAST_ACK_STUCK = Rule(
    id="LA007",
    name="last-ack-stuck",
    severity=WARNING,
    summary="The passive closer retransmitted its FIN several times and got no answer.",
    table="anomalies",
    predicate=last_ack_stuck,
    grades=(Grade(always, WARNING, LIKELY),),
    message="{ip}:{port} retransmitted its FIN {fin_repeats:time}; nothing more came from {peer_ip}:{peer_port}",
    frames=("peer_fin_frame", "fin_frame", "last_frame"),
    values=("fin_repeats",),
    set_when=("the passive closer retransmits its FIN at least four times", "no segment from the peer follows"),
    not_set_when=("any segment came back",),
    rfc=("RFC 9293 3.8.3",),
    remedy="Check if the active closer is gone, or if a firewall has dropped the state of the connection.",
    example="last-ack-stuck",
    counter="TcpRetransSegs",
    rival="a capture point that sees one direction only",
    needs=(BOTH_DIRECTIONS, ACKS),
)

FIN_THEN_RST_SAME_SEQ = Rule(
    id="LA008",
    name="fin-then-rst-same-seq",
    severity=INFO,
    summary="An endpoint sent FIN and then RST with the same sequence number: macOS aborts like this.",
    table="resets",
    predicate=fin_then_rst_same_seq,
    grades=(Grade(always, INFO, CONFIRMED),),
    message="{ip}:{port} sent FIN and then RST with the same sequence number to {peer_ip}:{peer_port}",
    frames=("fin_frame", "frame"),
    values=("receiver_state",),
    set_when=("the RST is one below RCV.NXT", "the receiver has processed the sender's FIN"),
    not_set_when=("the RST is at RCV.NXT", "it answers a segment that arrived after the FIN: RS003"),
    rfc=("RFC 9293 3.5.3",),
    remedy="Nothing to do: Linux accepts it as a valid RST.",
    example="fin-then-rst-same-seq",
)

RULES = (
    SYN_HITS_LAST_ACK,
    SYN_IGNORED_IN_LAST_ACK,
    SYN_RESET_IN_LAST_ACK,
    LAST_ACK_LOST,
    RST_ON_LAST_ACK,
    RST_FROM_LAST_ACK,
    LAST_ACK_STUCK,
    FIN_THEN_RST_SAME_SEQ,
)
