"""RS: who sent a RST, and why (RFC 9293 3.5.2, 3.5.3, 3.10.5; RFC 5961 3.2).

``RESET`` is the decision table; the first row that holds gives the verdict. Where the packets do not decide (SO_LINGER 0
or unread data, the timer of a device or of an application), the verdict names all of them.
"""

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.protocol.states import CLOSED, ESTABLISHED, LAST_ACK, LISTEN, SYN_RECEIVED, SYN_SENT, TIME_WAIT
from tcptrace_tw.rules.last_ack import fin_then_rst_same_seq, rst_from_last_ack, rst_on_last_ack
from tcptrace_tw.rules.rule import Advice, Case, Derived, Grade, Mask, Rows, Rule, Wording, always, decided
from tcptrace_tw.rules.time_wait import fin_wait_2_timeout_reset, is_time_wait_gone
from tcptrace_tw.schema.columns import FIN, SYN, URG
from tcptrace_tw.schema.observed import ACKS, BOTH_DIRECTIONS, PAYLOAD
from tcptrace_tw.schema.words import CONFIRMED, INFO, LIKELY, NOTICE, NULL_WORD, ORIG, PREDICTED, RESP, WARNING

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

FAR_NS = 2_000_000
"""A round trip from which on the path, and not the host, makes most of the time of an answer."""

HOPS = 2
"""TTLs that differ by this much come from different hosts."""

IP_ID_LEAP = 1024
"""The IP ID counter of a connection never jumps this far in one step."""

KNOWN_SEGMENTS = 3
"""This many segments make a baseline."""

GIVES_UP = 3
"""After this many unanswered retransmissions a RST means that the sender gave up."""

PROBES = 2
"""After this many unanswered keep-alive probes it does, if it comes no sooner than the next probe."""

SECOND_NS = 1_000_000_000

PROBE_INTERVAL_NS = SECOND_NS
"""TCP_KEEPINTVL is set in whole seconds."""

AT_ONCE_NS = SECOND_NS
"""A probe resets its connection within some round trips; the first retransmission timeout is longer than most (RFC 6298)."""

ANSWER_NS = SECOND_NS // 2
"""No host may hold back even an ACK for longer (RFC 1122 4.2.3.2); and a RST it sends at once."""

AT_ONE_GO_NS = SECOND_NS // 100
"""A RST so soon after its sender's FIN is part of the same close()."""

FORGETS_NS = 10 * SECOND_NS
"""Devices keep an idle connection for longer than this."""

LEAST_RTO_NS = SECOND_NS // 5
"""No stack retransmits sooner than after this without an ACK that asks for it: what comes sooner are copies."""

SENDS_ON = 3
"""So many segments with payload after a RST, and no answer: nobody is there."""


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


def fits_fin(r: Rows) -> Mask:
    """After its FIN an endpoint resets at SND.NXT or at the FIN, or echoes an ACK field; other numbers are not its own."""
    return has_closed(r) & (is_echo(r) | (r.sender_seq_delta == 0) | (r.sender_seq_delta == -1))


def is_drawn_by_data(r: Rows) -> Mask:
    """The segment that it answers has payload, or comes right behind payload that nobody acknowledged."""
    is_behind = (r.unacked_bytes > 0) & (r.received_gap_ns >= 0) & (r.received_gap_ns <= ANSWER_NS)
    return is_echo(r) & ((r.trigger_len > 0) | is_behind)


def is_past_last_ack(r: Rows) -> Mask:
    """Without the ACKs: a bare RST behind the passive closer's FIN echoes an ACK of that FIN, which had ended LAST-ACK."""
    bare = (r.is_bare != 0) & (r.window == 0) & (r.has_plain == 0) & (r.is_syn_pending == 0)
    return bare & (r.sender_state == LAST_ACK) & (r.sender_seq_delta == 0)


def is_damaged(r: Rows) -> Mask:
    """SYN, FIN or URG beside RST: no stack sends that."""
    return (r.tcp_flags & (SYN | FIN | URG)) != 0


def goes_on(r: Rows) -> Mask:
    """The apparent sender sends new data, or acknowledges more, as if it had never sent the RST.

    Where the capture begins with RSTs, their numbers tell nothing; a RST that refuses a SYN+ACK ends no SYN-SENT.
    """
    known = (r.sender_segments > 0) & (r.is_repeat == 0) & ~(is_echo(r) & ((r.trigger_flags & SYN) != 0))
    return known & has_continued(r)


