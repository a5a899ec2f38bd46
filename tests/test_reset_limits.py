"""Where the kernels decide otherwise about RSTs, silences and SYNs: numbers on both sides of each limit.

As ``test_segment_limits.py``: each function gets records and a segment of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tcptrace_tw.kernels.wide_records import Records
from tcptrace_tw.protocol.states import (
    CLOSE_WAIT,
    CLOSED,
    CLOSING,
    ESTABLISHED,
    LAST_ACK,
    LISTEN,
    SYN_SENT,
    TIME_WAIT,
)
from tcptrace_tw.schema.columns import ACK, FIN, RST, SYN
from tcptrace_tw.schema.words import END_ASSASSINATED, END_CAPTURE, END_UNKNOWN
from tcptrace_tw.tcp.facts import after_resets, echo, resets
from tcptrace_tw.tcp.machine import after_reset, reset
from tcptrace_tw.tcp.store import records as s
from tests.test_segment_limits import KNOWN, MS, NS, One, T, put, seg, tcb


def reset_row(**fields: int) -> Any:
    return put(Records(np.zeros(1, s.RESET).view(np.recarray))[0], **fields)


def anomaly_row(**fields: int) -> Any:
    return put(Records(np.zeros(1, s.ANOMALY).view(np.recarray))[0], **fields)


@pytest.mark.parametrize(("ttl", "outside"), [(60, 0), (64, 0), (59, -1), (65, 1)])
def test_a_ttl_lies_outside_of_those_of_its_sender(ttl: int, outside: int) -> None:
    assert resets.ttl_outside(tcb(ttl_low=60, ttl_high=64), ttl) == outside
    assert resets.ttl_outside(tcb(), ttl) == 0


@pytest.mark.parametrize(("flags", "bits", "last_ack", "ack", "most"), [
    (RST, s.ACKED, 10, 20, 10), (RST | ACK, s.ACKED, 10, 20, 20), (RST | ACK, s.ACKED, 20, 10, 20),
    (RST | ACK, 0, 20, 10, 10),
])  # fmt: skip
def test_the_most_that_the_sender_of_a_rst_acknowledged(
    flags: int, bits: int, last_ack: int, ack: int, most: int
) -> None:
    """A number that it never sent as an ACK is none."""
    assert resets.most_acked(tcb(bits=bits, last_ack=last_ack), seg(flags, ack=ack)) == most


@pytest.mark.parametrize(("snd_bits", "rcv_bits", "last_ack", "unacked"), [
    (s.ACKED, s.NXT_KNOWN, 90, 10), (s.ACKED, s.NXT_KNOWN, 100, 0), (s.ACKED, s.NXT_KNOWN, 110, 0),
    (0, s.NXT_KNOWN, 90, 0), (s.ACKED, 0, 90, 0), (s.ACKED, s.NXT_KNOWN | s.FIN_SENT, 90, 9),
])  # fmt: skip
def test_text_that_was_never_acknowledged(snd_bits: int, rcv_bits: int, last_ack: int, unacked: int) -> None:
    """A FIN is no text; below nothing no count falls."""
    rcv = tcb(bits=rcv_bits, snd_nxt=100, fin_seq=99)

    assert resets.unacked_bytes(tcb(bits=snd_bits, last_ack=last_ack), rcv) == unacked


@pytest.mark.parametrize(("flags", "snd_bits", "rcv_bits", "ack", "acked"), [
    (RST | ACK, s.ACKED, s.NXT_KNOWN, 100, 10), (RST, s.ACKED, s.NXT_KNOWN, 100, 0),
    (RST | ACK, 0, s.NXT_KNOWN, 100, 0),
    (RST | ACK, s.ACKED, s.NXT_KNOWN, 89, 0), (RST | ACK, s.ACKED, s.NXT_KNOWN | s.FIN_SENT, 100, 9),
    (RST | ACK, s.ACKED, s.NXT_KNOWN | s.FIN_SENT, 99, 9), (RST | ACK, s.ACKED, 0, 100, 20),
])  # fmt: skip
def test_text_that_only_the_rst_acknowledges(flags: int, snd_bits: int, rcv_bits: int, ack: int, acked: int) -> None:
    """From the last ACK (80) on, and what no ACK had acknowledged (from 90 on); the FIN is no text."""
    snd, rcv = tcb(bits=snd_bits, last_ack=80), tcb(bits=rcv_bits, snd_una=90, fin_seq=99)

    assert resets.acked_bytes(snd, rcv, seg(flags, ack=ack)) == acked


@pytest.mark.parametrize(("last_frame", "fin_frame", "peer_fin", "fin_ms", "gap"), [
    (7, 7, -1, 1, 50 * MS), (8, 7, -1, 1, 100 * MS), (8, 7, -1, 41, 60 * MS), (8, 7, 6, 1, -1), (8, 7, 9, 1, 100 * MS),
    (8, 7, -1, 0, -1), (8, 7, -1, 0xFFFFFFFF, -1), (8, -1, -1, 1, -1),
])  # fmt: skip
def test_the_time_since_the_senders_own_fin(
    last_frame: int, fin_frame: int, peer_fin: int, fin_ms: int, gap: int
) -> None:
    """To the ns where the FIN was its last segment, else to the ms, if it was the first of the two."""
    one = One(T + 100 * MS)
    put(one.conn, fin_ms=fin_ms)
    snd = tcb(last_frame=last_frame, fin_frame=fin_frame, last_time=T + 50 * MS)

    assert resets.fin_gap_ns(one.st, one.conn, snd, tcb(fin_frame=peer_fin)) == gap


@pytest.mark.parametrize(
    ("ip_id", "delta"), [(100, 0), (101, 1), (99, -1), (100 + 32767, 32767), (100 + 32768, -32768)]
)
def test_an_identification_leaps_the_short_way(ip_id: int, delta: int) -> None:
    row = reset_row()
    resets.note_ip_id_of_reset(row, tcb(last_ip_id=100, bits=3 << s.IP_ID_STEPS), seg(RST, ip_id=ip_id))

    assert (row.ip_id_delta, row.is_ip_id_counter) == (delta, 1)


@pytest.mark.parametrize(("ip_id", "steps", "is_counter"), [(0, 3, 0), (1, 3, 1), (1, 2, 0), (1, 0, 0)])
def test_identifications_count_after_three_steps(ip_id: int, steps: int, is_counter: int) -> None:
    """Linux writes 0 where it has no socket."""
    row = reset_row()
    resets.note_ip_id_of_reset(row, tcb(bits=steps << s.IP_ID_STEPS), seg(RST, ip_id=ip_id))

    assert row.is_ip_id_counter == is_counter


@pytest.mark.parametrize(("acked_at", "last_at", "kind", "waited"), [
    (0, 5, echo.ECHO_LAST, 5), (5, 5, echo.ECHO_LAST, 0), (6, 5, echo.ECHO_LAST, -1), (0, 5, echo.ECHO_NONE, -1),
    (None, 5, echo.ECHO_LAST, -1), (0, 5, echo.ECHO_EARLIER, 3),
])  # fmt: skip
def test_how_long_fin_wait_2_had_lasted(acked_at: int | None, last_at: int, kind: int, waited: int) -> None:
    """From the ACK of the FIN to the segment that drew the RST."""
    one, row = One(T + 100), reset_row()
    snd = tcb(fin_acked_time=-1 if acked_at is None else T + acked_at)
    rcv = tcb(last_frame=9, last_time=T + last_at, earlier_frame=8, earlier_time=T + 3)
    resets.note_trigger(one.st, row, snd, rcv, kind)

    assert row.fin_wait_2_ns == waited
    assert row.trigger_frame == (8 if kind == echo.ECHO_EARLIER else 9)
    assert row.trigger_gap_ns == 100 - (3 if kind == echo.ECHO_EARLIER else last_at)


@pytest.mark.parametrize(("segments", "low", "is_steady"), [(1, 64, 0), (2, 64, 1), (2, 63, 0)])
def test_two_segments_of_one_ttl_are_steady(segments: int, low: int, is_steady: int) -> None:
    one, row = One(T + 7 * MS), reset_row()
    snd = tcb(
        segments=segments, ttl_low=low, ttl_high=64, last_frame=5, last_time=T, fin_acked_time=T + 5 * MS, rtt_us=3
    )
    resets.note_sender(one.st, one.conn, row, snd, tcb(), seg(RST, ttl=64))

    assert row.is_ttl_steady == is_steady
    assert (row.own_gap_ns, row.fin_acked_gap_ns, row.rtt_ns) == (7 * MS, 2 * MS, 3000)
    resets.note_sender(one.st, one.conn, row, tcb(), tcb(), seg(RST))
    assert (row.own_gap_ns, row.fin_acked_gap_ns, row.rtt_ns, row.fin_gap_ns) == (-1, -1, -1, -1)


@pytest.mark.parametrize(("gap", "is_twin"), [(0, True), (MS, True), (MS + 1, False)])
@pytest.mark.parametrize("endpoint", [0, 1])
def test_twins_are_rsts_of_both_sides_within_a_millisecond(gap: int, is_twin: bool, endpoint: int) -> None:
    one = One()
    put(one.st.resets[0], time=T, endpoint=0, next=-1, twin_gap_ns=-1, silence_ns=5)
    one.conn.reset = 0
    row = reset_row(time=T + gap, endpoint=endpoint, silence_ns=3)
    resets.note_twin(one.st, 0, row)

    expected = gap if is_twin and endpoint == 1 else -1
    assert (row.twin_gap_ns, one.st.resets[0].twin_gap_ns) == (expected, expected)
    assert row.silence_ns == (5 if expected >= 0 else 3)


@pytest.mark.parametrize(("flags", "delta", "is_echo", "seq", "side", "is_burst"), [
    (RST, 1, 0, 101, 0, True), (ACK, 1, 0, 101, 0, False), (RST, 0, 0, 101, 0, False), (RST, 1, 1, 101, 0, False),
    (RST, 1, 0, 100, 0, False), (RST, 1, 0, 101, 1, False),
])  # fmt: skip
def test_a_burst_of_rsts_climbs(flags: int, delta: int, is_echo: int, seq: int, side: int, is_burst: bool) -> None:
    """Each above the one before and above all that their sender had sent, and no answer to anything."""
    one = One()
    put(one.st.resets[0], seq=100, endpoint=side, next=-1, ladder_frame=-1)
    put(one.conn, reset=0, bits=one.conn.bits | s.SAW_PLAIN)
    row = reset_row(seq=seq, endpoint=0, frame=9, sender_seq_delta=delta, is_echo=is_echo)
    resets.note_rst_burst(one.st, 0, row, tcb(last_flags=flags))

    assert (one.st.resets[0].ladder_frame, row.ladder_frame) == (9 if is_burst else -1, -1)


@pytest.mark.parametrize(("own", "others", "silence_before"), [
    (0, 0, NS), (0, 1, -1), (-1, -1, NS + 1),
])  # fmt: skip
def test_a_rst_breaks_a_silence_of_a_second(own: int, others: int, silence_before: int) -> None:
    one, row = One(T + NS), reset_row()
    ends = [tcb(bits=KNOWN, last_time=T + at, last_flags=RST) for at in (own, others)]
    resets.note_silence_before(one.st, one.conn, row, *ends, seg(RST))

    assert row.silence_ns == silence_before


@pytest.mark.parametrize(("ended", "own", "silence_before"), [
    (5, 4, 77), (4, 4, -1), (50, 4, 77), (51, 4, -1), (-T - 1, -T - 1, -1),
])  # fmt: skip
def test_a_drawn_rst_belongs_to_the_silence_before_its_trigger(ended: int, own: int, silence_before: int) -> None:
    """The trigger broke it, or came after what broke it, and the RST's sender has not spoken since."""
    one, row = One(T + 60), reset_row(trigger_gap_ns=10)
    put(one.conn, silence_ns=77, silence_time=T + ended)
    rcv = tcb(bits=KNOWN, last_time=T + 50, last_flags=ACK)
    resets.note_silence_before(one.st, one.conn, row, tcb(bits=KNOWN, last_time=T + own), rcv, seg(RST))

    assert row.silence_ns == silence_before


