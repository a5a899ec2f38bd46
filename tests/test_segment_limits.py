"""Where the kernels decide otherwise: numbers on both sides of each limit, function by function.

A capture rarely meets the exact end of a window or of a time. So each function gets records and a segment of its own.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tcptrace_tw.kernels.wide_records import Records
from tcptrace_tw.keyed_hash import new_seed
from tcptrace_tw.protocol.profiles import profile
from tcptrace_tw.protocol.states import (
    CLOSE_WAIT,
    ESTABLISHED,
    FIN_WAIT_1,
    LAST_ACK,
    SYN_RECEIVED,
    TIME_WAIT,
)
from tcptrace_tw.schema.columns import ACK, FIN, HAS_SACK, HAS_TS, PSH, RST, SYN
from tcptrace_tw.schema.segments import TUPLE, Segment
from tcptrace_tw.schema.words import BASIS_CONFIRMED, START_ACK, START_FIN
from tcptrace_tw.tcp.facts import (
    anomalies,
    anomaly_rows,
    history,
    old_duplicate,
    repeats,
    stale_segments,
    timestamp_clock,
)
from tcptrace_tw.tcp.machine import (
    ack_evidence,
    closing,
    crossing_fins,
    handshake,
    incarnation,
    segment_arrives,
    transitions,
)
from tcptrace_tw.tcp.store import records as s
from tcptrace_tw.tcp.tracker import Tracker

NS = 1_000_000_000
MS = 1_000_000
T = 1_700_000_000 * NS
NOTHING = Segment._make([0] * len(Segment._fields))


def seg(flags: int = ACK, **fields: int) -> Any:
    """A segment that a kernel reads."""
    return NOTHING._replace(flags=flags, frame=fields.pop("frame", 99), **fields)


class One:
    """The state of a tracker that remembers one connection, at place 0, whose endpoints are new."""

    def __init__(self, now: int = T, *, transitions: bool = False) -> None:
        self.keys = np.zeros(1, TUPLE).view(np.recarray)
        self.tracker = Tracker(profile("linux"), compiled=False, transitions=transitions, seed=new_seed())
        self.tracker._reserve(8, 1)
        self.st = self.tracker._state(self.keys)
        self.st.counters[s.NOW], self.st.counters[s.START] = now, T
        incarnation.begin_incarnation(self.st, 0, 0, -1, 0, T, 1)
        self.conn, self.orig, self.resp = self.st.conns[0], self.st.tcbs[0], self.st.tcbs[1]


def tcb(**fields: int) -> Any:
    """An endpoint as a new one, with these fields."""
    record = Records(np.zeros(1, s.TCB).view(np.recarray))[0]
    for name in s.TCB.names or ():
        if name.endswith(("_time", "_frame")) or name in ("again_since", "span"):
            setattr(record, name, -1)
    return put(record, **fields)


def put(record: Any, **fields: int) -> Any:
    for name, value in fields.items():
        setattr(record, name, value)
    return record


KNOWN = s.ISS_KNOWN | s.NXT_KNOWN


@pytest.mark.parametrize(
    ("window", "reach"), [(0, 131070), (65535, 131070), (65536, 131071), (1 << 20, (1 << 20) + 65535)]
)
@pytest.mark.parametrize("sign", [1, -1])
def test_a_segment_is_acceptable_up_to_the_reach_of_the_window(window: int, reach: int, sign: int) -> None:
    """From what its sender has sent, or, with its end, from what the receiver acknowledged last (RFC 9293 3.10.7.4)."""
    snd = tcb(bits=KNOWN, snd_nxt=1 << 31)
    rcv = tcb(bits=KNOWN, window_max=window)
    at = (1 << 31) + sign * reach

    assert segment_arrives.is_acceptable(snd, rcv, at, at)
    assert not segment_arrives.is_acceptable(snd, rcv, at + sign, at + sign)
    far = 1 << 29
    put(rcv, bits=KNOWN | s.ACKED, last_ack=far)
    end = far + sign * reach
    assert segment_arrives.is_acceptable(snd, rcv, end - 10, end)
    assert not segment_arrives.is_acceptable(snd, rcv, end + sign - 10, end + sign)


def test_midstream_nearly_every_number_is_acceptable() -> None:
    """Unless it lies a quarter of the sequence space away: nothing is known of windows."""
    for bits in ((KNOWN, s.NXT_KNOWN), (s.NXT_KNOWN, KNOWN)):
        snd, rcv = tcb(bits=bits[0]), tcb(bits=bits[1])

        assert segment_arrives.is_acceptable(snd, rcv, 1 << 30, 1 << 30)
        assert not segment_arrives.is_acceptable(snd, rcv, (1 << 30) + 1, (1 << 30) + 1)


@pytest.mark.parametrize(("length", "flags", "end", "is_old"), [
    (1, ACK, 100, True), (1, ACK, 101, False), (0, ACK, 100, False), (1, ACK | FIN, 100, False),
    (9, ACK | PSH, 99, True),
])  # fmt: skip
def test_old_text_ends_at_or_below_what_the_receiver_expects(length: int, flags: int, end: int, is_old: bool) -> None:
    assert bool(segment_arrives.is_old_text(tcb(rcv_nxt=100), seg(flags, payload_len=length), end)) == is_old


@pytest.mark.parametrize(("ack", "has_acked_unseen", "is_noted"), [
    (99, False, False), (100, False, False), (101, False, True), (99, True, False), (100, True, True),
    (101, True, True),
])  # fmt: skip
def test_a_fin_acknowledges_what_the_tap_has_not_seen(ack: int, has_acked_unseen: bool, is_noted: bool) -> None:
    """More than the peer has shown; or just that, where the peer's SND.NXT is itself known from an ACK only."""
    snd, rcv = tcb(), tcb(snd_nxt=100, bits=s.NXT_ACKED if has_acked_unseen else 0)
    crossing_fins.note_unseen_ack(snd, rcv, seg(ACK | FIN, ack=ack))

    assert bool(snd.bits & s.FIN_ACKS_UNSEEN) == is_noted
    crossing_fins.note_unseen_ack(untouched := tcb(), rcv, seg(FIN, ack=ack))
    assert untouched.bits == 0


