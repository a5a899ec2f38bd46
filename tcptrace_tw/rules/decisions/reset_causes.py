"""Who sent a RST, and why (RFC 9293 3.5.2, 3.5.3, 3.10.5; RFC 5961 3.2).

``RESET`` is the decision table; the first row that holds gives ``resets.verdict``, which the rules RS001 to RS014 read.
Where the packets do not decide (SO_LINGER 0 or unread data, the timer of a device or of an application), the verdict
names all of them.
"""

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.protocol.states import CLOSED, ESTABLISHED, LAST_ACK, SYN_RECEIVED, SYN_SENT, TIME_WAIT
from tcptrace_tw.rules.reset_signs import (
    ANSWER_NS,
    FORGETS_NS,
    GIVES_UP,
    KNOWN_SEGMENTS,
    SECOND_NS,
    fin_wait_2_timeout_reset,
    goes_on,
    has_closed,
    has_other_ttl,
    is_challenged,
    is_damaged,
    is_echo,
    is_of_the_host,
    is_past_the_stack,
    is_too_soon,
    rst_on_last_ack,
)
from tcptrace_tw.rules.rule import Case, Derived, Mask, Rows, always, decided
from tcptrace_tw.schema.columns import RST, SYN
from tcptrace_tw.schema.words import ORIG, RESP

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
    AFTER_SILENCE,
    UNTRANSLATED,
    FLOW_FORGOTTEN,
    NO_REQUEST,
) = range(16)


def is_gone(r: Rows) -> Mask:
    """The sender no longer has the connection, or nothing shows that it does."""
    just_entered = (r.unacked_bytes > 0) & (r.time_wait_gap_ns == r.trigger_gap_ns)
    waiting = (r.sender_state == TIME_WAIT) & ~just_entered
    return ~has_closed(r) | (r.sender_state == CLOSED) | waiting | fin_wait_2_timeout_reset(r)


def fits_fin(r: Rows) -> Mask:
    """After its FIN an endpoint resets at SND.NXT or at the FIN, or echoes an ACK field; other numbers are not its own."""
    return has_closed(r) & (is_echo(r) | (r.sender_seq_delta == 0) | (r.sender_seq_delta == -1))


def is_past_last_ack(r: Rows) -> Mask:
    """Without the ACKs: a bare RST behind the passive closer's FIN echoes an ACK of that FIN, which had ended LAST-ACK."""
    bare = (r.is_bare != 0) & (r.window == 0) & (r.has_plain == 0) & (r.is_syn_pending == 0)
    return bare & (r.sender_state == LAST_ACK) & (r.sender_seq_delta == 0)


IP_ID_LEAP = 1024
"""The IP ID counter of a connection never jumps this far in one step."""


def has_other_ip_id(r: Rows) -> Mask:
    """Its IP ID is far from the sender's, which had been a counter; a host without a socket may count elsewhere."""
    return (r.is_ip_id_counter != 0) & (np.abs(r.ip_id_delta) >= IP_ID_LEAP) & ~is_echo(r)


def is_seen_from_the_peer(r: Rows) -> Mask:
    """It carries sequence numbers as the peer knows them, not the sender's own."""
    return (r.is_bare == 0) & (r.sender_seq_delta < 0)


def is_made_between(r: Rows) -> Mask:
    """Two signs of a device on the path; a RST to an endpoint that had sent one itself changes nothing."""
    signs = has_other_ttl(r).astype(np.int8) + is_too_soon(r) + is_seen_from_the_peer(r) + has_other_ip_id(r)
    signs += r.twin_gap_ns >= 0
    signs *= r.receiver_state != CLOSED
    return (signs >= 2) & (has_other_ttl(r) | ~is_echo(r)) & (r.is_repeat == 0) & (r.has_plain != 0)


def is_ladder(r: Rows) -> Mask:
    """Several RSTs with one source address rise above everything that the sender has sent."""
    return (r.ladder_frame >= 0) & (r.has_plain != 0)


def is_untranslated(r: Rows) -> Mask:
    """The host resets text of a connection that lives on: it sends new data, or, being the client, acknowledges more.

    A server that only closes later may stand behind a firewall that answers for it. The host's own TTL must be known.
    """
    lives = (r.continued_data_frame >= 0) | (r.endpoint == ORIG)
    return is_of_the_host(r) & lives & (r.trigger_len > 0) & (r.sender_state >= ESTABLISHED) & (r.is_ttl_steady != 0)


def may_be_of_the_host(r: Rows) -> Mask:
    """It answers text like the host itself, and goes on; too little was captured before to know the host's TTL."""
    return is_of_the_host(r) & (r.trigger_len > 0) & (r.is_ttl_steady == 0) & (r.sender_segments < KNOWN_SEGMENTS)


