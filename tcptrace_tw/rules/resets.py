"""RS: who sent a RST, and why (RFC 9293 3.5.2, 3.5.3, 3.10.5; RFC 5961 3.2).

``RESET`` is the decision table; the first row that holds gives the verdict. Where the packets do not decide (SO_LINGER 0
or unread data, an unread buffer or a window that had shrunk), the verdict stays ``likely`` and names its rival.
"""

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.protocol.states import CLOSED, ESTABLISHED, LISTEN, SYN_RECEIVED, SYN_SENT, TIME_WAIT
from tcptrace_tw.rules.last_ack import fin_then_rst_same_seq, rst_from_last_ack, rst_on_last_ack
from tcptrace_tw.rules.rule import Case, Derived, Grade, Mask, Rows, Rule, always, decided
from tcptrace_tw.rules.time_wait import fin_wait_2_timeout_reset, is_time_wait_gone
from tcptrace_tw.schema.columns import SYN
from tcptrace_tw.schema.observed import ACKS, BOTH_DIRECTIONS, PAYLOAD
from tcptrace_tw.schema.words import CONFIRMED, INFO, LIKELY, NOTICE, NULL_WORD, PREDICTED, WARNING

(
    PORT_CLOSED,
    STALE_ACK_ANSWER,
    NO_SOCKET,
    INJECTED,
    AFTER_FIN,
    UNREAD_DATA,
    LINGER_0,
    TIMEOUT,
    HEALTH_CHECK,
    NOT_EXACT,
    UNCLASSIFIED,
    LAST_ACK_REFUSED,
) = range(12)

AT_ONCE_NS = 5_000_000
"""Payload that arrives this shortly before an abort was probably not read."""

LEAST_SEGMENT = 536
"""A window may be smaller by fewer bytes whether they were read or not."""

HOPS = 2
"""TTLs that differ by this much come from different hosts."""

IP_ID_LEAP = 1024
"""The IP ID counter of a connection never jumps this far in one step."""

KNOWN_SEGMENTS = 3
"""This many segments make a baseline."""

GIVES_UP = 3
"""After this many unanswered retransmissions a RST means that the sender gave up."""


def is_echo(r: Rows) -> Mask:
    """A bare RST whose sequence number is the ACK field of its trigger: a host without a socket answers like this."""
    return (r.is_bare != 0) & (r.is_echo != 0)


def has_closed(r: Rows) -> Mask:
    """The sender had sent its FIN."""
    return r.fin_frame >= 0


def is_gone(r: Rows) -> Mask:
    """The sender no longer has the connection, or nothing shows that it does."""
    just_entered = (r.unacked_bytes > 0) & (r.time_wait_gap_ns == r.trigger_gap_ns)
    waiting = (r.sender_state == TIME_WAIT) & ~just_entered
    return ~has_closed(r) | (r.sender_state == CLOSED) | waiting | fin_wait_2_timeout_reset(r)


def goes_on(r: Rows) -> Mask:
    """The apparent sender sends new data, or acknowledges more, as if it had never sent the RST.

    Where the capture begins with RSTs, their numbers tell nothing; a RST that refuses a SYN+ACK ends no SYN-SENT.
    """
    known = (r.sender_segments > 0) & (r.is_repeat == 0) & ~(is_echo(r) & ((r.trigger_flags & SYN) != 0))
    return known & ((r.continued_data_frame >= 0) | ((r.continued_frame >= 0) & (r.sender_seq_delta <= 0)))


def has_other_ttl(r: Rows) -> Mask:
    """The TTL is not that of the sender's other segments."""
    return (np.abs(r.ttl_delta) >= HOPS) & (r.sender_segments >= KNOWN_SEGMENTS)


def has_other_ip_id(r: Rows) -> Mask:
    """Its IP ID is far from the sender's, which had been a counter."""
    return (r.is_ip_id_counter != 0) & (np.abs(r.ip_id_delta) >= IP_ID_LEAP)