@pytest.mark.parametrize(("ahead", "flags", "ack", "bits", "repeats", "is_noted"), [
    (1, ACK, 51, s.FIN_SENT, 0, True), (0, ACK, 51, s.FIN_SENT, 0, False), (2, ACK, 51, s.FIN_SENT, 0, False),
    (1, ACK | FIN, 51, s.FIN_SENT, 0, False), (1, ACK, 50, s.FIN_SENT, 0, False), (1, ACK, 51, 0, 0, False),
    (1, ACK, 51, s.FIN_SENT | s.FIN_ACKED, 0, False), (1, ACK, 51, s.FIN_SENT, 1, False),
])  # fmt: skip
def test_an_ack_comes_from_one_behind_what_its_sender_has_shown(
    ahead: int, flags: int, ack: int, bits: int, repeats: int, is_noted: bool
) -> None:
    """One number, the first ACK of the peer's FIN, sent once: then a FIN of its own was lost before the tap."""
    snd = tcb()
    crossing_fins.note_ack_from_beyond(snd, tcb(fin_seq=50, bits=bits, fin_repeats=repeats), seg(flags, ack=ack), ahead)

    assert bool(snd.bits & s.ACKED_FROM_BEYOND) == is_noted


@pytest.mark.parametrize(("acked", "rcv_nxt", "is_acked"), [(True, 51, True), (True, 50, False), (False, 51, False)])
def test_the_ack_of_a_fin_may_pass_the_tap_before_it(acked: bool, rcv_nxt: int, is_acked: bool) -> None:
    """The peer has acknowledged the FIN's number; what it expects without having said so is no ACK."""
    one = One()
    put(one.orig, fin_seq=50, state=FIN_WAIT_1)
    put(one.resp, bits=s.ACKED if acked else 0, rcv_nxt=rcv_nxt, last_frame=7)
    closing.acked_before(one.st, 0, 1, seg(ACK | FIN))

    assert bool(one.orig.bits & s.FIN_ACKED) == is_acked
    assert one.orig.fin_acked_frame == (7 if is_acked else -1)


@pytest.mark.parametrize(("flags", "length", "unanswered", "ack", "gap_us", "rtt_us"), [
    (ACK, 10, 0, 60, 300, 300), (ACK, 10, 0, 59, 300, 0), (ACK, 10, 0, 61, 300, 0), (ACK, 10, 1, 60, 300, 0),
    (ACK, 0, 0, 50, 300, 0), (SYN, 0, 0, 51, 300, 300), (FIN | ACK, 0, 0, 51, 300, 300), (ACK, 10, 0, 60, 0, 1),
    (ACK, 10, 0, 60, 4_000_000_000, 4_000_000_000), (ACK, 10, 0, 60, 4_000_000_001, 0),
])  # fmt: skip
def test_an_answer_acknowledges_the_whole_last_segment(
    flags: int, length: int, unanswered: int, ack: int, gap_us: int, rtt_us: int
) -> None:
    """Of a segment that takes numbers and was sent once; within what the record can hold, and 1 us at the least."""
    snd, rcv = tcb(), tcb(last_flags=flags, last_seq=50, last_len=length, unanswered=unanswered, last_time=T)
    history.note_rtt(snd, rcv, ack, T + gap_us * 1000)

    assert snd.rtt_us == rtt_us


def test_the_shortest_answer_counts() -> None:
    snd, rcv = tcb(), tcb(last_flags=ACK, last_seq=50, last_len=1, last_time=T)
    for gap_us, expected in ((500, 500), (600, 500), (400, 400)):
        history.note_rtt(snd, rcv, 51, T + gap_us * 1000)

        assert snd.rtt_us == expected


def test_an_unknown_round_trip_is_taken_long_enough() -> None:
    assert history.rtt_ns(tcb()) == 200 * MS
    assert history.rtt_ns(tcb(rtt_us=1)) == 1000
    assert history.answer_limit_ns(tcb()) == NS
    assert history.answer_limit_ns(tcb(rtt_us=1)) == 4000 + 500 * MS


@pytest.mark.parametrize(("flags", "last_ack", "ack", "is_kept"), [
    (ACK, 10, 20, True), (ACK, 20, 20, False), (FIN | ACK, 10, 20, True), (RST | ACK, 10, 20, False),
    (SYN, 0, 20, False),
])  # fmt: skip
def test_the_segment_before_another_ack_field_is_kept(flags: int, last_ack: int, ack: int, is_kept: bool) -> None:
    """A host without a socket may answer that one still (RFC 9293 3.5.2); a RST, or what has no ACK, it does not."""
    snd = tcb(bits=s.ACKED, last_flags=flags, last_ack=last_ack, last_frame=5, last_time=T)
    history.note_earlier(snd, seg(ACK, ack=ack))

    assert (snd.earlier_frame, snd.earlier_ack) == ((5, last_ack) if is_kept else (-1, 0))
    before = tcb(last_flags=ACK, last_frame=5)
    for segment in (seg(ACK, ack=1), seg(0, ack=1)):
        history.note_earlier(before, segment)
        assert before.earlier_frame == -1
    put(before, bits=s.ACKED)
    history.note_earlier(before, seg(0, ack=1))
    assert before.earlier_frame == -1


