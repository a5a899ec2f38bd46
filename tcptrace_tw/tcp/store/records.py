"""What the tcp room remembers: records of connections and endpoints, pools for what is rare, and the registers.

All of it is plain arrays, so that one set of kernels runs on it compiled and interpreted. Times are int64 ns,
-1 stands for "none". Endpoint 0 of a connection is orig, 1 is resp; their TCBs lie at ``2 * c`` and ``2 * c + 1``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tcptrace_tw.schema.columns import ANOMALIES, RESETS, REUSES, STALE_SEGMENTS, TIME_WAIT
from tcptrace_tw.schema.segments import PRINT_PLACES, SHARD_BITS
from tcptrace_tw.tcp.store.cache_lines import in_lines
from tcptrace_tw.tcp.store.receipts import PENDING as PENDING
from tcptrace_tw.tcp.store.receipts import PENDING_CAUSE as PENDING_CAUSE

# What kernels take: ``conn.opened`` and ``snd.snd_nxt`` are numbers (see ``kernels.wide_records``).
KernelState = Any  # all of it: ``access.STATE`` or ``state.State``
Conn = Any  # a record of ``CONNECTION``
Tcb = Any  # of ``TCB``
Span = Any  # of ``SPAN``
Row = Any  # of a table

CONNECTION = in_lines(
    [
        # The first cache line is what every segment touches.
        ("id", "i8"),
        ("established_time", "i8"),
        ("history_lo", "i8"),
        ("slot", "i4"),
        ("previous", "i4"),  # the earlier incarnation while it is still open which of the two a segment belongs to
        ("stale", "i4"),  # heads of chains in the pools
        ("reset", "i4"),
        ("anomaly", "i4"),
        ("reuse", "i4"),
        ("bits", "u2"),
        ("history_len", "u1"),
        ("completeness", "u1"),
        ("opened", "u1"),
        ("orig_is_b", "u1"),
        ("stale_rows", "u2"),
        ("reset_rows", "u2"),
        ("incarnation", "i4"),
        # The second is for those that come and go.
        ("due", "i8"),  # when the queue looks at it again
        ("queue_previous", "i4"),
        ("queue_next", "i4"),
        ("tuple_id", "i8"),
        ("first_time", "i8"),
        ("first_frame", "i8"),
        ("rst_frame", "i8"),
        ("old_syn_frame", "i8"),
        ("history_hi", "i8"),
        ("fin_ms", "u4"),  # when the first FIN was sent, in ms since the start of the capture, plus 1
        ("duplicates", "u4"),
        ("transitions", "u4"),  # how many rows it has in the table of that name
        ("silence_ns", "i8"),  # the last time that both sides were silent for a second and more, and when that ended
        ("silence_time", "i8"),
    ]
)

TCB = in_lines(
    [
        # Cache lines: what every segment touches; what most of them do; SYN, FIN, RST and what goes wrong.
        ("last_time", "i8"),
        ("last_frame", "i8"),
        ("payload_bytes", "i8"),
        ("snd_nxt", "u4"),
        ("snd_una", "u4"),
        ("rcv_nxt", "u4"),
        ("last_ack", "u4"),
        ("last_tsval", "u4"),
        ("ts_recent", "u4"),  # newest TSval that the endpoint may have stored
        ("ts_echoed", "u4"),  # newest TSval that it has certainly stored: it echoed it
        ("bits", "u4"),
        ("window_max", "u4"),
        ("state", "u1"),
        ("pending", "u1"),
        ("unacceptable_run", "u1"),
        ("ts_run", "u1"),
        ("payload_time", "i8"),
        ("ts_recent_frame", "i8"),
        ("echo_frame", "i8"),
        ("segments", "u4"),
        ("last_len", "i4"),
        ("last_seq", "u4"),
        ("ts_echoed_s", "u4"),  # when it echoed, in seconds since the start of the capture
        ("rtt_us", "u4"),  # least time from a segment towards it to its answer, seen at the tap
        ("span", "i4"),
        ("iss", "u4"),
        ("last_flags", "u2"),
        ("last_ip_id", "u2"),
        ("history_seen", "u2"),
        ("unanswered", "u2"),
        ("ttl", "u1"),
        ("wscale", "u1"),
        ("mss_256", "u1"),  # the largest segment it may send, in units of 256 bytes rounded up; 0: not known
        ("reset_state", "u1"),
        ("syn_frame", "i8"),
        ("fin_frame", "i8"),
        ("fin_acked_time", "i8"),
        ("fin_acked_frame", "i8"),
        ("fin_repeat_frame", "i8"),
        ("fin_seq", "u4"),
        ("first_tsval", "u4"),  # of its SYN
        ("syn_repeats", "u2"),
        ("fin_repeats", "u2"),
        ("pending_event", "u1", PENDING),
        ("pending_from", "u1", PENDING),
        ("retransmits", "u4"),
        ("zero_windows", "u4"),
        ("stale_segments", "u4"),
        *((name, "u4") for name in ("silence_ms", "survived_ms")),  # what nothing answered; the longest survived
        # The fourth is for what a RST may answer: the last segment before its ACK field changed.
        ("earlier_time", "i8"),
        ("earlier_frame", "i8"),
        ("earlier_ack", "u4"),
        ("ttl_low", "u1"),  # of all its segments but RSTs
        ("ttl_high", "u1"),
        ("probes", "u2"),  # keep-alive probes that nothing but probes of the peer has followed
        ("again", "u2"),  # how often it has sent text again since the peer's frame ``again_since``, its last one then
        ("again_since", "i8"),
        ("sacked_len", "u4"),  # the longest run of bytes that a SACK block of the peer showed beyond snd_una
    ]
)

# TCB.bits.
(
    ISS_KNOWN,  # the SYN was seen, or an ACK of it
    NXT_KNOWN,  # snd_nxt means something
    FIN_SENT,  # fin_seq means something
    FIN_RECEIVED,  # the peer's FIN has been taken in
    TS_ON_SYN,
    WSCALE_ON_SYN,
    TS_VALID,  # ts_recent means something
    ECHO_VALID,  # ts_echoed means something
    ENTERED_FIN_WAIT_1,
    RST_SENT,
    RST_TAKEN,
    RCV_KNOWN,  # rcv_nxt means something
    SYN_PAYLOAD,  # its SYN carried data (RFC 7413)
    FIN_ACKED,  # an ACK of its FIN has crossed the tap
    LAST_ACK_LOST,
    ACKED,  # it has sent an ACK: last_ack means something
    IGNORES_RST,  # it has answered from TIME-WAIT after a RST that should have ended it (tcp_rfc1337 = 1)
    WINDOW_CLOSED,  # the window of its last segment was 0
    FIN_ACKS_UNSEEN,  # its FIN acknowledged more than had passed the tap
    NXT_ACKED,  # snd_nxt is what the peer acknowledged: text below it may not have passed the tap yet
    ACKED_FROM_BEYOND,  # its first ACK of the peer's FIN, which was sent once, lay one behind what it had shown
    BROKE_SILENCE,  # it has broken a silence, and nothing has answered that
    WINDOW_LOW,  # the window of its last segment was smaller than its largest by one segment of the peer, or more
    PROBING,  # what got no answer from the peer are keep-alive probes
    FIN_DENIED,  # it acknowledges less than the peer's FIN after the peer had to repeat that
    ANSWERED_FIN,  # it has acknowledged the peer's FIN again, out of TIME-WAIT
    SENT_BEHIND,  # its last segment came while the clock of the capture was behind
    SACKED_BEYOND,  # the peer has acknowledged by SACK a little that lies behind the first unacknowledged byte
) = (1 << i for i in range(28))

IP_ID_STEPS = 30
"""TCB.bits above this one: how often in a row the sender's IP identification rose by a little, up to 3."""