@pytest.mark.parametrize(("segments", "low", "ttl", "seq", "length", "is_alien"), [
    (4, 64, 63, 101, 1, True), (3, 64, 63, 101, 1, False), (4, 63, 62, 101, 1, False), (4, 64, 64, 101, 1, False),
    (4, 64, 63, 100, 1, False), (4, 64, 63, 101, 0, False),
])  # fmt: skip
def test_text_of_an_alien(segments: int, low: int, ttl: int, seq: int, length: int, is_alien: bool) -> None:
    """Another TTL than four segments had, and numbers beyond what the endpoint had sent."""
    one, row = One(), reset_row(alien_frame=-1)
    put(one.orig, segments=segments, ttl_low=low, ttl_high=64, snd_nxt=100)
    after_resets.note_alien(one.st, 0, 0, row, seg(seq=seq, payload_len=length, ttl=ttl))
    after_resets.note_alien(one.st, 0, 0, row, seg(frame=100, seq=seq, payload_len=length, ttl=ttl))

    assert row.alien_frame == (99 if is_alien else -1)


@pytest.mark.parametrize(("is_new", "ack", "length", "seq", "continued", "data"), [
    (True, 10, 1, 50, 99, 99), (True, 10, 1, 49, 99, -1), (True, 10, 0, 50, 99, -1), (False, 11, 1, 50, 99, -1),
    (False, 10, 1, 50, -1, -1),
])  # fmt: skip
def test_the_alleged_sender_of_a_rst_goes_on(
    is_new: bool, ack: int, length: int, seq: int, continued: int, data: int
) -> None:
    """With text or a FIN in sequence, or by acknowledging more than ever before."""
    row = reset_row(continued_frame=-1, continued_data_frame=-1, seq=50, most_acked=10, vain_segments=3, vain_ns=5)
    after_resets.follow_sender(row, seg(seq=seq, ack=ack, payload_len=length), is_new)

    assert (row.continued_frame, row.continued_data_frame) == (continued, data)
    assert (row.vain_segments, row.vain_ns) == (0, -1)
    after_resets.follow_sender(row, seg(frame=100, seq=60, ack=20, payload_len=1), True)
    assert row.continued_frame == (continued if continued >= 0 else 100)