@pytest.mark.parametrize(("seq", "length", "flags", "bits", "is_again"), [
    (90, 10, ACK, KNOWN, True), (91, 10, ACK, KNOWN, False), (90, 0, ACK, KNOWN, False),
    (89, 10, FIN | ACK, KNOWN, True),
    (90, 10, FIN | ACK, KNOWN, False), (89, 10, SYN, KNOWN, True), (90, 10, SYN, KNOWN, False), (90, 10, ACK, 0, False),
    (90, 10, ACK, KNOWN | s.NXT_ACKED, False),
])  # fmt: skip
def test_text_is_repeated_if_it_ends_where_its_sender_had_been(
    seq: int, length: int, flags: int, bits: int, is_again: bool
) -> None:
    """With SYN and FIN, which take a number each; not where SND.NXT is known from the peer's ACK only."""
    assert bool(history.is_text_again(tcb(snd_nxt=100, bits=bits), seg(flags, seq=seq, payload_len=length))) == is_again


@pytest.mark.parametrize(("step", "steps"), [(0, 0), (1, 2), (64, 2), (65, 0), (0xFFFF, 0)])
def test_a_counter_of_identifications_rises_by_little(step: int, steps: int) -> None:
    snd = tcb(last_ip_id=0xFFF0, bits=1 << s.IP_ID_STEPS)
    history.note_ip_id(snd, (0xFFF0 + step) & 0xFFFF)

    assert snd.bits >> s.IP_ID_STEPS == steps


def test_three_steps_are_as_many_as_are_counted() -> None:
    snd = tcb(bits=3 << s.IP_ID_STEPS | KNOWN)
    history.note_ip_id(snd, 1)
    assert snd.bits == 3 << s.IP_ID_STEPS | KNOWN


@pytest.mark.parametrize(("window", "is_low"), [(65535, 0), (65535 - 1459, 0), (65535 - 1460, 1), (0, 1)])
def test_a_window_is_low_if_a_segment_of_the_peer_is_missing(window: int, is_low: int) -> None:
    snd = tcb(window_max=65535)
    history.note_window(snd, tcb(), window, 0)

    assert bool(snd.bits & s.WINDOW_LOW) == is_low
    assert bool(snd.bits & s.WINDOW_CLOSED) == (window == 0)


def test_counts_stop_at_what_the_record_can_hold() -> None:
    """Keep-alive probes, repetitions: the 65,536th changes nothing."""
    snd = tcb(probes=65534, unanswered=65534, bits=s.PROBING, last_frame=5, again=65534)
    for _ in range(2):
        repeats.note_probe(snd, tcb(last_frame=4))
        history.count_text_again(snd, tcb(), 1)
        assert (snd.probes, snd.unanswered, snd.again) == (65535, 65535, 65535)
    put(snd, bits=0, unanswered=65534)
    for _ in range(2):
        repeats.note_retransmission(snd, tcb(last_frame=4))
        assert snd.unanswered == 65535


@pytest.mark.parametrize(("flags", "length", "ahead", "una", "is_probe"), [
    (ACK, 0, -1, 100, True), (ACK, 0, 0, 100, False), (ACK, 1, 0, 100, True), (ACK, 1, 0, 99, False),
    (ACK, 1, -1, 100, False), (ACK, 2, 0, 100, False), (ACK | FIN, 0, -1, 100, False), (SYN, 0, -1, 100, False),
])  # fmt: skip
def test_a_keep_alive_probe_lies_right_below_snd_nxt(
    flags: int, length: int, ahead: int, una: int, is_probe: bool
) -> None:
    """Without text, or with one byte that was acknowledged (RFC 9293 3.8.4)."""
    found = repeats.is_keep_alive_probe(tcb(snd_nxt=100, snd_una=una), seg(flags, payload_len=length), ahead)

    assert bool(found) == is_probe


PROBED = {"snd_nxt": 100, "last_frame": 9}


@pytest.mark.parametrize(("frame", "seq", "flags", "is_silent"), [
    (8, 7, ACK, True), (10, 99, ACK, True), (10, 100, ACK, False), (10, 99, ACK | FIN, False), (10, 99, SYN, False),
])  # fmt: skip
def test_a_probe_of_the_peer_is_no_answer_to_a_probe(frame: int, seq: int, flags: int, is_silent: bool) -> None:
    """RFC 1122 4.2.3.6; any other segment is."""
    rcv = tcb(last_frame=frame, last_seq=seq, last_flags=flags, snd_nxt=100)

    assert bool(history.is_silent_since_probe(tcb(last_frame=9), rcv)) == is_silent


@pytest.mark.parametrize(("sport", "dport", "is_server"), [
    (1023, 1024, True), (1024, 1023, False), (1023, 1023, False), (1024, 1024, False),
    (32767, 32768, True), (32768, 32767, False), (80, 443, False), (50000, 60000, False),
])  # fmt: skip
def test_midstream_the_lower_kind_of_port_is_the_servers(sport: int, dport: int, is_server: bool) -> None:
    """Below 1024, or else below 32768; two of one kind say nothing, and the first sender counts as the client."""
    assert bool(incarnation.looks_like_server(seg(sport=sport, dport=dport))) == is_server


@pytest.mark.parametrize(("seq", "length", "window", "is_in_window"), [
    (100, 1, 0, True), (99, 1, 0, False), (100 + 65534, 1, 0, True), (100 + 65535, 1, 0, False),
    (100 + 65535, 1, 65536, True), (100 + 65536, 1, 65536, False),
])  # fmt: skip
def test_an_old_duplicate_is_in_the_window_from_rcv_nxt_on(
    seq: int, length: int, window: int, is_in_window: bool
) -> None:
    """Up to the last byte of the largest window, which is taken for 65535 at least (RFC 9293 3.10.7.4)."""
    row = reuse_row()
    old_duplicate.open_old_duplicate(
        row, tcb(rcv_nxt=100, window_max=window), True, 0, seg(seq=seq, payload_len=length)
    )

    assert row.is_old_duplicate_in_window == is_in_window
    assert (row.old_duplicates, row.old_duplicate_frame, row.suspect_frame) == (1, 99, 99)
    assert (row.suspect_seq, row.suspect_end) == (seq, seq + length)


