"""RS: the host itself aborted the connection (RFC 9293 3.10.5).

Where the packets do not decide (SO_LINGER 0 or unread data, the timer of an application), the rule names all of them;
``decisions/reset_causes.py`` has the decision table.
"""

import numpy as np

from tcptrace_tw.protocol.states import CLOSED, ESTABLISHED
from tcptrace_tw.rules.decisions.reset_causes import AFTER_FIN, HEALTH_CHECK, LINGER_0, NO_REQUEST, TIMEOUT, UNREAD_DATA
from tcptrace_tw.rules.reset_signs import (
    ANSWER_NS,
    GIVES_UP,
    RESET_VALUES,
    SECOND_NS,
    fin_then_rst_same_seq,
    fin_wait_2_timeout_reset,
    is_echo,
    rst_from_last_ack,
)
from tcptrace_tw.rules.rule import Advice, Grade, Mask, Rows, Rule, Wording, always, is_observed
from tcptrace_tw.schema.observed import ACKS, BOTH_DIRECTIONS, PAYLOAD
from tcptrace_tw.schema.words import CONFIRMED, INFO, LIKELY, NOTICE, ORIG, WARNING


def abort_linger0(r: Rows) -> Mask:
    """RS001."""
    return r.verdict == LINGER_0


_FRAMES = ("fin_frame", "peer_fin_frame", "trigger_frame", "frame")

_ABORT_VALUES = (
    "sender_state",
    "window",
    "window_missing",
    "received_bytes",
    "received_gap_ns",
    "bytes_in_flight",
    "retransmits",
)


def got_no_answer(r: Rows) -> Mask:
    """A client that had sent payload and got none, waited, and reset the connection."""
    silent = (r.received_bytes == 0) & (r.ack_delta <= 0) & is_observed(r, PAYLOAD)
    return (r.endpoint == ORIG) & (r.sent_bytes > 0) & silent & (r.silence_ns >= SECOND_NS) & (r.peer_fin_frame < 0)


ABORT_LINGER0 = Rule(
    id="RS001",
    name="abort-linger0",
    severity=NOTICE,
    summary="An endpoint sent RST instead of FIN: SO_LINGER 0, or unread data (the packets do not tell).",
    table="resets",
    predicate=abort_linger0,
    grades=(
        Grade(lambda r: np.zeros(r.size, np.bool_), NOTICE, CONFIRMED, "the endpoint does this at least five times, has acknowledged all payload before, and never closes with FIN"),
        Grade(always, NOTICE, LIKELY),
    ),
    wordings=(
        Wording(got_no_answer, "a client got no answer", "{ip}:{port} had sent {sent_bytes:byte} to {peer_ip}:{peer_port}, got nothing but ACKs for {silence_ns}, and sent RST: {?}it gave up waiting for an answer"),
    ),
    message="{ip}:{port} aborted its connection with {peer_ip}:{peer_port}[ after {silence_ns} of silence]: RST instead of FIN ({?}SO_LINGER 0 or unread data)[; it acknowledges {acked_bytes:byte} that no ACK had covered before, perhaps unread][; the other side was reset within 1 ms, too: perhaps a device between them sent both RSTs{twin_gap_ns:?}]",
    frames=_FRAMES,
    values=_ABORT_VALUES,
    set_when=("RST with ACK, and no FIN from the sender", "nothing in flight, and no whole segment unread as far as the window shows"),
    not_set_when=(
        "no payload at all, and a server resets, or a client within 1 s of the handshake: RS014, RS008",
        "retransmissions or probes got no answer: that is RS007",
        "a SYN waits for its answer on the 4-tuple: RU006, RU011, LA003",
    ),
    rfc=("RFC 9293 3.10.5",),
    remedy="nstat on the host that sent the RST tells which it is: TcpExtTCPAbortOnClose counts unread data, TcpExtTCPAbortOnData SO_LINGER 0. In its application: read to the end of the stream before close(), and do not use SO_LINGER 0 to avoid TIME-WAIT: the peer gets an error.",
    advice=(
        Advice(got_no_answer, "a client got no answer", "Find out on the server why it did not answer: its log at that time, what it waited for (a lock, a database, another service). The client's own timeout is the silence before the RST."),
        Advice(lambda r: r.peer_fin_frame >= 0, "the peer had sent its FIN", "Little is lost: the peer had closed before. Proxies (HAProxy, with option nolinger or http-server-close) and Windows end connections like this; otherwise read to the end of the stream before close(). nstat on the host that sent the RST tells which it is: TcpExtTCPAbortOnClose counts unread data, TcpExtTCPAbortOnData SO_LINGER 0."),
    ),
    example="abort-linger0",
    counter="TcpExtTCPAbortOnData",
    rival="a socket that an operator or the system killed (ss -K), which no counter shows",
    is_held=True,
)  # fmt: skip


