"""RU: a tuple is used again inside 2MSL, and what became of it (RFC 9293 3.6.1, RFC 6191).

The decision table, in this order; ``holder`` is who had been in TIME-WAIT in the earlier incarnation:

=================  ===============  ==============================  =======
SYN comes from     gap              what follows                    rule
=================  ===============  ==============================  =======
the holder         below 2MSL       ISN or TSecr prove Linux reuse  RU001
the holder         below 2MSL       neither                         RU002
the holder's peer  in TIME-WAIT     SYN+ACK                         RU003
the holder's peer  in TIME-WAIT     ACK of the old numbers          RU004
the holder's peer  in TIME-WAIT     nothing before the SYN again    RU005
the holder's peer  in TIME-WAIT     RST                             RU006
either             above 2MSL       anything                        RU007
either             no TIME-WAIT     ended by RST or refusal         RU010
either             not ended        old numbers, RST, or nothing    RU011
=================  ===============  ==============================  =======
"""

from tcptrace_tw.protocol.states import CLOSE_WAIT, CLOSING, ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, TIME_WAIT
from tcptrace_tw.rules.rule import Grade, Mask, Rows, Rule, always
from tcptrace_tw.schema.words import (
    ACCEPT,
    ANSWER_CHALLENGE,
    ANSWER_NONE,
    ANSWER_RST,
    ANSWER_SYN_ACK,
    CONFIRMED,
    ERROR,
    INFO,
    LIKELY,
    NONE,
    NOTICE,
    PREDICTED,
    WARNING,
)

SURE_GAP_NS = 30_000_000_000
"""Below this gap every common stack is still inside its 2MSL."""

STALL_NS = 1_000_000_000
"""From here on somebody notices."""

IN_VAIN = 2
"""A SYN repeated so often in vain is a connect() that does not come about."""


def is_inside(reuses: Rows) -> Mask:
    """Less than 2MSL since TIME-WAIT began anew."""
    return reuses.gap_ns < reuses.two_msl_ns


def met_time_wait(reuses: Rows) -> Mask:
    """The receiver of the SYN was in TIME-WAIT, and its sender was not."""
    return (reuses.receiver_state == TIME_WAIT) & (reuses.is_by_holder == 0)


def is_ignored_at_first(reuses: Rows) -> Mask:
    """Nothing answered the first SYN: it was sent again, in vain or until a SYN+ACK came."""
    silent = (reuses.answer == ANSWER_NONE) | (reuses.answer == ANSWER_SYN_ACK)
    ignored: Mask = silent & (reuses.syn_retries > 0)
    return ignored


def refused_at_first(reuses: Rows) -> Mask:
    """The SYN was sent again, and not because it was lost: the stack would not take it, or nothing ever came."""
    return (reuses.syn_retries > 0) & ((reuses.acceptance != ACCEPT) | (reuses.opened_frame < 0))


def tw_reuse_by_holder(reuses: Rows) -> Mask:
    """RU001."""
    return (reuses.is_by_holder != 0) & is_inside(reuses) & (reuses.is_linux_tw_reuse != 0)


def reuse_inside_2msl(reuses: Rows) -> Mask:
    """RU002."""
    return (reuses.is_by_holder != 0) & is_inside(reuses) & (reuses.is_linux_tw_reuse == 0)


def tw_syn_accepted(reuses: Rows) -> Mask:
    """RU003."""
    return met_time_wait(reuses) & (reuses.answer == ANSWER_SYN_ACK) & ~refused_at_first(reuses)


def tw_syn_challenged(reuses: Rows) -> Mask:
    """RU004."""
    return met_time_wait(reuses) & (reuses.answer == ANSWER_CHALLENGE)


def tw_syn_dropped(reuses: Rows) -> Mask:
    """RU005."""
    return met_time_wait(reuses) & is_ignored_at_first(reuses) & refused_at_first(reuses)


def tw_syn_refused(reuses: Rows) -> Mask:
    """RU006."""
    waiting = (reuses.receiver_state == TIME_WAIT) | (reuses.receiver_state == FIN_WAIT_2)
    return waiting & (reuses.is_by_holder == 0) & (reuses.answer == ANSWER_RST)


def reuse_after_rst(reuses: Rows) -> Mask:
    """RU010."""
    return (reuses.is_previous_reset != 0) & (reuses.holder == NONE) & is_inside(reuses)


def is_ended(reuses: Rows) -> Mask:
    """The earlier incarnation was over: a TIME-WAIT that began, or a RST."""
    return (reuses.holder != NONE) | (reuses.is_previous_reset != 0)


