"""What a row of ``resets`` shows: signs that decision tables and several rules ask for (RFC 9293 3.5.2, 3.5.3)."""

import numpy as np

from tcptrace_tw.protocol.states import CLOSE_WAIT, CLOSING, ESTABLISHED, FIN_WAIT_2, LAST_ACK, TIME_WAIT
from tcptrace_tw.rules.predicates import STALL_NS
from tcptrace_tw.rules.rule import Mask, Rows
from tcptrace_tw.schema.columns import FIN, SYN, URG


def is_answered_as_closed(r: Rows) -> Mask:
    """A bare RST whose sequence number is the ACK field of its trigger, from an endpoint in TIME-WAIT."""
    return (r.sender_state == TIME_WAIT) & (r.is_bare != 0) & (r.is_echo != 0) & (r.is_syn_pending == 0)


def tw_cut_short(resets: Rows) -> Mask:
    """TW007."""
    return is_answered_as_closed(resets) & ((resets.trigger_flags & FIN) == 0)


def tw_missing(resets: Rows) -> Mask:
    """TW009."""
    # Not the FIN that began TIME-WAIT itself.
    again = (resets.trigger_frame != resets.peer_fin_frame) | (resets.time_wait_gap_ns > resets.trigger_gap_ns)
    proved = resets.is_time_wait_proved != 0
    return is_answered_as_closed(resets) & ((resets.trigger_flags & FIN) != 0) & again & proved


FIN_WAIT_2_NS = 60_000_000_000
"""The time that common stacks wait in FIN-WAIT-2 for the peer's FIN (Linux tcp_fin_timeout, FreeBSD finwait2_timeout)."""

SHORTEST_FIN_WAIT_2_NS = 1_000_000_000
"""tcp_fin_timeout is set in whole seconds."""


def fin_wait_2_timeout_reset(resets: Rows) -> Mask:
    """TW008: a FIN gets a RST only after the timer has ended FIN-WAIT-2; data also if the socket was closed."""
    echo = (resets.is_bare != 0) & (resets.is_echo != 0) & (resets.has_plain != 0) & (resets.sender_state == FIN_WAIT_2)
    echo &= (resets.is_syn_pending == 0) & (resets.is_stale_ack_answer == 0)  # those answer a challenge ACK
    is_fin = ((resets.trigger_flags & FIN) != 0) & (resets.trigger_len == 0) & (resets.unacked_bytes == 0)
    is_late = resets.fin_wait_2_ns >= FIN_WAIT_2_NS
    waited = resets.fin_wait_2_ns >= SHORTEST_FIN_WAIT_2_NS
    return echo & (is_late | (is_fin & waited))


def rst_on_last_ack(resets: Rows) -> Mask:
    """LA005: where no rule on TIME-WAIT or FIN-WAIT-2 says why."""
    return (
        (resets.receiver_state == LAST_ACK)
        & (resets.has_plain != 0)
        & ~tw_missing(resets)
        & ~fin_wait_2_timeout_reset(resets)
        & (resets.is_bare != 0)
        & (resets.is_echo != 0)
        & ((resets.trigger_flags & FIN) != 0)
        & (resets.trigger_len == 0)
        & (resets.unacked_bytes == 0)
        & (resets.is_repeat == 0)
        & (resets.is_stale_ack_answer == 0)
        & (resets.is_syn_pending == 0)
    )


def fin_then_rst_same_seq(resets: Rows) -> Mask:
    """LA008: Linux accepts a RST one below RCV.NXT in these states (tcp_reset_check).

    A host whose socket is gone answers text that crosses its FIN with the same number: such a RST is not meant here.
    """
    waiting = (
        (resets.receiver_state == CLOSE_WAIT) | (resets.receiver_state == LAST_ACK) | (resets.receiver_state == CLOSING)
    )
    answers = (resets.is_echo != 0) & ((resets.trigger_frame > resets.fin_frame) | (resets.unacked_bytes > 0))
    return waiting & (resets.fin_frame >= 0) & (resets.seq_delta == -1) & ~answers