def is_too_soon(r: Rows) -> Mask:
    """It arrives earlier than the sender could have answered."""
    known = (r.rtt_ns >= 0) & (r.sender_segments >= KNOWN_SEGMENTS)
    return known & (r.trigger_gap_ns >= 0) & (r.trigger_gap_ns < r.rtt_ns // 2)


def is_seen_from_the_peer(r: Rows) -> Mask:
    """It carries sequence numbers as the peer knows them, not the sender's own."""
    return (r.is_bare == 0) & (r.sender_seq_delta < 0)


def is_made_between(r: Rows) -> Mask:
    """Two signs of a device on the path; a host without a socket may use another IP ID counter than the socket did."""
    signs = has_other_ttl(r).astype(np.int8) + is_too_soon(r) + is_seen_from_the_peer(r) + has_other_ip_id(r)
    return (signs >= 2) & (has_other_ttl(r) | ~is_echo(r)) & (r.is_repeat == 0)


def is_ladder(r: Rows) -> Mask:
    """Several RSTs with one source address rise above everything that the sender has sent."""
    return r.ladder_frame >= 0


def is_probe(r: Rows) -> Mask:
    """No payload in either direction: a handshake, or half of one, and a RST."""
    empty = (r.received_bytes == 0) & (r.sent_bytes == 0) & ~has_closed(r) & (r.peer_fin_frame < 0)
    begun = ((r.trigger_flags & SYN) != 0) | (r.receiver_state == SYN_RECEIVED) | (r.receiver_state == ESTABLISHED)
    return empty & begun & (r.sender_state != CLOSED) & (r.retransmits == 0)


def is_soon_after_handshake(r: Rows) -> Mask:
    """The sender had sent at most two segments."""
    return r.sender_segments <= 2


def is_challenged(r: Rows) -> Mask:
    """In the window, but not at RCV.NXT: the receiver must send a challenge ACK (RFC 5961 3.2)."""
    inside = (r.seq_delta > 0) & (r.seq_delta <= np.maximum(r.receive_window, 65535))
    return (r.is_accepted == 0) & (r.receiver_state >= ESTABLISHED) & (r.receiver_state != TIME_WAIT) & inside


def has_unread(r: Rows) -> Mask:
    """Received bytes are missing from its window, or had arrived just before. Windows sends RSTs with window 0.

    An unscaled window does not change until a whole segment has been read (Linux __tcp_select_window).
    """
    least = np.maximum(r.window_unit, LEAST_SEGMENT)
    missing = (r.window > 0) & (r.window_missing >= least) & (r.window_missing <= r.received_bytes)
    is_blurred = (r.window > 0) & (r.trigger_len < 2 * r.window_unit)
    at_once = (r.trigger_len > 0) & (r.received_gap_ns >= 0) & (r.received_gap_ns <= AT_ONCE_NS) & is_blurred
    was_full = (r.was_window_closed != 0) & (r.is_repeat == 0)
    return (r.received_bytes > 0) & (missing | at_once | was_full)


def gave_up(r: Rows) -> Mask:
    """Retransmissions or probes got no answer."""
    return (r.retransmits >= GIVES_UP) | ((r.bytes_in_flight > 0) & (r.retransmits >= GIVES_UP - 1))


def is_abort(r: Rows) -> Mask:
    """A RST from a sender in a synchronised state that had not sent FIN, and no answer: ABORT of RFC 9293 3.10.5."""
    alive = (r.sender_state >= ESTABLISHED) | (r.sender_state == SYN_RECEIVED)
    # Windows may omit the ACK.
    own = (r.is_bare == 0) | ((r.is_echo == 0) & (r.sender_seq_delta == 0) & (r.trigger_frame >= 0))
    return own & ~has_closed(r) & alive


RESET: tuple[Case, ...] = (
    Case(lambda r: r.is_syn_answer != 0, PORT_CLOSED, "it answers a SYN: RST+ACK with ack = ISN + 1", "port-closed", "port-closed-nearly"),
    Case(
        lambda r: (r.is_stale_ack_answer != 0) | (((r.is_syn_pending != 0) | (r.sender_state == SYN_SENT)) & is_echo(r)), STALE_ACK_ANSWER,
        "part of a SYN's retry: it answers a challenge ACK", "syn-hits-last-ack", "reset-in-syn-received",
    ),
    Case(goes_on, INJECTED, "the apparent sender continues as if nothing had happened", "rst-injected", "rst-injected-nearly"),
    Case(is_ladder, INJECTED, "several RSTs rise above everything that the apparent sender has sent", "rst-injected-ladder", "rst-injected-ladder-nearly"),
    Case(is_made_between, INJECTED, "two of: another TTL, another IP ID, too early, the peer's sequence numbers", "rst-injected-ip-id", "rst-injected-ip-id-nearly"),
    Case(rst_on_last_ack, LAST_ACK_REFUSED, "it answers the passive closer's FIN", "rst-on-last-ack", "data-before-the-fin-after-close"),
    Case(lambda r: is_echo(r) & is_probe(r) & ((r.trigger_flags & SYN) != 0), HEALTH_CHECK, "it answers SYN+ACK: half a handshake", "reset-in-syn-received", "port-closed-nearly"),
    Case(lambda r: is_echo(r) & is_gone(r), NO_SOCKET, "a host without a socket answers like this", "rst-no-socket", "abort-without-ack"),
    Case(is_challenged, NOT_EXACT, "inside the window, but not at RCV.NXT", "rst-not-exact", "rst-not-exact-nearly"),
    Case(has_closed, AFTER_FIN, "the sender had sent its FIN", "abort-after-fin", "rst-on-last-ack"),
    Case(lambda r: is_abort(r) & is_probe(r) & is_soon_after_handshake(r), HEALTH_CHECK, "a handshake, no payload, RST", "health-check-reset", "health-check-reset-nearly"),
    Case(lambda r: is_abort(r) & gave_up(r), TIMEOUT, "retransmissions got no answer", "abort-timeout", "abort-after-one-retransmission"),
    Case(lambda r: is_abort(r) & has_unread(r), UNREAD_DATA, "received bytes had not been read", "abort-unread-data", "abort-unread-data-nearly"),
    Case(lambda r: is_abort(r) & (r.bytes_in_flight == 0), LINGER_0, "nothing unread, nothing in flight", "abort-linger0", "abort-with-data-in-flight"),
    Case(always, UNCLASSIFIED, "none of these", "rst-unclassified", "rst-unclassified-nearly"),
)  # fmt: skip


def verdict(rows: Rows) -> NDArray[np.uint8]:
    """``RESET`` applied: first match wins."""
    return decided(RESET, rows)


def abort_linger0(r: Rows) -> Mask:
    """RS001."""
    return r.verdict == LINGER_0


def abort_unread_data(r: Rows) -> Mask:
    """RS002."""
    return r.verdict == UNREAD_DATA


def abort_after_fin(r: Rows) -> Mask:
    """RS003."""
    named = rst_from_last_ack(r) | fin_then_rst_same_seq(r) | fin_wait_2_timeout_reset(r)
    return (r.verdict == AFTER_FIN) & ~named & (r.sender_state != CLOSED)


def port_closed(r: Rows) -> Mask:
    """RS004: other rules cover a SYN that was refused by an endpoint which still had the previous connection."""
    state = r.earlier_state
    forgotten = (state == NULL_WORD) | (state == CLOSED) | (state == LISTEN)
    return (r.verdict == PORT_CLOSED) & forgotten


def rst_no_socket(r: Rows) -> Mask:
    """RS005."""
    named = fin_wait_2_timeout_reset(r) | is_time_wait_gone(r) | (r.is_repeat != 0)
    return (r.verdict == NO_SOCKET) & ~named


def rst_injected(r: Rows) -> Mask:
    """RS006."""
    return r.verdict == INJECTED


def abort_timeout(r: Rows) -> Mask:
    """RS007."""
    return r.verdict == TIMEOUT


def health_check_reset(r: Rows) -> Mask:
    """RS008."""
    return r.verdict == HEALTH_CHECK


def rst_not_exact(r: Rows) -> Mask:
    """RS009: whoever sent it, and whatever other rule applies."""
    return is_challenged(r) & (r.is_syn_pending == 0) & (r.is_stale_ack_answer == 0)


def rst_unclassified(r: Rows) -> Mask:
    """RS010: a RST that had an effect on its receiver."""
    return (
        (r.verdict == UNCLASSIFIED) & (r.is_repeat == 0) & (r.sender_state != SYN_SENT) & (r.receiver_state != CLOSED)
    )


_FRAMES = ("fin_frame", "peer_fin_frame", "trigger_frame", "frame")
_VALUES = ("sender_state", "receiver_state", "trigger_gap_ns", "ttl_delta")
_ABORT_VALUES = (
    "sender_state",
    "window",
    "window_missing",
    "received_bytes",
    "received_gap_ns",
    "bytes_in_flight",
    "retransmits",
)

ABORT_LINGER0 = Rule(
    id="RS001",
    name="abort-linger0",
    severity=NOTICE,
    summary="An endpoint aborted the connection with RST instead of closing it with FIN (SO_LINGER 0).",
    table="resets",
    predicate=abort_linger0,
    grades=(
        Grade(lambda r: np.zeros(r.size, np.bool_), NOTICE, CONFIRMED, "the endpoint does this at least five times, and never closes with FIN"),
        Grade(always, NOTICE, LIKELY),
    ),
    message="{ip}:{port} aborted its connection with {peer_ip}:{peer_port}: RST instead of FIN, nothing in flight, no sign of unread data",
    frames=_FRAMES,
    values=_ABORT_VALUES,
    set_when=("RST with ACK, and no FIN from the sender", "nothing in flight, and nothing unread as far as the window shows"),
    not_set_when=("no payload at all: that is RS008", "retransmissions got no answer: that is RS007"),
    rfc=("RFC 9293 3.10.5",),
    remedy="Do not use SO_LINGER 0 to avoid TIME-WAIT: the peer gets an error, and old segments can reach the next connection.",
    example="abort-linger0",
    counter="TcpExtTCPAbortOnData",
    rival="unread data that the window does not show, or a process that was killed",
    is_held=True,
)  # fmt: skip

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
    message="{ip}:{port} closed its connection with {peer_ip}:{peer_port} before it had read all received data: RST instead of FIN",
    frames=_FRAMES,
    values=_ABORT_VALUES,
    set_when=(
        "RST with ACK, no FIN from the sender, payload received",
        "its window is too small by at least one segment (536 bytes), and by at most the received bytes",
        "or it had just advertised a zero window",
        "or payload arrived within the last 5 ms, too little to show in a scaled window",
    ),
    not_set_when=("the window has its full size and the payload arrived long before: that is RS001",),
    rfc=("RFC 2525 2.17", "RFC 9293 3.6.1"),
    remedy="Read to the end of the stream before close(), or call shutdown() and read the rest.",
    example="abort-unread-data",
    counter="TcpExtTCPAbortOnClose",
    rival="SO_LINGER 0 right after the data was read (RS001)",
)