def is_forgotten_by_a_device(r: Rows) -> Mask:
    """The first segment after silence is answered, with or without ACK, and not by the host."""
    is_drawn = (r.silence_ns >= FORGETS_NS) & (r.silence_ns > r.trigger_gap_ns)
    at_once = (r.trigger_gap_ns >= 0) & (r.trigger_gap_ns < ANSWER_NS + 4 * np.maximum(r.rtt_ns, 0))
    at_once &= (r.trigger_flags & RST) == 0
    acks_it = (((r.trigger_len > 0) & (r.acked_bytes > 0)) | (at_once & has_other_ttl(r))) & (r.sender_seq_delta == 0)
    return is_drawn & (is_echo(r) | acks_it) & ~has_closed(r) & (has_other_ttl(r) | is_too_soon(r))


def is_empty(r: Rows) -> Mask:
    """No payload in either direction, none that was not captured, and no FIN."""
    nothing = (r.received_bytes == 0) & (r.sent_bytes == 0) & ~has_closed(r) & (r.peer_fin_frame < 0)
    return nothing & (r.sender_seq_delta <= 0) & (r.ack_delta <= 0)


def is_probe(r: Rows) -> Mask:
    """A handshake, or half of one, and a RST of the client."""
    begun = ((r.trigger_flags & SYN) != 0) | (r.receiver_state == SYN_RECEIVED) | (r.receiver_state == ESTABLISHED)
    opened = (r.endpoint == ORIG) & (r.sender_segments > 0)
    return is_empty(r) & begun & opened & (r.sender_state != CLOSED) & (r.retransmits == 0)


AT_ONCE_NS = SECOND_NS
"""A probe resets its connection within some round trips; the first retransmission timeout is longer than most (RFC 6298)."""


def is_soon_after_handshake(r: Rows) -> Mask:
    """The sender had sent at most two segments, the last of them just before."""
    return (r.sender_segments <= 2) & (r.own_gap_ns < AT_ONCE_NS)


def is_refusal_after_handshake(r: Rows) -> Mask:
    """A server resets a connection in which nothing was said."""
    return is_empty(r) & (r.endpoint == RESP) & (r.sender_state != CLOSED) & (r.retransmits == 0) & (r.has_plain != 0)


def has_unread(r: Rows) -> Mask:
    """Received bytes are missing from its window, as they were before, or its window had been closed.

    Linux leaves less than a segment unannounced whether it was read or not (__tcp_select_window), and a window grows
    while unread bytes arrive: only a whole segment counts. Windows sends RSTs with window 0.
    """
    least = np.maximum(r.window_unit, r.mss)
    missing = (r.window > 0) & (r.window_missing >= least) & (r.window_missing <= r.received_bytes)
    was_full = (r.was_window_closed != 0) & (r.is_repeat == 0)
    return (r.received_bytes > 0) & ((missing & (r.is_window_low != 0)) | was_full)


PROBES = 2
"""After this many unanswered keep-alive probes it does, if it comes no sooner than the next probe."""

PROBE_INTERVAL_NS = SECOND_NS
"""TCP_KEEPINTVL is set in whole seconds."""

LEAST_RTO_NS = SECOND_NS // 5
"""No stack retransmits sooner than after this without an ACK that asks for it: what comes sooner are copies."""


def gave_up(r: Rows) -> Mask:
    """Retransmissions or probes got no answer."""
    repeated = (r.retransmits >= GIVES_UP) | ((r.bytes_in_flight > 0) & (r.retransmits >= GIVES_UP - 1))
    repeated &= (r.trigger_gap_ns < 0) | (r.trigger_gap_ns >= LEAST_RTO_NS)
    return repeated | ((r.probes >= PROBES) & (r.own_gap_ns >= PROBE_INTERVAL_NS))


def is_abort(r: Rows) -> Mask:
    """A RST from a sender in a synchronised state that had not sent FIN, and no answer: ABORT of RFC 9293 3.10.5.

    While a SYN waits on the 4-tuple a RST is an answer to it, or part of its retry: RU006, RU011, LA003.
    """
    alive = (r.sender_state >= ESTABLISHED) | (r.sender_state == SYN_RECEIVED)
    # Windows may omit the ACK.
    own = (r.is_bare == 0) | ((r.is_echo == 0) & (r.sender_seq_delta == 0) & (r.trigger_frame >= 0))
    return own & ~has_closed(r) & alive & (r.is_syn_pending == 0)


def is_after_silence(r: Rows) -> Mask:
    """Nothing had been sent for longer than an answer takes, and it is not what a socket of that host sends."""
    last = np.where(r.own_gap_ns >= 0, np.minimum(r.own_gap_ns, r.trigger_gap_ns), r.trigger_gap_ns)
    idle = (r.silence_ns >= 0) | ((r.is_bare != 0) & (last > ANSWER_NS + 4 * np.maximum(r.rtt_ns, 0)))
    idle &= ~is_echo(r) & (r.has_plain != 0) & (r.is_repeat == 0) & (r.sender_seq_delta == 0)
    idle &= (~has_closed(r) | has_other_ttl(r)) & ~(is_abort(r) & gave_up(r)) & (r.is_syn_pending == 0)
    alive = (r.sender_state >= ESTABLISHED) | (r.twin_gap_ns >= 0)
    return idle & alive & ((r.is_bare != 0) | has_other_ttl(r) | (r.twin_gap_ns >= 0))