@pytest.mark.parametrize(("by_opener", "tsval", "is_rejected"), [
    (True, 499, True), (True, 500, False), (False, 299, True), (False, 300, False),
])  # fmt: skip
def test_paws_rejects_an_old_duplicate_with_a_lower_timestamp(by_opener: bool, tsval: int, is_rejected: bool) -> None:
    """Lower than that of the SYN, or the last one of the responder (RFC 7323 5.3); equal is not lower."""
    row = reuse_row(has_ts=1, tsval=500, responder_tsval=300)
    segment = seg(seq=1, payload_len=1, options=HAS_TS, tsval=tsval)
    old_duplicate.open_old_duplicate(row, tcb(), by_opener, 0, segment)

    assert row.is_old_duplicate_rejected == is_rejected


def reuse_row(**fields: int) -> Any:
    return put(Records(np.zeros(1, s.REUSE).view(np.recarray))[0], **fields)


@pytest.mark.parametrize(("seq", "ack", "nxt", "iss", "is_old", "is_suspect"), [
    (600, 0, 5000, 4999, True, False),  # numbers of the earlier incarnation, not of this one
    (499, 0, 5000, 4999, False, False),  # below its ISN
    (999, 0, 5000, 4999, True, False), (1000, 0, 5000, 4999, False, False),  # its last byte, and behind that
    (600, 0, 650, 599, False, False),  # a repetition of this incarnation's own text
    (599, 0, 650, 599, True, False),  # at its ISN there is no text
    (651, 0, 650, 599, True, False),  # it jumps ahead of this incarnation
    (1000, 7001, 5000, 4999, True, False),  # unseen text above, with the ACK field of the earlier incarnation
    (1000 + 65534, 7001, 5000, 4999, True, False), (1000 + 65535, 7001, 5000, 4999, False, False),
    (650, 7001, 650, 599, True, False),  # in sequence, but with an ACK field that can only be old
    (650, 9001, 650, 599, False, True),  # both fit both: in doubt
    (650, 7000, 650, 599, False, False), (650, 9101, 650, 599, False, False),
])  # fmt: skip
def test_an_old_duplicate_gives_itself_away_by_its_numbers(
    seq: int, ack: int, nxt: int, iss: int, is_old: bool, is_suspect: bool
) -> None:
    """The earlier incarnation sent 500 to 1000 and received 7000 to 9100; this one has received 9000 to 9200."""
    one = One()
    put(one.orig, snd_nxt=nxt, iss=iss)
    put(one.resp, snd_nxt=9200, iss=9000)
    one.conn.reuse = 0
    row = put(one.st.reuses[0], old_sender_iss=500, old_sender_nxt=1000, old_responder_iss=7000, old_responder_nxt=9100)
    put(row, opened_frame=5, previous_connection_id=1, sender_is_b=0, suspect_frame=-1)
    found = old_duplicate.note_old_duplicate(one.st, 0, seg(ACK if ack else 0, seq=seq, ack=ack, payload_len=1), 0)

    assert (bool(found), row.old_duplicates) == (is_old, int(is_old))
    assert (row.suspect_frame == 99) == (is_old or is_suspect)


@pytest.mark.parametrize("start", [100, (1 << 31) - 1, (1 << 32) - 10])
@pytest.mark.parametrize(("ack", "sack", "taken", "refused"), [
    (10, None, 99, -1), (11, None, 99, -1), (9, None, -1, -1), (0, None, -1, 99), (-1, None, -1, -1),
    (-5, (0, 10), 99, -1), (10, (0, 10), -1, 99), (-5, (1, 10), -1, -1), (-5, (0, 9), -1, -1), (-5, (-3, 12), 99, -1),
])  # fmt: skip
def test_the_receiver_tells_what_became_of_an_old_duplicate(
    start: int, ack: int, sack: tuple[int, int] | None, taken: int, refused: int
) -> None:
    """Ten bytes from ``start`` on: an ACK or a SACK block has them; a D-SACK, or an ACK that stays below, has not."""

    def at(offset: int) -> int:
        return (start + offset) & 0xFFFFFFFF

    one = One()
    put(one.orig, snd_nxt=at(-5), iss=at(-6))
    row = reuse_row(suspect_frame=5, suspect_seq=start, suspect_end=at(10), old_duplicates=1)
    put(row, old_duplicate_refused_frame=-1, old_duplicate_taken_frame=-1)
    blocks = {"options": HAS_SACK, "sack_start": at(sack[0]), "sack_end": at(sack[1])} if sack else {}
    old_duplicate.judge_by_receiver(one.st, 0, row, seg(ack=at(ack), **blocks))

    assert (row.old_duplicate_taken_frame, row.old_duplicate_refused_frame) == (taken, refused)
    assert row.suspect_frame == (5 if (taken, refused) == (-1, -1) else -1)


@pytest.mark.parametrize("field", ["opened_frame", "previous_connection_id"])
def test_nothing_is_old_where_no_earlier_incarnation_gave_way(field: str) -> None:
    one = One()
    one.conn.reuse = 0
    row = put(one.st.reuses[0], old_sender_iss=500, old_sender_nxt=1000, opened_frame=5, previous_connection_id=1)
    setattr(row, field, -1)

    assert not old_duplicate.note_old_duplicate(one.st, 0, seg(seq=600, payload_len=1), 0)
    setattr(row, field, 1)
    assert not old_duplicate.note_old_duplicate(one.st, 0, seg(seq=600), 0)


