"""TW: the life of TIME-WAIT (RFC 9293 3.6, 3.10.7.4)."""

from tcptrace_tw.rules.rule import Grade, Mask, Rows, Rule, always
from tcptrace_tw.spec.words import (
    BOTH,
    CONFIRMED,
    END_ASSASSINATED,
    INFO,
    LIKELY,
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
    return (spans.end_reason == END_ASSASSINATED) & (spans.is_detour == 0)


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
    message="{ip}:{port} held TIME-WAIT towards {peer_ip}:{peer_port}: {end_reason}, {restarts} restarts",
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
    message="{peer_ip}:{peer_port} repeated its FIN into TIME-WAIT of {ip}:{port}, {fin_repeats} times; 2MSL began anew",
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
    message="a RST from {peer_ip}:{peer_port} ended TIME-WAIT of {ip}:{port} before 2MSL",
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
    counter="TcpExtTWKilled",
    time="end",
)

RULES = (TW_SPAN, SIMULTANEOUS_CLOSE, TW_RESTARTED, TW_ASSASSINATED)