ABORT_AFTER_FIN = Rule(
    id="RS003",
    name="abort-after-fin",
    severity=NOTICE,
    summary="An endpoint sent RST after its own FIN: data arrived after close(), or it gave up waiting.",
    table="resets",
    predicate=abort_after_fin,
    grades=(
        Grade(lambda r: is_echo(r) & (r.unacked_bytes > 0), NOTICE, CONFIRMED, "data reached an endpoint that had closed both directions"),
        Grade(always, NOTICE, LIKELY, "the linger time expired, the kernel dropped an orphan, or the process ended"),
    ),
    message="{ip}:{port} had sent FIN and, in {sender_state}, sent RST to {peer_ip}:{peer_port}[ when {unacked_bytes:byte} arrived{is_echo:?}]",
    frames=_FRAMES,
    values=(*_VALUES, "unacked_bytes", "fin_acked_gap_ns"),
    set_when=("the sender had sent FIN, and sends RST later",),
    not_set_when=(
        "the sender was in LAST-ACK: that is LA006", "the RST has the FIN's sequence number and answers nothing: that is LA008",
        "it had been in FIN-WAIT-2 for 60 s or longer: that is TW008",
    ),
    rfc=("RFC 9293 3.10.7.4",),
    remedy="Call shutdown(), read to the end of the stream, then call close().",
    example="abort-after-fin",
    counter="TcpExtTCPAbortOnData",
)  # fmt: skip

