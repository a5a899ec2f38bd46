"""What a receiver made of a segment with a stale timestamp (RFC 7323 5.3).

``STALE_SEGMENT`` is the decision table; the first row that holds gives ``stale_segments.verdict``, which PA001 to PA005
read.
"""

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.rules.rule import Case, Derived, Mask, Rows, always, decided
from tcptrace_tw.schema.columns import FIN

(
    DROPPED,
    LIKELY_DROPPED,
    PREDICTED_DROPPED,
    ACCEPTED,
    OLD_DUPLICATE,
    STALE_ACK,
    TOLERATED,
    UNSURE,
) = range(8)


def has_text(r: Rows) -> Mask:
    """The segment carries payload or a FIN."""
    return (r.payload_len > 0) | ((r.tcp_flags & FIN) != 0)


def repeats_question(r: Rows) -> Mask:
    """The receiver's next ACK requests the segment's first byte and echoes a newer TSval."""
    return (r.answer_frame >= 0) & (r.answer_ack_delta == 0) & (r.is_answer_newer != 0)


def was_repeated(r: Rows) -> Mask:
    """The bytes were retransmitted with a valid timestamp, and acknowledged only after that."""
    return (r.retransmit_frame >= 0) & (r.acked_frame >= 0) & (r.acked_frame > r.retransmit_frame)


STALE_SEGMENT: tuple[Case, ...] = (
    Case(lambda r: has_text(r) & (r.is_before_syn != 0), OLD_DUPLICATE, "sent before the SYN of this connection", "old-duplicate-in-new-incarnation-nearly", "old-duplicate-rejected"),
    Case(lambda r: ~has_text(r), STALE_ACK, "no payload and no FIN: its effect is not visible", "stale-ack", "paws-drop"),
    Case(lambda r: (r.is_copy != 0) & (r.seq_delta < 0), OLD_DUPLICATE, "bytes that the receiver already had: PAWS works as intended", "old-duplicate-rejected", "stale-copy-above-a-hole"),
    Case(lambda r: (r.is_copy != 0) & (r.is_in_order == 0), UNSURE, "a copy of bytes that are still in flight: dropping it has no effect", "stale-copy-above-a-hole", "old-duplicate-rejected"),
    Case(lambda r: (r.sack_frame >= 0), ACCEPTED, "the receiver reports it by SACK, above a gap", "stale-segment-reported-by-sack", "paws-drop-above-a-hole"),
    Case(
        lambda r: (r.is_in_order != 0) & (r.acked_frame >= 0) & ((r.retransmit_frame < 0) | (r.acked_frame < r.retransmit_frame)),
        ACCEPTED, "acknowledged although no other copy was captured", "paws-not-enforced", "paws-not-enforced-nearly",
    ),
    Case(lambda r: (r.is_in_order != 0) & repeats_question(r) & was_repeated(r), DROPPED, "requested again, retransmitted, acknowledged", "paws-drop", "paws-drop-unanswered"),
    Case(lambda r: (r.is_in_order != 0) & repeats_question(r), LIKELY_DROPPED, "requested again; no retransmission was captured", "paws-drop-no-retransmission", "paws-drop"),
    Case(lambda r: (r.is_in_order != 0) & was_repeated(r), LIKELY_DROPPED, "retransmitted; loss after the capture point would look the same", "paws-drop-unanswered", "paws-drop-predicted"),
    Case(lambda r: r.is_in_order != 0, PREDICTED_DROPPED, "no later segment decides it", "paws-drop-predicted", "paws-drop-unanswered"),
    Case(lambda r: (r.seq_delta > 0) & was_repeated(r), LIKELY_DROPPED, "above a gap, not reported by SACK, retransmitted", "paws-drop-above-a-hole", "stale-segment-above-a-hole-nearly"),
    Case(lambda r: r.seq_delta < 0, OLD_DUPLICATE, "bytes that the receiver already had", "stale-segment-overlaps", "paws-drop-predicted"),
    Case(always, UNSURE, "no later segment decides it", "stale-segment-above-a-hole-nearly", "paws-drop-above-a-hole"),
)  # fmt: skip


def verdict(rows: Rows) -> NDArray[np.uint8]:
    """``STALE_SEGMENT`` applied: first match wins."""
    return decided(STALE_SEGMENT, rows)


DERIVED = (Derived("stale_segments", "verdict", verdict),)
