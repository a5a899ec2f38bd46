"""TW: the life of TIME-WAIT (RFC 9293 3.6, 3.10.7.4)."""

from tcptrace_tw.protocol.states import FIN_WAIT_2
from tcptrace_tw.protocol.states import TIME_WAIT as TIME_WAIT_STATE
from tcptrace_tw.rules.rule import Advice, Grade, Mask, Rows, Rule, Wording, always
from tcptrace_tw.schema.columns import FIN
from tcptrace_tw.schema.observed import ACKS, BOTH_DIRECTIONS, OPTIONS
from tcptrace_tw.schema.words import (
    BOTH,
    CONFIRMED,
    END_ASSASSINATED,
    INFO,
    LIKELY,
    NOTICE,
    PREDICTED,
    START_ACK,
    START_FIN,
    WARNING,
)


def tw_span(spans: Rows) -> Mask:
    """Every TIME-WAIT period."""
    return always(spans)


def simultaneous_close(connections: Rows) -> Mask:
    """Both ends entered FIN-WAIT-1."""
    return connections.active_closer == BOTH


def tw_restarted(spans: Rows) -> Mask:
    """A retransmitted FIN arrived in TIME-WAIT."""
    return spans.fin_repeats > 0


def tw_assassinated(spans: Rows) -> Mask:
    """A RST ended TIME-WAIT, which an ACK of the FIN had shown; it was not part of a SYN's retry."""
    return (spans.end_reason == END_ASSASSINATED) & (spans.is_syn_pending == 0) & (spans.start_basis == START_ACK)


def is_drawn_by_stray(spans: Rows) -> Mask:
    """An old segment had restarted TIME-WAIT just before: the ACK that answered it drew the RST."""
    is_stray = spans.restarts > spans.fin_repeats + spans.stale_syns
    return is_stray & (spans.restart >= 0) & (spans.end - spans.restart <= ANSWER_NS)


def tw_extended_by_stale_syn(spans: Rows) -> Mask:
    """TW006: one stale SYN is an ordinary retry; two or more keep TIME-WAIT alive."""
    return spans.stale_syns >= 2


def is_answered_as_closed(r: Rows) -> Mask:
    """A bare RST whose sequence number is the ACK field of its trigger, from an endpoint in TIME-WAIT."""
    return (r.sender_state == TIME_WAIT_STATE) & (r.is_bare != 0) & (r.is_echo != 0) & (r.is_syn_pending == 0)


def tw_cut_short(resets: Rows) -> Mask:
    """TW007."""
    return is_answered_as_closed(resets) & ((resets.trigger_flags & FIN) == 0)


def tw_missing(resets: Rows) -> Mask:
    """TW009."""
    # Not the FIN that began TIME-WAIT itself.
    again = (resets.trigger_frame != resets.peer_fin_frame) | (resets.time_wait_gap_ns > resets.trigger_gap_ns)
    proved = resets.is_time_wait_proved != 0
    return is_answered_as_closed(resets) & ((resets.trigger_flags & FIN) != 0) & again & proved


def is_time_wait_gone(resets: Rows) -> Mask:
    """Either of the two."""
    return tw_cut_short(resets) | tw_missing(resets)


def fin_wait_2_timeout_reset(resets: Rows) -> Mask:
    """TW008: a FIN gets a RST only after the timer has ended FIN-WAIT-2; data also if the socket was closed."""
    echo = (resets.is_bare != 0) & (resets.is_echo != 0) & (resets.has_plain != 0) & (resets.sender_state == FIN_WAIT_2)
    echo &= (resets.is_syn_pending == 0) & (resets.is_stale_ack_answer == 0)  # those answer a challenge ACK
    is_fin = ((resets.trigger_flags & FIN) != 0) & (resets.trigger_len == 0) & (resets.unacked_bytes == 0)
    is_late = resets.fin_wait_2_ns >= FIN_WAIT_2_NS
    waited = resets.fin_wait_2_ns >= SHORTEST_FIN_WAIT_2_NS
    return echo & (is_late | (is_fin & waited))