def abort_unread_data(r: Rows) -> Mask:
    """RS002."""
    return r.verdict == UNREAD_DATA


ABORT_UNREAD_DATA = Rule(
    id="RS002",
    name="abort-unread-data",
    severity=WARNING,
    summary="An endpoint closed before it had read all received data: it sent RST, and the peer may lose data.",
    table="resets",
    predicate=abort_unread_data,
    grades=(
        Grade(lambda r: r.peer_fin_frame >= 0, NOTICE, LIKELY, "the peer had already sent FIN, so it loses nothing"),
        Grade(always, WARNING, LIKELY),
    ),
    message="{ip}:{port} closed its connection with {peer_ip}:{peer_port}[ after {silence_ns} of silence] {?}before it had read all received data: RST instead of FIN",
    frames=_FRAMES,
    values=_ABORT_VALUES,
    set_when=(
        "RST with ACK, no FIN from the sender, payload received",
        "its window, and the one before it, are smaller than its largest by at least one segment (the other side's MSS), and by at most the received bytes",
        "or it had just advertised a zero window",
    ),
    not_set_when=("less than a segment is missing from the window, or only in the RST: that is RS001",),
    rfc=("RFC 2525 2.17", "RFC 9293 3.6.1"),
    remedy="Read to the end of the stream before close(), or call shutdown() and read the rest.",
    example="abort-unread-data",
    counter="TcpExtTCPAbortOnClose",
    rival="SO_LINGER 0 (RS001), and a window that shrank for want of memory",
)


def is_drawn_by_data(r: Rows) -> Mask:
    """The segment that it answers has payload, or comes right behind payload that nobody acknowledged."""
    is_behind = (r.unacked_bytes > 0) & (r.received_gap_ns >= 0) & (r.received_gap_ns <= ANSWER_NS)
    return is_echo(r) & ((r.trigger_len > 0) | is_behind)


def fin_never_arrived(r: Rows) -> Mask:
    """Text of the other side, which never saw the FIN although that was sent again, drew the RST."""
    return is_drawn_by_data(r) & (r.trigger_len > 0) & (r.receiver_state == ESTABLISHED) & (r.retransmits > 0)


def acks_late_data(r: Rows) -> Mask:
    """A RST that acknowledges the payload which came just before: so Windows answers what arrives after close()."""
    in_time = (r.trigger_gap_ns >= 0) & (r.trigger_gap_ns <= ANSWER_NS)
    return (r.is_bare == 0) & (r.trigger_len > 0) & (r.acked_bytes > 0) & in_time


def answers_late_data(r: Rows) -> Mask:
    """Payload that came after close() drew the RST."""
    return is_drawn_by_data(r) | acks_late_data(r)


AT_ONE_GO_NS = SECOND_NS // 100
"""A RST so soon after its sender's FIN is part of the same close()."""


def is_at_once(r: Rows) -> Mask:
    """The RST came right behind the FIN of its sender."""
    return (r.fin_gap_ns >= 0) & (r.fin_gap_ns < AT_ONE_GO_NS) & ~answers_late_data(r)


