"""RU: a SYN arrived in TIME-WAIT, and what answered it (RFC 9293 3.6.1, RFC 6191).

``decisions/syn_answers.py`` has the decision table.
"""

from tcptrace_tw.rules.decisions.syn_answers import (
    ACCEPTED_IN_TIME_WAIT,
    CHALLENGED_IN_TIME_WAIT,
    DROPPED_IN_TIME_WAIT,
    REFUSED_WHILE_WAITING,
    is_accepted,
    met_time_wait,
    never_worked,
    stalls,
    went_whole_way,
)
from tcptrace_tw.rules.predicates import SYN_FRAMES, is_inside
from tcptrace_tw.rules.rule import Advice, Grade, Mask, Rows, Rule, Wording, always, is_observed
from tcptrace_tw.schema.observed import ACKS, BOTH_DIRECTIONS, OPENING, OPTIONS, PAYLOAD
from tcptrace_tw.schema.words import (
    ACCEPT,
    ACCEPT_PAWS_REJECT,
    ANSWER_SYN_ACK,
    CONFIRMED,
    ERROR,
    INFO,
    LIKELY,
    NOTICE,
    WARNING,
)


def tw_syn_accepted(reuses: Rows) -> Mask:
    """RU003."""
    return reuses.verdict == ACCEPTED_IN_TIME_WAIT


TW_SYN_ACCEPTED = Rule(
    id="RU003",
    name="tw-syn-accepted",
    severity=INFO,
    summary="A SYN arrived in TIME-WAIT and was accepted as a new connection.",
    table="reuses",
    predicate=tw_syn_accepted,
    grades=(
        Grade(lambda r: (r.acceptance != ACCEPT) & (r.is_linux_tw_accept != 0), NOTICE, CONFIRMED),
        Grade(lambda r: r.acceptance != ACCEPT, NOTICE, LIKELY, "the profile's stack would not have accepted it"),
        Grade(always, INFO, CONFIRMED),
    ),
    message="{peer_ip}:{peer_port} accepted a SYN from {ip}:{port} {gap_ns} into TIME-WAIT",
    frames=SYN_FRAMES,
    values=("gap_ns", "isn_delta", "tsval_delta", "answer_isn_delta", "acceptance"),
    set_when=("a SYN arrives at the side in TIME-WAIT", "that side answers with SYN+ACK"),
    not_set_when=("the SYN arrives after 2MSL", "the first answer is an ACK or a RST: RU004, RU006"),
    rfc=("RFC 6191", "RFC 9293 3.6.1"),
    remedy="Nothing to do: timestamps and a rising ISN make this safe.",
    example="tw-syn-accepted",
    key="attempt_id",
)


def tw_syn_challenged(reuses: Rows) -> Mask:
    """RU004."""
    return reuses.verdict == CHALLENGED_IN_TIME_WAIT


def are_options_cut(reuses: Rows) -> Mask:
    """The snap length cut off options: what the timestamps were is not known."""
    return ~is_observed(reuses, OPTIONS)


def has_no_timestamp(reuses: Rows) -> Mask:
    """The SYN carries no timestamp."""
    return (reuses.has_ts == 0) & is_observed(reuses, OPTIONS)


def is_stale(reuses: Rows) -> Mask:
    """Its timestamp is older than the last one of the earlier connection."""
    return (reuses.acceptance == ACCEPT_PAWS_REJECT) & is_observed(reuses, OPTIONS)


_CHALLENGED = "SYN from {ip}:{port} challenged {gap_ns} into the TIME-WAIT of {peer_ip}:{peer_port}[, which lasts longer than 2MSL of the profile{is_outlived:?}]"

_RETRIED = "[; {reset_frame:?}the client sent RST][; it retransmitted the SYN {syn_retries:time}][; it connected after {cost_ns}]"


def is_seen_delayed(reuses: Rows) -> Mask:
    """The challenge ACK was captured, and so was the SYN+ACK after a retry: the client's RST would add nothing."""
    return (reuses.answer_frame >= 0) & (reuses.syn_retries > 0) & is_accepted(reuses)


