"""Every table and every column, declared once: numpy dtype, Arrow field, docs row and check come from here.

A kernel writes rows as numpy records (``Table.dtype``). An address takes two int64 fields, ``<name>_hi`` and
``<name>_lo`` (IPv4 as ``::ffff:a.b.c.d``). A column of words is the code of the word. ``null`` is the value
that stands for null in a record: -1 for ids, frames, times and ``_ns``; 255 for words.
"""

from functools import cache
from typing import NamedTuple

import numpy as np

from tcptrace_tw.schema import words as w
from tcptrace_tw.schema.observed import BITS
from tcptrace_tw.schema.words import Vocabulary

SCHEMA_VERSION = 2


class Column(NamedTuple):
    """One column.

    ``kind`` is one of ``id frame time ns i8 i4 u4 u2 u1 bool ip word text list``; the last two exist only in
    written tables, never in kernel rows.
    """

    name: str
    kind: str
    doc: str
    rfc: str = ""
    words: Vocabulary | None = None
    is_nullable: bool = False
    is_made: bool = False
    """Whether it is made from other columns when the table is written."""

    @property
    def fields(self) -> list[tuple[str, str]]:
        """The numpy fields that hold this column in a kernel row."""
        if self.is_made:
            return []
        if self.kind == "ip":
            return [(f"{self.name}_hi", "i8"), (f"{self.name}_lo", "i8")]
        return [(self.name, _NUMPY[self.kind])] if self.kind in _NUMPY else []


_NUMPY = {
    "id": "i8", "frame": "i8", "time": "i8", "ns": "i8", "i8": "i8", "i4": "i4",
    "u4": "u4", "u2": "u2", "u1": "u1", "bool": "u1", "word": "u1",
}  # fmt: skip


class Table(NamedTuple):
    """One table: a name, the meaning of a row, and its columns in the order they are written."""

    name: str
    row: str
    columns: tuple[Column, ...]

    @property
    def dtype(self) -> np.dtype:
        """The record of one kernel row, packed with the widest fields first so that all are aligned."""
        return _record(self.columns)

    def column(self, name: str) -> Column:
        """The column called ``name``; ``KeyError`` if there is none."""
        for c in self.columns:
            if c.name == name:
                return c
        raise KeyError(name)


@cache
def _record(columns: tuple[Column, ...]) -> np.dtype:
    fields = [f for c in columns for f in c.fields]
    fields.sort(key=lambda f: -int(f[1][1]))
    return np.dtype(fields, align=True)


def _id(name: str, doc: str, null: bool = False) -> Column:
    return Column(name, "id", doc, is_nullable=null)


def _frame(name: str, doc: str, null: bool = True) -> Column:
    return Column(name, "frame", doc, is_nullable=null)


def _time(name: str, doc: str, null: bool = False) -> Column:
    return Column(name, "time", doc, is_nullable=null)


def _ns(name: str, doc: str) -> Column:
    return Column(name, "ns", doc, is_nullable=True)


def _word(name: str, words: Vocabulary, doc: str, null: bool = False, rfc: str = "") -> Column:
    return Column(name, "word", doc, rfc, words, null)


def _bool(name: str, doc: str) -> Column:
    return Column(name, "bool", doc)


_PEERS = (
    Column("ip", "ip", "Address of the endpoint that the row is about."),
    Column("port", "u2", "Port of the endpoint that the row is about."),
    Column("peer_ip", "ip", "Address of its peer."),
    Column("peer_port", "u2", "Port of its peer."),
)

_OBSERVED = Column("observed", "u1", f"What could be seen of the connection, the sum of: {BITS}.")

SEGMENTS = Table(
    "segments",
    "TCP segment of the passing batch (never written)",
    (
        Column("time", "i8", "Capture time in ns since 1970 UTC, as in the file."),
        Column("frame", "i8", "Frame number in its file (1-based) plus ``file << 40``."),
        Column("print", "i8", "The same for all copies of the segment (see flow)."),
        Column("seq", "u4", "SEG.SEQ"),
        Column("ack", "u4", "SEG.ACK"),
        Column("tsval", "u4", "TSval, if options has HAS_TS."),
        Column("tsecr", "u4", "TSecr, if options has HAS_TS."),
        Column("payload_len", "i4", "Payload bytes, from the IP length fields, never from the captured bytes."),
        Column("slot", "i4", "Slot of its 4-tuple (see flow)."),
        Column("flags", "u2", "The TCP flags, FIN = 1 ... CWR = 128, AE = 256."),
        Column("window", "u2", "The window field, not scaled."),
        Column("ip_id", "u2", "IPv4 identification; 0 for IPv6."),
        Column(
            "options",
            "u2",
            "Bits HAS_TS, HAS_MSS, HAS_WSCALE, SACK_PERMITTED, HAS_SACK, TRUNCATED, MALFORMED, BEHIND, REPEATED.",
        ),
        Column("mss", "u2", "The MSS option, if options has HAS_MSS."),
        Column("wscale", "u1", "The window scale option, if options has HAS_WSCALE."),
        Column("ttl", "u1", "TTL or hop limit."),
        Column("direction", "u1", "0: sent by endpoint a of the 4-tuple, 1: by b (see flow)."),
        Column("sender_state", "u1", "State of its sender after it (see tcp)."),
        Column("receiver_state", "u1", "State of its receiver after it."),
        Column("side", "u1", "Who sent it: 0 orig, 1 resp."),
        Column("connection_id", "i8", "The connection that it belongs to."),
        Column("src", "ip", "Source address."),
        Column("dst", "ip", "Destination address."),
        Column("scope", "i8", "VLAN ids and tunnel ids that keep equal addresses apart, or 0 (see capture)."),
        Column("sack_start", "u4", "Left edge of the first SACK block, if options has HAS_SACK."),
        Column("sack_end", "u4", "Right edge of the first SACK block."),
        Column("sport", "u2", "Source port."),
        Column("dport", "u2", "Destination port."),
        Column("checksum", "u2", "The TCP checksum field."),
    ),
)

# Bits of SEGMENTS.options.
HAS_TS, HAS_MSS, HAS_WSCALE, SACK_PERMITTED, HAS_SACK, TRUNCATED, MALFORMED = (1 << i for i in range(7))

BEHIND, REPEATED = 1 << 7, 1 << 8
"""Two more, which the clock of the file sets: the time has gone back before it; the file holds itself again."""

# TCP flags (RFC 9293 3.1).
FIN, SYN, RST, PSH, ACK, URG, ECE, CWR, AE = (1 << i for i in range(9))

FRAME_BITS = 40
"""A frame number is ``file << FRAME_BITS | number``; with one file it is the number that Wireshark shows."""