PORT_CLOSED_RULE = Rule(
    id="RS004",
    name="port-closed",
    severity=INFO,
    summary="A SYN was refused: no process listens on that port.",
    table="resets",
    predicate=port_closed,
    grades=(Grade(always, INFO, CONFIRMED),),
    message="{ip}:{port} refused the SYN from {peer_ip}:{peer_port}",
    frames=("trigger_frame", "frame"),
    values=("trigger_gap_ns", "ttl_delta"),
    set_when=("RST+ACK with ack = ISN + 1, sent to an endpoint in SYN-SENT",),
    not_set_when=(
        "a SYN+ACK had arrived",
        "the server still had the previous connection, and the RST is the first answer: LA003, RU006, RU011",
    ),
    rfc=("RFC 9293 3.10.7.1",),
    remedy="Start the listener, or look for a firewall that rejects the SYN.",
    example="port-closed",
    counter="TcpOutRsts",
)

RST_NO_SOCKET = Rule(
    id="RS005",
    name="rst-no-socket",
    severity=NOTICE,
    summary="A segment reached a host that does not have the connection, or no longer has it, and was answered with a bare RST.",
    table="resets",
    predicate=rst_no_socket,
    grades=(
        Grade(lambda r: ~has_other_ttl(r), NOTICE, CONFIRMED),
        Grade(always, NOTICE, LIKELY, "the TTL differs: a device may have answered for the host"),
    ),
    message="{ip}:{port} has no socket for {peer_ip}:{peer_port}: it answered with a bare RST",
    frames=("trigger_frame", "frame"),
    values=_VALUES,
    set_when=("a bare RST whose sequence number is the ACK field of the segment that it answers",),
    not_set_when=(
        "the sender had sent FIN and was still closing: RS003, LA005, TW008, TW009",
        "the sender had already sent a RST",
    ),
    rfc=("RFC 9293 3.5.1", "RFC 9293 3.5.2"),
    remedy="Nothing to do if both sides had closed. Otherwise look for a restart of the host, and send keep-alives more often than the NAT's timeout.",
    example="rst-no-socket",
    counter="TcpOutRsts",
)