TW_SYN_CHALLENGED = Rule(
    id="RU004",
    name="tw-syn-challenged",
    severity=WARNING,
    summary="A SYN arrived in TIME-WAIT and was challenged: the client had to send RST and retransmit the SYN.",
    table="reuses",
    predicate=tw_syn_challenged,
    grades=(
        Grade(lambda r: went_whole_way(r) & stalls(r), ERROR, CONFIRMED, "the delay was 1 s or longer"),
        Grade(went_whole_way, WARNING, CONFIRMED, "every step was captured"),
        Grade(lambda r: is_seen_delayed(r) & stalls(r), ERROR, CONFIRMED, "the challenge ACK and a delay of 1 s or longer were captured"),
        Grade(stalls, ERROR, LIKELY, "the delay was 1 s or longer, or it never connected"),
        Grade(always, WARNING, LIKELY, "a step was not captured"),
    ),
    message=f"{_CHALLENGED}[, because its timestamp was older than the last one{{acceptance:=paws-reject}}][, because its ISN was not above the old numbers and its timestamp not newer{{acceptance:=challenge}}]{_RETRIED}",
    wordings=(
        Wording(are_options_cut, "options were cut off", f"{_CHALLENGED} (the reason, its timestamp or its ISN, was cut off by the snap length){_RETRIED}"),
        Wording(has_no_timestamp, "no timestamp", f"{_CHALLENGED}[, because its ISN was not above the old numbers and it carries no timestamp{{acceptance:=challenge}}]{_RETRIED}"),
    ),
    frames=SYN_FRAMES,
    values=("gap_ns", "cost_ns", "isn_delta", "tsval_delta", "syn_retries", "acceptance"),
    set_when=(
        "a SYN arrives at the side in TIME-WAIT",
        "the first answer is a challenge ACK: an ACK with the old sequence numbers",
    ),
    not_set_when=("the first answer is SYN+ACK: that is RU003",),
    rfc=("RFC 9293 3.10.7.4", "RFC 5961 4.2"),
    remedy="Let the client reuse its source ports later (a wider net.ipv4.ip_local_port_range, more addresses or ports on a NAT), or let it close first: then the server holds no TIME-WAIT.",
    advice=(
        Advice(
            is_stale,
            "the timestamp of the SYN is older",
            "Several hosts behind one address, or a NAT with few ports: give the NAT more addresses or ports, and switch --random-fully off. One host: sysctl net.ipv4.tcp_timestamps=2 on it, which takes one clock for all connections. Or let the client close first, so that TIME-WAIT is on its side.",
        ),
        Advice(
            has_no_timestamp,
            "the SYN has no timestamp",
            "Switch TCP timestamps on at the client and the server (sysctl net.ipv4.tcp_timestamps=1), reuse source ports later, or let the client close first, so that TIME-WAIT is on its side.",
        ),
    ),
    example="tw-syn-challenged",
    counter="TcpExtPAWSTimewait",
    key="attempt_id",
)  # fmt: skip


def tw_syn_dropped(reuses: Rows) -> Mask:
    """RU005."""
    return reuses.verdict == DROPPED_IN_TIME_WAIT


TW_SYN_DROPPED = Rule(
    id="RU005",
    name="tw-syn-dropped",
    severity=WARNING,
    summary="A SYN arrived in TIME-WAIT and got no answer.",
    table="reuses",
    predicate=tw_syn_dropped,
    grades=(
        Grade(never_worked, ERROR, LIKELY, "it never connected"),
        Grade(always, WARNING, LIKELY),
    ),
    message="{peer_ip}:{peer_port}, {?}in TIME-WAIT, did not answer the SYN from {ip}:{port}, which was retransmitted {syn_retries:time} in {waited_ns}[; its timestamp was older than the last one: perhaps a server with tcp_tw_recycle (Linux before 4.12), which drops such SYNs in silence{acceptance:=paws-reject}][; its ISN was not above the old numbers: perhaps a stack that drops such SYNs in silence, as FreeBSD does{acceptance:=challenge}]",
    wordings=(
        Wording(lambda r: r.cost_ns >= 0, "it connected", "{peer_ip}:{peer_port}, {?}in TIME-WAIT, did not answer the SYN from {ip}:{port}, which was retransmitted {syn_retries:time}; it connected after {cost_ns}[; its timestamp was older than the last one: perhaps a server with tcp_tw_recycle (Linux before 4.12), which drops such SYNs in silence{acceptance:=paws-reject}][; its ISN was not above the old numbers: perhaps a stack that drops such SYNs in silence, as FreeBSD does{acceptance:=challenge}]"),
    ),
    frames=SYN_FRAMES,
    values=("gap_ns", "syn_retries", "waited_ns", "isn_delta", "tsval_delta", "acceptance", "outcome"),
    set_when=("a SYN arrives at the side in TIME-WAIT", "no answer comes before the SYN is retransmitted"),
    not_set_when=("an ACK or a RST answers it: RU004, RU006",),
    rfc=("RFC 6191",),
    remedy="Capture at the server to see if the SYN arrives and what answers it: a TIME-WAIT socket of Linux sends an ACK, so look for a firewall that drops the SYN or that ACK, and for loss.",
    advice=(
        Advice(is_stale, "the timestamp of the SYN is older", "If the server runs Linux before 4.12: sysctl -w net.ipv4.tcp_tw_recycle=0 there (nstat TcpExtPAWSPassive counts what it drops). Otherwise capture at the server: a TIME-WAIT socket of Linux answers such a SYN with an ACK, which a firewall may drop; one of FreeBSD is silent where the ISN is not above the old numbers either."),
    ),
    example="tw-syn-dropped",
    rival="loss on the way, or a firewall: one 4-tuple alone cannot tell them apart",
    key="attempt_id",
    needs=(BOTH_DIRECTIONS, ACKS),
)  # fmt: skip