def tuple_reused_after_2msl(reuses: Rows) -> Mask:
    """RU007."""
    return is_ended(reuses) & ~is_inside(reuses)


def old_syn_duplicate(connections: Rows) -> Mask:
    """RU008."""
    return connections.old_syn_frame >= 0


def old_duplicate_in_new_incarnation(reuses: Rows) -> Mask:
    """RU009."""
    return reuses.old_duplicate_frame >= 0


def syn_into_established(reuses: Rows) -> Mask:
    """RU011: the answer shows that the receiver still had the old connection."""
    state = reuses.receiver_state
    alive = (
        (state == ESTABLISHED)
        | (state == FIN_WAIT_1)
        | (state == CLOSE_WAIT)
        | (state == CLOSING)
        | (state == FIN_WAIT_2)
    )
    silent = (reuses.answer == ANSWER_NONE) & (reuses.syn_retries > 0)
    return alive & (
        (reuses.answer == ANSWER_CHALLENGE) | ((reuses.answer == ANSWER_RST) & (state != FIN_WAIT_2)) | silent
    )


def isn_not_above_last(reuses: Rows) -> Mask:
    """RU012."""
    saved = (reuses.has_ts != 0) & (reuses.previous_ts_ok != 0) & (reuses.tsval_delta > 0)
    return (
        met_time_wait(reuses) & is_inside(reuses) & (reuses.isn_delta <= 0) & saved & (reuses.answer == ANSWER_SYN_ACK)
    )


def went_whole_way(reuses: Rows) -> Mask:
    """All steps of the detour were captured: answer, RST, SYN again, SYN+ACK."""
    return (
        (reuses.answer_frame >= 0) & (reuses.reset_frame >= 0) & (reuses.syn_retries > 0) & (reuses.opened_frame >= 0)
    )


def stalls(reuses: Rows) -> Mask:
    """It took a second or more, or never worked although the SYN was repeated."""
    return (reuses.cost_ns >= STALL_NS) | never_worked(reuses)


def never_worked(reuses: Rows) -> Mask:
    """Twice and more in vain; with fewer tries the capture may only have ended too soon."""
    return (reuses.opened_frame < 0) & (reuses.syn_retries >= IN_VAIN)


_EVIDENCE = ("fin_frame", "time_wait_frame", "syn_frame", "answer_frame", "reset_frame", "retry_frame", "opened_frame")

TW_REUSE_BY_HOLDER = Rule(
    id="RU001",
    name="tw-reuse-by-holder",
    severity=INFO,
    summary="Linux connected over its own TIME-WAIT (tcp_tw_reuse, or a bound source port).",
    table="reuses",
    predicate=tw_reuse_by_holder,
    grades=(Grade(always, INFO, CONFIRMED, "ISN or TSecr cannot be a coincidence"),),
    message="{ip}:{port} connected to {peer_ip}:{peer_port} over its own TIME-WAIT after {gap_ns}",
    frames=_EVIDENCE,
    values=("gap_ns", "isn_delta", "tsval_delta", "tsecr"),
    set_when=(
        "the holder itself sends the SYN, less than 2MSL after the last restart",
        "ISN = old SND.NXT + 65537, or TSecr is the last TSval that the holder had accepted",
    ),
    not_set_when=("neither proof is there: that is RU002",),
    rfc=("RFC 6191", "RFC 9293 3.6.1"),
    remedy="Nothing: timestamps protect it.",
    example="tw-reuse-by-holder",
    counter="TcpExtTWRecycled",
    key="attempt_id",
)

REUSE_INSIDE_2MSL = Rule(
    id="RU002",
    name="reuse-inside-2msl",
    severity=NOTICE,
    summary="A tuple was reused before 2MSL had passed.",
    table="reuses",
    predicate=reuse_inside_2msl,
    grades=(
        Grade(
            lambda r: (r.has_ts == 0) & (r.previous_ts_ok == 0) & (r.gap_ns < SURE_GAP_NS), WARNING, CONFIRMED,
            "nothing but the ISN tells old from new",
        ),
        Grade(lambda r: (r.has_ts == 0) & (r.previous_ts_ok == 0), WARNING, LIKELY),
        Grade(lambda r: r.gap_ns < SURE_GAP_NS, NOTICE, CONFIRMED, "inside 2MSL for every common stack"),
        Grade(always, NOTICE, LIKELY, "the host's 2MSL may be shorter than the profile's"),
    ),
    message="{ip}:{port} connected to {peer_ip}:{peer_port} again {gap_ns} after its own TIME-WAIT had begun, before 2MSL had passed",
    frames=_EVIDENCE,
    values=("gap_ns", "two_msl_ns", "isn_delta", "tsval_delta"),
    set_when=("the holder itself sends the SYN", "less than 2MSL since the last restart of TIME-WAIT"),
    not_set_when=("ISN = old SND.NXT + 65537: that is RU001", "the SYN is a retransmission or was captured late"),
    rfc=("RFC 9293 3.6.1", "RFC 6191"),
    remedy="Widen the port range or pool connections.",
    example="reuse-inside-2msl",
    key="attempt_id",
)  # fmt: skip