@pytest.mark.parametrize(("tsval", "ack", "has_reuse", "bits", "is_before"), [
    (99, 1000, True, s.TS_ON_SYN, True), (100, 1000, True, s.TS_ON_SYN, False), (99, 1000, False, s.TS_ON_SYN, False),
    (99, 1000, True, 0, False), (100, 1000 - 65535 - 500, True, s.TS_ON_SYN, False),
    (100, 1000 - 65536 - 500, False, 0, True),
])  # fmt: skip
def test_a_stale_segment_is_older_than_the_syn(
    tsval: int, ack: int, has_reuse: bool, bits: int, is_before: bool
) -> None:
    """By its timestamp, where there was an earlier connection, or by an ACK field that is too old (RFC 5961 5.2)."""
    conn, snd = SimpleNamespace(reuse=0 if has_reuse else -1), tcb(first_tsval=100, bits=bits, window_max=500)
    segment = seg(ACK, ack=ack & 0xFFFFFFFF, tsval=tsval, options=HAS_TS)

    assert bool(stale_segments.is_before_syn(conn, snd, tcb(snd_una=1000), segment)) == is_before


STALE = {"seq": 100, "end": 110, "ts_recent": 50, "tsval": 40, "retransmit_frame": -1, "answer_frame": -1}


@pytest.mark.parametrize(("seq", "length", "flags", "tsval", "is_repeat"), [
    (100, 10, ACK, 50, True), (100, 10, ACK, 49, False), (101, 10, ACK, 50, False), (90, 10, ACK, 50, False),
    (90, 11, ACK, 50, True), (100, 0, ACK, 50, False), (100, 0, ACK | FIN, 50, True), (100, 1, ACK, None, True),
])  # fmt: skip
def test_the_same_bytes_again_with_a_fresh_timestamp(
    seq: int, length: int, flags: int, tsval: Any, is_repeat: bool
) -> None:
    """They hold the first stale byte; a TSval at TS.Recent is fresh (RFC 7323 5.3), and so is none."""
    row = put(Records(np.zeros(1, s.STALE).view(np.recarray))[0], **STALE)
    options = 0 if tsval is None else HAS_TS
    stale_segments.note_repeat(row, seg(flags, seq=seq, payload_len=length, tsval=tsval or 0, options=options))

    assert row.retransmit_frame == (99 if is_repeat else -1)


@pytest.mark.parametrize(("sack", "ack", "dsack", "sacked"), [
    ((100, 101), 101, 99, -1), ((100, 101), 100, -1, 99), ((101, 110), 200, -1, -1), ((90, 100), 200, -1, -1),
    ((90, 101), 90, -1, 99),
])  # fmt: skip
def test_a_sack_block_holds_the_stale_bytes(sack: tuple[int, int], ack: int, dsack: int, sacked: int) -> None:
    """Below the ACK field it is a D-SACK: they had been received before (RFC 2883)."""
    row = put(
        Records(np.zeros(1, s.STALE).view(np.recarray))[0], dsack_frame=-1, sack_frame=-1, acked_frame=-1, **STALE
    )
    stale_segments.note_answer(row, seg(ack=ack, options=HAS_SACK, sack_start=sack[0], sack_end=sack[1]), T)

    assert (row.dsack_frame, row.sack_frame) == (dsack, sacked)
    assert row.acked_frame == (99 if ack >= 110 else -1)
    assert (row.answer_frame, row.answer_time, row.answer_ack_delta) == (99, T, ack - 100)


@pytest.mark.parametrize(("tsecr", "options", "is_newer"), [(41, HAS_TS, 1), (40, HAS_TS, 0), (41, 0, 0)])
def test_the_first_answer_may_echo_a_later_timestamp(tsecr: int, options: int, is_newer: int) -> None:
    row = put(Records(np.zeros(1, s.STALE).view(np.recarray))[0], acked_frame=-1, **STALE)
    stale_segments.note_answer(row, seg(0, ack=100), T)
    assert row.answer_frame == -1
    stale_segments.note_answer(row, seg(ack=100, tsecr=tsecr, options=options), T)
    stale_segments.note_answer(row, seg(frame=100, ack=105, tsecr=90, options=HAS_TS), T + 1)

    assert (row.is_answer_newer, row.answer_frame, row.answer_ack_delta) == (is_newer, 99, 0)


def clock(*, base_ms: int = 100_000, base_ticks: int = 100_000, silent_ns: int = 0) -> One:
    """An endpoint whose clock has run for ``base_ms`` and as many ticks, and which has been silent since."""
    one = One(T + base_ms * MS + silent_ns)
    one.conn.bits |= s.TS_OK
    put(one.orig, first_tsval=1000, last_tsval=1000 + base_ticks, last_time=T + base_ms * MS, last_frame=5, snd_nxt=77)
    return one


def looked(one: One, ticks: int, *, seq: int = 77, length: int = 1) -> Any:
    """The record of the endpoint after a segment with a TSval ``ticks`` above the last; None where nothing is odd."""
    tsval = (one.orig.last_tsval + ticks) & 0xFFFFFFFF
    timestamp_clock.look_at_clock(one.st, 0, 0, seg(seq=seq, payload_len=length, options=HAS_TS, tsval=tsval))
    return one.st.anomalies[one.conn.anomaly] if one.conn.anomaly >= 0 else None