def has_continued(r: Rows) -> Mask:
    """New data, or an ACK that moves, of the same endpoint follows.

    A RST above what was captured may follow text that was not; not behind a FIN, and not beyond the window.
    """
    is_placed = (r.sender_seq_delta <= 0) | has_closed(r) | (r.sender_seq_delta >= r.receive_window)
    return (r.continued_data_frame >= 0) | ((r.continued_frame >= 0) & is_placed)


def has_other_ttl(r: Rows) -> Mask:
    """The TTL is none of the sender's other segments."""
    return (np.abs(r.ttl_delta) >= HOPS) & ((r.is_ttl_steady != 0) | (r.sender_segments >= KNOWN_SEGMENTS))


def has_other_ip_id(r: Rows) -> Mask:
    """Its IP ID is far from the sender's, which had been a counter; a host without a socket may count elsewhere."""
    return (r.is_ip_id_counter != 0) & (np.abs(r.ip_id_delta) >= IP_ID_LEAP) & ~is_echo(r)


def is_too_soon(r: Rows) -> Mask:
    """It answers its trigger, earlier than the sender could have; what answers within the host itself has no such time."""
    answers = is_echo(r) | ((r.trigger_len > 0) & (r.acked_bytes > 0))
    known = (r.rtt_ns >= FAR_NS) & (r.sender_segments >= 2) & (r.trigger_frame >= 0) & answers
    return known & (r.trigger_gap_ns >= 0) & (r.trigger_gap_ns < r.rtt_ns // 2)


def is_seen_from_the_peer(r: Rows) -> Mask:
    """It carries sequence numbers as the peer knows them, not the sender's own."""
    return (r.is_bare == 0) & (r.sender_seq_delta < 0)


def is_made_between(r: Rows) -> Mask:
    """Two signs of a device on the path."""
    signs = has_other_ttl(r).astype(np.int8) + is_too_soon(r) + is_seen_from_the_peer(r) + has_other_ip_id(r)
    signs += r.twin_gap_ns >= 0
    return (signs >= 2) & (has_other_ttl(r) | ~is_echo(r)) & (r.is_repeat == 0) & (r.has_plain != 0)


def looks_like_a_hosts(r: Rows) -> Mask:
    """It answers a known segment with the TTL of the host, and like a host without a socket: no window, and no more."""
    known = is_echo(r) & (r.trigger_frame >= 0)
    return known & (np.abs(r.ttl_delta) < HOPS) & (r.window == 0) & (r.continued_frame < 0)


def is_ladder(r: Rows) -> Mask:
    """Several RSTs with one source address rise above everything that the sender has sent."""
    return (r.ladder_frame >= 0) & (r.has_plain != 0)


def is_of_the_host(r: Rows) -> Mask:
    """It answers in time and with the host's own TTL, but the connection goes on: the host did not know the segment."""
    return is_echo(r) & (np.abs(r.ttl_delta) < HOPS) & ~is_too_soon(r) & has_continued(r) & ~has_closed(r)


def is_untranslated(r: Rows) -> Mask:
    """The host resets text of a connection that lives on: it sends new data, or, being the client, acknowledges more.

    A server that only closes later may stand behind a firewall that answers for it. The host's own TTL must be known.
    """
    lives = (r.continued_data_frame >= 0) | (r.endpoint == ORIG)
    return is_of_the_host(r) & lives & (r.trigger_len > 0) & (r.sender_state >= ESTABLISHED) & (r.is_ttl_steady != 0)


def may_be_of_the_host(r: Rows) -> Mask:
    """It answers text like the host itself, and goes on; too little was captured before to know the host's TTL."""
    return is_of_the_host(r) & (r.trigger_len > 0) & (r.is_ttl_steady == 0) & (r.sender_segments < KNOWN_SEGMENTS)


def is_past_the_stack(r: Rows) -> Mask:
    """The host resets the answer to a SYN that its own stack had not sent."""
    return is_of_the_host(r) & ((r.trigger_flags & SYN) != 0)


def is_forgotten_by_a_device(r: Rows) -> Mask:
    """The first segment after silence is answered, with or without ACK, and not by the host."""
    is_drawn = (r.silence_ns >= FORGETS_NS) & (r.silence_ns > r.trigger_gap_ns)
    acks_it = (r.trigger_len > 0) & (r.acked_bytes > 0) & (r.sender_seq_delta == 0)
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


def is_unasked(r: Rows) -> Mask:
    """It answers a SYN+ACK, and no SYN of its sender was captured."""
    return ((r.trigger_flags & SYN) != 0) & (r.sender_segments == 0)


def is_soon_after_handshake(r: Rows) -> Mask:
    """The sender had sent at most two segments, the last of them just before."""
    return (r.sender_segments <= 2) & (r.own_gap_ns < AT_ONCE_NS)


def is_refusal_after_handshake(r: Rows) -> Mask:
    """A server resets a connection in which nothing was said."""
    return is_empty(r) & (r.endpoint == RESP) & (r.sender_state != CLOSED) & (r.retransmits == 0) & (r.has_plain != 0)


def is_challenged(r: Rows) -> Mask:
    """In the window, but not at RCV.NXT: the receiver must send a challenge ACK (RFC 5961 3.2)."""
    inside = (r.seq_delta > 0) & (r.seq_delta < r.receive_window)
    return (r.is_accepted == 0) & (r.receiver_state >= ESTABLISHED) & (r.receiver_state != TIME_WAIT) & inside


def has_unread(r: Rows) -> Mask:
    """Received bytes are missing from its window, as they were before, or its window had been closed.

    Linux leaves less than a segment unannounced whether it was read or not (__tcp_select_window), and a window grows
    while unread bytes arrive: only a whole segment counts. Windows sends RSTs with window 0.
    """
    least = np.maximum(r.window_unit, r.mss)
    missing = (r.window > 0) & (r.window_missing >= least) & (r.window_missing <= r.received_bytes)
    was_full = (r.was_window_closed != 0) & (r.is_repeat == 0)
    return (r.received_bytes > 0) & ((missing & (r.is_window_low != 0)) | was_full)


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


def fin_never_arrived(r: Rows) -> Mask:
    """Text of the other side, which never saw the FIN although that was sent again, drew the RST."""
    return is_drawn_by_data(r) & (r.trigger_len > 0) & (r.receiver_state == ESTABLISHED) & (r.retransmits > 0)


def is_at_once(r: Rows) -> Mask:
    """The RST came right behind the FIN of its sender."""
    return (r.fin_gap_ns >= 0) & (r.fin_gap_ns < AT_ONE_GO_NS) & ~is_drawn_by_data(r)


def sent_nothing(r: Rows) -> Mask:
    """A client that closed without a request."""
    return (r.endpoint == ORIG) & (r.sent_bytes == 0) & (r.sender_segments > 0)


def is_timed(r: Rows) -> Mask:
    """It came after a time such as people set: whole seconds up to ten, or a multiple of five; timers are never early."""
    seconds = (r.silence_ns + SECOND_NS // 100) // SECOND_NS
    late = r.silence_ns - seconds * SECOND_NS
    is_even = late <= SECOND_NS // 20 + np.maximum(r.rtt_ns, 0) + r.silence_ns // 500
    return (r.silence_ns >= 0) & is_even & ((seconds <= 10) | (seconds % 5 == 0))


def has_waited(r: Rows) -> Mask:
    """Both sides were silent before it."""
    return r.silence_ns >= 0


def is_silent_for_long(r: Rows) -> Mask:
    """For so long that devices forget a connection."""
    return r.silence_ns >= FORGETS_NS


def have_both_closed(r: Rows) -> Mask:
    """Both FINs had been sent."""
    return (r.fin_frame >= 0) & (r.peer_fin_frame >= 0)


def has_program_behind(r: Rows) -> Mask:
    """Segments with its address follow, in sequence."""
    return r.continued_frame >= 0


def lay_beyond(r: Rows) -> Mask:
    """The receiver refused it: it lay outside of the window."""
    return (r.is_accepted == 0) & (r.seq_delta >= r.receive_window) & (r.receive_window > 0)


def lay_below(r: Rows) -> Mask:
    """The receiver refused it: it has the ACK field of an older segment."""
    return (r.is_accepted == 0) & (r.seq_delta < 0)


def was_probing(r: Rows) -> Mask:
    """Keep-alive probes, and no data, had got no answer."""
    return r.probes > 0


def is_forged_after(r: Rows) -> Mask:
    """Text with its sender's address came after it, from another host as TTL and numbers show, and nobody goes on."""
    return (r.alien_frame >= 0) & (r.is_repeat == 0) & ~has_other_ttl(r) & (r.verdict != INJECTED)


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


def abort_linger0(r: Rows) -> Mask:
    """RS001."""
    return r.verdict == LINGER_0


def abort_unread_data(r: Rows) -> Mask:
    """RS002."""
    return r.verdict == UNREAD_DATA


def abort_after_fin(r: Rows) -> Mask:
    """RS003."""
    named = rst_from_last_ack(r) | fin_then_rst_same_seq(r) | fin_wait_2_timeout_reset(r)
    answers_syn = r.is_syn_pending != 0  # LA003
    return (r.verdict == AFTER_FIN) & ~named & ~answers_syn & (r.sender_state != CLOSED)


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
    return is_challenged(r) & (r.is_syn_pending == 0) & (r.is_stale_ack_answer == 0) & ~is_damaged(r)


def rst_unclassified(r: Rows) -> Mask:
    """RS010: a RST that had an effect on its receiver."""
    first = (r.verdict == UNCLASSIFIED) & (r.is_repeat == 0) & (r.sender_state != SYN_SENT) & ~is_damaged(r)
    first &= r.is_syn_pending == 0
    return first & (r.receiver_state != CLOSED) & (r.is_accepted != 0)


def rst_after_silence(r: Rows) -> Mask:
    """RS011."""
    return r.verdict == AFTER_SILENCE


def rst_untranslated_segment(r: Rows) -> Mask:
    """RS012."""
    return r.verdict == UNTRANSLATED


def idle_flow_forgotten(r: Rows) -> Mask:
    """RS013."""
    return r.verdict == FLOW_FORGOTTEN


def reset_before_request(r: Rows) -> Mask:
    """RS014."""
    return r.verdict == NO_REQUEST


def peer_gone_after_rst(r: Rows) -> Mask:
    """RS015: the RST was lost behind the tap, or its receiver refused it."""
    first = (r.is_repeat == 0) & (r.is_stale_ack_answer == 0) & (r.is_syn_answer == 0) & ~is_damaged(r)
    first &= r.verdict != INJECTED
    return first & (r.vain_segments >= SENDS_ON) & (r.vain_ns >= SECOND_NS) & (r.continued_frame < 0)


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
    summary="An endpoint sent RST instead of FIN: SO_LINGER 0, or unread data (the packets do not tell).",
    table="resets",
    predicate=abort_linger0,
    grades=(
        Grade(lambda r: np.zeros(r.size, np.bool_), NOTICE, CONFIRMED, "the endpoint does this at least five times, has acknowledged all payload before, and never closes with FIN"),
        Grade(always, NOTICE, LIKELY),
    ),
    message="{ip}:{port} aborted its connection with {peer_ip}:{peer_port}[ after {silence_ns} of silence]: RST instead of FIN (SO_LINGER 0 or unread data)[; it acknowledges {acked_bytes:byte} that no ACK had covered before, perhaps unread]",
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
        Advice(lambda r: r.peer_fin_frame >= 0, "the peer had sent its FIN", "Little is lost: the peer had closed before. Proxies (HAProxy, with option nolinger or http-server-close) and Windows end connections like this; otherwise read to the end of the stream before close(). nstat on the host that sent the RST tells which it is: TcpExtTCPAbortOnClose counts unread data, TcpExtTCPAbortOnData SO_LINGER 0."),
    ),
    example="abort-linger0",
    counter="TcpExtTCPAbortOnData",
    rival="a process that was killed",
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
    message="{ip}:{port} closed its connection with {peer_ip}:{peer_port}[ after {silence_ns} of silence] before it had read all received data: RST instead of FIN",
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

ABORT_AFTER_FIN = Rule(
    id="RS003",
    name="abort-after-fin",
    severity=NOTICE,
    summary="An endpoint sent RST after its own FIN: data arrived after close(), or it gave up waiting.",
    table="resets",
    predicate=abort_after_fin,
    grades=(
        Grade(is_drawn_by_data, NOTICE, CONFIRMED, "data reached an endpoint that had closed both directions"),
        Grade(always, NOTICE, LIKELY, "the linger time expired, the kernel dropped an orphan, or the process ended"),
    ),
    message="{ip}:{port} had sent FIN and, in {sender_state}, sent RST to {peer_ip}:{peer_port}[ after {silence_ns} of silence]",
    wordings=(
        Wording(fin_never_arrived, "the FIN never arrived", "the FIN of {ip}:{port} never reached {peer_ip}:{peer_port}, although it was retransmitted {retransmits:time}: the peer was still ESTABLISHED, sent {trigger_len:byte}[ {fin_gap_ns} after the FIN], and got a RST"),
        Wording(lambda r: is_drawn_by_data(r) & (r.trigger_len > 0), "data drew the RST", "{ip}:{port} had closed in both directions when {trigger_len:byte} from {peer_ip}:{peer_port} arrived[ {fin_gap_ns} after its FIN], and answered with RST"),
        Wording(is_drawn_by_data, "data had come just before", "{ip}:{port} had closed in both directions when more data from {peer_ip}:{peer_port} arrived, and answered with RST[ {fin_gap_ns} after its FIN]"),
        Wording(is_at_once, "the RST came right behind the FIN", "{ip}:{port} sent FIN and, {fin_gap_ns} later, RST to {peer_ip}:{peer_port}: an abort in one go"),
        Wording(lambda r: r.fin_gap_ns >= 0, "the time since the FIN is known", "{ip}:{port} had sent FIN and, in {sender_state}, sent RST to {peer_ip}:{peer_port} {fin_gap_ns} later"),
    ),
    frames=_FRAMES,
    values=(*_VALUES, "trigger_len", "unacked_bytes", "fin_gap_ns", "fin_acked_gap_ns"),
    set_when=("the sender had sent FIN, and sends RST later, at the FIN, at SND.NXT, or with an ACK field of the other side",),
    not_set_when=(
        "the sender had waited for an answer in LAST-ACK: that is LA006", "the RST has the FIN's sequence number and answers nothing: that is LA008",
        "it had been in FIN-WAIT-2 for 60 s or longer: that is TW008",
        "the RST lies elsewhere; if the endpoint goes on afterwards, that is RS006",
    ),
    rfc=("RFC 9293 3.10.7.4",),
    remedy="If data may be lost by this: on the endpoint that sent the RST, look if its process ended or was killed, and at TCP_LINGER2 and net.ipv4.tcp_fin_timeout, which end the wait for the peer's FIN.",
    advice=(
        Advice(fin_never_arrived, "the FIN never arrived", "Find out where the FIN is lost on its way: capture at the peer too, and look for a filter or NAT that drops it (conntrack -S: invalid). The applications are not to blame."),
        Advice(lambda r: is_drawn_by_data(r) & sent_nothing(r), "a client closed without a request", "Nothing to do if this is a health check or a scan: it closes without reading what the server says first. Otherwise let the client read before close()."),
        Advice(is_drawn_by_data, "data arrived after close()", "In the application that sent the RST: call shutdown(SHUT_WR), read until read() returns 0, then close(). The peer's last data are lost as it is."),
        Advice(is_at_once, "the RST came right behind the FIN", "In the application that sent the RST: read until read() returns 0 before close(), and do not set SO_LINGER to 0. Nothing to do where it means to abort."),
    ),
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
        Grade(
            is_unasked,
            INFO,
            LIKELY,
            "a SYN+ACK that nobody asked for: backscatter of a scan or flood with this address, or the SYN was not captured",
        ),
        Grade(lambda r: is_past_the_stack(r) & has_program_behind(r), NOTICE, CONFIRMED, "segments with its address follow"),
        Grade(looks_like_a_hosts, NOTICE, CONFIRMED),
        Grade(
            always,
            NOTICE,
            LIKELY,
            "the TTL differs: a device may have answered for the host; or it answers an earlier segment, and which one is not known; "
            "or its window is not 0; or segments of the endpoint follow in sequence; or the segment that it answers was not captured",
        ),
    ),
    message="{ip}:{port} has no socket for {peer_ip}:{peer_port}: it answered with a bare RST[ after {silence_ns} of silence]",
    wordings=(
        Wording(has_program_behind, "segments with its address follow", "the host of {ip}:{port} answered {peer_ip}:{peer_port} with RST, but segments with its address follow: a program (a scanner) sends them without a socket, and its own kernel resets what comes back"),
    ),
    frames=("trigger_frame", "frame"),
    values=_VALUES,
    set_when=(
        "a bare RST whose sequence number is the ACK field of the segment that it answers, or of an earlier one that had got no answer yet",
        "or, in a capture of SYN, FIN and RST only, one behind the passive closer's FIN: an ACK of that FIN drew it",
        "it comes in time: four of the shortest round trips and 500 ms, or 1 s where none is known",
    ),
    not_set_when=(
        "it comes later: that is RS011",
        "the host's other segments show that it still has the connection: RS012",
        "the sender had sent FIN and was still closing: RS003, LA005, TW008, TW009",
        "the sender had already sent a RST",
    ),
    rfc=("RFC 9293 3.5.1", "RFC 9293 3.5.2"),
    remedy="On the host that sent the RST, look if its program or the host was started anew, or closed this connection earlier.",
    advice=(
        Advice(has_program_behind, "segments with its address follow", "Nothing to do in the network: scanners and test tools with raw sockets do this. On their host a filter rule can drop the RSTs of the kernel (iptables -A OUTPUT -p tcp --tcp-flags RST RST -j DROP)."),
        Advice(is_unasked, "nobody had asked for the SYN+ACK", "Nothing to do: somebody sends SYNs with this address, or the SYN was not captured."),
        Advice(have_both_closed, "both sides had closed", "Nothing to do: the connection was over, and a late segment found no socket."),
        Advice(is_silent_for_long, "it comes after a long silence", "Send keep-alives (TCP_KEEPIDLE) more often than the silence was long, and look if the program or the host that sent the RST was started anew meanwhile."),
    ),
    example="rst-no-socket",
    counter="TcpOutRsts",
)  # fmt: skip

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
    message="a RST from {ip}:{port} to {peer_ip}:{peer_port} was not sent by that endpoint[; the endpoint continued afterwards{continued_frame:?}][; another RST followed, above everything that the endpoint had sent{ladder_frame:?}][; the TTL differs by {ttl_delta:#}][; a RST of the other side passed at the same time{twin_gap_ns:?}][, after {silence_ns} of silence]",
    frames=("trigger_frame", "frame", "ladder_frame", "continued_frame", "continued_data_frame"),
    values=("ttl_delta", "ip_id_delta", "is_ip_id_counter", "trigger_gap_ns", "rtt_ns", "sender_seq_delta"),
    set_when=(
        "the apparent sender continues in sequence",
        "or several RSTs with its address rise above everything that it has sent, with nothing in between",
        "or two of these: its TTL differs by 2 or more; its IP ID jumps although the sender's is a counter; "
        "it arrives earlier than the sender ever answered; it carries the peer's sequence numbers; a RST of the other side passes within 1 ms",
    ),
    not_set_when=(
        "only one sign is present",
        "the IP ID is 0, or the sender's IP IDs are random",
        "the endpoint had already sent a RST: a RST from a device after that changes nothing",
        "it looks like the answer of a host without a socket, and has the host's own TTL: RS005, RS012",
        "the TTL is one that the sender's other segments had",
        "what follows is a copy, or out of sequence",
        "SYN, FIN or URG stand beside RST: the segment is damaged",
        "the connection shows SYN, FIN and RST only",
    ),
    rfc=("RFC 3360", "RFC 5961 3"),
    remedy="Find the device: count the hops to it (its TTL is a start value of 64, 128 or 255 minus the hops; traceroute -T -p PORT names them), and capture on both sides of the firewalls there.",
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
    message="a RST from {ip}:{port} was {seq_delta:byte} above RCV.NXT of {peer_ip}:{peer_port}, inside its window of {receive_window:byte}[; it was answered with a challenge ACK{challenge_frame:?}][; {silence_ns} of silence before it]",
    frames=("frame", "challenge_frame"),
    values=("seq_delta", "ttl_delta", "receive_window"),
    set_when=("the receiver is in a synchronised state", "RCV.NXT < SEG.SEQ < RCV.NXT + RCV.WND"),
    not_set_when=(
        "SEG.SEQ = RCV.NXT",
        "SEG.SEQ is outside of the window: the receiver drops it in silence",
        "SEG.SEQ follows the sender's last segment, as far as the capture shows",
    ),
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
    message="{ip}:{port} reset its connection with {peer_ip}:{peer_port}[ after {silence_ns} of silence]; the packets do not show why",
    frames=("trigger_frame", "frame"),
    values=(*_VALUES, "seq_delta", "ack_delta", "is_bare", "bytes_in_flight"),
    set_when=("no other rule of this family applies",),
    not_set_when=(
        "the sender had already sent a RST",
        "the receiver does not take it",
        "SYN, FIN or URG stand beside RST",
    ),
    rfc=("RFC 9293 3.5.2",),
    remedy="Look at the segments before it.",
    example="rst-unclassified",
)

