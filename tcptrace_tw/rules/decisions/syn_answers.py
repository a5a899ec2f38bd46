"""What answered a SYN that met an earlier life of its 4-tuple (RFC 9293 3.5.1, 3.6.1, 3.10.7.4; RFC 5961 4.2; RFC 6191).

``SYN_ANSWER`` is the decision table; the first row that holds gives ``reuses.verdict``, which the rules RU003 to RU006,
RU011, RU013 and LA001 to LA003 read. Its columns are the state that the SYN met, the answer, whether the SYN was
retransmitted and accepted in the end, whether the service answered others meanwhile, and what the profile's stack does
with such a SYN (timestamps and ISN, ``protocol.profiles``). ``OUTCOME`` says what became of the SYN.
"""

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.protocol.states import CLOSE_WAIT, CLOSING, ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, LAST_ACK, TIME_WAIT
from tcptrace_tw.rules.predicates import STALL_NS
from tcptrace_tw.rules.rule import Case, Derived, Mask, Rows, always, decided, is_observed
from tcptrace_tw.schema.observed import ACKS, BOTH_DIRECTIONS, OPENING, PAYLOAD
from tcptrace_tw.schema.words import (
    ACCEPT,
    ANSWER_CHALLENGE,
    ANSWER_NONE,
    ANSWER_REFUSED,
    ANSWER_RST,
    ANSWER_SYN_ACK,
    NOBODY_ANSWERED,
    OUTCOME_ACCEPTED,
    OUTCOME_AFTER_CHALLENGE,
    OUTCOME_AFTER_RETRY,
    OUTCOME_GAVE_UP,
    OUTCOME_IGNORED,
    OUTCOME_REFUSED,
    OUTCOME_UNKNOWN,
)

(
    UNSEEN,
    HITS_LAST_ACK,
    STUCK_IN_LAST_ACK,
    RESET_IN_LAST_ACK,
    IGNORED_IN_LAST_ACK,
    CHALLENGED_IN_TIME_WAIT,
    REFUSED_WHILE_WAITING,
    DROPPED_IN_TIME_WAIT,
    ACCEPTED_IN_TIME_WAIT,
    ALIVE,
    ACCEPTED,
    REFUSED,
    UNANSWERED,
    UNDECIDED,
    ANSWER_LOST,
) = range(15)

IN_VAIN = 2
"""After this many unanswered retransmissions the connect() has failed."""


def met_last_ack(reuses: Rows) -> Mask:
    """The receiver of the SYN still waited for the ACK of its FIN, as far as the capture shows."""
    return (reuses.receiver_state == LAST_ACK) | (reuses.is_last_ack_lost != 0)


def met_time_wait(reuses: Rows) -> Mask:
    """The receiver of the SYN was in TIME-WAIT, and its sender was not."""
    return (reuses.receiver_state == TIME_WAIT) & (reuses.is_by_holder == 0)


def met_open_connection(reuses: Rows) -> Mask:
    """The receiver was synchronised and had not sent its last FIN."""
    state = reuses.receiver_state
    begun = (state == ESTABLISHED) | (state == FIN_WAIT_1) | (state == FIN_WAIT_2)
    return begun | (state == CLOSE_WAIT) | (state == CLOSING)


def is_challenged(reuses: Rows) -> Mask:
    """The first answer was an ACK with other numbers."""
    return reuses.answer == ANSWER_CHALLENGE


def is_reset(reuses: Rows) -> Mask:
    """The first answer was a RST: of the old numbers, or one that acknowledges the SYN."""
    return (reuses.answer == ANSWER_RST) | (reuses.answer == ANSWER_REFUSED)


def is_ignored_at_first(reuses: Rows) -> Mask:
    """The first SYN got no answer: it was retransmitted, until a SYN+ACK came or without success."""
    silent = (reuses.answer == ANSWER_NONE) | (reuses.answer == ANSWER_SYN_ACK)
    return silent & (reuses.syn_retries > 0)


def is_nobody_answered(reuses: Rows) -> Mask:
    """The same service answered no other SYN then either: it was down or hung, and the earlier connection is not to blame."""
    return reuses.meanwhile == NOBODY_ANSWERED


