"""TW: the life of TIME-WAIT (RFC 9293 3.6, 3.10.7.4)."""

from tcptrace_tw.protocol.states import FIN_WAIT_2
from tcptrace_tw.protocol.states import TIME_WAIT as TIME_WAIT_STATE
from tcptrace_tw.rules.rule import Grade, Mask, Rows, Rule, always
from tcptrace_tw.schema.columns import FIN
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
    """Every span."""
    return always(spans)


def simultaneous_close(connections: Rows) -> Mask:
    """Both ends entered FIN-WAIT-1."""
    return connections.active_closer == BOTH


def tw_restarted(spans: Rows) -> Mask:
    """A FIN came again into TIME-WAIT."""
    return spans.fin_repeats > 0


def tw_assassinated(spans: Rows) -> Mask:
    """A RST ended TIME-WAIT, and no SYN had provoked it."""
    return (spans.end_reason == END_ASSASSINATED) & (spans.is_syn_pending == 0)


def tw_extended_by_stale_syn(spans: Rows) -> Mask:
    """TW006: one stale SYN is an ordinary detour; two and more keep TIME-WAIT alive."""
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
    return is_answered_as_closed(resets) & ((resets.trigger_flags & FIN) != 0) & again


def is_time_wait_gone(resets: Rows) -> Mask:
    """Either of the two."""
    return tw_cut_short(resets) | tw_missing(resets)


def fin_wait_2_timeout_reset(resets: Rows) -> Mask:
    """TW008: a FIN is refused only where the timer has ended FIN-WAIT-2; data also where the socket was closed."""
    bare = (resets.is_bare != 0) & (resets.is_echo != 0)
    first = (
        (resets.sender_state == TIME_WAIT_STATE)
        & (resets.time_wait_gap_ns == resets.trigger_gap_ns)
        & ~tw_missing(resets)
    )
    echo = bare & ((resets.sender_state == FIN_WAIT_2) | first)
    is_fin = ((resets.trigger_flags & FIN) != 0) & (resets.trigger_len == 0)
    is_late = resets.fin_acked_gap_ns >= FIN_WAIT_2_NS
    waited = resets.fin_acked_gap_ns >= SHORTEST_FIN_WAIT_2_NS
    return echo & (is_late | (is_fin & waited))


def half_close_long(anomalies: Rows) -> Mask:
    """TW011."""
    return anomalies.half_closed_ns >= 0


FIN_WAIT_2_NS = 60_000_000_000
"""How long the common stacks wait in FIN-WAIT-2 for the peer's FIN (Linux tcp_fin_timeout, FreeBSD finwait2_timeout)."""

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
        Grade(lambda r: r.start_basis == START_ACK, INFO, CONFIRMED, "the holder's ACK of the last FIN was captured"),
        Grade(lambda r: r.start_basis == START_FIN, INFO, LIKELY, "only the FIN was captured"),
        Grade(always, INFO, PREDICTED),
    ),
    message="{ip}:{port} held TIME-WAIT towards {peer_ip}:{peer_port}[, restarted {restarts:time}]; {end_reason}",
    frames=("fin_frame", "start_frame", "restart_frame", "end_frame"),
    values=("holder", "start_basis", "restarts", "end_reason", "two_msl_ns"),
    set_when=("an endpoint has received the FIN that completes a close that it began",),
    not_set_when=("the close ended by RST before both FINs were received", "the endpoint closed second"),
    rfc=("RFC 9293 3.6", "RFC 9293 3.10.7.4"),
    remedy="Nothing: this is how TCP protects the next incarnation. Many of them: let the client close, pool connections.",
    example="tw-span",
    counter="TcpExtTW",
    time="start",
    end_time="end",
)

SIMULTANEOUS_CLOSE = Rule(
    id="TW003",
    name="simultaneous-close",
    severity=INFO,
    summary="Both ends closed before either had seen the other's FIN; both go through CLOSING to TIME-WAIT.",
    table="connections",
    predicate=simultaneous_close,
    grades=(Grade(always, INFO, CONFIRMED),),
    message="{orig_ip}:{orig_port} and {resp_ip}:{resp_port} closed at the same time",
    frames=("orig_fin_frame", "resp_fin_frame"),
    values=("orig_state", "resp_state"),
    set_when=("neither FIN acknowledges the other",),
    not_set_when=("one FIN acknowledges the other, however close they are in time",),
    rfc=("RFC 9293 3.6, case 3",),
    remedy="Nothing; TIME-WAIT on both ends is right here.",
    example="simultaneous-close",
    time="last_time",
)

TW_RESTARTED = Rule(
    id="TW004",
    name="tw-restarted",
    severity=INFO,
    summary="A FIN was repeated into TIME-WAIT, and 2MSL began anew.",
    table="time_wait",
    predicate=tw_restarted,
    grades=(Grade(always, INFO, CONFIRMED),),
    message="{peer_ip}:{peer_port} repeated its FIN {fin_repeats:time} into TIME-WAIT of {ip}:{port}; 2MSL began anew",
    frames=("fin_frame", "start_frame", "restart_frame"),
    values=("fin_repeats", "restarts"),
    set_when=("the peer's FIN comes again after the holder entered TIME-WAIT",),
    not_set_when=("the repeated frame is a copy that the capture made",),
    rfc=("RFC 9293 3.10.7.4",),
    remedy="Look for the loss of the last ACK on the way to the passive closer.",
    example="tw-restarted",
    time="restart",
)