RST_AFTER_SILENCE = Rule(
    id="RS011",
    name="rst-after-silence",
    severity=NOTICE,
    summary="A RST came after silence and answers nothing: the timer of a device or of an application, or a forged segment.",
    table="resets",
    predicate=rst_after_silence,
    grades=(
        Grade(lambda r: (r.twin_gap_ns >= 0) & has_other_ttl(r), NOTICE, CONFIRMED, "both directions were reset within 1 ms, and the TTL differs: a device between them"),
        Grade(always, NOTICE, LIKELY),
    ),
    message="a RST from {ip}:{port} to {peer_ip}:{peer_port} answers nothing[ and came after {silence_ns} of silence]: the timer of a device or of an application, or a forged segment[; both sides were reset within 1 ms: a device between them{twin_gap_ns:?}][; the TTL differs by {ttl_delta:#}: a device is the more likely]",
    frames=("trigger_frame", "frame"),
    values=("silence_ns", "twin_gap_ns", "ttl_delta", "ip_id_delta", "is_bare", "rtt_ns"),
    set_when=(
        "nothing was sent for longer than an answer takes: four of the shortest round trips and 500 ms",
        "the RST is bare, or its TTL differs, or the other side was reset within 1 ms",
    ),
    not_set_when=(
        "it comes in time after a segment of the other side: RS005, RS013",
        "it has an ACK, and the host's own TTL: RS001",
        "the sender had closed: RS003",
        "the connection shows SYN, FIN and RST only",
    ),
    rfc=("RFC 9293 3.5.2", "RFC 3360"),
    remedy="Find out who sent it: compare its TTL and IP ID with those of the host's other segments, and look for a program that aborts after such a time, or a tool or filter that forges RSTs (tcpkill, an intrusion prevention system).",
    advice=(
        Advice(lambda r: r.silence_ns >= 2 * FORGETS_NS, "the silence was 20 s or longer", "Compare the silence with the idle timeouts on the path: firewalls, load balancers (Azure: 4 min with TCP reset), applications. Send keep-alives (TCP_KEEPIDLE) more often than that."),
    ),
    example="rst-after-silence",
    rival="a stack that aborts without ACK (Windows)",
)  # fmt: skip