CONNECTIONS = Table(
    "connections",
    "connection: one incarnation of a 4-tuple",
    (
        _id("connection_id", "Number of the connection, from 1, in the order of first segments."),
        _id("tuple_id", "Number of the 4-tuple, from 1; a 4-tuple that was forgotten gets a new number."),
        Column("incarnation", "i4", "Number of the incarnation within its 4-tuple, from 1."),
        Column("orig_ip", "ip", "Address of the endpoint that sent the first SYN (mid-stream: best guess)."),
        Column("orig_port", "u2", "Its port."),
        Column("resp_ip", "ip", "Address of the other endpoint."),
        Column("resp_port", "u2", "Its port."),
        Column("scope", "i8", "VLAN and tunnel ids of the 4-tuple; 0 if there are none."),
        _word("opened", w.OPENED, "How the connection began."),
        _time("first_time", "Time of its first segment."),
        _time("last_time", "Time of its last segment."),
        _frame("first_frame", "Frame of its first segment.", null=False),
        _frame("last_frame", "Frame of its last segment.", null=False),
        Column("orig_segments", "u4", "Segments sent by orig."),
        Column("resp_segments", "u4", "Segments sent by resp."),
        Column("orig_payload_bytes", "i8", "Payload bytes sent by orig, including retransmissions."),
        Column("resp_payload_bytes", "i8", "Payload bytes sent by resp, including retransmissions."),
        Column(
            "orig_retransmits",
            "u4",
            "Retransmissions by orig: segments with payload that end at or below its highest byte.",
        ),
        Column(
            "resp_retransmits",
            "u4",
            "Retransmissions by resp: segments with payload that end at or below its highest byte.",
        ),
        _word("orig_state", w.STATE, "State of orig at the end of the connection or the capture."),
        _word("resp_state", w.STATE, "State of resp at the end of the connection or the capture."),
        _word(
            "active_closer",
            w.ACTIVE_CLOSER,
            "Who entered FIN-WAIT-1; unknown where a FIN may not have been captured.",
            rfc="RFC 9293 3.6",
        ),
        _word("close", w.CLOSE, "How the connection ended."),
        _frame("orig_syn_frame", "First SYN of orig."),
        _frame("resp_syn_frame", "First SYN or SYN+ACK of resp."),
        _frame("orig_fin_frame", "First FIN of orig."),
        _frame("resp_fin_frame", "First FIN of resp."),
        _frame("rst_frame", "First RST."),
        _time("established_time", "When both ends were ESTABLISHED for the first time.", null=True),
        _frame("fin_repeat_frame", "The passive closer's FIN, retransmitted although the capture shows its ACK."),
        _frame("fin_acked_frame", "That ACK, or the first ACK of the passive closer's FIN."),
        Column("fin_repeats", "u4", "Retransmissions of the passive closer's FIN."),
        Column("syn_retries", "u4", "Retransmissions of the first SYN."),
        Column("synack_retries", "u4", "Retransmissions of the SYN+ACK."),
        _frame("old_syn_frame", "The SYN of this connection, captured again after the handshake."),
        Column("completeness", "u1", "Wireshark's tcp.completeness: SYN 1, SYN+ACK 2, ACK 4, data 8, FIN 16, RST 32."),
        Column("history_lo", "i8", "Zeek's history, first 12 letters, 5 bits each (see report)."),
        Column("history_hi", "i8", "Zeek's history, the next 12 letters."),
        Column("ts_ok", "bool", "Whether timestamps are in use.", "RFC 7323 3.2"),
        Column("orig_stale_segments", "u4", "Segments of orig with TSval below the receiver's TS.Recent."),
        Column("resp_stale_segments", "u4", "Segments of resp with TSval below the receiver's TS.Recent."),
        Column("duplicate_frames", "u4", "Frames of the connection that are copies of a captured segment."),
        _bool("orig_syn_has_ts", "Whether the first SYN of orig was captured and carried timestamps."),
        Column("orig_syn_tsval", "u4", "Its TSval."),
        Column("orig_isn", "u4", "ISN of orig; mid-stream its first sequence number."),
        Column("resp_isn", "u4", "ISN of resp; mid-stream the first number that orig acknowledged, or its own first."),
        Column("orig_nxt", "u4", "SND.NXT of orig at the end."),
        Column("resp_nxt", "u4", "SND.NXT of resp at the end."),
        _ns("survived_ns", "Longest silence of both ends, 1 s or longer, after which the connection went on."),
        _ns("silence_ns", "Silence of both ends, 1 s or longer, with which it ended: what broke it was the end."),
        _word("silence_end", w.SILENCE_END, "What came after that silence.", null=True),
        _word("silence_by", w.ENDPOINT, "Who sent it.", null=True),
        _OBSERVED,
        _ns("duration_ns", "From its first segment to its last.")._replace(is_nullable=False, is_made=True),
        _ns(
            "handshake_ns",
            "From the first SYN until both ends were ESTABLISHED; null if they never were, or if the capture begins later.",
        )._replace(is_made=True),
        Column("conn_state", "text", "Zeek's conn_state."),
        Column(
            "history",
            "text",
            "Zeek's history, at most 24 letters: S SYN, H SYN+ACK, A ACK, D data, F FIN, R RST, I FIN and RST, Q SYN with "
            "FIN or RST, T retransmitted data and W zero window (both the 1st, 10th, 100th ... time), ^ the first segment came "
            "from resp; upper case is orig, lower case resp.",
        ),
        Column("vlan", "i4", "The outer VLAN id.", is_nullable=True),
        Column("community_id", "text", "Community ID v1, the same for every incarnation of a 4-tuple."),
    ),
)

TRANSITIONS = Table(
    "transitions",
    "state change of one endpoint",
    (
        _id("transition_id", "Number of the transition within its connection, from 1."),
        _id("connection_id", "The connection."),
        _word("endpoint", w.ENDPOINT, "The endpoint whose state changes."),
        *_PEERS[:2],
        _time("time", "Capture time of the segment, or the time when the timer expired."),
        _frame("frame", "The segment; null for timers."),
        _word("from_state", w.STATE, "State before; null if it is not known.", null=True),
        _word("to_state", w.STATE, "State after."),
        _word("event", w.EVENT, "The cause."),
        _word("basis", w.BASIS, "The evidence for it."),
        _id("retracts", "The transition of the same connection that this row retracts.", null=True),
    ),
)