def sent_nothing(r: Rows) -> Mask:
    """A client that closed without a request."""
    return (r.endpoint == ORIG) & (r.sent_bytes == 0) & (r.sender_segments > 0)


def abort_after_fin(r: Rows) -> Mask:
    """RS003."""
    named = rst_from_last_ack(r) | fin_then_rst_same_seq(r) | fin_wait_2_timeout_reset(r)
    answers_syn = r.is_syn_pending != 0  # LA003
    return (r.verdict == AFTER_FIN) & ~named & ~answers_syn & (r.sender_state != CLOSED)


ABORT_AFTER_FIN = Rule(
    id="RS003",
    name="abort-after-fin",
    severity=NOTICE,
    summary="An endpoint sent RST after its own FIN: data arrived after close(), or it gave up waiting.",
    table="resets",
    predicate=abort_after_fin,
    grades=(
        Grade(fin_never_arrived, WARNING, CONFIRMED, "the path drops FINs, and what the other side sent after it is lost"),
        Grade(is_drawn_by_data, NOTICE, CONFIRMED, "data reached an endpoint that had closed both directions"),
        Grade(always, NOTICE, LIKELY, "it closed with data unread, the linger time expired, the kernel dropped an orphan, or the process ended"),
    ),
    message="{ip}:{port} had sent FIN and, {?}in {sender_state}, sent RST to {peer_ip}:{peer_port}[ after {silence_ns} of silence]",
    wordings=(
        Wording(fin_never_arrived, "the FIN never arrived", "the FIN of {ip}:{port} never reached {peer_ip}:{peer_port}, although it was retransmitted {retransmits:time}: the peer was still ESTABLISHED, sent {trigger_len:byte}[ {fin_gap_ns} after the FIN], and got a RST"),
        Wording(lambda r: answers_late_data(r) & (r.trigger_len > 0), "data drew the RST", "{ip}:{port} had {?}closed its socket when {trigger_len:byte} from {peer_ip}:{peer_port} arrived[ {fin_gap_ns} after its FIN], and answered with RST"),
        Wording(is_drawn_by_data, "data had come just before", "{ip}:{port} had {?}closed its socket when more data from {peer_ip}:{peer_port} arrived, and answered with RST[ {fin_gap_ns} after its FIN]"),
        Wording(is_at_once, "the RST came right behind the FIN", "{ip}:{port} sent FIN and, {fin_gap_ns} later, RST to {peer_ip}:{peer_port}: {?}an abort in one go[; the other side was reset within 1 ms, too: perhaps a device between them sent both RSTs{twin_gap_ns:?}]"),
        Wording(lambda r: r.fin_gap_ns >= 0, "the time since the FIN is known", "{ip}:{port} had sent FIN and, {?}in {sender_state}, sent RST to {peer_ip}:{peer_port} {fin_gap_ns} later"),
    ),
    frames=_FRAMES,
    values=(*RESET_VALUES, "trigger_len", "unacked_bytes", "fin_gap_ns", "fin_acked_gap_ns"),
    set_when=("the sender had sent FIN, and sends RST later, at the FIN, at SND.NXT, or with an ACK field of the other side",),
    not_set_when=(
        "the sender had waited for an answer in LAST-ACK: that is LA006", "the RST has the FIN's sequence number and answers nothing: that is LA008",
        "it had been in FIN-WAIT-2 for 60 s or longer: that is TW008",
        "the RST lies elsewhere; if the endpoint goes on afterwards, that is RS006",
    ),
    rfc=("RFC 9293 3.10.7.4",),
    remedy="If data may be lost by this: on the endpoint that sent the RST, look if it closes with data unread, as HTTP servers do that answer before they have read the body (nstat TcpExtTCPAbortOnClose), if its process ended or was killed, and at TCP_LINGER2 and net.ipv4.tcp_fin_timeout, which end the wait for the peer's FIN.",
    advice=(
        Advice(fin_never_arrived, "the FIN never arrived", "Find out where the FIN is lost on its way: capture at the peer too, and look for a filter or NAT that drops it (conntrack -S: invalid). The applications are not to blame."),
        Advice(lambda r: answers_late_data(r) & sent_nothing(r), "a client closed without a request", "Nothing to do if this is a health check or a scan: it closes without reading what the server says first. Otherwise let the client read before close()."),
        Advice(lambda r: is_drawn_by_data(r) & (r.trigger_len > 0) & (r.fin_acked_gap_ns >= SECOND_NS) & (r.silence_ns >= SECOND_NS), "the peer had got the FIN, was silent, and went on", "In the program that sent the data: do not use a connection that the other side has closed; look for its end (read() returns 0) before it is taken out of a pool, and give it up sooner than the server's idle timeout. The data are lost, and may be sent again on a new connection."),
        Advice(answers_late_data, "data arrived after close()", "In the application that sent the RST: call shutdown(SHUT_WR), read until read() returns 0, then close(). The peer's last data are lost as it is."),
        Advice(is_at_once, "the RST came right behind the FIN", "In the application that sent the RST: read until read() returns 0 before close(), and do not set SO_LINGER to 0. Nothing to do where it means to abort."),
    ),
    example="abort-after-fin",
    counter="TcpExtTCPAbortOnData",
)  # fmt: skip


