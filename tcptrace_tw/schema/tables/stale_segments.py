"""Rows of segments with a stale timestamp."""

from tcptrace_tw.schema import words as w
from tcptrace_tw.schema.column import OBSERVED, PEERS, Column, Table, flag, frame, identifier, moment, word
from tcptrace_tw.schema.words import Vocabulary

STALE_SEGMENTS = Table(
    "stale_segments",
    "segment with TSval below the receiver's TS.Recent",
    (
        identifier("connection_id", "The connection."),
        word("endpoint", w.ENDPOINT, "The sender."),
        *PEERS,
        moment("time", "Capture time."),
        frame("frame", "The segment.", null=False),
        Column("seq", "u4", "Its SEG.SEQ."),
        Column("payload_len", "i4", "Its payload bytes."),
        Column("tcp_flags", "u2", "Its flags."),
        Column("tsval", "u4", "Its TSval."),
        Column("ts_recent", "u4", "The lower bound of the receiver's TS.Recent.", "RFC 7323 4.3"),
        frame("ts_recent_frame", "The segment that set TS.Recent."),
        frame("echo_frame", "The receiver's segment whose TSecr proves it."),
        Column("seq_delta", "i8", "SEG.SEQ minus the receiver's RCV.NXT, signed."),
        flag("is_copy", "Whether the same bytes had been captured before."),
        frame("answer_frame", "The receiver's next segment."),
        moment("answer_time", "Its time.", null=True),
        Column("answer_ack_delta", "i8", "ACK of that answer minus SEG.SEQ, signed; 0 if there was none."),
        flag("is_answer_newer", "Whether that answer echoes a TSval newer than the segment's."),
        frame("dsack_frame", "A D-SACK of the receiver that names the segment's bytes.", ),
        frame("sack_frame", "A SACK of the receiver that covers the segment's bytes above a gap."),
        frame("retransmit_frame", "The retransmission of the same bytes with a TSval that is not stale."),
        frame("acked_frame", "The receiver's ACK that covers the segment."),
        moment("acked_time", "Its time.", null=True),
        flag("is_before_syn", "Whether it was sent before this connection began: TSval below that of the SYN on a 4-tuple that had been used before, or an ACK field that is too old."),
        flag("is_in_order", "Whether SEG.SEQ was RCV.NXT and the bytes were new."),
        flag("is_clock_broken", "Whether the sender's timestamp clock had gone backwards in its own new data, and stayed there."),
        word("verdict", Vocabulary("verdict", "dropped", "likely-dropped", "predicted-dropped", "accepted",
            "old-duplicate", "stale-ack", "tolerated", "unsure"), "The verdict of the decision table (rules/decisions/stale_segments).", null=True),
        OBSERVED,
    ),
)  # fmt: skip