TIME_WAIT = Table(
    "time_wait",
    "TIME-WAIT period of one endpoint",
    (
        _id("connection_id", "The connection."),
        _word("holder", w.ENDPOINT, "The side in TIME-WAIT."),
        *_PEERS,
        _time("start", "First ACK of the peer's FIN, or that FIN if no ACK was captured.", null=False),
        _frame("start_frame", "The frame of ``start``."),
        _word("start_basis", w.START_BASIS, "The evidence for ``start``."),
        _frame("fin_frame", "The peer's FIN that completed the close."),
        _time("end", "When it ended; null if the capture ended before it did.", null=True),
        _frame("end_frame", "The segment that ended it."),
        _word("end_reason", w.END_REASON, "Why it ended."),
        Column("restarts", "u4", "How often the 2MSL timer was restarted.", "RFC 9293 3.10.7.4"),
        _time("restart", "The last restart.", null=True),
        _frame("restart_frame", "The segment of the last restart."),
        Column("fin_repeats", "u4", "Restarts by a retransmitted FIN."),
        Column(
            "stale_syns",
            "u4",
            "Restarts by a SYN with a stale timestamp; its answer shows that TIME-WAIT still lasted.",
        ),
        _frame("first_stale_syn_frame", "The first of those SYNs."),
        _ns("two_msl_ns", "2MSL of the profile, in ns."),
        _ns("shown_ns", "The longest time after its start or a restart at which an answer shows that it still lasted."),
        _bool("is_syn_pending", "Whether the RST that ended it answers a challenge ACK after a SYN (see reuses)."),
        _frame("answered_frame", "After an assassination: a later segment that was answered as in CLOSED or LISTEN."),
        _OBSERVED,
    ),
)

REUSES = Table(
    "reuses",
    "SYN on a 4-tuple with a previous connection",
    (
        _id("connection_id", "The connection that it opened; null if it opened none.", null=True),
        _id("attempt_id", "The connection that the SYN would have opened."),
        _id("previous_connection_id", "The previous connection; null if only the answer shows that there was one.", null=True),
        *_PEERS,
        _time("time", "Capture time of the SYN."),
        _frame("syn_frame", "The SYN.", null=False),
        _ns("gap_ns", "From the last restart of TIME-WAIT, or from the end of the previous connection, to the SYN."),
        _ns("two_msl_ns", "2MSL of the profile, or what had been measured on the host in TIME-WAIT if that was longer."),
        _word("previous_orig_state", w.STATE, "State of the previous connection's orig when the SYN came.", null=True),
        _word("previous_resp_state", w.STATE, "State of the previous connection's resp when the SYN came.", null=True),
        _word("sender_state", w.STATE, "State of the SYN's sender in the previous connection.", null=True),
        _word("receiver_state", w.STATE, "State of the SYN's receiver in the previous connection when the SYN passed, also where "
              "only later segments show it; null if that connection was not captured.", null=True),
        _bool("is_outlived", "Whether the answer shows that TIME-WAIT had lasted longer than 2MSL of the profile."),
        _word("holder", w.ACTIVE_CLOSER, "The side of the previous connection that was in TIME-WAIT."),
        _bool("is_by_holder", "Whether the SYN came from the side in TIME-WAIT."),
        _bool("is_previous_reset", "Whether the previous connection had ended by RST or refusal."),
        _bool("is_last_ack_lost", "Whether the receiver had retransmitted its FIN although the capture shows its ACK."),
        _bool("is_last_ack_likely", "Whether the receiver may still have been in LAST-ACK: the capture shows the final ACK, but the "
              "FIN was not yet due again, so the ACK may have been lost after the capture point."),
        _bool("is_receiver_fin_acked", "Whether the capture shows an ACK of the receiver's FIN."),
        Column("isn_delta", "i8", "SYN's ISN minus the sender's old SND.NXT (the receiver's RCV.NXT), modulo, signed."),
        Column("tsval_delta", "i8", "SYN's TSval minus the last TSval of its sender; 0 without timestamps."),
        _bool("has_ts", "Whether the SYN carries timestamps."),
        _bool("previous_ts_ok", "Whether the previous connection used timestamps."),
        Column("tsecr", "u4", "TSecr of the SYN; an ordinary SYN has 0.", "RFC 7323 3.2"),
        _bool("is_linux_tw_reuse", "ISN = old SND.NXT + 65537, or TSecr = last TSval accepted: proof of Linux reuse."),
        _word("acceptance", w.ACCEPTANCE, "How the profile's stack answers such a SYN in TIME-WAIT."),
        _word("answer", w.ANSWER, "The first answer."),
        _frame("answer_frame", "Its frame."),
        _time("answer_time", "Its time.", null=True),
        _frame("fin_repeat_frame", "The receiver's FIN, retransmitted while the SYN waited."),
        _word("outcome", w.OUTCOME, "What became of the SYN."),
        _frame("late_retry_frame", "The SYN, retransmitted after the SYN+ACK had crossed the capture point."),
        _frame("completed_frame", "The sender's ACK of the SYN+ACK."),
        _word("meanwhile", w.MEANWHILE, "Whether the same service answered SYNs of other connections while this one waited; only looked at where the table asks."),
        Column("answer_isn_delta", "i8", "SYN+ACK's ISN minus its sender's old SND.NXT; 65537 is Linux leaving TIME-WAIT."),
        _bool("is_linux_tw_accept", "Whether the SYN+ACK proves that Linux left TIME-WAIT for it."),
        _frame("reset_frame", "The RST with which the SYN's sender answered the challenge ACK."),
        _time("reset_time", "Its time.", null=True),
        Column("syn_retries", "u4", "Retransmissions of the SYN."),
        _frame("retry_frame", "The last of them."),
        _ns("waited_ns", "From the first SYN to the last of them; null if there is none."),
        _frame("opened_frame", "The SYN+ACK that opened the new connection."),
        _time("opened_time", "Its time.", null=True),
        _ns("cost_ns", "Delay from the first SYN to the SYN+ACK; null if none came."),
        _frame("fin_frame", "Evidence: the last FIN or RST of the previous connection."),
        _frame("time_wait_frame", "Evidence: start or last restart of TIME-WAIT."),
        _frame("old_duplicate_frame", "A later segment with sequence numbers of the previous connection."),
        _bool("is_old_duplicate_in_window", "Whether that segment is also inside the new receive window."),
        _bool("is_old_duplicate_rejected", "Whether timestamps reject that segment."),
        Column("old_duplicates", "u4", "Number of such segments."),
        Column("old_duplicate_bytes", "i4", "Payload bytes of that segment."),
        Column("old_duplicate_offset", "i8", "Where they would lie in the new stream: bytes above its first one, modulo 2**32."),
        _frame("old_duplicate_refused_frame", "The receiver's ACK or D-SACK that shows that it did not accept that segment."),
        _frame("old_duplicate_taken_frame", "The receiver's ACK or SACK of its bytes, which this connection never sent."),
        _bool("is_old_duplicate_disowned", "Whether its sequence numbers fit both, and its sender continued from before it."),
        _bool("is_old_alive", "Whether the previous connection continued after the SYN."),
        _word("verdict", Vocabulary("syn_verdict", "unseen-connection", "hits-last-ack", "stuck-in-last-ack", "reset-in-last-ack",
            "ignored-in-last-ack", "challenged-in-time-wait", "refused-while-waiting", "dropped-in-time-wait",
            "accepted-in-time-wait", "still-open", "accepted", "refused", "unanswered", "undecided", "answer-lost"),
            "The verdict of the decision table (rules/syn_answers)."),
        _OBSERVED._replace(doc=f"What could be seen of both connections (an answer to the SYN set aside), the sum of: {BITS}."),
    ),
)  # fmt: skip