RESET: tuple[Case, ...] = (
    Case(lambda r: r.is_syn_answer != 0, PORT_CLOSED, "it answers a SYN: RST+ACK with ack = ISN + 1", "port-closed", "port-closed-nearly"),
    Case(
        lambda r: (r.is_stale_ack_answer != 0) | (((r.is_syn_pending != 0) | (r.sender_state == SYN_SENT)) & is_echo(r)), STALE_ACK_ANSWER,
        "part of a SYN's retry: it answers a challenge ACK", "syn-hits-last-ack", "reset-in-syn-received",
    ),
    Case(is_damaged, UNCLASSIFIED, "SYN, FIN or URG beside RST: a damaged or invented segment", "rst-with-other-flags", "rst-injected"),
    Case(is_untranslated, UNTRANSLATED, "the host answers a segment of a connection that lives on", "rst-untranslated-segment", "rst-untranslated-segment-nearly"),
    Case(may_be_of_the_host, UNCLASSIFIED, "the same, and the host's TTL is not known: forged, or a segment that reached the host untranslated", "rst-untranslated-or-injected", "rst-injected"),
    Case(is_past_the_stack, NO_SOCKET, "the host answers a SYN+ACK, and segments with its address follow: a scanner's own kernel", "rst-of-a-scanners-kernel", "reset-in-syn-received"),
    Case(goes_on, INJECTED, "the apparent sender continues as if nothing had happened", "rst-injected", "rst-injected-nearly"),
    Case(is_ladder, INJECTED, "several RSTs rise above everything that the apparent sender has sent", "rst-injected-ladder", "rst-injected-ladder-nearly"),
    Case(is_forgotten_by_a_device, FLOW_FORGOTTEN, "it answers the first segment after silence, with another TTL or too early", "idle-flow-forgotten", "rst-no-socket"),
    Case(is_after_silence, AFTER_SILENCE, "it answers nothing, and looks unlike the host's own", "rst-after-silence", "rst-after-silence-nearly"),
    Case(is_made_between, INJECTED, "two of: another TTL, another IP ID, too early, the peer's sequence numbers, a RST of the other side within 1 ms", "rst-injected-ip-id", "rst-injected-ip-id-nearly"),
    Case(rst_on_last_ack, LAST_ACK_REFUSED, "it answers the passive closer's FIN", "rst-on-last-ack", "data-before-the-fin-after-close"),
    Case(lambda r: is_echo(r) & is_probe(r) & ((r.trigger_flags & SYN) != 0), HEALTH_CHECK, "it answers SYN+ACK: half a handshake", "reset-in-syn-received", "port-closed-nearly"),
    Case(lambda r: is_echo(r) & is_gone(r), NO_SOCKET, "a host without a socket answers like this", "rst-no-socket", "abort-without-ack"),
    Case(is_past_last_ack, NO_SOCKET, "it echoes an ACK of its own FIN that was not captured: LAST-ACK was over", "rst-past-last-ack", "rst-past-last-ack-nearly"),
    Case(is_challenged, NOT_EXACT, "inside the window, but not at RCV.NXT", "rst-not-exact", "rst-not-exact-nearly"),
    Case(lambda r: fits_fin(r) & ~has_other_ttl(r), AFTER_FIN, "the sender had sent its FIN, and the RST has its number, the next, or that of an ACK", "abort-after-fin", "rst-on-last-ack"),
    Case(lambda r: is_abort(r) & gave_up(r), TIMEOUT, "retransmissions or probes got no answer", "abort-timeout", "abort-after-one-retransmission"),
    Case(lambda r: is_abort(r) & is_refusal_after_handshake(r), NO_REQUEST, "a server, a handshake, no payload, RST", "reset-before-request", "health-check-reset"),
    Case(lambda r: is_abort(r) & is_probe(r) & is_soon_after_handshake(r), HEALTH_CHECK, "a client, a handshake, no payload, RST", "health-check-reset", "health-check-reset-nearly"),
    Case(lambda r: is_abort(r) & has_unread(r) & (r.sender_seq_delta <= 0), UNREAD_DATA, "received bytes had not been read", "abort-unread-data", "abort-unread-data-nearly"),
    Case(lambda r: is_abort(r) & (r.bytes_in_flight == 0) & (r.sender_seq_delta <= 0), LINGER_0, "nothing in flight, and no sign by which to tell SO_LINGER 0 from unread data", "abort-linger0", "abort-with-data-in-flight"),
    Case(always, UNCLASSIFIED, "none of these", "rst-unclassified", "rst-unclassified-nearly"),
)  # fmt: skip


def verdict(rows: Rows) -> NDArray[np.uint8]:
    """``RESET`` applied: first match wins."""
    return decided(RESET, rows)


DERIVED = (Derived("resets", "verdict", verdict),)