def is_never_answered(reuses: Rows) -> Mask:
    """Nothing at all answered the SYN, which was retransmitted."""
    return (reuses.answer == ANSWER_NONE) & (reuses.opened_frame < 0) & (reuses.syn_retries > 0)


def is_not_taken(reuses: Rows) -> Mask:
    """The SYN was retransmitted, and not because it was lost: the stack would not accept it, or it never got an answer."""
    return is_ignored_at_first(reuses) & ((reuses.acceptance != ACCEPT) | (reuses.opened_frame < 0))


def is_answer_lost(reuses: Rows) -> Mask:
    """The SYN came again after its SYN+ACK had crossed the tap, and the client never acknowledged that."""
    return (reuses.late_retry_frame >= 0) & (reuses.completed_frame < 0)


def is_accepted(reuses: Rows) -> Mask:
    """A SYN+ACK came, and nothing shows that it did not reach the client."""
    return (reuses.opened_frame >= 0) & ~is_answer_lost(reuses)


def is_new_syn(reuses: Rows) -> Mask:
    """It opens, or tries again; where the previous opening was not captured, a late duplicate of its SYN does neither."""
    return is_observed(reuses, OPENING) | (reuses.opened_frame >= 0) | (reuses.syn_retries > 0)


def never_worked(reuses: Rows) -> Mask:
    """The SYN was retransmitted at least twice and never accepted; with fewer tries the capture may have ended too early."""
    return ~is_accepted(reuses) & (reuses.syn_retries >= IN_VAIN)


def went_whole_way(reuses: Rows) -> Mask:
    """Every step was captured: challenge ACK, RST, retransmitted SYN, SYN+ACK."""
    return (reuses.answer_frame >= 0) & (reuses.reset_frame >= 0) & (reuses.syn_retries > 0) & is_accepted(reuses)


def stalls(reuses: Rows) -> Mask:
    """It took 1 s or longer, or never connected although the SYN was retransmitted."""
    return (reuses.cost_ns >= STALL_NS) | never_worked(reuses)


def is_alive(reuses: Rows) -> Mask:
    """The answer shows that the receiver still had the earlier connection.

    Only a challenge ACK shows that a connection lives of which not all was captured.
    """
    silent = ~is_accepted(reuses) & (reuses.syn_retries > 0) & is_observed(reuses, BOTH_DIRECTIONS, ACKS)
    shown = (is_reset(reuses) | silent) & is_observed(reuses, OPENING, PAYLOAD)
    return met_open_connection(reuses) & ((is_challenged(reuses) & is_new_syn(reuses)) | shown)