STALE_SEGMENTS = Table(
    "stale_segments",
    "segment with TSval below the receiver's TS.Recent",
    (
        _id("connection_id", "The connection."),
        _word("endpoint", w.ENDPOINT, "The sender."),
        *_PEERS,
        _time("time", "Capture time."),
        _frame("frame", "The segment.", null=False),
        Column("seq", "u4", "Its SEG.SEQ."),
        Column("payload_len", "i4", "Its payload bytes."),
        Column("tcp_flags", "u2", "Its flags."),
        Column("tsval", "u4", "Its TSval."),
        Column("ts_recent", "u4", "The lower bound of the receiver's TS.Recent.", "RFC 7323 4.3"),
        _frame("ts_recent_frame", "The segment that set TS.Recent."),
        _frame("echo_frame", "The receiver's segment whose TSecr proves it."),
        Column("seq_delta", "i8", "SEG.SEQ minus the receiver's RCV.NXT, signed."),
        _bool("is_copy", "Whether the same bytes had been captured before."),
        _frame("answer_frame", "The receiver's next segment."),
        _time("answer_time", "Its time.", null=True),
        Column("answer_ack_delta", "i8", "ACK of that answer minus SEG.SEQ, signed; 0 if there was none."),
        _bool("is_answer_newer", "Whether that answer echoes a TSval newer than the segment's."),
        _frame("dsack_frame", "A D-SACK of the receiver that names the segment's bytes.", ),
        _frame("sack_frame", "A SACK of the receiver that covers the segment's bytes above a gap."),
        _frame("retransmit_frame", "The retransmission of the same bytes with a TSval that is not stale."),
        _frame("acked_frame", "The receiver's ACK that covers the segment."),
        _time("acked_time", "Its time.", null=True),
        _bool("is_before_syn", "Whether it was sent before this connection began: TSval below that of the SYN on a 4-tuple that had been used before, or an ACK field that is too old."),
        _bool("is_in_order", "Whether SEG.SEQ was RCV.NXT and the bytes were new."),
        _bool("is_clock_broken", "Whether the sender's timestamp clock had gone backwards in its own new data, and stayed there."),
        _word("verdict", Vocabulary("verdict", "dropped", "likely-dropped", "predicted-dropped", "accepted",
            "old-duplicate", "stale-ack", "tolerated", "unsure"), "The verdict of the decision table (rules/paws).", null=True),
        _OBSERVED,
    ),
)  # fmt: skip

RESETS = Table(
    "resets",
    "RST",
    (
        _id("connection_id", "The connection."),
        _word("endpoint", w.ENDPOINT, "The sender."),
        *_PEERS,
        _time("time", "Capture time."),
        _frame("frame", "The RST.", null=False),
        _word("sender_state", w.STATE, "State of the sender before it."),
        _word("receiver_state", w.STATE, "State of the receiver before it."),
        Column("seq_delta", "i8", "SEG.SEQ minus the receiver's RCV.NXT, signed."),
        Column("ack_delta", "i8", "SEG.ACK minus the sender's RCV.NXT, signed; 0 for a bare RST."),
        _bool("is_bare", "RST without ACK."),
        Column("tcp_flags", "u2", "Its flags."),
        _bool("is_accepted", "Whether it moved the receiver to CLOSED."),
        _bool("has_ts", "Whether it carries timestamps."),
        Column("window", "u2", "Its window field."),
        _bool("was_window_closed", "Whether the window of the sender's last segment was 0."),
        Column("window_missing", "i8", "Bytes by which its window, scaled, is smaller than the largest one of the sender."),
        Column("window_unit", "i4", "Bytes per unit of the window field."),
        _bool("is_window_low", "Whether the window before it, too, was smaller than the largest one by the other side's MSS or more."),
        Column("mss", "i4", "The largest segment of the other side, rounded up; 1460 if the handshake was not captured."),
        Column("receive_window", "i8", "The largest window of the receiver, scaled."),
        _bool("is_repeat", "Whether the sender had already sent a RST."),
        Column("ttl_delta", "i4", "How far its TTL lies outside the TTLs of the sender's earlier segments; 0 if none are known."),
        _bool("is_ttl_steady", "Whether the sender had sent at least two segments, all with one TTL."),
        Column("ip_id_delta", "i4", "Its IP ID minus that of the sender's last segment, signed."),
        _bool("is_ip_id_counter", "Whether the sender's IP IDs rose in small steps, and the RST's is not 0."),
        _frame("ladder_frame", "Another RST with this source address, above everything that the sender sent, with nothing in between."),
        _frame("trigger_frame", "The segment of the other side that it answers; the last one where it answers none; null if it answers one from before that."),
        _ns("trigger_gap_ns", "Time since that segment."),
        _ns("own_gap_ns", "Time since the sender's own last segment; null if it had sent none."),
        _ns("silence_ns", "How long both sides had been silent before the segment that drew it, or before it where none did; null below 1 s."),
        _ns("twin_gap_ns", "Time between it and a RST of the other side, 1 ms at most; null if there was none."),
        _ns("rtt_ns", "Shortest time in which the sender had answered before, seen at the capture point; null if it never had."),
        Column("sender_seq_delta", "i8", "SEG.SEQ minus the sender's SND.NXT, signed; 0 if that is not known."),
        Column("sender_segments", "u4", "Segments that the sender had sent before it."),
        _ns("fin_gap_ns", "Time since the sender's own FIN; null if it had sent none, or if the second FIN of the connection was sent again."),
        _ns("fin_acked_gap_ns", "Time since the sender's own FIN was acknowledged; null if it was not."),
        _ns("fin_wait_2_ns", "Time from that ACK to the segment that it answers; null if there is neither."),
        _ns("time_wait_gap_ns", "Time since the sender's TIME-WAIT began or was restarted; null if it had none."),
        _bool("is_time_wait_proved", "Whether the sender had acknowledged the FIN that led it into TIME-WAIT."),
        _ns("two_msl_ns", "2MSL of the profile."),
        Column("trigger_len", "i4", "Payload bytes of that segment."),
        Column("trigger_flags", "u2", "Flags of that segment."),
        _bool("is_echo", "Bare, SEG.SEQ is the ACK field of that segment, it comes in time, and the sender had not answered it: "
            "a host without a socket answers like this."),
        _bool("has_plain", "Whether the connection shows a segment besides SYN, FIN and RST."),
        _bool("is_syn_answer", "RST+ACK with ack = ISN + 1 of the SYN that it answers."),
        _word("earlier_state", w.STATE, "If it is the first answer to a SYN: its sender's state in the previous connection "
              "of the 4-tuple, if there was one.", null=True),
        _bool("is_stale_ack_answer", "The sender was in SYN-SENT and answered a challenge ACK of the previous connection."),
        _bool("is_syn_pending", "Whether it answers a challenge ACK after a SYN (see reuses)."),
        _frame("fin_frame", "The sender's own FIN, if it had sent one."),
        _frame("peer_fin_frame", "The FIN of the other side, if it had sent one."),
        Column("bytes_in_flight", "i8", "The sender's bytes that had not been acknowledged."),
        Column("unacked_bytes", "i8", "Bytes of the other side that the sender had never acknowledged."),
        Column("acked_bytes", "i8", "Bytes of the other side that it acknowledges, and that no ACK of the sender had acknowledged before; 0 of a bare one."),
        Column("received_bytes", "i8", "Payload bytes that the sender had received."),
        _ns("received_gap_ns", "Time since the last payload towards the sender."),
        Column("sent_bytes", "i8", "Payload bytes that the sender had sent."),
        Column("retransmits", "u4", "Unanswered retransmissions of the sender before the RST."),
        Column("probes", "u4", "Unanswered keep-alive probes of the sender before the RST."),
        _frame("continued_frame", "A later in-sequence segment of the same endpoint: it never sent this RST."),
        _frame("continued_data_frame", "Its later data beyond the RST's SEG.SEQ."),
        _frame("alien_frame", "A later segment with its source address and payload, whose TTL is none of the endpoint's and whose number does not follow."),
        _frame("challenge_frame", "The receiver's challenge ACK."),
        Column("vain_segments", "u4", "Segments with payload that the receiver sent later, and that got no answer."),
        _ns("vain_ns", "Time from the RST to the last of them."),
        Column("repeats", "u4", "Further RSTs that the sender sent."),
        _word("verdict", Vocabulary("reset_verdict", "port-closed", "stale-ack-answer", "no-socket", "injected",
            "after-fin", "unread-data", "linger-0", "timeout", "health-check", "not-exact", "unclassified",
            "last-ack-refused", "after-silence", "untranslated", "flow-forgotten", "no-request"), "The verdict of the decision table (rules/resets).", null=True),
        _OBSERVED,
    ),
)  # fmt: skip