@pytest.mark.parametrize(("flags", "length", "ack", "accepted", "challenge", "vain"), [
    (ACK, 0, 10, 0, 99, 2), (ACK, 0, 10, 1, -1, 2), (ACK, 0, 11, 0, -1, 0), (ACK, 1, 10, 0, -1, 3),
    (FIN | ACK, 0, 10, 0, -1, 2),
    (ACK, 1, 11, 0, -1, 0),
])  # fmt: skip
def test_the_receiver_of_a_rst_challenges_it_or_sends_into_nothing(
    flags: int, length: int, ack: int, accepted: int, challenge: int, vain: int
) -> None:
    one, row = One(T + 7), reset_row(time=T, is_accepted=accepted, challenge_frame=-1, vain_segments=2, vain_ns=5)
    after_resets.follow_receiver(one.st, row, seg(flags, ack=ack, payload_len=length), 10)

    assert (row.challenge_frame, row.vain_segments) == (challenge, vain)
    assert row.vain_ns == {0: -1, 2: 5, 3: 7}[vain]


def test_the_last_acceptable_rst_of_an_endpoint_counts() -> None:
    one = One()
    for place, (side, accepted) in enumerate(((0, 1), (0, 0), (1, 1))):
        put(one.st.resets[place], endpoint=side, is_accepted=accepted, next=place - 1, time=T + place)
    one.conn.reset = 2

    assert [after_resets.last_reset(one.st, 0, side) for side in (0, 1)] == [0, 2]
    assert after_resets.reset_time(one.st, 0, 1) == T + 2
    one.conn.reset = -1
    assert after_resets.last_reset(one.st, 0, 0) == -1