TW_SYN_ACCEPTED = Rule(
    id="RU003",
    name="tw-syn-accepted",
    severity=INFO,
    summary="A SYN reopened the connection from TIME-WAIT.",
    table="reuses",
    predicate=tw_syn_accepted,
    grades=(
        Grade(lambda r: (r.acceptance != ACCEPT) & (r.is_linux_tw_accept != 0), NOTICE, CONFIRMED),
        Grade(lambda r: r.acceptance != ACCEPT, NOTICE, LIKELY, "the profile's stack would not have accepted it"),
        Grade(always, INFO, CONFIRMED),
    ),
    message="{peer_ip}:{peer_port} left TIME-WAIT for a new SYN of {ip}:{port} after {gap_ns}",
    frames=_EVIDENCE,
    values=("gap_ns", "isn_delta", "tsval_delta", "answer_isn_delta", "acceptance"),
    set_when=("the holder's peer sends a SYN into TIME-WAIT", "the holder answers SYN+ACK"),
    not_set_when=("the SYN comes after 2MSL", "an ACK or RST came first: RU004, RU006"),
    rfc=("RFC 6191", "RFC 9293 3.6.1"),
    remedy="Nothing: this is what timestamps and a rising ISN are for.",
    example="tw-syn-accepted",
    key="attempt_id",
)

TW_SYN_CHALLENGED = Rule(
    id="RU004",
    name="tw-syn-challenged",
    severity=WARNING,
    summary="A SYN met TIME-WAIT and took the detour over a stale ACK and a RST.",
    table="reuses",
    predicate=tw_syn_challenged,
    grades=(
        Grade(lambda r: went_whole_way(r) & stalls(r), ERROR, CONFIRMED, "a second or more was lost"),
        Grade(went_whole_way, WARNING, CONFIRMED, "every step was captured"),
        Grade(stalls, ERROR, LIKELY, "it took a second or more, or never worked"),
        Grade(always, WARNING, LIKELY, "a step is missing"),
    ),
    message="the SYN of {ip}:{port} met TIME-WAIT of {peer_ip}:{peer_port}, which answered with an ACK of the old connection[; {reset_frame:?}a RST followed][; the SYN was repeated {syn_retries:time}][; it was accepted after {cost_ns}]",
    frames=_EVIDENCE,
    values=("gap_ns", "cost_ns", "isn_delta", "tsval_delta", "syn_retries", "acceptance"),
    set_when=("the holder's peer sends a SYN into TIME-WAIT", "the first answer is an ACK with the old numbers"),
    not_set_when=("the first answer is SYN+ACK: that is RU003",),
    rfc=("RFC 9293 3.10.7.4", "RFC 5961 4.2"),
    remedy="Keep timestamps on, let the client close first, and see PA004 if the timestamp was lower.",
    example="tw-syn-challenged",
    counter="TcpExtPAWSTimewait",
    key="attempt_id",
)

TW_SYN_DROPPED = Rule(
    id="RU005",
    name="tw-syn-dropped",
    severity=WARNING,
    summary="A SYN into TIME-WAIT got no answer.",
    table="reuses",
    predicate=tw_syn_dropped,
    grades=(
        Grade(never_worked, ERROR, LIKELY, "the connection never came about"),
        Grade(always, WARNING, LIKELY),
    ),
    message="the SYN of {ip}:{port} into TIME-WAIT of {peer_ip}:{peer_port} got no answer and was repeated {syn_retries:time}[; it was accepted after {cost_ns}]",
    frames=_EVIDENCE,
    values=("gap_ns", "syn_retries", "isn_delta", "tsval_delta", "acceptance"),
    set_when=("the holder's peer sends a SYN into TIME-WAIT", "nothing answers before the SYN is sent again"),
    not_set_when=("an ACK or a RST answers it: RU004, RU006",),
    rfc=("RFC 6191",),
    remedy="Keep timestamps on; look for a firewall that drops the challenge ACK.",
    example="tw-syn-dropped",
    rival="loss on the way, or a firewall that drops the answer",
    key="attempt_id",
)