def was_probing(r: Rows) -> Mask:
    """Keep-alive probes, and no data, had got no answer."""
    return r.probes > 0


def abort_timeout(r: Rows) -> Mask:
    """RS007."""
    return r.verdict == TIMEOUT


ABORT_TIMEOUT = Rule(
    id="RS007",
    name="abort-timeout",
    severity=WARNING,
    summary="An endpoint gave up: its retransmissions or probes got no answer.",
    table="resets",
    predicate=abort_timeout,
    grades=(
        Grade(
            lambda r: (r.retransmits >= GIVES_UP) | (r.probes >= GIVES_UP),
            WARNING,
            CONFIRMED,
            "at least three got no answer",
        ),
        Grade(always, WARNING, LIKELY),
    ),
    message="{ip}:{port} gave up on {peer_ip}:{peer_port} after {retransmits:unanswered retransmission} and sent RST[; nothing had come from the peer for {trigger_gap_ns}]",
    wordings=(
        Wording(
            was_probing,
            "keep-alive probes got no answer",
            "{ip}:{port} gave up on {peer_ip}:{peer_port} after {probes:unanswered keep-alive probe} and sent RST: the keep-alive timeout",
        ),
    ),
    frames=_FRAMES,
    values=_ABORT_VALUES,
    set_when=(
        "RST with ACK after three unanswered retransmissions, or two with data in flight",
        "or after two unanswered keep-alive probes, 1 s after the last one or later",
    ),
    not_set_when=("everything was acknowledged, and the probes were answered; a probe of the other side is no answer",),
    rfc=("RFC 1122 4.2.3.5", "RFC 9293 3.8.4"),
    remedy="Look if the peer's host is up, and capture there to see if the segments arrive; net.ipv4.tcp_retries2 and TCP_USER_TIMEOUT say how long the sender tries.",
    advice=(
        Advice(
            was_probing,
            "keep-alive probes got no answer",
            "Look if the peer's host is up, and if a device on the path dropped the idle connection (then TCP_KEEPIDLE must be shorter than its timeout). TCP_KEEPIDLE, TCP_KEEPINTVL and TCP_KEEPCNT say when the prober gives up.",
        ),
    ),
    example="abort-timeout",
    counter="TcpExtTCPAbortOnTimeout",
    needs=(BOTH_DIRECTIONS, ACKS),
)


def health_check_reset(r: Rows) -> Mask:
    """RS008."""
    return r.verdict == HEALTH_CHECK