TW_ASSASSINATED = Rule(
    id="TW005",
    name="tw-assassinated",
    severity=WARNING,
    summary="A RST ended TIME-WAIT before 2MSL; old segments can reach the next incarnation.",
    table="time_wait",
    predicate=tw_assassinated,
    grades=(
        Grade(lambda r: r.answered_frame >= 0, WARNING, CONFIRMED, "a later segment was answered as by a closed port"),
        Grade(always, WARNING, PREDICTED, "the profile's stack lets an exact RST end TIME-WAIT"),
    ),
    message="a RST from {peer_ip}:{peer_port} ended the TIME-WAIT of {ip}:{port} before 2MSL had passed",
    frames=("start_frame", "end_frame", "answered_frame"),
    values=("restarts", "two_msl_ns"),
    set_when=("a RST exactly at RCV.NXT reaches an endpoint in TIME-WAIT, and its timestamp is not stale",),
    not_set_when=(
        "the RST is the answer to a challenge ACK after a SYN: that is RU004",
        "the RST is not at RCV.NXT, or its TSval is below TS.Recent",
        "the holder goes on answering as in TIME-WAIT (tcp_rfc1337 = 1)",
    ),
    rfc=("RFC 1337", "RFC 9293 3.10.7.4"),
    remedy="Set net.ipv4.tcp_rfc1337 = 1 on the holder if it does harm.",
    example="tw-assassinated",
    time="end",
)

TW_EXTENDED_BY_STALE_SYN = Rule(
    id="TW006",
    name="tw-extended-by-stale-syn",
    severity=WARNING,
    summary="SYNs refused for their timestamp keep restarting a server's TIME-WAIT.",
    table="time_wait",
    predicate=tw_extended_by_stale_syn,
    grades=(Grade(always, WARNING, LIKELY, "the profile's stack restarts 2MSL for them"),),
    message="{stale_syns:SYN} of {peer_ip}:{peer_port} with old timestamps prolonged the TIME-WAIT of {ip}:{port}",
    frames=("start_frame", "first_stale_syn_frame", "restart_frame"),
    values=("stale_syns", "restarts", "two_msl_ns"),
    set_when=("two and more SYNs with a TSval below TS.Recent meet one TIME-WAIT",),
    not_set_when=("the SYN is refused for its ISN: that does not restart 2MSL", "a single SYN: that is PA004"),
    rfc=("RFC 6191", "RFC 7323 5.3"),
    remedy="See PA004: several clocks behind one address, or ports handed out anew by a NAT.",
    example="tw-extended-by-stale-syn",
    counter="TcpExtPAWSTimewait",
    time="restart",
)

TW_CUT_SHORT = Rule(
    id="TW007",
    name="tw-cut-short",
    severity=NOTICE,
    summary="A tuple was answered as if closed before the profile's 2MSL had passed.",
    table="resets",
    predicate=tw_cut_short,
    grades=(
        Grade(lambda r: r.is_time_wait_proved != 0, NOTICE, CONFIRMED),
        Grade(always, NOTICE, LIKELY, "only the FIN was captured, not its ACK"),
    ),
    message="{ip}:{port} should still have been in TIME-WAIT towards {peer_ip}:{peer_port}, but answered with RST {time_wait_gap_ns} after entering it",
    frames=("peer_fin_frame", "fin_frame", "trigger_frame", "frame"),
    values=("time_wait_gap_ns", "two_msl_ns"),
    set_when=("a bare RST answers a segment that is no FIN, less than 2MSL after TIME-WAIT began",),
    not_set_when=("a RST had ended TIME-WAIT: that is TW005", "the segment is the peer's FIN: that is TW009"),
    rfc=("RFC 9293 3.4.2", "RFC 9293 3.6.1"),
    remedy="A stack with a shorter 2MSL (--two-msl), tcp_max_tw_buckets, tcp_tw_recycle, or a restart.",
    example="tw-cut-short",
    counter="TcpExtTCPTimeWaitOverflow",
)  # fmt: skip

FIN_WAIT_2_TIMEOUT_RESET = Rule(
    id="TW008",
    name="fin-wait-2-timeout-reset",
    severity=WARNING,
    summary="The peer closed, or sent, after FIN-WAIT-2 had timed out, and got a RST.",
    table="resets",
    predicate=fin_wait_2_timeout_reset,
    grades=(
        Grade(lambda r: r.fin_acked_gap_ns >= FIN_WAIT_2_NS, WARNING, CONFIRMED),
        Grade(always, WARNING, LIKELY, "tcp_fin_timeout is shorter than its default, or the entry was removed"),
    ),
    message="{peer_ip}:{peer_port} was still sending {fin_acked_gap_ns} after it had acknowledged the FIN of {ip}:{port}, which had left FIN-WAIT-2 and answered with RST",
    frames=("fin_frame", "trigger_frame", "frame"),
    values=("fin_acked_gap_ns", "trigger_len"),
    set_when=("the sender's FIN was acknowledged", "a minute and more later a FIN or data gets a bare RST", "or a FIN does, a second and more later"),
    not_set_when=("data gets a RST sooner: the socket was closed both ways, RS003",),
    rfc=("RFC 9293 3.6",),
    remedy="Close promptly when the peer has closed; raise tcp_fin_timeout if the wait is wanted.",
    example="fin-wait-2-timeout-reset",
    rival="the host or a device on the path has lost the connection",
)  # fmt: skip