RST_UNTRANSLATED_SEGMENT = Rule(
    id="RS012",
    name="rst-untranslated-segment",
    severity=WARNING,
    summary="A host reset a segment of a connection that it goes on with: the segment reached it past its own NAT.",
    table="resets",
    predicate=rst_untranslated_segment,
    grades=(Grade(always, WARNING, LIKELY),),
    message="{ip}:{port} reset {trigger_len:byte} from {peer_ip}:{peer_port}, and went on with the connection: its NAT did not translate that segment (conntrack: INVALID), so the host had no socket for it",
    frames=("trigger_frame", "frame", "continued_frame", "continued_data_frame"),
    values=("trigger_gap_ns", "rtt_ns", "ttl_delta", "ip_id_delta", "silence_ns"),
    set_when=(
        "a bare RST answers payload in time, with the host's own TTL",
        "the same endpoint goes on in sequence",
    ),
    not_set_when=(
        "the TTL differs, or it comes earlier than the host can answer: RS006",
        "the endpoint does not go on: RS005",
    ),
    rfc=("RFC 9293 3.5.2", "RFC 3360"),
    remedy="On the host that sends the RST, and on the gateway or node that translates for it: set net.netfilter.nf_conntrack_tcp_be_liberal=1, or drop packets in conntrack state INVALID.",
    example="rst-untranslated-segment",
    rival="a device with the same TTL that forges RSTs",
)  # fmt: skip