ECHOED = {"last_frame": 9, "last_ack": 100, "last_flags": ACK, "last_time": T, "earlier_frame": 8, "earlier_ack": 90,
          "earlier_time": T}  # fmt: skip


@pytest.mark.parametrize(("seq", "flags", "late", "kind"), [
    (100, RST, 0, echo.ECHO_LAST), (100, RST, NS, echo.ECHO_LAST), (100, RST, NS + 1, echo.ECHO_NONE),
    (100, RST | ACK, 0, echo.ECHO_NONE), (90, RST, NS, echo.ECHO_EARLIER), (90, RST, NS + 1, echo.ECHO_NONE),
    (89, RST, 0, echo.ECHO_OLDER), (91, RST, 0, echo.ECHO_NONE), (51, RST, 0, echo.ECHO_OLDER),
    (50, RST, 0, echo.ECHO_NONE),
])  # fmt: skip
def test_a_host_without_a_socket_echoes_an_ack_field(seq: int, flags: int, late: int, kind: int) -> None:
    """That of the last segment, or of the one before; within a second where no round trip is known (RFC 9293 3.5.2)."""
    one = One(T + late)
    snd = tcb(bits=s.ISS_KNOWN, iss=50, last_frame=7, last_time=T)

    assert echo.echo_of(one.st, snd, tcb(**ECHOED), seg(flags, seq=seq)) == kind
    assert echo.echo_of(one.st, snd, tcb(), seg(flags, seq=seq)) == echo.ECHO_NONE