def tw_syn_refused(reuses: Rows) -> Mask:
    """RU006."""
    return reuses.verdict == REFUSED_WHILE_WAITING


TW_SYN_REFUSED = Rule(
    id="RU006",
    name="tw-syn-refused",
    severity=WARNING,
    summary="A SYN arrived in TIME-WAIT or FIN-WAIT-2 and was answered with RST.",
    table="reuses",
    predicate=tw_syn_refused,
    grades=(
        Grade(lambda r: ~is_observed(r, OPENING), NOTICE, LIKELY, "who closed first was not captured"),
        Grade(lambda r: ~is_observed(r, PAYLOAD), WARNING, LIKELY, "only SYN, FIN and RST: the state may be another"),
        Grade(always, WARNING, CONFIRMED),
    ),
    message="SYN from {ip}:{port} arrived in {receiver_state} of {peer_ip}:{peer_port} and was answered with RST",
    frames=SYN_FRAMES,
    values=("gap_ns", "receiver_state", "isn_delta"),
    set_when=("the SYN arrives in TIME-WAIT or FIN-WAIT-2", "the answer is a RST"),
    not_set_when=("the previous connection had ended: that is an ordinary refusal",),
    rfc=("RFC 9293 3.10.7.4",),
    remedy="Check that the server still listens, and that the application calls close() for both directions.",
    example="tw-syn-refused",
    key="attempt_id",
)


def isn_not_above_last(reuses: Rows) -> Mask:
    """RU012."""
    saved = (reuses.has_ts != 0) & (reuses.previous_ts_ok != 0) & (reuses.tsval_delta > 0)
    return (
        met_time_wait(reuses) & is_inside(reuses) & (reuses.isn_delta <= 0) & saved & (reuses.answer == ANSWER_SYN_ACK)
    )


ISN_NOT_ABOVE_LAST = Rule(
    id="RU012",
    name="isn-not-above-last",
    severity=NOTICE,
    summary="A SYN in TIME-WAIT had an ISN not above the old sequence numbers: it was accepted only because of its timestamp.",
    table="reuses",
    predicate=isn_not_above_last,
    grades=(Grade(always, NOTICE, CONFIRMED),),
    message="the ISN of {ip}:{port} is {isn_delta:#} below the next sequence number of its previous connection to {peer_ip}:{peer_port}; the SYN was accepted only because of its timestamp",
    frames=SYN_FRAMES,
    values=("isn_delta", "tsval_delta", "gap_ns"),
    set_when=("the SYN was accepted in TIME-WAIT", "ISN <= RCV.NXT, TSval newer"),
    not_set_when=("the ISN is above",),
    rfc=("RFC 6528", "RFC 1122 4.2.2.13"),
    remedy="Look for a broken ISN generator, several hosts behind one address, or more than 2 GB sent in the previous connection.",
    example="isn-not-above-last",
    key="attempt_id",
)

RULES = (
    TW_SYN_ACCEPTED,
    TW_SYN_CHALLENGED,
    TW_SYN_DROPPED,
    TW_SYN_REFUSED,
    ISN_NOT_ABOVE_LAST,
)