SYN_ANSWER: tuple[Case, ...] = (
    Case(
        lambda r: r.previous_connection_id < 0, UNSEEN,
        "the answer has numbers of a connection that is not in the capture", "syn-challenged-unseen", "tw-syn-challenged",
    ),
    Case(
        lambda r: is_nobody_answered(r) & is_never_answered(r), UNANSWERED,
        "the service answers nobody: the earlier connection is not to blame", "tw-syn-dropped-like-others", "tw-syn-dropped-for-good",
    ),
    Case(
        lambda r: is_nobody_answered(r) & is_reset(r) & ~met_last_ack(r) & ~met_time_wait(r) & (r.is_last_ack_likely != 0), REFUSED,
        "the service refuses everybody: nobody listens", "syn-refused-like-others", "syn-reset-in-last-ack-seen-by-client",
    ),
    Case(
        lambda r: met_last_ack(r) & is_challenged(r) & (is_accepted(r) | (r.syn_retries == 0)), HITS_LAST_ACK,
        "LAST-ACK answers a SYN with a challenge ACK (RFC 5961)", "syn-hits-last-ack", "tw-syn-challenged",
    ),
    Case(
        lambda r: met_last_ack(r) & is_challenged(r), STUCK_IN_LAST_ACK,
        "challenged, retransmitted, and never accepted", "syn-ignored-in-last-ack-challenged", "syn-hits-last-ack",
    ),
    Case(
        lambda r: (met_last_ack(r) | (r.is_last_ack_likely != 0)) & is_reset(r), RESET_IN_LAST_ACK,
        "LAST-ACK answers a SYN with RST (RFC 793), and the final ACK was lost or may have been", "syn-reset-in-last-ack", "syn-reset-in-last-ack-much-later",
    ),
    Case(
        lambda r: met_last_ack(r) & is_ignored_at_first(r), IGNORED_IN_LAST_ACK,
        "no answer, and the receiver was in LAST-ACK", "syn-ignored-in-last-ack", "syn-hits-last-ack",
    ),
    Case(
        lambda r: met_time_wait(r) & is_challenged(r) & is_new_syn(r), CHALLENGED_IN_TIME_WAIT,
        "TIME-WAIT refuses the SYN for its timestamp or its ISN, and sends an ACK", "tw-syn-challenged", "tw-syn-accepted",
    ),
    Case(
        lambda r: (met_time_wait(r) | (r.receiver_state == FIN_WAIT_2)) & is_reset(r), REFUSED_WHILE_WAITING,
        "the entry was there, and a RST came", "tw-syn-refused", "refused-after-two-msl",
    ),
    Case(
        lambda r: met_time_wait(r) & is_not_taken(r), DROPPED_IN_TIME_WAIT,
        "no answer, although TIME-WAIT answers a SYN that it refuses", "tw-syn-dropped", "tw-syn-lost",
    ),
    Case(
        is_answer_lost, ANSWER_LOST,
        "SYN+ACKs came, and none of them reached the client", "syn-ack-lost-in-time-wait", "tw-syn-accepted",
    ),
    Case(
        lambda r: met_time_wait(r) & is_accepted(r), ACCEPTED_IN_TIME_WAIT,
        "TIME-WAIT gave way to the new connection (RFC 6191)", "tw-syn-accepted", "tw-syn-challenged",
    ),
    Case(
        is_alive, ALIVE,
        "the receiver still had the earlier connection", "syn-into-established", "syn-hits-last-ack",
    ),
    Case(is_accepted, ACCEPTED, "the earlier connection was over, whatever the capture shows of its end", "reuse-after-rst", "tw-syn-accepted"),
    Case(
        is_reset, REFUSED,
        "the earlier connection was over, and nobody listens", "refused-after-two-msl", "syn-reset-in-last-ack",
    ),
    Case(
        lambda r: r.syn_retries > 0, UNANSWERED,
        "nothing shows that the earlier connection matters: an unanswered SYN", "unanswered-after-own-time-wait", "tw-syn-dropped",
    ),
    Case(always, UNDECIDED, "one SYN, and the capture ended or its sender gave up", "tw-reuse-by-holder-unanswered", "reuse-after-rst"),
)  # fmt: skip


OUTCOME: tuple[Case, ...] = (
    Case(
        lambda r: is_accepted(r) & is_challenged(r), OUTCOME_AFTER_CHALLENGE,
        "challenge ACK, RST, SYN again, SYN+ACK", "tw-syn-challenged", "tw-syn-accepted",
    ),
    Case(lambda r: is_accepted(r) & (r.syn_retries > 0), OUTCOME_AFTER_RETRY, "a retransmission was accepted", "tw-syn-dropped", "tw-syn-accepted"),
    Case(is_accepted, OUTCOME_ACCEPTED, "the first SYN was accepted", "tw-syn-accepted", "tw-syn-challenged"),
    Case(lambda r: r.answer == ANSWER_REFUSED, OUTCOME_REFUSED, "a RST acknowledged the SYN", "syn-reset-in-last-ack", "tw-syn-accepted"),
    Case(lambda r: never_worked(r) & (r.answer == ANSWER_NONE), OUTCOME_IGNORED, "no answer at all", "tw-syn-dropped-for-good", "tw-syn-dropped"),
    Case(never_worked, OUTCOME_GAVE_UP, "answered, and never accepted", "syn-ignored-in-last-ack-challenged", "tw-syn-challenged"),
    Case(always, OUTCOME_UNKNOWN, "the capture ended, or the sender stopped", "tw-reuse-by-holder-unanswered", "tw-syn-accepted"),
)  # fmt: skip


def verdict(rows: Rows) -> NDArray[np.uint8]:
    """``SYN_ANSWER`` applied: first match wins."""
    return decided(SYN_ANSWER, rows)


def outcome(rows: Rows) -> NDArray[np.uint8]:
    """``OUTCOME`` applied: first match wins."""
    return decided(OUTCOME, rows)


DERIVED = (Derived("reuses", "verdict", verdict), Derived("reuses", "outcome", outcome))