ANOMALIES = Table(
    "anomalies",
    "endpoint of a connection with at least one anomaly",
    (
        _id("connection_id", "The connection."),
        _word("endpoint", w.ENDPOINT, "The endpoint."),
        *_PEERS,
        _time("time", "Time of the first segment of the connection."),
        _time("end_time", "Time of its last segment."),
        _ns("lasted_ns", "The time between the two."),
        _frame("syn_frame", "Its first SYN or SYN+ACK."),
        _frame("syn_retry_frame", "The last retransmission of its SYN before the SYN+ACK came; null if there was none."),
        _frame("synack_frame", "That SYN+ACK."),
        Column("syn_retries", "u4", "Retransmissions of its SYN."),
        _ns("handshake_ns", "From the first SYN to the end of the handshake, to the SYN+ACK where only SYN, FIN and RST were captured; null if it never ended.", ),
        _frame("synack_repeat_frame", "Its SYN+ACK, retransmitted although the capture shows the peer's ACK."),
        Column("synack_repeats", "u4", "Number of such retransmissions."),
        _ns("synack_repeat_ns", "From the peer's ACK to the first of them."),
        _frame("other_synack_frame", "Another SYN+ACK for the same SYN, with another ISN than the first."),
        Column("other_synacks", "u4", "Number of such SYN+ACKs."),
        _frame("challenge_trigger_frame", "The SYN or RST that it answered with a challenge ACK."),
        _frame("challenge_frame", "That challenge ACK.", ),
        Column("challenges", "u4", "Challenge ACKs that it sent."),
        _frame("ts_missing_frame", "Its first segment without timestamps after both SYNs had carried them."),
        Column("ts_missing", "u4", "Number of such segments."),
        Column("probes_without_ts", "u4", "Its keep-alive probes without timestamps; they are not counted among those."),
        _frame("ts_back_frame", "Its first new data with a TSval lower than the previous one, by 1 s or more."),
        Column("ts_back_ticks", "i8", "Ticks by which it went backwards."),
        Column("ts_back_segments", "u4", "Its segments from then on, while all of them were lower."),
        _frame("ts_step_frame", "Its first segment whose TSval jumped ahead of its own clock."),
        Column("ts_step_ms", "i8", "Milliseconds by which it jumped."),
        _frame("idle_frame", "Its first segment after a silence that made TS.Recent invalid (RFC 7323 5.5)."),
        _ns("idle_ns", "Duration of that silence."),
        _ns("half_closed_ns", "From its FIN to the peer's FIN, or to the end of the capture; null below 60 s."),
        _frame("fin_frame", "Its FIN."),
        _frame("peer_fin_frame", "The peer's FIN."),
        _frame("last_frame", "Its last segment."),
        _bool("is_left_open", "Whether the peer was still in CLOSE-WAIT and had sent nothing since the FIN."),
        _bool("is_stuck", "Whether it retransmitted its FIN in LAST-ACK at least four times and got no answer."),
        Column("fin_repeats", "u4", "Retransmissions of its FIN."),
        _frame("rst_frame", "The first RST that it sent."),
        Column("unseen_bytes", "i8", "Bytes that it sent and the peer acknowledged, but that were not captured."),
        _frame("unseen_frame", "The ACK that shows the first of them."),
        Column("swaps", "u4", "How often the capture shows the ACK of its data before the data."),
        _frame("unheard_frame", "Its SYN, retransmitted although the capture shows the SYN+ACK."),
        Column("unheard_syns", "u4", "Number of such retransmissions, until it acknowledged the SYN+ACK."),
        _bool("is_deaf", "Whether it never acknowledged the SYN+ACK."),
        Column("unanswered", "u4", "Retransmissions of its data that nothing had answered at the end; 0 below three."),
        _ns("unanswered_ns", "From its first unanswered segment to the last."),
        _frame("unanswered_frame", "The last segment of the peer before them; null if there was none."),
        _ns("unanswered_silence_ns", "The silence of both ends before them, if it was 1 s or longer."),
        _bool("is_peer_gone", "Whether the peer had sent RST: it had let the connection go."),
        _frame("race_frame", "Its first data after the peer's FIN or RST, which had come after a silence of 1 s or longer."),
        _ns("race_idle_ns", "That silence."),
        _ns("race_gap_ns", "From the FIN or RST to that data."),
        _bool("is_race_lost", "Whether the peer answered that data by RST."),
        _word("first_data", w.FIRST_DATA, "Only where its SYN+ACK was repeated after the peer's ACK: what became of the peer's data.", null=True),
        Column("peer_retransmits", "u4", "Retransmissions of the peer's data."),
        _OBSERVED,
    ),
)  # fmt: skip

