"""TW: TIME-WAIT that ended before 2MSL had passed (RFC 9293 3.6, 3.10.7.4; RFC 1337)."""

from tcptrace_tw.rules.reset_signs import tw_cut_short, tw_missing
from tcptrace_tw.rules.rule import Advice, Grade, Mask, Rows, Rule, Wording, always
from tcptrace_tw.schema.observed import ACKS, OPTIONS
from tcptrace_tw.schema.words import CONFIRMED, END_ASSASSINATED, LIKELY, NOTICE, PREDICTED, START_ACK, WARNING


def tw_assassinated(spans: Rows) -> Mask:
    """A RST ended TIME-WAIT, which an ACK of the FIN had shown; it was not part of a SYN's retry."""
    return (spans.end_reason == END_ASSASSINATED) & (spans.is_syn_pending == 0) & (spans.start_basis == START_ACK)


ANSWER_NS = 500_000_000
"""What comes later after an ACK was not drawn by it (RFC 1122 4.2.3.2)."""


def is_drawn_by_stray(spans: Rows) -> Mask:
    """An old segment had restarted TIME-WAIT just before: the ACK that answered it drew the RST."""
    is_stray = spans.restarts > spans.fin_repeats + spans.stale_syns
    return is_stray & (spans.restart >= 0) & (spans.end - spans.restart <= ANSWER_NS)


TW_ASSASSINATED = Rule(
    id="TW005",
    name="tw-assassinated",
    severity=WARNING,
    summary="A RST reached TIME-WAIT, and ends it where the kernel takes RSTs there: old segments can reach the next connection.",
    table="time_wait",
    predicate=tw_assassinated,
    grades=(
        Grade(
            lambda r: r.answered_frame >= 0,
            WARNING,
            CONFIRMED,
            "a later segment was answered as if the port were closed",
        ),
        Grade(
            always,
            NOTICE,
            PREDICTED,
            "the profile's stack lets an exact RST end TIME-WAIT; nothing shows that this one did",
        ),
    ),
    wordings=(
        Wording(
            lambda r: is_drawn_by_stray(r) & (r.answered_frame < 0),
            "an old segment had drawn the RST",
            "an old segment of {peer_ip}:{peer_port} reached {ip}:{port} in TIME-WAIT, and the ACK that answered it drew a RST, which {?}ended TIME-WAIT early (RFC 1337)",
        ),
    ),
    message="a RST from {peer_ip}:{peer_port} reached {ip}:{port} in TIME-WAIT before 2MSL had passed, and {?}ended it"
    "[: a later segment was answered as if the port were closed{answered_frame:?}]",
    frames=("start_frame", "restart_frame", "end_frame", "answered_frame"),
    values=("restarts", "two_msl_ns"),
    set_when=("a RST exactly at RCV.NXT reaches an endpoint in TIME-WAIT, and its timestamp is not stale",),
    not_set_when=(
        "the RST answers a challenge ACK after a SYN: that is RU004",
        "the RST is not at RCV.NXT, or its TSval is below TS.Recent",
        "the endpoint still answers as in TIME-WAIT (tcp_rfc1337 = 1)",
        "no ACK of the peer's FIN was captured: TIME-WAIT is only assumed",
    ),
    rfc=("RFC 1337", "RFC 9293 3.10.7.4"),
    remedy="On the side in TIME-WAIT: sysctl -w net.ipv4.tcp_rfc1337=1 makes it ignore RSTs, if this does harm. On the other side: find out why it sends a RST after it had closed (SO_LINGER 0, a killed process).",
    advice=(
        Advice(
            is_drawn_by_stray,
            "an old segment had drawn the RST",
            "On the side in TIME-WAIT: sysctl -w net.ipv4.tcp_rfc1337=1 makes it ignore RSTs. Look for what holds segments back so long (several paths, a retransmission of what had arrived).",
        ),
    ),
    example="tw-assassinated",
    time="end",
    needs=(ACKS, OPTIONS),
)

TW_CUT_SHORT = Rule(
    id="TW007",
    name="tw-cut-short",
    severity=NOTICE,
    summary="An endpoint answered with RST before the profile's 2MSL had passed: its TIME-WAIT had ended early.",
    table="resets",
    predicate=tw_cut_short,
    grades=(
        Grade(lambda r: r.is_time_wait_proved != 0, NOTICE, CONFIRMED),
        Grade(always, NOTICE, LIKELY, "only the FIN was captured, not its ACK"),
    ),
    message="{ip}:{port} should still have been in TIME-WAIT towards {peer_ip}:{peer_port}, but answered with RST {time_wait_gap_ns} after entering it",
    frames=("peer_fin_frame", "fin_frame", "trigger_frame", "frame"),
    values=("time_wait_gap_ns", "two_msl_ns"),
    set_when=("a bare RST answers a segment without FIN, less than 2MSL after TIME-WAIT began",),
    not_set_when=("a RST had ended TIME-WAIT: that is TW005", "the segment is the peer's FIN: that is TW009"),
    rfc=("RFC 9293 3.4.2", "RFC 9293 3.6.1"),
    remedy="Look for a stack with a shorter 2MSL (then give --two-msl), tcp_max_tw_buckets, tcp_tw_recycle, or a restart.",
    example="tw-cut-short",
    counter="TcpExtTCPTimeWaitOverflow",
)  # fmt: skip

TW_MISSING = Rule(
    id="TW009",
    name="tw-missing",
    severity=WARNING,
    summary="A retransmitted FIN got a RST inside 2MSL: the TIME-WAIT socket that should have answered it was gone.",
    table="resets",
    predicate=tw_missing,
    grades=(Grade(always, WARNING, CONFIRMED),),
    message="{ip}:{port} no longer had a TIME-WAIT socket for {peer_ip}:{peer_port} when the FIN was retransmitted, and answered with RST",
    frames=("peer_fin_frame", "fin_frame", "trigger_frame", "frame"),
    values=("time_wait_gap_ns", "two_msl_ns"),
    set_when=("the FIN is retransmitted less than 2MSL after TIME-WAIT began", "a bare RST answers it"),
    not_set_when=(
        "2MSL has passed",
        "no ACK of the FIN was captured: TIME-WAIT had never been reached",
    ),
    rfc=("RFC 9293 3.6", "RFC 9293 3.10.7.4"),
    remedy="Raise tcp_max_tw_buckets; find out if something removes sockets (ss --kill, a NAT entry that expires).",
    example="tw-missing",
    counter="TcpExtTCPTimeWaitOverflow",
    needs=(ACKS,),
)

RULES = (
    TW_ASSASSINATED,
    TW_CUT_SHORT,
    TW_MISSING,
)