HEALTH_CHECK_RESET = Rule(
    id="RS008",
    name="health-check-reset",
    severity=INFO,
    summary="A connection was opened and reset at once, before any payload: a probe.",
    table="resets",
    predicate=health_check_reset,
    grades=(Grade(always, INFO, LIKELY),),
    message="{ip}:{port} opened a connection to {peer_ip}:{peer_port} and reset it at once: no payload was sent",
    frames=("trigger_frame", "frame"),
    values=("trigger_gap_ns", "is_bare"),
    set_when=(
        "the client's RST within 1 s of the handshake, or of SYN+ACK",
        "no payload in either direction, and none is missing in the capture",
    ),
    not_set_when=(
        "payload was sent",
        "the server sent the RST: that is RS014",
        "the client waited for 1 s or longer: that is RS001",
    ),
    rfc=("RFC 9293 3.10.5",),
    remedy="Nothing to do: health checks and port scans do this.",
    example="health-check-reset",
    needs=(PAYLOAD,),
)


def is_timed(r: Rows) -> Mask:
    """It came after a time such as people set: whole seconds up to ten, or a multiple of five; timers are never early."""
    seconds = (r.silence_ns + SECOND_NS // 100) // SECOND_NS
    late = r.silence_ns - seconds * SECOND_NS
    is_even = late <= SECOND_NS // 20 + np.maximum(r.rtt_ns, 0) + r.silence_ns // 500
    return (r.silence_ns >= 0) & is_even & ((seconds <= 10) | (seconds % 5 == 0))


def has_waited(r: Rows) -> Mask:
    """Both sides were silent before it."""
    return r.silence_ns >= 0


def reset_before_request(r: Rows) -> Mask:
    """RS014."""
    return r.verdict == NO_REQUEST


RESET_BEFORE_REQUEST = Rule(
    id="RS014",
    name="reset-before-request",
    severity=NOTICE,
    summary="A server reset a connection in which neither side had sent payload.",
    table="resets",
    predicate=reset_before_request,
    grades=(
        Grade(is_timed, NOTICE, LIKELY, "whole seconds: a timeout for the first request"),
        Grade(has_waited, NOTICE, LIKELY, "no such time: connections that were never accepted when the listener closed"),
        Grade(always, NOTICE, LIKELY, "at once: an access rule, or no backend"),
    ),
    message="{ip}:{port} reset the connection from {peer_ip}:{peer_port} at once, before any payload: {?}it refuses this client, or has no backend for it",
    wordings=(
        Wording(is_timed, "it waited for whole seconds", "{ip}:{port} waited {silence_ns} for a request from {peer_ip}:{peer_port}, got none, and reset the connection: {?}its timeout for the handshake or the first request"),
        Wording(has_waited, "it waited", "{ip}:{port} reset the connection from {peer_ip}:{peer_port} {silence_ns} after the handshake, and neither side had sent payload: {?}its listener was closed, or its process ended, before the connection was accepted and read"),
    ),
    frames=("trigger_frame", "frame"),
    values=("silence_ns", "trigger_gap_ns", "is_bare"),
    set_when=("the server sends RST with ACK after the handshake", "no payload in either direction, and none is missing in the capture"),
    not_set_when=("the client sent the RST: RS008", "the RST is bare and came after silence: RS011"),
    rfc=("RFC 9293 3.10.5",),
    remedy="On the server: look at its access rules (tcpd, allow lists, a limit of connections) and its backends.",
    advice=(
        Advice(is_timed, "it waited for whole seconds", "On the client: send the request or the protocol's greeting sooner than the server's timeout, or raise that timeout (RabbitMQ handshake_timeout, nginx client_header_timeout, HAProxy timeout http-request). A client that only opens connections in advance, or a port check, needs nothing."),
        Advice(has_waited, "it waited, and not for whole seconds", "On the server: look if it was stopped or restarted at that time, and why it had not called accept() before: ss -ltn shows the waiting connections (Recv-Q)."),
    ),
    rival="a timeout of the server, or a listener that was closed: they look alike",
    example="reset-before-request",
)  # fmt: skip

RULES = (
    ABORT_LINGER0,
    ABORT_UNREAD_DATA,
    ABORT_AFTER_FIN,
    ABORT_TIMEOUT,
    HEALTH_CHECK_RESET,
    RESET_BEFORE_REQUEST,
)