@pytest.mark.parametrize(("below", "kind"), [((1 << 20) - 1, echo.ECHO_OLDER), (1 << 20, echo.ECHO_NONE)])
def test_midstream_an_older_ack_field_lies_not_far_below(below: int, kind: int) -> None:
    rcv = tcb(**{**ECHOED, "last_ack": 1 << 30, "earlier_ack": 1 << 29})

    assert echo.echo_of(One().st, tcb(last_time=T), rcv, seg(RST, seq=(1 << 29) - below)) == kind


@pytest.mark.parametrize(("last_len", "flags", "bits", "own_flags", "frame", "ack", "has"), [
    (10, ACK, s.ACKED, ACK, 10, 60, True), (10, ACK, s.ACKED, ACK, 10, 59, False), (10, ACK, 0, ACK, 10, 60, False),
    (10, ACK, s.ACKED, RST, 10, 60, False), (10, ACK, s.ACKED, ACK, 8, 60, False),
    (0, ACK, s.ACKED, ACK, 10, 50, False),
    (0, ACK | FIN, s.ACKED, ACK, 10, 51, True), (0, ACK | FIN, s.ACKED, ACK, 10, 50, False),
])  # fmt: skip
def test_who_has_acknowledged_a_segment_has_a_socket(
    last_len: int, flags: int, bits: int, own_flags: int, frame: int, ack: int, has: bool
) -> None:
    rcv = tcb(last_seq=50, last_len=last_len, last_flags=flags, last_frame=9)

    assert bool(echo.has_answered(tcb(bits=bits, last_flags=own_flags, last_frame=frame, last_ack=ack), rcv)) == has


def test_the_flags_of_an_earlier_segment_follow_from_its_frame() -> None:
    rcv = tcb(fin_frame=5, fin_repeat_frame=6, syn_frame=1)

    assert [echo.earlier_flags(rcv, frame) for frame in (5, 6, 1, 4)] == [ACK | FIN, ACK | FIN, ACK | SYN, ACK]


@pytest.mark.parametrize(("state", "seq", "snd", "rcv", "plain", "is_taken"), [
    (CLOSED, 100, {}, {}, True, False), (LISTEN, 100, {}, {}, True, False), (ESTABLISHED, 100, {}, {}, True, True),
    (ESTABLISHED, 99, {}, {}, True, False), (ESTABLISHED, 101, {}, {}, True, False),
    (ESTABLISHED, 101, {}, {}, False, True),
    (ESTABLISHED, 90, {"snd_nxt": 90}, {}, True, True), (ESTABLISHED, 1, {}, {"bits": 0}, True, True),
    (CLOSE_WAIT, 99, {}, {}, True, True), (LAST_ACK, 99, {}, {}, True, True), (CLOSING, 99, {}, {}, True, True),
    (CLOSE_WAIT, 98, {}, {}, True, False), (TIME_WAIT, 100, {}, {}, True, True), (TIME_WAIT, 99, {}, {}, True, False),
    (TIME_WAIT, 100, {}, {"bits": s.RCV_KNOWN | s.IGNORES_RST}, True, False),
    (ESTABLISHED, 70, {"unanswered": 1}, {"bits": s.RCV_KNOWN | s.ACKED}, True, True),
    (ESTABLISHED, 70, {"unanswered": 0}, {"bits": s.RCV_KNOWN | s.ACKED}, True, False),
    (ESTABLISHED, 70, {"unanswered": 1}, {}, True, False),
    (ESTABLISHED, 71, {"unanswered": 1}, {"bits": s.RCV_KNOWN | s.ACKED}, True, False),
])  # fmt: skip
def test_a_rst_is_taken_at_rcv_nxt(state: int, seq: int, snd: Any, rcv: Any, plain: bool, is_taken: bool) -> None:
    """RFC 9293 3.5.3 and RFC 5961 3.2; a FIN that was taken in leaves the number before it, too (Linux)."""
    one = One()
    put(one.conn, bits=s.SAW_PLAIN if plain else 0)
    mine = tcb(**{"snd_nxt": 5000, **snd})
    peer = tcb(**{"state": state, "rcv_nxt": 100, "bits": s.RCV_KNOWN, "last_ack": 70, **rcv})

    assert bool(reset.is_rst_acceptable(one.st, one.conn, mine, peer, seg(RST, seq=seq))) == is_taken


