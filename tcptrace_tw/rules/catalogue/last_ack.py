"""LA: LAST-ACK (RFC 9293 3.10.7.4, RFC 5961 4.2)."""

from tcptrace_tw.protocol.states import LAST_ACK
from tcptrace_tw.rules.decisions.reset_causes import INJECTED
from tcptrace_tw.rules.decisions.syn_answers import (
    HITS_LAST_ACK,
    IGNORED_IN_LAST_ACK,
    RESET_IN_LAST_ACK,
    STUCK_IN_LAST_ACK,
    is_accepted,
    never_worked,
    stalls,
    went_whole_way,
)
from tcptrace_tw.rules.predicates import STALL_NS, SYN_FRAMES
from tcptrace_tw.rules.reset_signs import fin_then_rst_same_seq, rst_from_last_ack, rst_on_last_ack
from tcptrace_tw.rules.rule import Advice, Grade, Mask, Rows, Rule, Wording, always
from tcptrace_tw.schema.observed import ACKS, BOTH_DIRECTIONS
from tcptrace_tw.schema.words import BOTH, CONFIRMED, ERROR, INFO, LIKELY, NONE, NOTICE, OUTCOME_REFUSED, WARNING


def syn_hits_last_ack(reuses: Rows) -> Mask:
    """LA001."""
    return reuses.verdict == HITS_LAST_ACK


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
        Grade(is_accepted, WARNING, LIKELY, "a step was not captured"),
        Grade(always, NOTICE, LIKELY, "nothing more came of the SYN"),
    ),
    message="SYN from {ip}:{port} challenged {?}in LAST-ACK of {peer_ip}:{peer_port}[; {reset_frame:?}the client sent RST][; it retransmitted the SYN {syn_retries:time}][; it connected after {cost_ns}]",
    frames=SYN_FRAMES,
    values=("gap_ns", "cost_ns", "isn_delta", "tsval_delta", "syn_retries"),
    set_when=(
        "the receiver has sent its FIN and has not got the ACK of it",
        "it answers the SYN with a challenge ACK: an ACK with the old sequence numbers",
    ),
    not_set_when=("the receiver had reached CLOSED", "the SYN belongs to the same connection"),
    rfc=("RFC 9293 3.10.7.4", "RFC 5961 4.2"),
    remedy="Find out where the final ACK is lost: capture on the server's side. Until then let the client reuse its source ports later: a wider net.ipv4.ip_local_port_range, on Linux 6.14 and later net.ipv4.tcp_tw_reuse_delay, no bound source port.",
    example="syn-hits-last-ack",
    counter="TcpExtTCPSYNChallenge",
    key="attempt_id",
)  # fmt: skip


def syn_ignored_in_last_ack(reuses: Rows) -> Mask:
    """LA002."""
    return (reuses.verdict == IGNORED_IN_LAST_ACK) | (reuses.verdict == STUCK_IN_LAST_ACK)


def is_cured_by_fin(reuses: Rows) -> Mask:
    """The receiver's FIN, sent again, drew a RST, which ended LAST-ACK."""
    return (reuses.fin_repeat_frame >= 0) & (reuses.reset_frame >= 0)


_IN_LAST_ACK = "{peer_ip}:{peer_port} was {?}in LAST-ACK and[ did not answer the SYN from {ip}:{port}{verdict:=ignored-in-last-ack}][ only sent a challenge ACK to {ip}:{port}{verdict:=stuck-in-last-ack}][; its retransmitted FIN drew a RST, which ended LAST-ACK{fin_repeat_frame:?}{reset_frame:?}]; the client retransmitted the SYN"

