"""TW: the life of TIME-WAIT (RFC 9293 3.6, 3.10.7.4)."""

from tcptrace_tw.rules.rule import Grade, Mask, Rows, Rule, always
from tcptrace_tw.schema.words import BOTH, CONFIRMED, INFO, LIKELY, NOTICE, PREDICTED, START_ACK, START_FIN, WARNING


def tw_span(spans: Rows) -> Mask:
    """Every TIME-WAIT period."""
    return always(spans)


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

SERVER_CLOSES = 20
"""From this many closes on, the server's closing first is a pattern."""


def tw_on_server(services: Rows) -> Mask:
    """TW002: at least half of its closes."""
    return (services.closed_by_server >= SERVER_CLOSES) & (services.closed_by_server * 2 >= services.closed)


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


def simultaneous_close(connections: Rows) -> Mask:
    """Both ends entered FIN-WAIT-1."""
    return connections.active_closer == BOTH


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


def tw_restarted(spans: Rows) -> Mask:
    """A retransmitted FIN arrived in TIME-WAIT."""
    return spans.fin_repeats > 0


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


def tw_extended_by_stale_syn(spans: Rows) -> Mask:
    """TW006: one stale SYN is an ordinary retry; two or more keep TIME-WAIT alive."""
    return spans.stale_syns >= 2


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


def tw_census_peak(holders: Rows) -> Mask:
    """TW010."""
    return holders.most_time_wait > 1


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

RULES = (
    TW_SPAN,
    TW_ON_SERVER,
    SIMULTANEOUS_CLOSE,
    TW_RESTARTED,
    TW_EXTENDED_BY_STALE_SYN,
    TW_CENSUS_PEAK,
)