# CONNECTION.bits.
(
    IN_QUEUE,
    SAW_PLAIN,  # a segment without SYN, FIN and RST
    REFUSED,
    ABORTED,
    TS_OK,
    HAS_RST,
    LINGERING,  # it is in the queue of those that may soon be archived
    SAW_ACK,  # an ACK without SYN, FIN, RST and payload
    CUT_OPTIONS,  # the snap length cut off options of a segment
    HIDDEN_TEXT,  # a RST lies beyond the text that was captured
    ONE_SOCKET,  # both ends have one address and one port
) = (1 << i for i in range(11))

_KNOWN_AT_THE_END = ("connection_id", "holder", "two_msl_ns", "observed", "ip_hi", "ip_lo", "port", "peer_ip_hi",
    "peer_ip_lo", "peer_port")  # fmt: skip
SPAN = np.dtype(
    [
        *(
            (name, TIME_WAIT.dtype[name].str[1:])
            for name in TIME_WAIT.dtype.names or ()
            if name not in _KNOWN_AT_THE_END
        ),
        ("restart_before", "i8"),  # its last restart but one
        ("restart_frame_before", "i8"),
        ("next", "i4"),
    ],
    align=True,
)
"""A TIME-WAIT span; whose it is and how long 2MSL is are only written into its row."""
REUSE = np.dtype(
    [
        *((name, REUSES.dtype[name].str[1:]) for name in REUSES.dtype.names or ()),
        ("isn", "u4"),
        ("old_sender_nxt", "u4"),
        ("old_sender_iss", "u4"),
        ("old_responder_nxt", "u4"),
        ("old_responder_iss", "u4"),
        ("tsval", "u4"),
        ("responder_tsval", "u4"),
        ("last_syn_time", "i8"),
        ("last_syn_frame", "i8"),
        ("sender_is_b", "u1"),
        ("waiting_time", "i8"),  # of a SYN that restarts TIME-WAIT if its answer shows that it was there
        ("waiting_frame", "i8"),
        # The segment in doubt, an old duplicate or one whose numbers fit both incarnations, and the ACK of it.
        ("suspect_frame", "i8"),
        ("suspect_taken_frame", "i8"),
        ("suspect_seq", "u4"),
        ("suspect_end", "u4"),
        ("suspect_side", "u1"),
        ("next", "i4"),
    ],
    align=True,
)
STALE = np.dtype(
    [
        *((name, STALE_SEGMENTS.dtype[name].str[1:]) for name in STALE_SEGMENTS.dtype.names or ()),
        ("end", "u4"),
        ("is_doubtful", "u1"),  # it came after a RST that should have ended the receiver's TIME-WAIT
        ("next", "i4"),
    ],
    align=True,
)
RESET = np.dtype(
    [
        *((name, RESETS.dtype[name].str[1:]) for name in RESETS.dtype.names or ()),
        ("seq", "u4"),
        ("most_acked", "u4"),  # the highest ACK field of its sender so far
        ("next", "i4"),
    ],
    align=True,
)