SYN_IGNORED_IN_LAST_ACK = Rule(
    id="LA002",
    name="syn-ignored-in-last-ack",
    severity=ERROR,
    summary="A SYN arrived while the server was in LAST-ACK, and got no useful answer.",
    table="reuses",
    predicate=syn_ignored_in_last_ack,
    grades=(
        Grade(stalls, ERROR, LIKELY, "the delay was 1 s or longer, or it never connected"),
        Grade(always, WARNING, LIKELY, "the delay was shorter, or the capture ended before it was known"),
    ),
    message=f"{_IN_LAST_ACK} {{syn_retries:time}} in {{waited_ns}}",
    wordings=(Wording(lambda r: r.cost_ns >= 0, "it connected", f"{_IN_LAST_ACK} {{syn_retries:time}}, and connected after {{cost_ns}}"),),
    frames=(*SYN_FRAMES[:3], "fin_repeat_frame", *SYN_FRAMES[3:]),
    values=("gap_ns", "cost_ns", "waited_ns", "syn_retries", "isn_delta", "tsval_delta", "outcome"),
    set_when=(
        "the receiver is in LAST-ACK, also where only its FIN, retransmitted after the SYN, shows that",
        "the SYN is retransmitted before any answer other than a challenge ACK",
    ),
    not_set_when=("the connection opens after challenge ACK, RST and retry: that is LA001",),
    rfc=("RFC 9293 3.10.7.4", "RFC 5961 4.2"),
    remedy="Capture on the server's side: it shows where the final ACK is lost, and whether the SYN arrives and is answered there. Until then let the client reuse its source ports later.",
    advice=(
        Advice(lambda r: r.verdict == STUCK_IN_LAST_ACK, "a challenge ACK came, and it did not help", "Let firewalls and conntrack between client and server pass the challenge ACK and the client's RST (net.netfilter.nf_conntrack_tcp_be_liberal=1 where they count as INVALID). Find out where the final ACK is lost."),
        Advice(is_cured_by_fin, "the retransmitted FIN ended it", "Find out where the final ACK is lost: capture on the server's side, which also shows if the server answers such a SYN. Until then let the client reuse its source ports later."),
    ),
    example="syn-ignored-in-last-ack",
    rival="an answer that was lost or filtered on its way; no Linux is known to stay silent here (before 3.6 it sent a duplicate ACK or a RST)",
    key="attempt_id",
    needs=(BOTH_DIRECTIONS, ACKS),
)  # fmt: skip


def syn_reset_in_last_ack(reuses: Rows) -> Mask:
    """LA003."""
    return reuses.verdict == RESET_IN_LAST_ACK


def is_shown(reuses: Rows) -> Mask:
    """The capture shows LAST-ACK itself."""
    return reuses.receiver_state == LAST_ACK


def failed(reuses: Rows) -> Mask:
    """The connect() failed: refused, or given up."""
    return (reuses.outcome == OUTCOME_REFUSED) | never_worked(reuses)


SYN_RESET_IN_LAST_ACK = Rule(
    id="LA003",
    name="syn-reset-in-last-ack",
    severity=ERROR,
    summary="A SYN arrived while the server was in LAST-ACK and was answered with RST: the connect failed or was delayed.",
    table="reuses",
    predicate=syn_reset_in_last_ack,
    grades=(
        Grade(
            lambda r: is_shown(r) & (failed(r) | stalls(r)),
            ERROR,
            CONFIRMED,
            "the connect failed, or took 1 s or longer",
        ),
        Grade(
            is_shown,
            WARNING,
            CONFIRMED,
            "the client drops such a RST (it does not acknowledge the SYN), and the delay was short or is not known",
        ),
        Grade(
            lambda r: (r.is_last_ack_lost != 0) & (failed(r) | stalls(r)),
            ERROR,
            LIKELY,
            "the capture shows the final ACK, but the FIN was retransmitted after it",
        ),
        Grade(
            lambda r: failed(r) | stalls(r),
            ERROR,
            LIKELY,
            "the connect failed, or took 1 s or longer; that the final ACK was lost after the capture point is the best explanation",
        ),
        Grade(always, WARNING, LIKELY, "the same, and the delay was short or is not known"),
    ),
    message="the SYN from {ip}:{port} to {peer_ip}:{peer_port}[, {gap_ns} after the last segment of the previous connection,] {?}met LAST-ACK[ (the final ACK had been lost){is_last_ack_likely:?}] and was answered with RST[; the client retransmitted the SYN {syn_retries:time}][; it connected after {cost_ns}]",
    wordings=(
        Wording(lambda r: r.outcome == OUTCOME_REFUSED, "the connect failed", "the connect from {ip}:{port} to {peer_ip}:{peer_port} failed: a RST refused it[ {gap_ns} after the last segment of the previous connection], {?}because the server was still in LAST-ACK[ (the final ACK had been lost){is_last_ack_likely:?}]"),
    ),
    frames=SYN_FRAMES,
    values=("gap_ns", "cost_ns", "isn_delta", "tsval_delta", "answer", "outcome"),
    set_when=(
        "the receiver is in LAST-ACK, and answers the SYN with RST",
        "or its FIN was acknowledged less than 1 s ago, as far as the capture shows: that ACK may have been lost, and the FIN was not yet due again",
        "or its RST carries the old sequence number: a host without the connection would have acknowledged the SYN",
    ),
    not_set_when=("the receiver had reached CLOSED for certain: that is an ordinary refusal, RS004",),
    rfc=("RFC 9293 3.10.7.4", "RFC 9293 3.5.2"),
    remedy="Find out where the final ACK is lost: capture on the server's side. A server that answers with RST follows RFC 793: Linux 3.6 and later send a challenge ACK instead. Until then let the client reuse its source ports later.",
    example="syn-reset-in-last-ack",
    rival="a server that had stopped listening at that moment",
    key="attempt_id",
    needs=(ACKS,),
)  # fmt: skip


