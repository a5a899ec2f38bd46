"""TW: one side has closed, and the other has not yet: FIN-WAIT-2 and CLOSE-WAIT (RFC 9293 3.6)."""

from tcptrace_tw.rules.reset_signs import FIN_WAIT_2_NS, fin_wait_2_timeout_reset
from tcptrace_tw.rules.rule import Grade, Mask, Rows, Rule, always
from tcptrace_tw.schema.observed import ACKS, BOTH_DIRECTIONS
from tcptrace_tw.schema.words import CONFIRMED, LIKELY, NOTICE, WARNING

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
    message="{peer_ip}:{peer_port} sent again {fin_wait_2_ns} after it had acknowledged the FIN of {ip}:{port}, which had {?}left FIN-WAIT-2 by then and answered with RST",
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


def half_close_long(anomalies: Rows) -> Mask:
    """TW011: who has sent a RST is gone, and nobody waits for the other side to close."""
    return (anomalies.half_closed_ns >= 0) & (anomalies.rst_frame < 0)


DAY_NS = 86_400_000_000_000

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

LEFT_OPEN = 10
"""From this many connections left in CLOSE-WAIT on, it is a leak and not a single forgotten socket."""


def close_wait_leak(services: Rows) -> Mask:
    """TW012."""
    return services.left_in_close_wait >= LEFT_OPEN


CLOSE_WAIT_LEAK = Rule(
    id="TW012",
    name="close-wait-leak",
    severity=WARNING,
    summary="A server leaves many connections in CLOSE-WAIT: its application never closes them.",
    table="services",
    predicate=close_wait_leak,
    grades=(Grade(always, WARNING, LIKELY),),
    message="{ip}:{port} left {left_in_close_wait:connection} in CLOSE-WAIT for 60 s or longer: {?}its application does not call close()",
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
    FIN_WAIT_2_TIMEOUT_RESET,
    HALF_CLOSE_LONG,
    CLOSE_WAIT_LEAK,
)