IDLE_FLOW_FORGOTTEN = Rule(
    id="RS013",
    name="idle-flow-forgotten",
    severity=WARNING,
    summary="After silence the next segment was answered with RST by a device: it had dropped the idle connection.",
    table="resets",
    predicate=idle_flow_forgotten,
    grades=(Grade(always, WARNING, LIKELY),),
    message="after {silence_ns} of silence the next segment from {peer_ip}:{peer_port} to {ip}:{port} got a RST {trigger_gap_ns} later[, with a TTL that differs by {ttl_delta:#}]: a device (NAT, load balancer, firewall) had dropped the idle connection",
    frames=("trigger_frame", "frame"),
    values=("silence_ns", "trigger_gap_ns", "rtt_ns", "ttl_delta"),
    set_when=(
        "both sides were silent for 10 s or longer, and the next segment gets a bare RST with its ACK field, or one that acknowledges it",
        "the RST has another TTL than the host, or comes in less than half the time in which the host had ever answered",
    ),
    not_set_when=("it looks like the host's own: RS005", "there was no such silence: RS006"),
    rfc=("RFC 9293 3.5.2", "RFC 9293 3.8.4"),
    remedy="Send keep-alives more often than the device's idle timeout. AWS: 350 s for NAT gateway and network load balancer; Azure load balancer: 4 min.",
    example="idle-flow-forgotten",
    rival="a route that changed in the meantime, to a host that had lost the connection",
)  # fmt: skip

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
    message="{ip}:{port} reset the connection from {peer_ip}:{peer_port} at once, before any payload: it refuses this client, or has no backend for it",
    wordings=(
        Wording(is_timed, "it waited for whole seconds", "{ip}:{port} waited {silence_ns} for a request from {peer_ip}:{peer_port}, got none, and reset the connection: its timeout for the handshake or the first request"),
        Wording(has_waited, "it waited", "{ip}:{port} reset the connection from {peer_ip}:{peer_port} {silence_ns} after the handshake, and neither side had sent payload: its listener was closed, or its process ended, before the connection was accepted and read"),
    ),
    frames=("trigger_frame", "frame"),
    values=("silence_ns", "trigger_gap_ns", "is_bare"),
    set_when=("the server sends RST with ACK after the handshake", "no payload in either direction, and none is missing in the capture"),
    not_set_when=("the client sent the RST: RS008", "the RST is bare and came after silence: RS011"),
    rfc=("RFC 9293 3.10.5",),
    remedy="On the server: look at its access rules (tcpd, allow lists, a limit of connections) and its backends.",
    advice=(
        Advice(is_timed, "it waited for whole seconds", "On the client: send the request or the protocol's greeting sooner than the server's timeout, or raise that timeout (RabbitMQ handshake_timeout, nginx client_header_timeout, HAProxy timeout http-request). A client that only opens connections in advance, or a port check, needs nothing."),
        Advice(has_waited, "it waited, and not for whole seconds", "On the server: look if it was stopped or started anew at that time, and why it had not called accept() before: ss -ltn shows the waiting connections (Recv-Q)."),
    ),
    rival="a timeout and a closed listener look alike: the one that is not named here",
    example="reset-before-request",
)  # fmt: skip