@pytest.mark.parametrize(("flags", "ack", "is_taken"), [
    (RST | ACK, 51, True), (RST | ACK, 50, False), (RST | ACK, 52, False), (RST, 51, False),
])  # fmt: skip
def test_in_syn_sent_a_rst_acknowledges_the_syn(flags: int, ack: int, is_taken: bool) -> None:
    """RFC 9293 3.10.7.3."""
    one = One()
    rcv = tcb(state=SYN_SENT, iss=50, snd_nxt=51)

    assert bool(reset.is_rst_acceptable(one.st, one.conn, tcb(), rcv, seg(flags, ack=ack))) == is_taken


@pytest.mark.parametrize(("seq", "ack", "flags", "snd_bits", "rcv_bits", "lies_beyond"), [
    (101, 0, RST, s.ISS_KNOWN, 0, True), (100, 0, RST, s.ISS_KNOWN, 0, False), (101, 0, RST, 0, 0, False),
    (101, 0, RST, KNOWN & ~s.ISS_KNOWN, 0, False), (0, 201, RST | ACK, 0, s.ISS_KNOWN, True),
    (0, 200, RST | ACK, 0, s.ISS_KNOWN, False), (0, 201, RST, 0, s.ISS_KNOWN, False), (0, 201, RST | ACK, 0, 0, False),
])  # fmt: skip
def test_a_rst_lies_beyond_the_text_that_was_captured(
    seq: int, ack: int, flags: int, snd_bits: int, rcv_bits: int, lies_beyond: bool
) -> None:
    """Of a connection whose SYN is known; mid-stream nothing was hidden for certain."""
    snd, rcv = tcb(bits=snd_bits, snd_nxt=100), tcb(bits=rcv_bits, snd_nxt=200)

    assert bool(reset.lies_beyond_text(snd, rcv, seg(flags, seq=seq, ack=ack))) == lies_beyond


@pytest.mark.parametrize(
    ("reason", "before", "answered"), [("assassinated", -1, 9), ("assassinated", 5, 5), ("unknown", -1, -1)]
)
def test_the_first_answer_after_an_assassination_is_kept(reason: str, before: int, answered: int) -> None:
    one = One()
    one.orig.span = 0
    put(
        one.st.spans[0], end_reason=END_ASSASSINATED if reason == "assassinated" else END_UNKNOWN, answered_frame=before
    )
    reset.note_answered(one.st, 0, 9)

    assert one.st.spans[0].answered_frame == answered


@pytest.mark.parametrize(("rtt_us", "ns"), [(0, 200 * MS + 50 * MS), (1000, 4 * MS + 50 * MS)])
def test_segments_are_on_their_way_for_some_round_trips(rtt_us: int, ns: int) -> None:
    assert after_reset.still_on_its_way_ns(tcb(rtt_us=rtt_us)) == ns


@pytest.mark.parametrize(("state", "flags", "repeats"), [
    (TIME_WAIT, ACK, 0), (TIME_WAIT, FIN | ACK, 1), (ESTABLISHED, ACK, None),
])  # fmt: skip
def test_an_endpoint_that_goes_on_never_took_the_rst(state: int, flags: int, repeats: int | None) -> None:
    """Back to the state before; in TIME-WAIT the span is open again, and the peer's last segment restarted 2MSL."""
    one = One()
    put(one.orig, state=CLOSED, reset_state=state, span=0, bits=s.RST_TAKEN)
    put(one.resp, last_time=T + 5, last_frame=8, last_flags=flags)
    ended = {"end": T + 1, "end_frame": 7, "end_reason": END_ASSASSINATED, "restart": -1}
    span = put(one.st.spans[0], **ended)
    after_reset.bring_back(one.st, 0, T, 9)

    assert (one.orig.state, bool(one.orig.bits & s.RST_TAKEN)) == (state, False)
    assert bool(one.orig.bits & s.IGNORES_RST) == (repeats is not None)
    if repeats is None:
        assert {name: getattr(span, name) for name in ended} == ended
    else:
        assert (span.end, span.end_frame, span.end_reason) == (-1, -1, END_CAPTURE)
        assert (span.restarts, span.restart, span.restart_frame, span.fin_repeats) == (1, T + 5, 8, repeats)


def test_who_had_closed_otherwise_stays_closed() -> None:
    one = One()
    put(one.orig, state=LAST_ACK, reset_state=TIME_WAIT, bits=s.RST_TAKEN)
    after_reset.bring_back(one.st, 0, T, 9)

    assert one.orig.state == LAST_ACK