CENSUS = Table(
    "census",
    "address with TIME-WAIT sockets, and second in which something changed",
    (
        _time("time", "Start of the second; in a long capture of many addresses steps are 2, 4, ... s wide."),
        Column("ip", "ip", "The address."),
        Column("peer_ip", "ip", "The peer's address."),
        Column("peer_port", "u2", "The peer's port, if this address opened the connections; else 0."),
        Column("time_wait", "u4", "Its TIME-WAIT sockets at the end of this second."),
        Column("active", "u4", "Its open connections at the end of this second, without those in TIME-WAIT."),
        Column("new", "u4", "Connections that began in this second."),
    ),
)

HOLDERS = Table(
    "holders",
    "address with TIME-WAIT sockets",
    (
        _id("connection_id", "The first connection in which it was in TIME-WAIT."),
        Column("ip", "ip", "The address."),
        _time("time", "The second of its peak."),
        Column("most_time_wait", "u4", "Peak number of TIME-WAIT sockets, counted once per second."),
        Column("spans", "u4", "TIME-WAIT periods in total."),
        _ns(
            "least_two_msl_ns",
            "Its 2MSL is at least this: so long after the start or restart of a TIME-WAIT it answered out of it.",
        ),
    ),
)

PORTS = Table(
    "ports",
    "client address towards one service",
    (
        _id("connection_id", "Its first connection."),
        Column("ip", "ip", "The client's address."),
        Column("peer_ip", "ip", "The address that it connects to."),
        Column("peer_port", "u2", "The port that it connects to."),
        _time("time", "The second with the most ports in use."),
        Column(
            "most_used",
            "u4",
            "Most ports in use at once, by open connections and the client's own TIME-WAIT sockets, counted at the end of each second; 1 at least.",
        ),
        Column("range_size", "u4", "Ports of the first known ephemeral range that holds all ports seen."),
        Column("lowest_port", "u4", "Lowest source port seen."),
        Column("highest_port", "u4", "Highest source port seen."),
        Column("connections", "u4", "Connections opened."),
        _ns(
            "fastest_reuse_ns",
            "Shortest time from the start of its TIME-WAIT to the SYN that reused the port; null if there was none.",
        ),
        Column(
            "reuses_at_floor", "u4", "Reuses by Linux after 1.0 to 1.2 s: the shortest time that tcp_tw_reuse allows."
        ),
        Column("reuses_inside", "u4", "Reuses by this address inside its own TIME-WAIT."),
        Column("reuses_at_expiry", "u4", "Reuses between 2MSL and 1.2 times 2MSL: as soon as the port was free."),
        Column(
            "opened_filling", "u4", "Connections opened until 95 % of ``most_used`` were in use, including that second."
        ),
        _ns("filling_ns", "From the first connection to the end of that second."),
        Column("opened_full", "u4", "Connections opened from then on, until the last second with as many in use."),
        _ns("full_ns", "Duration of that time; 0 if it was one second only."),
        Column(
            "even_before_odd", "u4", "Connections from even ports before the first odd one; 0 if there was no odd one."
        ),
    ),
)

SERVICES = Table(
    "services",
    "server and port",
    (
        _id(
            "connection_id",
            "An example: a connection that the server closed, left in CLOSE-WAIT, or was silent on.",
            null=True,
        ),
        Column("ip", "ip", "The server's address."),
        Column("port", "u2", "The server's port."),
        _time("time", "First connection."),
        _time("end_time", "Last segment."),
        Column("connections", "u4", "Connections with a complete handshake in the capture."),
        Column("closed", "u4", "Those closed by FIN."),
        Column("closed_by_server", "u4", "Those that the server closed first."),
        Column(
            "left_in_close_wait", "u4", "Those that the client closed 60 s ago or earlier, and the server never did."
        ),
        _frame("fin_frame", "The client's FIN of one of those."),
        Column(
            "silent_after_handshake",
            "u4",
            "Connections on which it sent nothing after its SYN+ACK for 1 s or longer, not even an ACK of the client's data.",
        ),
        _id("silent_connection_id", "The first of those.", null=True),
        _frame("silent_frame", "Its SYN+ACK."),
    ),
)

CONNECTS = Table(
    "connects",
    "client address towards one service, where connects came to nothing",
    (
        _id("connection_id", "The first connect that got no answer, or was refused."),
        Column("ip", "ip", "The client's address."),
        Column("peer_ip", "ip", "The address that it connects to."),
        Column("peer_port", "u2", "The port that it connects to."),
        _time("time", "The first SYN of these connects."),
        _time("end_time", "The last of them."),
        _frame("syn_frame", "The frame of the first."),
        _frame("last_frame", "The frame of the last."),
        Column("connects", "u4", "Its connects whose outcome is known: answered, refused, or repeated in vain."),
        Column("answered", "u4", "Those that were answered by SYN+ACK."),
        Column("refused", "u4", "Those that were refused by RST."),
        Column("unanswered", "u4", "Those whose SYN was repeated and never answered."),
        Column("failed", "u4", "Those of them that repeated it twice or more, and for 2 s or longer."),
        Column("syns", "u4", "SYNs of the unanswered ones."),
        _ns("longest_wait_ns", "The longest time from the first SYN of a connect to its last."),
        Column("half_open", "u4", "Connects of one SYN whose SYN+ACK was repeated, and never acknowledged."),
        Column(
            "stale", "u4", "Ignored SYNs to that address, if all of them had a timestamp below that of an answered one."
        ),
        Column("clock_answered", "u4", "Answered SYNs to that address that these were compared with."),
        Column("clocks", "u4", "Timestamp clocks behind the client's address (see clocks); 0 if they are not known."),
        _bool("is_waiting", "Whether that address held TIME-WAIT for the client."),
        Column("service_answered", "u4", "Connects of all clients that this service answered."),
        Column("service_unread", "u4", "Connections from before, which the service never sent data on."),
        Column("address_heard", "u4", "Connections on which that address sent anything."),
        _bool("is_scan", "Whether the client tried many services in vain (see scans)."),
        _bool("has_icmp_error", "Whether an ICMP error tells why (see icmp_errors)."),
        _word("suspect", w.SUSPECT, "The likeliest cause by the decision table (rules/silence).", null=True),
    ),
)