def last_ack_lost(connections: Rows) -> Mask:
    """LA004."""
    repeated = connections.fin_repeat_frame >= 0
    if not repeated.any():  # as in most chunks
        return repeated
    return repeated & (connections.active_closer != BOTH) & (connections.active_closer != NONE)


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
        "FIN-WAIT-2 had lasted 1 s or longer: TW008; TIME-WAIT had begun: TW009",
        "the RST comes later than an answer can",
        "the sender had already sent a RST",
    ),
    rfc=("RFC 9293 3.5.2",),
    remedy="Find out what removed the other side's socket so soon after its close(): a full tcp_max_tw_buckets (nstat TcpExtTCPTimeWaitOverflow), TCP_LINGER2, a killed process, a device. If both sides had sent everything, nothing is lost.",
    example="rst-on-last-ack",
    needs=(ACKS,),
)


def had_no_answer(resets: Rows) -> Mask:
    """It had sent its FIN again, and nothing came back."""
    return resets.retransmits > 0


RST_FROM_LAST_ACK = Rule(
    id="LA006",
    name="rst-from-last-ack",
    severity=WARNING,
    summary="The passive closer gave up in LAST-ACK and sent RST.",
    table="resets",
    predicate=rst_from_last_ack,
    grades=(Grade(always, WARNING, CONFIRMED),),
    message="{ip}:{port} gave up in LAST-ACK and sent RST to {peer_ip}:{peer_port}[ after {retransmits:unanswered retransmission} of its FIN][; nothing had come from the peer for {trigger_gap_ns}]",
    frames=("peer_fin_frame", "fin_frame", "frame"),
    values=("receiver_state", "trigger_gap_ns", "retransmits"),
    set_when=(
        "the endpoint that sent its FIN second, and has not got the ACK of it, sends RST",
        "it had repeated the FIN, or waited for 1 s or longer",
    ),
    not_set_when=(
        "the RST follows the FIN at once: that is RS003",
        "the connection shows SYN, FIN and RST only",
        "the RST answers a challenge ACK after a SYN",
        "it has the sequence number of the FIN: that is LA008",
    ),
    rfc=("RFC 9293 3.10.7.4",),
    remedy="On the endpoint that sent the RST: look at the limits for orphans (net.ipv4.tcp_orphan_retries, tcp_max_orphans) and at killed processes; and find out where the final ACK is lost.",
    advice=(
        Advice(had_no_answer, "its FIN got no answer", "Find out where the FIN or the final ACK is lost: a firewall or NAT on the path that had let the connection go after the first FIN, or a peer that is gone. net.ipv4.tcp_orphan_retries says how often Linux tries."),
    ),
    example="rst-from-last-ack",
    counter="TcpExtTCPAbortOnMemory",
    needs=(BOTH_DIRECTIONS, ACKS),
)  # fmt: skip


def last_ack_stuck(anomalies: Rows) -> Mask:
    """LA007."""
    return anomalies.is_stuck != 0


LAST_ACK_STUCK = Rule(
    id="LA007",
    name="last-ack-stuck",
    severity=WARNING,
    summary="The passive closer retransmitted its FIN several times and got no answer.",
    table="anomalies",
    predicate=last_ack_stuck,
    grades=(Grade(always, WARNING, LIKELY),),
    message="{ip}:{port} retransmitted its FIN {fin_repeats:time} in LAST-ACK, and nothing more came from {peer_ip}:{peer_port}, which was {?}gone",
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


def fin_then_rst(resets: Rows) -> Mask:
    """LA008: not where the RST is another host's."""
    return fin_then_rst_same_seq(resets) & (resets.verdict != INJECTED)


FIN_THEN_RST_SAME_SEQ = Rule(
    id="LA008",
    name="fin-then-rst-same-seq",
    severity=INFO,
    summary="An endpoint sent FIN and then RST with the same sequence number: macOS aborts like this.",
    table="resets",
    predicate=fin_then_rst,
    grades=(Grade(always, INFO, CONFIRMED),),
    message="{ip}:{port} sent FIN and then RST with the same sequence number to {peer_ip}:{peer_port}",
    frames=("fin_frame", "frame"),
    values=("receiver_state",),
    set_when=("the RST is one below RCV.NXT", "the receiver has processed the sender's FIN"),
    not_set_when=(
        "the RST is at RCV.NXT",
        "it answers a segment that arrived after the FIN, or text that crossed it: RS003",
    ),
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