@pytest.mark.parametrize(("base_ms", "base_ticks", "back", "is_back"), [
    (100_000, 100_000, 1000, True), (100_000, 100_000, 999, False),  # 1 kHz: a second
    (100_000, 10_000, 100, True), (100_000, 10_000, 99, False),  # 100 Hz
    (100_000, 0, 1000, True), (100_000, 0, 999, False),  # its rate is not known: ticks count as ms
    (0, 500, 1000, True), (0, 500, 999, False), (1, 2, 2000, True), (1, 2, 1999, False), (1000, 1, 1, True),
])  # fmt: skip
def test_a_clock_goes_back_by_a_second(base_ms: int, base_ticks: int, back: int, is_back: bool) -> None:
    """Less may be a segment that was overtaken (RFC 7323 5.4)."""
    row = looked(clock(base_ms=base_ms, base_ticks=base_ticks), -back)

    assert (row is not None and row.ts_back_frame == 99) == is_back
    if is_back:
        assert (row.ts_back_ticks, row.ts_back_segments, row.ts_top) == (back, 1, 1000 + base_ticks)


@pytest.mark.parametrize(("seq", "length"), [(76, 1), (78, 1), (77, 0)])
def test_only_new_text_shows_that_a_clock_goes_back(seq: int, length: int) -> None:
    assert looked(clock(), -5000, seq=seq, length=length) is None


@pytest.mark.parametrize(("base_ms", "base_ticks", "silent_s", "ahead_ms", "step_ms"), [
    (100_000, 100_000, 0, 60_001, 60_001), (100_000, 100_000, 0, 60_000, None),  # a minute is the least
    (500, 500, 0, 70_000, 70_000), (499, 499, 0, 70_000, None),  # after half a second its rate is known
    (100_000, 0, 0, 70_000, None), (500, 1, 0, 60_001, 30_000_500),
    (100_000, 100_000, 70, 140_001, 70_001), (100_000, 100_000, 70, 140_000, None),  # more than the silence itself
])  # fmt: skip
def test_a_clock_leaps_by_more_than_a_minute(
    base_ms: int, base_ticks: int, silent_s: int, ahead_ms: int, step_ms: int | None
) -> None:
    """``ahead_ms``: ticks above the last TSval."""
    row = looked(clock(base_ms=base_ms, base_ticks=base_ticks, silent_ns=silent_s * NS), ahead_ms)

    assert (row.ts_step_ms if row is not None and row.ts_step_frame == 99 else None) == step_ms


@pytest.mark.parametrize(("field", "step_ms"), [("ts_missing", None), ("probes_without_ts", None), (None, 70_000)])
def test_the_rate_of_a_clock_is_not_known_where_timestamps_are_missing(field: str | None, step_ms: int | None) -> None:
    one = clock()
    row = one.st.anomalies[anomalies.anomaly_of(one.st, 0, 0)]
    if field:
        setattr(row, field, 1)

    assert (looked(one, 70_000).ts_step_ms or None) == step_ms


HOUR_MS = 3_600_000