ANOMALY = np.dtype(
    [
        *((name, ANOMALIES.dtype[name].str[1:]) for name in ANOMALIES.dtype.names or ()),
        ("challenge_time", "i8"),
        ("unseen_time", "i8"),
        ("ts_back_time", "i8"),
        ("unseen_start", "u4"),
        ("unseen_end", "u4"),
        ("ts_top", "u4"),
        ("is_unseen_open", "u1"),
        ("is_ts_back", "u1"),
        ("next", "i4"),
    ],
    align=True,
)

# Registers: int64 values that the kernels share.
(
    NOW,
    START,
    NEXT_CONNECTION,
    NEXT_TUPLE,
    CONNS_USED,
    CONNS_FREE,
    CONNS_LIVE,
    SPANS_USED,
    SPANS_FREE,
    REUSES_USED,
    REUSES_FREE,
    STALES_USED,
    STALES_FREE,
    RESETS_USED,
    RESETS_FREE,
    QUEUE_HEAD,
    QUEUE_TAIL,
    RELEASED,
    WANT_TRANSITIONS,
    DUPLICATES,
    OUT_CONNECTIONS,
    OUT_TRANSITIONS,
    OUT_TIME_WAIT,
    OUT_REUSES,
    OUT_STALE,
    OUT_RESETS,
    LIVE_PEAK,
    PLAIN_CONNECTIONS,
    ONE_WAY_CONNECTIONS,
    FORWARD_STEP,
    FORWARD_FRAME,
    ANOMALIES_USED,
    ANOMALIES_FREE,
    OUT_ANOMALIES,
    LONG_CONNECTIONS,
    MERGED,
    MERGED_FRAME,
    SWAPS,
    SWAP_FRAME,
    SWAP_LAG,
    UNSEEN_BYTES,
    UNSEEN_FRAME,
    DUPLICATE_FRAME,
    LINGERING_HEAD,
    LINGERING_TAIL,
    ARCHIVE_USED,
    ARCHIVE_FREE,
    ARCHIVE_OLDEST,
    ATTEMPTS_OLDEST,
    ARCHIVE_NEXT,
    ATTEMPTS_NEXT,
    ARCHIVED,
    VAIN_CONNECTIONS,
    NEXT_DUE,
    ARCHIVE_ROOM,
    BLOCKS_FREE,
    ATTEMPTS,
    PLACES,
    PLACES_TAKEN,
    FORGOTTEN_ATTEMPTS,
    FORGOTTEN_CONNECTIONS,
    CONNS_ROOM,
    SPANS_ROOM,
    REUSES_ROOM,
    STALES_ROOM,
    RESETS_ROOM,
    ANOMALIES_ROOM,
    RELEASED_ROOM,
    OUT_CONNECTIONS_ROOM,
    OUT_TRANSITIONS_ROOM,
    OUT_TIME_WAIT_ROOM,
    OUT_REUSES_ROOM,
    OUT_STALE_ROOM,
    OUT_RESETS_ROOM,
    OUT_ANOMALIES_ROOM,
    FIRST_ACK,  # when the capture has shown an ACK that carries nothing else for the first time
    STEPS_PASSED,  # new text of connections that go on while the clock is behind
    REGISTERS,
) = range(78)