PEER_GONE_AFTER_RST = Rule(
    id="RS015",
    name="peer-gone-after-rst",
    severity=WARNING,
    summary="An endpoint was gone after its RST, but the other side did not take the RST and sent on into nothing.",
    table="resets",
    predicate=peer_gone_after_rst,
    grades=(Grade(always, WARNING, LIKELY),),
    message="{peer_ip}:{peer_port} sent {vain_segments:more segment} in {vain_ns} to {ip}:{port}, which had sent RST and was gone: the RST was lost, or refused",
    wordings=(
        Wording(lay_beyond, "the RST lay outside of the window", "{peer_ip}:{peer_port} refused the RST of {ip}:{port}, which lay {seq_delta:byte} above RCV.NXT, outside of the window of {receive_window:byte}, and sent {vain_segments:more segment} in {vain_ns} into nothing: that endpoint was gone"),
        Wording(lay_below, "the RST lay below RCV.NXT", "{peer_ip}:{peer_port} refused the RST of {ip}:{port}, which answers an older segment and lies {seq_delta:#} bytes below RCV.NXT, and sent {vain_segments:more segment} in {vain_ns} into nothing: that endpoint was gone"),
    ),
    frames=("fin_frame", "frame"),
    values=("vain_segments", "vain_ns", "seq_delta", "is_accepted"),
    set_when=("after a RST the other side sends payload three times or more, for 1 s or longer", "the endpoint that sent the RST sends nothing more"),
    not_set_when=("the endpoint answers, or goes on",),
    rfc=("RFC 9293 3.5.3", "RFC 5961 3.2"),
    remedy="The application that sends is not to blame: find out why the other one left, and where its RST is lost (a firewall that drops it). TCP_USER_TIMEOUT ends such a connection sooner.",
    advice=(
        Advice(lambda r: lay_beyond(r) | lay_below(r), "the receiver refused the RST", "The application that sends is not to blame, and nothing was lost on the path: a RST that is not at RCV.NXT is refused (RFC 5961). Find out why the other endpoint left with a RST; TCP_USER_TIMEOUT ends such a connection sooner."),
    ),
    example="peer-gone-after-rst",
    rival="a capture that misses the answers",
    needs=(ACKS,),
)  # fmt: skip