@pytest.mark.parametrize(("silent_ms", "ticks", "is_forward"), [
    (HOUR_MS, 0, False), (HOUR_MS + 1000, 0, True),  # an hour by the capture's clock, and not by the sender's
    (4 * HOUR_MS, 4 * HOUR_MS // 10 - 1, True), (4 * HOUR_MS, 4 * HOUR_MS // 10, False),  # nine tenths are missing
])  # fmt: skip
def test_the_capture_clock_was_set_forward(silent_ms: int, ticks: int, is_forward: bool) -> None:
    one = clock(silent_ns=silent_ms * MS)
    looked(one, ticks)

    assert one.st.counters[s.FORWARD_STEP] == (silent_ms * MS if is_forward else 0)
    assert one.st.counters[s.FORWARD_FRAME] == (99 if is_forward else -1)


@pytest.mark.parametrize(("before", "is_idle"), [(1, False), (0, True)])
def test_paws_is_idle_after_the_time_of_its_stack(before: int, is_idle: bool) -> None:
    """RFC 7323 5.5: an idle connection's TS.Recent is no longer valid."""
    seconds = profile("linux").paws_idle_ns // NS - before
    row = looked(clock(silent_ns=seconds * NS), seconds * 1000)

    assert (row is not None and row.idle_ns == seconds * NS) == is_idle


@pytest.mark.parametrize(("ticks_later", "is_own_time"), [(900, True), (899, False)])
def test_a_clock_that_went_back_comes_up_in_its_own_time(ticks_later: int, is_own_time: bool) -> None:
    """It had run 1000 ms in 1000 ticks, and lies 1000 ticks back: nine tenths of a second at the least."""
    one = One(T + 2000 * MS + ticks_later * MS)
    one.orig.first_tsval = 5000
    row = one.st.anomalies[anomalies.anomaly_of(one.st, 0, 0)]
    put(
        row,
        ts_back_time=T + 1000 * MS,
        ts_top=6000,
        ts_back_ticks=1000,
        ts_back_segments=2,
        ts_back_frame=7,
        is_ts_back=1,
    )
    put(one.conn, first_time=T)
    one.st.counters[s.NOW] = T + 1000 * MS + ticks_later * MS
    anomalies.clock_is_above(one.st, 0, 0, row)

    assert (row.ts_back_frame, row.ts_back_segments) == ((7, 2) if is_own_time else (-1, 0))
    assert row.is_ts_back == 0


def test_the_strays_were_old_where_the_clock_had_not_run() -> None:
    one = One(T + 100 * NS)
    row = one.st.anomalies[anomalies.anomaly_of(one.st, 0, 0)]
    for base_ticks, frame in ((0, -1), (1, 7)):
        put(row, ts_back_time=T, ts_top=base_ticks, ts_back_ticks=1, ts_back_frame=7)
        anomalies.clock_is_above(one.st, 0, 0, row)

        assert row.ts_back_frame == frame


@pytest.mark.parametrize(("base_ms", "frame"), [((1 << 31) - 1, 7), (1 << 31, -1)])
def test_a_clock_that_has_gone_round_has_no_rate(base_ms: int, frame: int) -> None:
    """A clock of 1 kHz may have gone round in 25 days; and the product of both numbers would be none of 64 bits."""
    one = One(T + (base_ms + (1 << 31)) * MS)
    put(one.conn, first_time=T)
    one.orig.first_tsval = 1
    row = one.st.anomalies[anomalies.anomaly_of(one.st, 0, 0)]
    put(row, ts_back_time=T + base_ms * MS, ts_top=1 << 31, ts_back_ticks=(1 << 31) - 1, ts_back_frame=7)
    anomalies.clock_is_above(one.st, 0, 0, row)

    assert row.ts_back_frame == frame


@pytest.mark.parametrize(("gap", "flags", "ack", "challenges"), [
    (50 * MS + 4000, ACK, 10, 1), (50 * MS + 4001, ACK, 10, 0), (0, ACK, 11, 0), (0, ACK, 9, 1),
])  # fmt: skip
def test_a_challenge_ack_comes_soon_and_acknowledges_nothing_new(
    gap: int, flags: int, ack: int, challenges: int
) -> None:
    """Within four round trips and 50 ms (RFC 5961 3.2)."""
    row = put(Records(np.zeros(1, s.ANOMALY).view(np.recarray))[0], challenge_time=T, challenge_frame=-1)
    anomalies.note_challenge(row, tcb(bits=s.ACKED, last_ack=10, rtt_us=1), T + gap, seg(flags, ack=ack))

    assert (row.challenges, row.challenge_frame, row.challenge_time) == (challenges, 99 if challenges else -1, -1)


def test_the_first_challenge_ack_is_named() -> None:
    row = put(Records(np.zeros(1, s.ANOMALY).view(np.recarray))[0], challenge_time=T, challenge_frame=-1)
    for frame in (5, 6):
        row.challenge_time = T
        anomalies.note_challenge(row, tcb(), T, seg(frame=frame))

    assert (row.challenges, row.challenge_frame) == (2, 5)


@pytest.mark.parametrize(("state", "owes"), [(ESTABLISHED - 1, False), (ESTABLISHED, True), (TIME_WAIT, True)])
def test_a_challenge_ack_is_owed_from_established_on(state: int, owes: bool) -> None:
    one = One()
    one.resp.state = state
    anomalies.expect_challenge(one.st, 0, 1, 7)

    assert (one.conn.anomaly >= 0) == owes


@pytest.mark.parametrize(("start", "end", "lag", "swaps", "left"), [
    (100, 200, 0, 1, None), (100, 199, 0, 1, (199, 200)), (101, 200, 0, 0, (100, 200)), (50, 100, 0, 0, (100, 200)),
    (50, 101, 0, 1, (101, 200)), (100, 200, NS, 1, None), (100, 200, NS + 1, 0, (100, 200)),
])  # fmt: skip
def test_data_behind_its_ack_was_swapped_by_the_tap(
    start: int, end: int, lag: int, swaps: int, left: tuple[int, int] | None
) -> None:
    """Within a second; what comes later was lost and sent again."""
    one = One(T + lag)
    row = one.st.anomalies[anomalies.anomaly_of(one.st, 0, 0)]
    put(row, unseen_start=100, unseen_end=200, unseen_time=T, is_unseen_open=1)
    anomalies.fill_unseen(one.st, row, start, end, 7)

    assert (row.swaps, int(one.st.counters[s.SWAPS])) == (swaps, swaps)
    assert (row.unseen_start, row.unseen_end) == left if left else not row.is_unseen_open
    assert one.st.counters[s.SWAP_FRAME] == (7 if swaps else -1)


def test_bytes_that_never_came_are_lost() -> None:
    one = One()
    for frame in (7, 5, 6):
        anomalies.note_unseen(one.st, 0, 0, 100 * frame, 100 * frame + 10, frame)
    row = one.st.anomalies[one.conn.anomaly]
    anomalies.lose_unseen(one.st, row)

    assert (row.unseen_bytes, row.unseen_frame, row.is_unseen_open) == (30, 7, 0)
    assert (one.st.counters[s.UNSEEN_BYTES], one.st.counters[s.UNSEEN_FRAME]) == (30, 7)


def test_the_first_frame_of_a_kind_is_kept_whatever_comes_first() -> None:
    counters = np.full(1, -1)
    for frame, first in ((7, 7), (9, 7), (3, 3)):
        anomalies.note_first(counters, 0, frame)
        assert counters[0] == first


@pytest.mark.parametrize(("gap_s", "half_closed"), [(59, -1), (60, 60 * NS)])
def test_a_half_close_of_a_minute_is_long(gap_s: int, half_closed: int) -> None:
    one = One(T)
    put(one.orig, bits=s.FIN_SENT, fin_seq=50)
    anomalies.note_half_close(one.st, 0, 0, seg(FIN | ACK))
    one.st.counters[s.NOW] += gap_s * NS
    anomalies.note_half_close(one.st, 0, 1, seg(FIN | ACK, ack=51))
    row = one.st.anomalies[one.conn.anomaly] if one.conn.anomaly >= 0 else None

    assert (row.half_closed_ns if row else -1) == half_closed
    assert row is None or row.endpoint == 0


@pytest.mark.parametrize(("flags", "ack", "bits", "was_reset", "is_answer"), [
    (ACK, 51, s.FIN_SENT, False, True), (ACK, 50, s.FIN_SENT, False, False), (0, 51, s.FIN_SENT, False, False),
    (ACK, 51, 0, False, False), (ACK, 51, s.FIN_SENT, True, False),
])  # fmt: skip
def test_a_fin_out_of_close_wait_acknowledges_the_peers(
    flags: int, ack: int, bits: int, was_reset: bool, is_answer: bool
) -> None:
    conn = SimpleNamespace(bits=s.HAS_RST if was_reset else 0)

    assert bool(anomalies.is_answer_to_fin(conn, tcb(bits=bits, fin_seq=50), seg(FIN | flags, ack=ack))) == is_answer


@pytest.mark.parametrize(("repeats", "bits", "state", "peer_frame", "segments", "is_stuck"), [
    (4, 0, LAST_ACK, 9, 1, True), (3, 0, LAST_ACK, 9, 1, False), (4, s.FIN_ACKED, LAST_ACK, 9, 1, False),
    (4, 0, FIN_WAIT_1, 9, 1, False), (4, 0, LAST_ACK, 11, 1, False), (4, 0, LAST_ACK, -1, 0, False),
])  # fmt: skip
def test_a_fin_in_last_ack_is_repeated_in_vain(
    repeats: int, bits: int, state: int, peer_frame: int, segments: int, is_stuck: bool
) -> None:
    one = One()
    put(one.orig, fin_repeats=repeats, bits=bits, state=state, fin_frame=10)
    put(one.resp, last_frame=peer_frame, segments=segments)

    assert bool(anomaly_rows.is_stuck(one.st, 0)) == is_stuck


@pytest.mark.parametrize(("bits", "state", "gap_ms", "unacked", "was_reset", "is_open"), [
    (s.FIN_SENT | s.FIN_ACKED, CLOSE_WAIT, 60_000, 0, False, True),
    (s.FIN_SENT | s.FIN_ACKED, CLOSE_WAIT, 59_999, 0, False, False),
    (s.FIN_SENT, CLOSE_WAIT, 60_000, 0, False, False), (s.FIN_ACKED, CLOSE_WAIT, 60_000, 0, False, False),
    (s.FIN_SENT | s.FIN_ACKED, LAST_ACK, 60_000, 0, False, False),
    (s.FIN_SENT | s.FIN_ACKED, CLOSE_WAIT, 60_000, 1, False, False),
    (s.FIN_SENT | s.FIN_ACKED, CLOSE_WAIT, 60_000, 0, True, False),
])  # fmt: skip
def test_a_connection_is_left_open_in_close_wait(
    bits: int, state: int, gap_ms: int, unacked: int, was_reset: bool, is_open: bool
) -> None:
    """A minute after the FIN whose ACK came; text of the peer that waits for its ACK is another matter."""
    one = One(T + gap_ms * MS)
    put(one.conn, fin_ms=1, bits=one.conn.bits | (s.HAS_RST if was_reset else 0))
    put(one.orig, bits=bits)
    put(one.resp, state=state, snd_nxt=100 + unacked, snd_una=100)

    assert bool(anomaly_rows.is_left_open(one.st, 0, 0)) == is_open


def test_the_time_since_a_fin_is_known_for_fifty_days() -> None:
    one = One(T + 10 * MS)
    for fin_ms, since in ((0, 0), (1, 10 * MS), (6, 5 * MS), (0xFFFFFFFF, 0)):
        one.conn.fin_ms = fin_ms
        assert anomaly_rows.half_closed_ns(one.st, 0) == since


def test_the_first_rst_of_an_endpoint_is_found() -> None:
    """The chain begins with the last one."""
    one = One()
    for place, (frame, side) in enumerate(((5, 0), (6, 1), (7, 0), (8, 1))):
        put(one.st.resets[place], frame=frame, endpoint=side, next=place - 1)
    one.conn.reset = 3

    assert [anomaly_rows.first_rst(one.st, one.conn, side) for side in (0, 1)] == [5, 6]


@pytest.mark.parametrize(("options", "echo", "is_proved"), [
    (HAS_TS, 7, True), (HAS_TS, 8, True), (HAS_TS, 6, False), (HAS_TS, -1, False), (HAS_TS, 7 + (1 << 31), False),
    (0, 7, False), (0, 0, False),
])  # fmt: skip
@pytest.mark.parametrize("is_syn_ack", [False, True])
def test_an_echo_proves_what_was_received(options: int, echo: int, is_proved: bool, is_syn_ack: bool) -> None:
    """A TSecr at or above the TSval of the segment (RFC 7323 4.3); one without timestamps no echo proves."""
    one = One(transitions=True)
    put(one.resp, state=SYN_RECEIVED, iss=100, snd_nxt=101, bits=KNOWN)
    segment = seg(SYN | ACK if is_syn_ack else ACK, ack=101, options=options, tsval=7 if options else 0)
    if is_syn_ack:
        handshake.syn_is_acked(one.st, 0, 0, segment, 0)
    else:
        segment_arrives.fifth_check_the_ack(one.st, 0, 0, segment, 101)
    assert (one.resp.state, one.resp.pending) == (ESTABLISHED, 1)
    transitions.prove(one.st, 1, False, False, echo)

    assert one.resp.pending == (0 if is_proved else 1)
    assert one.st.out_transitions[0].basis == (BASIS_CONFIRMED if is_proved else 0)


@pytest.mark.parametrize(("basis", "repeats", "ack", "has_answered"), [
    (START_ACK, 1, 51, True), (START_ACK, 0, 51, False), (START_FIN, 1, 51, False), (START_ACK, 1, 50, False),
])  # fmt: skip
def test_the_holder_answers_a_fin_that_is_repeated(basis: int, repeats: int, ack: int, has_answered: bool) -> None:
    """It had acknowledged the FIN before; so it was in TIME-WAIT, and not without a socket."""
    one = One()
    put(one.orig, state=TIME_WAIT, span=0, bits=KNOWN | s.FIN_RECEIVED)
    put(one.resp, bits=KNOWN | s.FIN_SENT, fin_seq=50, snd_nxt=51)
    put(one.st.spans[0], start_basis=basis, fin_repeats=repeats, restart=-1, end=-1)
    ack_evidence.ack_proves(one.st, 0, 0, seg(ack=ack), ack)

    assert bool(one.orig.bits & s.ANSWERED_FIN) == has_answered