def half_close_long(anomalies: Rows) -> Mask:
    """TW011: who has sent a RST is gone, and nobody waits for the other side to close."""
    return (anomalies.half_closed_ns >= 0) & (anomalies.rst_frame < 0)


FIN_WAIT_2_NS = 60_000_000_000
"""The time that common stacks wait in FIN-WAIT-2 for the peer's FIN (Linux tcp_fin_timeout, FreeBSD finwait2_timeout)."""

ANSWER_NS = 500_000_000
"""What comes later after an ACK was not drawn by it (RFC 1122 4.2.3.2)."""

DAY_NS = 86_400_000_000_000

SHORTEST_FIN_WAIT_2_NS = 1_000_000_000
"""tcp_fin_timeout is set in whole seconds."""

TW_SPAN = Rule(
    id="TW001",
    name="tw-span",
    severity=INFO,
    summary="An endpoint was in TIME-WAIT.",
    table="time_wait",
    predicate=tw_span,
    grades=(
        Grade(lambda r: r.start_basis == START_ACK, INFO, CONFIRMED, "the ACK of the last FIN was captured"),
        Grade(lambda r: r.start_basis == START_FIN, INFO, LIKELY, "only the FIN was captured"),
        Grade(always, INFO, PREDICTED),
    ),
    message="{ip}:{port} was in TIME-WAIT towards {peer_ip}:{peer_port}[, restarted {restarts:time}]; {end_reason}",
    frames=("fin_frame", "start_frame", "restart_frame", "end_frame"),
    values=("holder", "start_basis", "restarts", "end_reason", "two_msl_ns"),
    set_when=("an endpoint that sent its FIN first, or at the same time, has received the peer's FIN",),
    not_set_when=("a RST ended the connection before both FINs were received", "the endpoint closed second"),
    rfc=("RFC 9293 3.6", "RFC 9293 3.10.7.4"),
    remedy="Nothing to do: TIME-WAIT protects the next connection on this 4-tuple. If there are many, pool connections or let the clients close first.",
    example="tw-span",
    counter="TcpExtTW",
    time="start",
    end_time="end",
)

SIMULTANEOUS_CLOSE = Rule(
    id="TW003",
    name="simultaneous-close",
    severity=INFO,
    summary="Both sides sent FIN before they received the other's FIN; both go through CLOSING to TIME-WAIT.",
    table="connections",
    predicate=simultaneous_close,
    grades=(Grade(always, INFO, CONFIRMED),),
    message="{orig_ip}:{orig_port} and {resp_ip}:{resp_port} closed at the same time",
    frames=("orig_fin_frame", "resp_fin_frame"),
    values=("orig_state", "resp_state"),
    set_when=("neither FIN acknowledges the other",),
    not_set_when=("one FIN acknowledges the other, however close they are in time",),
    rfc=("RFC 9293 3.6, case 3",),
    remedy="Nothing to do: TIME-WAIT on both sides is correct here.",
    example="simultaneous-close",
    time="last_time",
)

TW_RESTARTED = Rule(
    id="TW004",
    name="tw-restarted",
    severity=INFO,
    summary="A retransmitted FIN arrived in TIME-WAIT and restarted the 2MSL timer.",
    table="time_wait",
    predicate=tw_restarted,
    grades=(Grade(always, INFO, CONFIRMED),),
    message="{peer_ip}:{peer_port} retransmitted its FIN {fin_repeats:time} while {ip}:{port} was in TIME-WAIT, and restarted the 2MSL timer",
    frames=("fin_frame", "start_frame", "restart_frame"),
    values=("fin_repeats", "restarts"),
    set_when=("the peer's FIN is retransmitted after TIME-WAIT began",),
    not_set_when=("the capture recorded one frame twice",),
    rfc=("RFC 9293 3.10.7.4",),
    remedy="Find out where the final ACK is lost on its way to the passive closer.",
    example="tw-restarted",
    time="restart",
)

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
            "an old segment of {peer_ip}:{peer_port} reached {ip}:{port} in TIME-WAIT, and the ACK that answered it drew a RST, which ends TIME-WAIT early (RFC 1337) unless net.ipv4.tcp_rfc1337 is 1",
        ),
    ),
    message="a RST from {peer_ip}:{peer_port} reached {ip}:{port} in TIME-WAIT before 2MSL had passed, and would end it where the kernel "
    "takes RSTs in TIME-WAIT[; it did: a later segment was answered as if the port were closed{answered_frame:?}]",
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