DATA_FORGED_AFTER_RST = Rule(
    id="RS016",
    name="data-forged-after-rst",
    severity=WARNING,
    summary="After the RST of an endpoint data came with its address from another host: the RST is genuine, the data are forged.",
    table="resets",
    predicate=is_forged_after,
    grades=(Grade(always, WARNING, LIKELY, "TTL and sequence numbers show another host"),),
    message="data with the address of {ip}:{port} came to {peer_ip}:{peer_port} after its RST, with another TTL and numbers that do not follow: somebody else sent them, and the RST is the endpoint's own",
    frames=("frame", "alien_frame"),
    values=("ttl_delta", "ip_id_delta", "sender_seq_delta"),
    set_when=(
        "a RST has the TTL of its sender's other segments, at least four with one TTL",
        "later a segment with payload and its address has another TTL, and its sequence number lies above all that the endpoint had sent",
    ),
    not_set_when=("the segment follows in sequence: then the RST is the forgery, RS006", "the TTL is one that the endpoint had before: a route changed, or several machines"),
    rfc=("RFC 5961 5", "RFC 9293 3.10.7.4"),
    remedy="Find the host that sends them: its TTL and its link-layer address (tcpdump -e) differ from those of the endpoint. Protect the connection (TLS, IPsec).",
    example="data-forged-after-rst",
    rival="a load balancer or a proxy that answers for a host that is gone",
)  # fmt: skip

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
    RST_AFTER_SILENCE,
    RST_UNTRANSLATED_SEGMENT,
    IDLE_FLOW_FORGOTTEN,
    RESET_BEFORE_REQUEST,
    PEER_GONE_AFTER_RST,
    DATA_FORGED_AFTER_RST,
)

DERIVED = (Derived("resets", "verdict", verdict),)