# Parameters of the profile: int64 values that do not change in a run.
(
    TWO_MSL,
    REMEMBER,
    REMEMBER_AT_LEAST,
    PASSES_FIN_WAIT_2,
    RST_FATAL,
    PAWS_IN_TIME_WAIT,
    PAWS_TOLERANCE,
    PAWS_IDLE_S,
    RESTART_FIN,
    RESTART_EXACT_ACK,
    RESTART_OTHER_ACK,
    RESTART_STALE,
    RESTART_REFUSED_SYN,
    RESTART_STALE_SYN,
    KEEP_DUPLICATES,
    KEEPS_TS_RECENT,
    ARCHIVE_FROM,
    LINGER,
    IDLE_AFTER,
    PARAMETERS,
) = range(20)

SEEN = np.dtype([("fingerprint", "i8"), ("time", "i8")])
"""A segment that passed lately (see ``machine.duplicate_frames``)."""

WAYS = 4
"""Segments with one place: a cache line."""

SEEN_PLACES = PRINT_PLACES * WAYS
LEAST_SEEN_MASK = (1 << SHARD_BITS + 6) - 1
MOST_SEEN_MASK = PRINT_PLACES - 1
"""What a shard uses of a place, at the least and at the most."""

# What is kept for each shard of the 4-tuples.
SEEN_MASK, DATA_FRAMES, DATA_DUPLICATES, SEEN_SINCE, FORGOTTEN, OPENED, OPENED_AT = range(7)
OPENED_MARKS = 3
SHARD_WORDS = 16
"""Two cache lines. ``OPENED_AT`` and what follows is when every ``OPENED_EACH``-th of the last incarnations was opened.

``SEEN_SINCE``: segments since a shard has as many places as it has; ``FORGOTTEN``: those of them that made room for
others although a copy could still come.
"""

OPENED_EACH = 128

NEVER = 1 << 62
"""A time that does not come."""

FARTHEST_JUMP = 1 << 30
"""Mid-stream nothing is known of the window: only what lies half the sequence space away is not believed."""

OUT_ROOM = (1 << 14, 1 << 16, 1 << 15, 1 << 14, 1 << 15, 1 << 14, 1 << 14)
"""Room for finished rows, as in ``access.OUT``: many times what one segment can cause (see ``reservations``)."""