SCANS = Table(
    "scans",
    "client address that tried many services in vain",
    (
        _id("connection_id", "One of these connects."),
        Column("ip", "ip", "The client's address."),
        _time("time", "The first of them."),
        _time("end_time", "The last of them."),
        _frame("syn_frame", "The frame of one of them."),
        Column("vain", "u4", "Connects that were refused or not answered."),
        Column("retried", "u4", "Those that repeated their SYN twice or more."),
        Column("answered", "u4", "Connects that were answered."),
        Column("services", "u4", "About how many different services they went to, at most 256."),
    ),
)

FLOODS = Table(
    "floods",
    "service with many SYNs that came to nothing",
    (
        _id("connection_id", "One of these connects."),
        Column("ip", "ip", "The server's address."),
        Column("port", "u2", "The server's port."),
        _time("time", "The first of them."),
        _time("end_time", "The last of them."),
        _frame("syn_frame", "The frame of one of them."),
        Column("vain", "u4", "Connects of one SYN that were not answered, or did not acknowledge the answer."),
        Column("answered", "u4", "Connects that were established."),
        Column("clients", "u4", "About how many different addresses they came from, at most 256."),
    ),
)

IDLES = Table(
    "idles",
    "service with connections that were silent for 1 s or longer",
    (
        _id("connection_id", "The connection that ended after the shortest silence."),
        Column("ip", "ip", "The server's address."),
        Column("port", "u2", "The server's port."),
        _time("time", "The first connection."),
        _time("end_time", "The last segment."),
        _frame("frame", "The last segment of that connection."),
        _ns("survived_ns", "The longest silence after which a connection went on."),
        Column("drops", "u4", "Connections that were gone after a silence: what broke it got a RST, or no answer."),
        _ns("shortest_drop_ns", "The shortest silence of those."),
        _ns("longest_drop_ns", "The longest silence of those."),
        _bool("is_answered_by_reset", "Whether a RST answered what broke the shortest of them."),
        Column(
            "resets",
            "u4",
            "Connections that a RST ended in a silence: from the server's side, or after a known timeout.",
        ),
        _ns("shortest_reset_ns", "The shortest silence of those."),
        _ns("longest_reset_ns", "The longest silence of those."),
        Column("closes", "u4", "Connections that the server closed by FIN after a silence."),
        _ns("shortest_close_ns", "The shortest silence of those."),
        _ns("longest_close_ns", "The longest silence of those."),
        _word("drop_timeout", w.TIMEOUT, "A known timeout that fits the drops.", null=True),
        _word("reset_timeout", w.TIMEOUT, "A known timeout that fits the resets.", null=True),
        _word("close_timeout", w.TIMEOUT, "A known timeout that fits the closes.", null=True),
    ),
)

MOVES = Table(
    "moves",
    "connection or connect that went on under another 4-tuple",
    (
        _id("connection_id", "The connection that goes on."),
        _id("previous_connection_id", "The one that it continues."),
        *_PEERS,
        _time("time", "Its first segment."),
        _frame("frame", "Its first segment.", null=False),
        _frame("previous_frame", "The last segment of the one before.", null=False),
        Column("previous_port", "u2", "The client's port in the one before."),
        _ns("gap_ns", "The time between the two."),
        _ns("cost_ns", "Of a SYN: from the first one to the end of the handshake; null if there was none."),
        _word("move", w.MOVE, "What went on: a SYN that was sent again, or an open connection."),
        _bool("is_reset", "Whether it was answered by RST."),
    ),
)

ICMP_ERRORS = Table(
    "icmp_errors",
    "ICMP errors of one router and kind, about segments of one address towards one service",
    (
        _id("connection_id", "The first connection that they are about."),
        _word("endpoint", w.ENDPOINT, "The side that sent the quoted segments."),
        *_PEERS,
        _time("time", "The first of them."),
        _time("end_time", "The last of them."),
        _frame("frame", "The frame of the first.", null=False),
        Column("router_ip", "ip", "Who sent them."),
        _word("error", w.ICMP_ERROR, "What they say."),
        _bool("is_connect", "Whether they quote the SYN of connects that were never established."),
        Column("errors", "u4", "Number of errors."),
        Column("connections", "u4", "Number of connections that they are about."),
        Column("most_retries", "u4", "The most retransmissions of a SYN among these."),
        Column("mtu", "u2", "The least MTU that they tell; 0 if they tell none."),
        _bool("is_scan", "Whether the address tried many services in vain (see scans)."),
    ),
)

CLOCKS = Table(
    "clocks",
    "client address towards a server address, with comparable timestamps",
    (
        _id("connection_id", "An example connection."),
        Column("ip", "ip", "The client's address."),
        Column("peer_ip", "ip", "The server's address."),
        _time("time", "First SYN."),
        _time("end_time", "Last SYN."),
        _frame("syn_frame", "First SYN."),
        Column("syns", "u4", "SYNs with timestamps whose clocks were compared."),
        Column("clocks", "u4", "Number of clocks that they come from; 0 if each connection has its own offset."),
        Column("rate_hz", "u4", "Ticks of the clocks per second."),
        Column("offset_ms", "i8", "Difference between the lowest and the highest clock."),
        Column("answered", "u4", "SYNs that were answered."),
        Column("ignored", "u4", "SYNs that were retransmitted and never answered."),
        Column("ignored_stale", "u4", "Ignored ones below a timestamp that had been answered in the 60 s before."),
        Column(
            "answered_stale",
            "u4",
            "Answered ones below such a timestamp, a lower bound; counted only if some were ignored.",
        ),
        _bool(
            "has_shared_clock", "Whether SYNs from two ports come from one clock; looked at only if some were ignored."
        ),
        _bool(
            "has_server_time_wait",
            "Whether the server had entered TIME-WAIT towards that address in the minute before the ignored SYNs.",
        ),
        _frame("first_ignored_frame", "The first of the ignored SYNs."),
        _frame("last_ignored_frame", "The last of them."),
    ),
)