TW_EXTENDED_BY_STALE_SYN = Rule(
    id="TW006",
    name="tw-extended-by-stale-syn",
    severity=WARNING,
    summary="SYNs with old timestamps keep restarting the TIME-WAIT of a server.",
    table="time_wait",
    predicate=tw_extended_by_stale_syn,
    grades=(Grade(always, WARNING, LIKELY, "the profile's stack restarts the 2MSL timer for them"),),
    message="{stale_syns:SYN} from {peer_ip}:{peer_port} with old timestamps extended the TIME-WAIT of {ip}:{port}",
    frames=("start_frame", "first_stale_syn_frame", "restart_frame"),
    values=("stale_syns", "restarts", "two_msl_ns"),
    set_when=("two or more SYNs with a TSval below TS.Recent arrive in one TIME-WAIT period",),
    not_set_when=(
        "the SYN is rejected because of its ISN: that does not restart the 2MSL timer",
        "a single SYN: that is PA004",
    ),
    rfc=("RFC 6191", "RFC 7323 5.3"),
    remedy="See PA004: several clocks behind one address, or a NAT that reuses its ports too early.",
    example="tw-extended-by-stale-syn",
    counter="TcpExtPAWSTimewait",
    time="restart",
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

FIN_WAIT_2_TIMEOUT_RESET = Rule(
    id="TW008",
    name="fin-wait-2-timeout-reset",
    severity=WARNING,
    summary="The peer sent FIN or data after FIN-WAIT-2 had timed out, and got a RST.",
    table="resets",
    predicate=fin_wait_2_timeout_reset,
    grades=(
        Grade(lambda r: r.fin_wait_2_ns >= FIN_WAIT_2_NS, WARNING, CONFIRMED),
        Grade(always, WARNING, LIKELY, "tcp_fin_timeout is shorter than its default, or the entry was removed"),
    ),
    message="{peer_ip}:{peer_port} sent again {fin_wait_2_ns} after it had acknowledged the FIN of {ip}:{port}, which had left FIN-WAIT-2 by then and answered with RST",
    frames=("fin_frame", "trigger_frame", "frame"),
    values=("fin_wait_2_ns", "fin_acked_gap_ns", "trigger_len"),
    set_when=("the sender's FIN was acknowledged", "60 s later or more, a FIN or data gets a bare RST", "or 1 s later or more, a FIN gets one"),
    not_set_when=(
        "data gets a RST sooner: the socket was closed for both directions, RS003",
        "the RST comes later than an answer can", "the connection shows SYN, FIN and RST only",
    ),
    rfc=("RFC 9293 3.6",),
    remedy="On the side that sent last: call close() soon after read() has returned 0. If the wait is intended, raise net.ipv4.tcp_fin_timeout on the other side, or let it call shutdown(SHUT_WR) instead of close().",
    example="fin-wait-2-timeout-reset",
    rival="a host or a device on the path that has lost the connection",
    needs=(ACKS,),
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

HALF_CLOSE_LONG = Rule(
    id="TW011",
    name="half-close-long",
    severity=NOTICE,
    summary="A connection was half-closed for 60 s or longer: one side in FIN-WAIT-2, the other in CLOSE-WAIT.",
    table="anomalies",
    predicate=half_close_long,
    grades=(
        Grade(lambda r: r.half_closed_ns < DAY_NS, NOTICE, CONFIRMED),
        Grade(always, NOTICE, LIKELY, "a day or longer: the clock of the capturing host may have jumped"),
    ),
    message="after {ip}:{port} had closed, {peer_ip}:{peer_port} stayed in CLOSE-WAIT for {half_closed_ns}[, until the capture ended, and sent nothing{is_left_open:?}]",
    frames=("fin_frame", "peer_fin_frame"),
    values=("half_closed_ns", "is_left_open"),
    set_when=("60 s or more between the FINs", "or no second FIN, although the capture continues for 60 s or longer"),
    not_set_when=("a RST ended the connection after the first FIN",),
    rfc=("RFC 9293 3.6.1",),
    remedy="On the side in CLOSE-WAIT: ss -tanp state close-wait names the process; look if its application forgot close(). If it still sends data, this is legal.",
    example="half-close-long",
    end_time="end_time",
    needs=(BOTH_DIRECTIONS,),
)

SERVER_CLOSES = 20
"""From this many closes on, the server's closing first is a pattern."""

LEFT_OPEN = 10
"""From this many connections left in CLOSE-WAIT on, it is a leak and not a single forgotten socket."""


def tw_on_server(services: Rows) -> Mask:
    """TW002: at least half of its closes."""
    return (services.closed_by_server >= SERVER_CLOSES) & (services.closed_by_server * 2 >= services.closed)


def tw_census_peak(holders: Rows) -> Mask:
    """TW010."""
    return holders.most_time_wait > 1


def close_wait_leak(services: Rows) -> Mask:
    """TW012."""
    return services.left_in_close_wait >= LEFT_OPEN


TW_ON_SERVER = Rule(
    id="TW002",
    name="tw-on-server",
    severity=NOTICE,
    summary="The server closes first and collects the TIME-WAIT sockets.",
    table="services",
    predicate=tw_on_server,
    grades=(Grade(always, NOTICE, CONFIRMED),),
    message="{ip}:{port} closed first in {closed_by_server:#} of {closed:connection}, so the TIME-WAIT sockets are on the server",
    frames=(),
    values=("connections", "closed", "closed_by_server"),
    set_when=("the server is the active closer of at least 20 connections, and of at least half of all that closed",),
    not_set_when=("the clients close first",),
    rfc=("RFC 9293 3.6",),
    remedy="Let the clients close first: raise the server's keep-alive request limit and idle timeout.",
    example="tw-on-server",
    counter="TcpExtTW",
    end_time="end_time",
)

TW_CENSUS_PEAK = Rule(
    id="TW010",
    name="tw-census-peak",
    severity=INFO,
    summary="Peak number of TIME-WAIT sockets on one address.",
    table="holders",
    predicate=tw_census_peak,
    grades=(Grade(always, INFO, CONFIRMED),),
    message="{ip} had at least {most_time_wait:TIME-WAIT socket} at once, {spans} in total",
    frames=(),
    values=("most_time_wait", "spans"),
    set_when=("two or more TIME-WAIT periods of one address are open at the end of the same second",),
    not_set_when=("one period ends before the next begins", "a RST ended the connections: they have no TIME-WAIT"),
    rfc=("RFC 9293 3.6",),
    remedy="Pool connections.",
    example="tw-census-peak",
    counter="TcpExtTW",
)

CLOSE_WAIT_LEAK = Rule(
    id="TW012",
    name="close-wait-leak",
    severity=WARNING,
    summary="A server leaves many connections in CLOSE-WAIT: its application never closes them.",
    table="services",
    predicate=close_wait_leak,
    grades=(Grade(always, WARNING, LIKELY),),
    message="{ip}:{port} left {left_in_close_wait:connection} in CLOSE-WAIT for 60 s or longer",
    frames=("fin_frame",),
    values=("left_in_close_wait", "connections"),
    set_when=(
        "at least ten connections that the client closed 60 s ago or earlier, and on which the server has sent nothing since",
    ),
    not_set_when=("the server closes, or still sends",),
    rfc=("RFC 9293 3.6",),
    remedy="An application bug on the server: call close() once read() returns 0. There ss -tanp state close-wait names the process.",
    example="close-wait-leak",
    end_time="end_time",
)

RULES = (
    TW_SPAN,
    TW_ON_SERVER,
    SIMULTANEOUS_CLOSE,
    TW_RESTARTED,
    TW_ASSASSINATED,
    TW_EXTENDED_BY_STALE_SYN,
    TW_CUT_SHORT,
    FIN_WAIT_2_TIMEOUT_RESET,
    TW_MISSING,
    TW_CENSUS_PEAK,
    HALF_CLOSE_LONG,
    CLOSE_WAIT_LEAK,
)