RST_INJECTED = Rule(
    id="RS006",
    name="rst-injected",
    severity=WARNING,
    summary="A RST was not sent by the endpoint whose address it carries.",
    table="resets",
    predicate=rst_injected,
    grades=(
        Grade(lambda r: r.continued_data_frame >= 0, WARNING, CONFIRMED, "the endpoint sends new data after it"),
        Grade(goes_on, WARNING, LIKELY, "the endpoint continues, but sends no new data"),
        Grade(always, WARNING, LIKELY, "signs of a device on the path"),
    ),
    message="a RST from {ip}:{port} to {peer_ip}:{peer_port} was not sent by that endpoint[; the endpoint continued afterwards{continued_frame:?}][; another RST followed, above everything that the endpoint had sent{ladder_frame:?}][; the TTL differs by {ttl_delta:#}]",
    frames=("trigger_frame", "frame", "ladder_frame", "continued_frame", "continued_data_frame"),
    values=("ttl_delta", "ip_id_delta", "is_ip_id_counter", "trigger_gap_ns", "rtt_ns", "sender_seq_delta"),
    set_when=(
        "the apparent sender continues in sequence",
        "or several RSTs with its address rise above everything that it has sent, with nothing in between",
        "or two of these: its TTL differs by 2 or more; its IP ID jumps although the sender's is a counter; "
        "it arrives earlier than the sender ever answered; it carries the peer's sequence numbers",
    ),
    not_set_when=(
        "only one sign is present",
        "the IP ID is 0, or the sender's IP IDs are random",
        "the endpoint had already sent a RST: a RST from a device after that changes nothing",
        "it looks like the answer of a host without a socket, and has the host's own TTL",
    ),
    rfc=("RFC 3360", "RFC 5961 3"),
    remedy="Find the device: compare TTLs hop by hop.",
    example="rst-injected",
    rival="segments that the network reordered around the RST",
    needs=(BOTH_DIRECTIONS,),
)