TW_SYN_REFUSED = Rule(
    id="RU006",
    name="tw-syn-refused",
    severity=WARNING,
    summary="A SYN into TIME-WAIT or FIN-WAIT-2 was answered by RST.",
    table="reuses",
    predicate=tw_syn_refused,
    grades=(Grade(always, WARNING, CONFIRMED),),
    message="the SYN of {ip}:{port} met {peer_ip}:{peer_port} in {receiver_state} and was answered by RST",
    frames=_EVIDENCE,
    values=("gap_ns", "receiver_state", "isn_delta"),
    set_when=("the peer's endpoint is in TIME-WAIT or FIN-WAIT-2", "the answer to the SYN is a RST"),
    not_set_when=("the tuple had ended before: that is an ordinary refusal",),
    rfc=("RFC 9293 3.10.7.4",),
    remedy="Check that the listener is still there; close() both ways.",
    example="tw-syn-refused",
    key="attempt_id",
)

REUSE_AFTER_RST = Rule(
    id="RU010",
    name="reuse-after-rst",
    severity=INFO,
    summary="A tuple was reused whose earlier incarnation had ended by RST: no TIME-WAIT protected it.",
    table="reuses",
    predicate=reuse_after_rst,
    grades=(Grade(always, INFO, CONFIRMED),),
    message="{ip}:{port} connected to {peer_ip}:{peer_port} again {gap_ns} after a RST had ended the earlier connection",
    frames=_EVIDENCE,
    values=("gap_ns", "isn_delta"),
    set_when=("the earlier incarnation ended by RST or was refused", "less than 2MSL ago"),
    not_set_when=("one end had been in TIME-WAIT",),
    rfc=("RFC 1337",),
    remedy="Avoid SO_LINGER 0.",
    example="reuse-after-rst",
    key="attempt_id",
)

TUPLE_REUSED_AFTER_2MSL = Rule(
    id="RU007",
    name="tuple-reused-after-2msl",
    severity=INFO,
    summary="A tuple was reused soon after 2MSL had passed.",
    table="reuses",
    predicate=tuple_reused_after_2msl,
    grades=(Grade(always, INFO, CONFIRMED),),
    message="{ip}:{port} connected to {peer_ip}:{peer_port} again {gap_ns} after the earlier connection, when 2MSL had passed",
    frames=_EVIDENCE,
    values=("gap_ns", "two_msl_ns", "isn_delta"),
    set_when=("2MSL and more, but less than one and a half times 2MSL, since the earlier incarnation",),
    not_set_when=("the earlier incarnation had not ended: that is RU011",),
    rfc=("RFC 9293 3.6.1",),
    remedy="Nothing; many of them mean that ports are scarce: see PE003.",
    example="tuple-reused-after-2msl",
    key="attempt_id",
)

OLD_SYN_DUPLICATE = Rule(
    id="RU008",
    name="old-syn-duplicate",
    severity=NOTICE,
    summary="The SYN of a finished handshake was seen again.",
    table="connections",
    predicate=old_syn_duplicate,
    grades=(Grade(always, NOTICE, CONFIRMED),),
    message="the SYN of {orig_ip}:{orig_port} to {resp_ip}:{resp_port} came again after the handshake",
    frames=("orig_syn_frame", "old_syn_frame"),
    values=("syn_retries",),
    set_when=("a SYN with the ISN of the connection comes after its sender was ESTABLISHED",),
    not_set_when=("the handshake was not finished: a retransmission", "the frame is a copy that the capture made"),
    rfc=("RFC 9293 3.5",),
    remedy="A loop in the network, a late copy, or a tap that reorders.",
    example="old-syn-duplicate",
    time="first_time",
)