TW_MISSING = Rule(
    id="TW009",
    name="tw-missing",
    severity=WARNING,
    summary="A repeated FIN got a RST inside 2MSL: the TIME-WAIT that should have answered it was not there.",
    table="resets",
    predicate=tw_missing,
    grades=(
        Grade(lambda r: r.is_time_wait_proved != 0, WARNING, CONFIRMED),
        Grade(always, WARNING, LIKELY, "the ACK of the FIN was not captured"),
    ),
    message="{ip}:{port} had no TIME-WAIT left for {peer_ip}:{peer_port} when the FIN came again, and answered with RST",
    frames=("peer_fin_frame", "fin_frame", "trigger_frame", "frame"),
    values=("time_wait_gap_ns", "two_msl_ns"),
    set_when=("the FIN comes again less than 2MSL after TIME-WAIT began", "a bare RST answers it"),
    not_set_when=("2MSL has passed",),
    rfc=("RFC 9293 3.6", "RFC 9293 3.10.7.4"),
    remedy="Raise tcp_max_tw_buckets; look for what removes sockets (ss --kill, a NAT entry that expires).",
    example="tw-missing",
    counter="TcpExtTCPTimeWaitOverflow",
)

HALF_CLOSE_LONG = Rule(
    id="TW011",
    name="half-close-long",
    severity=NOTICE,
    summary="A connection was half closed for a minute and more: one end in FIN-WAIT-2, the other in CLOSE-WAIT.",
    table="anomalies",
    predicate=half_close_long,
    grades=(
        Grade(lambda r: r.half_closed_ns < DAY_NS, NOTICE, CONFIRMED),
        Grade(always, NOTICE, LIKELY, "a day and more: the capturing clock may have leapt"),
    ),
    message="{ip}:{port} had closed, and {peer_ip}:{peer_port} stayed in CLOSE-WAIT for {half_closed_ns}[, to the end of the capture, and sent nothing{is_left_open:?}]",
    frames=("fin_frame", "peer_fin_frame"),
    values=("half_closed_ns", "is_left_open"),
    set_when=("60 s and more between the FINs", "or the second FIN never came, and 60 s and more were captured"),
    not_set_when=("the first FIN ended the connection by RST",),
    rfc=("RFC 9293 3.6.1",),
    remedy="The application forgot close(), or it still sends: that is legal.",
    example="half-close-long",
    end_time="end_time",
)

SERVER_CLOSES = 20
"""So many closes make a habit."""

LEFT_OPEN = 10
"""So many connections left in CLOSE-WAIT are no forgotten one."""


def tw_on_server(services: Rows) -> Mask:
    """TW002: half and more of its closes."""
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
    summary="The listening side closes first, and collects the TIME-WAITs.",
    table="services",
    predicate=tw_on_server,
    grades=(Grade(always, NOTICE, CONFIRMED),),
    message="{ip}:{port} closed first in {closed_by_server:#} of {closed:connection}, and holds the TIME-WAIT",
    frames=(),
    values=("connections", "closed", "closed_by_server"),
    set_when=("the server is the active closer of 20 connections and more, and of half of all that closed",),
    not_set_when=("the clients close first",),
    rfc=("RFC 9293 3.6",),
    remedy="Let clients close; raise the limits of keep-alive requests and idle time.",
    example="tw-on-server",
    counter="TcpExtTW",
    end_time="end_time",
)

TW_CENSUS_PEAK = Rule(
    id="TW010",
    name="tw-census-peak",
    severity=INFO,
    summary="The most TIME-WAITs that one address held at once.",
    table="holders",
    predicate=tw_census_peak,
    grades=(Grade(always, INFO, CONFIRMED),),
    message="{ip} held at least {most_time_wait:TIME-WAIT} at once, {spans} in all",
    frames=(),
    values=("most_time_wait", "spans"),
    set_when=("two TIME-WAIT spans and more of one address are open at the end of the same second",),
    not_set_when=("one span ends before the next begins", "connections ended by RST: they have none"),
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
    message="{ip}:{port} left {left_in_close_wait:connection} in CLOSE-WAIT for a minute and more",
    frames=("fin_frame",),
    values=("left_in_close_wait", "connections"),
    set_when=(
        "ten connections and more that the client closed a minute ago, and on which the server sent nothing since",
    ),
    not_set_when=("the server closes, or still sends",),
    rfc=("RFC 9293 3.6",),
    remedy="A bug of the application: close() what has been read to its end.",
    example="close-wait-leak",
    end_time="end_time",
    needs_acks=True,
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