CAPTURE = Table(
    "capture",
    "capture, with the properties that limit the conclusions",
    (
        _id("connection_id", "Null.", null=True),
        _time("time", "First frame."),
        _time("end_time", "Last frame."),
        Column("segments", "i8", "TCP segments."),
        Column("connections", "i8", "Connections."),
        Column(
            "damaged_segments", "i8", "Segments whose flags exclude each other, or whose options do not fit the header."
        ),
        Column("impossible_flags", "i8", "Those of them with such flags."),
        _frame("damaged_frame", "The first of them."),
        Column(
            "hidden_connections",
            "i8",
            "Connections of SYN, FIN and RST only, whose numbers show text that was not captured.",
        ),
        Column("plain_connections", "i8", "Connections with a segment that is neither SYN, FIN nor RST."),
        Column(
            "vain_connections", "i8", "Those without one that were refused, reset before any FIN, or never answered."
        ),
        Column(
            "long_connections",
            "i8",
            "Connections with more than ten segments, or with a SYN, three segments and an ACK.",
        ),
        Column("one_way_connections", "i8", "Those with only one direction captured."),
        Column("split_connections", "i8", "Pairs of one-way connections that differ only in VLAN or tunnel."),
        _frame("split_frame", "The first segment of one of them."),
        Column("midstream_connections", "i8", "Connections whose handshake was not captured."),
        _frame("midstream_frame", "The first segment of one of them."),
        Column("duplicates", "i8", "Frames that are copies of a captured segment."),
        _frame("duplicate_frame", "The first of them."),
        Column("swaps", "i8", "How often data appears after its own ACK."),
        _frame("swap_frame", "The first of them."),
        _ns("swap_lag_ns", "The longest lag."),
        Column("truncated_options", "i8", "Segments whose options the snap length cut off."),
        Column("merged", "i8", "Segments larger than the peer's MSS."),
        _frame("merged_frame", "The first of them."),
        Column("unseen_bytes", "i8", "Bytes that were acknowledged but never captured."),
        _frame("unseen_frame", "The first ACK of such bytes."),
        Column("lost_frames", "i8", "Frames that the capturing host reports as dropped."),
        Column("unfit_times", "i8", "Frames with a time before 1970 or after 2115, which was replaced."),
        Column("damaged_files", "i8", "Files that are truncated or damaged."),
        Column("forgotten_attempts", "i8", "Unanswered SYNs that were forgotten early to stay within --max-memory."),
        Column("forgotten_connections", "i8", "Other connections that were forgotten early for that reason."),
        _ns("backward_ns", "The largest step back of the clock."),
        _frame("backward_frame", "Where that was."),
        Column(
            "late_frames", "i8", "Frames, up to three in a row, that are older than one before them by 1 s to 60 s."
        ),
        Column(
            "absurd_times",
            "i8",
            "Frames, up to three in a row, whose time lies an hour or more ahead of all that follow.",
        ),
        Column(
            "steps_back",
            "i8",
            "How often more than three frames in a row are older than one before them by 1 s or more, or some by 60 s or more.",
        ),
        Column("steps_passed", "i8", "Segments with new data of connections that go on while the time is behind."),
        Column("repeated_frames", "i8", "Frames that the capture holds a second time, from its first one on."),
        _ns("forward_ns", "The largest step ahead: 1 h or longer while a sender's timestamp clock did not advance."),
        _frame("forward_frame", "Where that was."),
        Column("censored_spans", "i8", "TIME-WAIT periods that were open when the capture ended."),
        _frame("censored_frame", "The start of one of them."),
    ),
)

FINDINGS = Table(
    "findings",
    "rule statement about one connection",
    (
        _id("finding_id", "The connection, then three digits for the rule: 17202 is RU002 on connection 17."),
        _id("incident_id", "The incident that it belongs to; null for info.", null=True),
        Column("rule", "text", "Rule id, as in RU002."),
        Column("name", "text", "Rule name, as in reuse-inside-2msl."),
        _word("severity", w.SEVERITY, "How serious it is."),
        _word("confidence", w.CONFIDENCE, "How certain it is."),
        _id("connection_id", "The connection; null for findings about the capture.", null=True),
        _id("previous_connection_id", "The previous connection on the 4-tuple of the SYN.", null=True),
        _word("endpoint", w.ENDPOINT, "The side of the connection that ``ip`` is; null if it is neither.", null=True),
        *(c._replace(is_nullable=True) for c in _PEERS),
        _time("time", "When it began."),
        _time("end_time", "When it ended.", null=True),
        _frame("frame", "The frame to look at first: the SYN, the RST, the stale segment."),
        Column("frames", "list", "Evidence: frame numbers."),
        Column("message", "text", "One sentence."),
        _ns("delay_ns", "How long somebody had to wait for it."),
        _ns("silence_ns", "The silence before it; the shortest of several."),
        Column("count", "i8", "Rows of the rule's table that it stands for, as the stale segments of one connection."),
        Column("details", "text", "The other numbers and words behind the sentence, as a JSON object."),
        Column("rival", "text", "Another possible explanation.", is_nullable=True),
        Column("caveats", "list", "Properties of the capture that lower the confidence."),
        Column("display_filter", "text", "Display filter for Wireshark."),
    ),
)

INCIDENTS = Table(
    "incidents",
    "incident: findings that have one cause",
    (
        _id("incident_id", "1 is the worst."),
        Column("cause", "text", "Id of the rule that found the cause, as in RU004."),
        Column("name", "text", "Its name, as in tw-syn-challenged."),
        Column("title", "text", "The mechanism and the parties."),
        Column("sentence", "text", "What happened, to whom, and how often."),
        _word("severity", w.SEVERITY, "How serious it is."),
        _word("confidence", w.CONFIDENCE, "How certain it is."),
        Column("client", "text", "Address of the client, or ``several clients``; null if it is about none.", is_nullable=True),
        Column("service", "text", "Address and port of the service, or ``several services``; null if it is about none.",
               is_nullable=True),
        _time("first_time", "When its first finding began.", null=True),
        _time("last_time", "When its last finding began.", null=True),
        _ns("delay_ns", "How long somebody had to wait, in total, as far as it is known."),
        Column("connections", "i8", "Connections that it concerns: those of the rule that found the most."),
        Column("findings", "i8", "Findings that belong to it."),
        Column("remedy", "text", "What to do about it."),
    ),
)  # fmt: skip

TABLES = (CONNECTIONS, TRANSITIONS, TIME_WAIT, REUSES, STALE_SEGMENTS, RESETS, ANOMALIES, CENSUS, HOLDERS, PORTS, SERVICES,
          CONNECTS, SCANS, FLOODS, IDLES, MOVES, ICMP_ERRORS, CLOCKS, CAPTURE, INCIDENTS, FINDINGS)  # fmt: skip
"""The tables of the contract, in the order of the docs."""

BY_NAME = {table.name: table for table in TABLES}