OLD_DUPLICATE_IN_NEW_INCARNATION = Rule(
    id="RU009",
    name="old-duplicate-in-new-incarnation",
    severity=ERROR,
    summary="A segment of the earlier incarnation came into the next one of its tuple.",
    table="reuses",
    predicate=old_duplicate_in_new_incarnation,
    grades=(
        Grade(lambda r: r.is_old_duplicate_disowned != 0, ERROR, LIKELY, "its bytes were acknowledged, and its sender goes on from before it"),
        Grade(lambda r: r.old_duplicate_taken_frame >= 0, ERROR, CONFIRMED, "an ACK or SACK of its bytes"),
        Grade(lambda r: r.is_old_duplicate_rejected != 0, INFO, CONFIRMED, "timestamps refuse it"),
        Grade(lambda r: r.old_duplicate_refused_frame >= 0, INFO, CONFIRMED, "an ACK that stays below it, or a D-SACK"),
        Grade(lambda r: r.is_old_duplicate_in_window != 0, ERROR, LIKELY, "nothing keeps its bytes out"),
        Grade(always, INFO, CONFIRMED, "it lies outside the window"),
    ),
    message="{old_duplicates:segment} of the earlier connection of {ip}:{port} and {peer_ip}:{peer_port} came into the new one",
    frames=(
        "fin_frame", "syn_frame", "opened_frame", "old_duplicate_frame", "old_duplicate_taken_frame",
        "old_duplicate_refused_frame",
    ),
    values=("gap_ns", "old_duplicates", "is_old_duplicate_in_window", "is_old_duplicate_rejected"),
    set_when=(
        "data with sequence numbers or an ACK field of the earlier incarnation and not of this one",
        "or with numbers of both, acknowledged by the receiver and not known to its sender",
    ),
    not_set_when=("the bytes are a retransmission of this incarnation",),
    rfc=("RFC 7323 B", "RFC 1337", "RFC 2883"),
    remedy="Turn timestamps on; keep TIME-WAIT.",
    example="old-duplicate-in-new-incarnation",
    key="attempt_id",
)  # fmt: skip

SYN_INTO_ESTABLISHED = Rule(
    id="RU011",
    name="syn-into-established",
    severity=WARNING,
    summary="A new SYN met a peer that still had the old connection.",
    table="reuses",
    predicate=syn_into_established,
    grades=(
        Grade(lambda r: r.answer == ANSWER_CHALLENGE, WARNING, CONFIRMED, "a challenge ACK with the old numbers"),
        Grade(lambda r: r.answer == ANSWER_RST, WARNING, LIKELY),
        Grade(always, WARNING, PREDICTED, "nothing came back"),
    ),
    message="a new SYN of {ip}:{port} met {peer_ip}:{peer_port}, which was in {receiver_state}[ and answered with an ACK of the old connection{answer:=challenge-ack}][ and answered with RST{answer:=rst}][ and did not answer{answer:=none}]",
    frames=_EVIDENCE,
    values=("receiver_state", "gap_ns", "cost_ns", "isn_delta", "answer", "is_old_alive"),
    set_when=(
        "the receiver is synchronised and has not sent its last FIN",
        "it answers with its old numbers, or not at all",
    ),
    not_set_when=(
        "the SYN is one of the same incarnation",
        "a SYN+ACK comes at once: the receiver had forgotten the old connection",
    ),
    rfc=("RFC 9293 3.5.1", "RFC 5961 4.2"),
    remedy="A restart of the client, a NAT that forgets too soon, or a forged SYN; keep-alives find half-open connections.",
    example="syn-into-established",
    counter="TcpExtTCPSYNChallenge",
    key="attempt_id",
)

ISN_NOT_ABOVE_LAST = Rule(
    id="RU012",
    name="isn-not-above-last",
    severity=NOTICE,
    summary="A SYN into TIME-WAIT had an ISN that is not above the old sequence numbers: only its timestamp let it in.",
    table="reuses",
    predicate=isn_not_above_last,
    grades=(Grade(always, NOTICE, CONFIRMED),),
    message="the ISN of {ip}:{port} is {isn_delta:#} below the next sequence number of its earlier connection to {peer_ip}:{peer_port}; only the timestamp let it in",
    frames=_EVIDENCE,
    values=("isn_delta", "tsval_delta", "gap_ns"),
    set_when=("the SYN was accepted out of TIME-WAIT", "ISN <= RCV.NXT, TSval newer"),
    not_set_when=("the ISN is above",),
    rfc=("RFC 6528", "RFC 1122 4.2.2.13"),
    remedy="A broken ISN generator, several hosts behind one address, or more than 2 GB sent in the earlier connection.",
    example="isn-not-above-last",
    key="attempt_id",
)

RULES = (
    TW_REUSE_BY_HOLDER,
    REUSE_INSIDE_2MSL,
    TW_SYN_ACCEPTED,
    TW_SYN_CHALLENGED,
    TW_SYN_DROPPED,
    TW_SYN_REFUSED,
    TUPLE_REUSED_AFTER_2MSL,
    OLD_SYN_DUPLICATE,
    OLD_DUPLICATE_IN_NEW_INCARNATION,
    REUSE_AFTER_RST,
    SYN_INTO_ESTABLISHED,
    ISN_NOT_ABOVE_LAST,
)