def rst_from_last_ack(resets: Rows) -> Mask:
    """LA006: it had waited, or tried again."""
    step = (resets.is_syn_pending != 0) | (resets.is_stale_ack_answer != 0) | (resets.has_plain == 0)
    waited = (resets.retransmits > 0) | (resets.own_gap_ns >= STALL_NS)
    return (resets.sender_state == LAST_ACK) & waited & ~step & ~fin_then_rst_same_seq(resets)


FAR_NS = 2_000_000
"""A round trip from which on the path, and not the host, makes most of the time of an answer."""

HOPS = 2
"""TTLs that differ by this much come from different hosts."""

KNOWN_SEGMENTS = 3
"""This many segments make a baseline."""

GIVES_UP = 3
"""After this many unanswered retransmissions a RST means that the sender gave up."""

SECOND_NS = 1_000_000_000

ANSWER_NS = SECOND_NS // 2
"""No host may hold back even an ACK for longer (RFC 1122 4.2.3.2); and a RST it sends at once."""

FORGETS_NS = 10 * SECOND_NS
"""Devices keep an idle connection for longer than this."""


def is_echo(r: Rows) -> Mask:
    """A bare RST whose sequence number is the ACK field of its trigger: a host without a socket answers like this."""
    return (r.is_bare != 0) & (r.is_echo != 0)


def has_closed(r: Rows) -> Mask:
    """The sender had sent its FIN."""
    return r.fin_frame >= 0


def is_damaged(r: Rows) -> Mask:
    """SYN, FIN or URG beside RST: no stack sends that."""
    return (r.tcp_flags & (SYN | FIN | URG)) != 0


def has_continued(r: Rows) -> Mask:
    """New data, or an ACK that moves, of the same endpoint follows.

    A RST above what was captured may follow text that was not; not behind a FIN, and not beyond the window.
    """
    is_placed = (r.sender_seq_delta <= 0) | has_closed(r) | (r.sender_seq_delta >= r.receive_window)
    return (r.continued_data_frame >= 0) | ((r.continued_frame >= 0) & is_placed)


def goes_on(r: Rows) -> Mask:
    """The apparent sender sends new data, or acknowledges more, as if it had never sent the RST.

    Where the capture begins with RSTs, their numbers tell nothing; a RST that refuses a SYN+ACK ends no SYN-SENT.
    """
    known = (r.sender_segments > 0) & (r.is_repeat == 0) & ~(is_echo(r) & ((r.trigger_flags & SYN) != 0))
    return known & has_continued(r)


def has_other_ttl(r: Rows) -> Mask:
    """The TTL is none of the sender's other segments."""
    return (np.abs(r.ttl_delta) >= HOPS) & ((r.is_ttl_steady != 0) | (r.sender_segments >= KNOWN_SEGMENTS))


def is_too_soon(r: Rows) -> Mask:
    """It answers its trigger, earlier than the sender could have; what answers within the host itself has no such time."""
    answers = is_echo(r) | ((r.trigger_len > 0) & (r.acked_bytes > 0))
    known = (r.rtt_ns >= FAR_NS) & (r.sender_segments >= 2) & (r.trigger_frame >= 0) & answers
    return known & (r.trigger_gap_ns >= 0) & (r.trigger_gap_ns < r.rtt_ns // 2)


def is_of_the_host(r: Rows) -> Mask:
    """It answers in time and with the host's own TTL, but the connection goes on: the host did not know the segment."""
    return is_echo(r) & (np.abs(r.ttl_delta) < HOPS) & ~is_too_soon(r) & has_continued(r) & ~has_closed(r)


def is_past_the_stack(r: Rows) -> Mask:
    """The host resets the answer to a SYN that its own stack had not sent."""
    return is_of_the_host(r) & ((r.trigger_flags & SYN) != 0)


def is_challenged(r: Rows) -> Mask:
    """In the window, but not at RCV.NXT: the receiver must send a challenge ACK (RFC 5961 3.2)."""
    inside = (r.seq_delta > 0) & (r.seq_delta < r.receive_window)
    return (r.is_accepted == 0) & (r.receiver_state >= ESTABLISHED) & (r.receiver_state != TIME_WAIT) & inside


RESET_VALUES = ("sender_state", "receiver_state", "trigger_gap_ns", "ttl_delta")