ABORT_TIMEOUT = Rule(
    id="RS007",
    name="abort-timeout",
    severity=WARNING,
    summary="An endpoint gave up: its retransmissions or probes got no answer.",
    table="resets",
    predicate=abort_timeout,
    grades=(
        Grade(lambda r: r.retransmits >= GIVES_UP, WARNING, CONFIRMED, "at least three got no answer"),
        Grade(always, WARNING, LIKELY),
    ),
    message="{ip}:{port} gave up on {peer_ip}:{peer_port} after {retransmits:unanswered retransmission}",
    frames=_FRAMES,
    values=_ABORT_VALUES,
    set_when=("RST with ACK after three unanswered retransmissions, or two with data in flight",),
    not_set_when=("everything was acknowledged",),
    rfc=("RFC 1122 4.2.3.5",),
    remedy="Check the path, and why the peer stopped answering.",
    example="abort-timeout",
    counter="TcpExtTCPAbortOnTimeout",
    needs=(BOTH_DIRECTIONS, ACKS),
)

HEALTH_CHECK_RESET = Rule(
    id="RS008",
    name="health-check-reset",
    severity=INFO,
    summary="A connection was opened and reset at once, before any payload: a probe.",
    table="resets",
    predicate=health_check_reset,
    grades=(Grade(always, INFO, LIKELY),),
    message="[{ip}:{port} opened a connection to {peer_ip}:{peer_port} and reset it at once{endpoint:=orig}][{ip}:{port} accepted a connection from {peer_ip}:{peer_port} and reset it at once{endpoint:=resp}]: no payload was sent",
    frames=("trigger_frame", "frame"),
    values=("trigger_gap_ns", "is_bare"),
    set_when=("RST right after the handshake, or after SYN+ACK", "no payload in either direction"),
    not_set_when=("payload was sent",),
    rfc=("RFC 9293 3.10.5",),
    remedy="Nothing to do if the client sent the RST: health checks and port scans do this. If the server sent it, find out why it refuses.",
    example="health-check-reset",
    needs=(PAYLOAD,),
)

RST_NOT_EXACT = Rule(
    id="RS009",
    name="rst-not-exact",
    severity=NOTICE,
    summary="A RST was inside the window, but not at RCV.NXT: the receiver must send a challenge ACK and keep the connection.",
    table="resets",
    predicate=rst_not_exact,
    grades=(
        Grade(lambda r: r.challenge_frame >= 0, NOTICE, CONFIRMED, "the challenge ACK was captured"),
        Grade(always, NOTICE, PREDICTED),
    ),
    message="a RST from {ip}:{port} was {seq_delta:byte} above RCV.NXT of {peer_ip}:{peer_port}[, which answered with a challenge ACK{challenge_frame:?}]",
    frames=("frame", "challenge_frame"),
    values=("seq_delta", "ttl_delta", "receive_window"),
    set_when=("the receiver is in a synchronised state", "SEG.SEQ is above RCV.NXT and inside the window"),
    not_set_when=("SEG.SEQ = RCV.NXT", "SEG.SEQ follows the sender's last segment, as far as the capture shows"),
    rfc=("RFC 5961 3.2", "RFC 9293 3.5.3"),
    remedy="Look for a blind attack, or a device that guesses sequence numbers: see RS006.",
    example="rst-not-exact",
    counter="TcpExtTCPChallengeACK",
)

RST_UNCLASSIFIED = Rule(
    id="RS010",
    name="rst-unclassified",
    severity=INFO,
    summary="The packets do not show why a RST was sent.",
    table="resets",
    predicate=rst_unclassified,
    grades=(Grade(always, INFO, CONFIRMED),),
    message="{ip}:{port} reset its connection with {peer_ip}:{peer_port}; the packets do not show why",
    frames=("trigger_frame", "frame"),
    values=(*_VALUES, "seq_delta", "ack_delta", "is_bare", "bytes_in_flight"),
    set_when=("no other rule of this family applies",),
    not_set_when=("the sender had already sent a RST",),
    rfc=("RFC 9293 3.5.2",),
    remedy="Look at the segments before it.",
    example="rst-unclassified",
)

RULES = (
    ABORT_LINGER0,
    ABORT_UNREAD_DATA,
    ABORT_AFTER_FIN,
    PORT_CLOSED_RULE,
    RST_NO_SOCKET,
    RST_INJECTED,
    ABORT_TIMEOUT,
    HEALTH_CHECK_RESET,
    RST_NOT_EXACT,
    RST_UNCLASSIFIED,
)

DERIVED = (Derived("resets", "verdict", verdict),)
