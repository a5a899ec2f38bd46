"""Where the kernels decide otherwise about silences, SYNs and what was seen: numbers on both sides of each limit.

As ``test_segment_limits.py``: each function gets records and a segment of its own.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tcptrace_tw.protocol.profiles import ACCEPT, ACCEPT_CHALLENGE, ACCEPT_DROP, ACCEPT_PAWS_REJECT
from tcptrace_tw.protocol.states import (
    CLOSED,
    ESTABLISHED,
    LAST_ACK,
    RCV_ACK_OF_FIN,
    SYN_RECEIVED,
    SYN_SENT,
    TIME_WAIT,
)
from tcptrace_tw.schema.columns import ACK, FIN, HAS_SACK, HAS_TS, RST, SYN, TRUNCATED
from tcptrace_tw.schema.observed import ACKS, BOTH_DIRECTIONS, OPENING, OPTIONS, PAYLOAD
from tcptrace_tw.schema.words import (
    ACCEPT_NOT_TIME_WAIT,
    ANSWER_CHALLENGE,
    ANSWER_NONE,
    ANSWER_RST,
    ANSWER_SYN_ACK,
    BOTH,
    DATA_LOST,
    DATA_NONE,
    DATA_REFUSED,
    DATA_TAKEN,
    NONE,
    NULL_WORD,
    OPENED_HANDSHAKE,
    OPENED_MIDSTREAM,
    ORIG,
    RESP,
    SILENCE_ANSWERED_BY_RESET,
    SILENCE_FIN,
    SILENCE_RESET,
    SILENCE_UNANSWERED,
)
from tcptrace_tw.tcp.facts import observed, reuse, silence, unseen_reuse
from tcptrace_tw.tcp.machine import ack_evidence, paws, same_isn, syn_in_time_wait, syn_sent
from tcptrace_tw.tcp.store import records as s
from tests.test_reset_limits import anomaly_row
from tests.test_segment_limits import KNOWN, MS, NS, One, T, put, reuse_row, seg, tcb


@pytest.mark.parametrize(("bits", "una", "length", "is_first"), [
    (s.ISS_KNOWN, 150, 50, True), (s.ISS_KNOWN, 151, 50, False), (0, 150, 50, False), (s.NXT_KNOWN, 101, 50, False),
])  # fmt: skip
def test_no_segment_as_large_was_acknowledged_before(bits: int, una: int, length: int, is_first: bool) -> None:
    """Less had been acknowledged than the segment has; mid-stream nobody knows how much."""
    assert bool(silence.is_first_large(tcb(bits=bits, iss=100, snd_una=una, last_len=length))) == is_first


@pytest.mark.parametrize(("bits", "own_syn", "peer_syn", "peer_bits", "is_deaf"), [
    (s.ISS_KNOWN, 1, 2, 0, True), (0, 1, 2, 0, False), (s.NXT_KNOWN, 1, 2, 0, False), (s.ISS_KNOWN, -1, 2, 0, False),
    (s.ISS_KNOWN, 1, -1, 0, False), (s.ISS_KNOWN | s.ACKED, 1, 2, 0, False), (s.ISS_KNOWN | s.RST_SENT, 1, 2, 0, False),
    (s.ISS_KNOWN | s.FIN_SENT, 1, 2, 0, False), (s.ISS_KNOWN, 1, 2, s.RST_SENT, False),
])  # fmt: skip
def test_who_never_acknowledges_the_syn_ack_is_deaf(
    bits: int, own_syn: int, peer_syn: int, peer_bits: int, is_deaf: bool
) -> None:
    peer = tcb(syn_frame=peer_syn, bits=peer_bits)

    assert bool(silence.is_deaf(tcb(bits=bits, syn_frame=own_syn), peer)) == is_deaf


IN_VAIN = {"unanswered": 3, "last_seq": 100, "snd_una": 100, "snd_nxt": 110, "last_frame": 9, "last_time": T + 1,
           "again_since": 4, "again": 3, "bits": KNOWN}  # fmt: skip
TOO_LARGE = {"bits": KNOWN | s.ISS_KNOWN, "iss": 98, "last_len": 8, "sacked_len": 7}
SPOKE = {"segments": 1, "last_frame": 5, "last_time": T}


@pytest.mark.parametrize(("mine", "others", "is_unanswered"), [
    ({}, {}, True), ({"unanswered": 2}, {}, False), ({"bits": KNOWN | s.RST_SENT}, {}, False),
    ({}, {"segments": 0}, False),
    ({}, {"bits": s.NXT_ACKED}, False), ({"last_seq": 101}, {}, False), ({"again_since": 5, "again": 2}, {}, False),
    ({"again_since": 5, "again": 3}, {}, True),
    ({"again_since": 5, "again": 2, "bits": KNOWN | s.SACKED_BEYOND}, {}, True),
    ({"again_since": 5, "again": 2, **TOO_LARGE}, {}, True),
    ({"again_since": 5, "again": 2, **TOO_LARGE, "sacked_len": 8}, {}, False),
    ({"snd_nxt": 100}, {}, False), ({"snd_nxt": 101}, {}, True),
    ({"snd_nxt": 101, "bits": KNOWN | s.FIN_SENT}, {}, False),
    ({"snd_nxt": 102, "bits": KNOWN | s.FIN_SENT}, {}, True), ({}, {"last_frame": 10}, False),
    ({}, {"last_time": T + 1}, False),
])  # fmt: skip
def test_text_is_sent_again_and_again_in_vain(mine: Any, others: Any, is_unanswered: bool) -> None:
    """Three times the first unacknowledged byte, to a peer that had spoken before; a FIN alone is no text."""
    assert bool(silence.is_unanswered(tcb(**{**IN_VAIN, **mine}), tcb(**{**SPOKE, **others}))) == is_unanswered


@pytest.mark.parametrize(("has_seen", "bits", "fin_frame", "acked_to", "is_farewell"), [
    (1, s.FIN_SENT, 8, 160, True), (1, s.FIN_SENT, 8, 161, False), (0, s.FIN_SENT, 8, 160, False),
    (1, 0, 8, 160, False), (1, s.FIN_SENT, 7, 160, False),
])  # fmt: skip
def test_a_farewell_is_short_and_its_senders_fin_follows(
    has_seen: int, bits: int, fin_frame: int, acked_to: int, is_farewell: bool
) -> None:
    """160 bytes hold a close_notify and a GOAWAY (RFC 8446 6.1, RFC 9113 6.8)."""
    row = anomaly_row(has_race_seen_fin=has_seen, race_frame=7)
    sender = tcb(bits=bits, fin_frame=fin_frame, fin_seq=1000 + acked_to, snd_una=1000)

    assert bool(silence.is_farewell(row, sender)) == is_farewell


CLOSED_AFTER_SILENCE = {"bits": s.FIN_SENT, "fin_seq": 100, "silence_ms": 5000, "payload_bytes": 1}


@pytest.mark.parametrize(("length", "ack", "ahead", "mine", "others", "is_race"), [
    (10, 100, 10, {}, {}, True), (0, 100, 10, {}, {}, False), (10, 100, 0, {}, {}, False), (10, 100, 1, {}, {}, True),
    (32, 101, 32, {}, {}, False), (33, 101, 33, {}, {}, True), (32, 100, 32, {}, {}, True),
    (10, 100, 10, {}, {"silence_ms": 0}, False), (10, 100, 10, {}, {"silence_ms": 1}, True),
    (10, 100, 10, {}, {"fin_repeats": 1}, False), (10, 100, 10, {}, {"payload_bytes": 0}, False),
    (10, 100, 10, {"payload_bytes": 1}, {"payload_bytes": 0}, True), (10, 100, 10, {"bits": s.FIN_SENT}, {}, False),
    (10, 100, 10, {}, {"bits": s.FIN_SENT | s.BROKE_SILENCE}, False), (10, 100, 10, {}, {"bits": 0}, False),
    (10, 101, 10, {}, {"bits": s.RST_SENT}, True),
])  # fmt: skip
def test_new_text_crosses_the_end_of_a_silence(
    length: int, ack: int, ahead: int, mine: Any, others: Any, is_race: bool
) -> None:
    """Text that does not know of the FIN, or is longer than a close_notify (32 bytes)."""
    rcv = tcb(**{**CLOSED_AFTER_SILENCE, **others})

    assert bool(silence.is_race(tcb(**mine), rcv, seg(ack=ack, payload_len=length), ahead)) == is_race


@pytest.mark.parametrize(("flags", "gap_us", "ack", "mine", "others", "crosses"), [
    (FIN | ACK, 99, 50, {}, {}, True), (FIN | ACK, 100, 50, {}, {}, False), (FIN, 99, 50, {}, {}, False),
    (FIN | ACK | RST, 99, 50, {}, {}, False), (ACK, 99, 50, {}, {}, False), (FIN | ACK, 99, 49, {}, {}, False),
    (FIN | ACK, 99, 51, {}, {}, False), (FIN | ACK, 99, 50, {"bits": s.FIN_SENT}, {}, False),
    (FIN | ACK, 99, 50, {}, {"bits": 0}, False), (FIN | ACK, 99, 50, {}, {"snd_nxt": 50}, False),
    (FIN | ACK, 99, 50, {"payload_bytes": 0}, {}, False), (FIN | ACK, 99, 50, {"payload_bytes": 1}, {}, True),
])  # fmt: skip
def test_a_fin_crosses_the_text_that_broke_a_silence(
    flags: int, gap_us: int, ack: int, mine: Any, others: Any, crosses: bool
) -> None:
    """Within a round trip, without acknowledging it; and something had been said before (10 bytes wait)."""
    snd = tcb(**{"rtt_us": 100, "payload_bytes": 5, **mine})
    rcv = tcb(**{"bits": s.BROKE_SILENCE, "last_time": T, "snd_una": 50, "snd_nxt": 60, "payload_bytes": 10, **others})

    assert bool(silence.is_crossing_fin(snd, rcv, seg(flags, ack=ack), T + gap_us * 1000)) == crosses


@pytest.mark.parametrize(("bits", "last_frame", "resets_at", "end"), [
    (s.FIN_SENT, 7, (), 9 * MS), (s.FIN_SENT, 8, (), 5 * MS), (s.RST_SENT, 8, (3, 6), 3 * MS), (s.RST_SENT, 8,
    (), 9 * MS),
    (s.FIN_SENT, 7, (3,), 9 * MS),
])  # fmt: skip
def test_when_an_endpoint_ended_the_connection(
    bits: int, last_frame: int, resets_at: tuple[int, ...], end: int
) -> None:
    """By its FIN, known to the ms where it was not its last segment, or by the first of its RSTs."""
    one = One(T + 20 * MS)
    one.conn.fin_ms = 6
    put(one.orig, bits=bits, fin_frame=7, last_frame=last_frame, last_time=T + 9 * MS)
    for place, at in enumerate(resets_at):
        put(one.st.resets[place], time=T + at * MS, endpoint=0, next=place + 1 if place + 1 < len(resets_at) else -1)
    one.conn.reset = 0 if resets_at else -1

    assert silence.end_time(one.st, 0, 0, one.orig) == T + end


@pytest.mark.parametrize(("ack", "idle_ns", "has_seen"), [(100, 5000 * MS, 0), (101, 5000 * MS, 1)])
def test_the_first_data_after_the_end_are_noted(ack: int, idle_ns: int, has_seen: int) -> None:
    one, row = One(T + 20 * MS), anomaly_row(race_frame=-1)
    rcv = put(one.resp, last_frame=7, fin_frame=7, last_time=T, **CLOSED_AFTER_SILENCE)
    for frame in (99, 100):
        silence.note_race(row, one.st, 0, 0, rcv, seg(frame=frame, ack=ack))

    assert (row.race_frame, row.race_idle_ns, row.race_gap_ns, row.has_race_seen_fin) == (
        99,
        idle_ns,
        20 * MS,
        has_seen,
    )


@pytest.mark.parametrize(("mine", "others", "end"), [
    ({"bits": s.FIN_SENT}, {}, SILENCE_FIN), ({"bits": 0}, {}, SILENCE_RESET),
    ({}, {"last_flags": RST, "last_time": T}, SILENCE_ANSWERED_BY_RESET),
    ({}, {"last_flags": RST, "last_time": T - 1}, NULL_WORD),
    ({}, {"last_flags": RST | ACK, "last_time": T, "last_ack": 100}, NULL_WORD),
    ({}, {"last_flags": RST | ACK, "last_time": T, "last_ack": 99}, SILENCE_ANSWERED_BY_RESET),
    ({"unanswered": 3}, {"last_time": T - 1}, SILENCE_UNANSWERED), ({"unanswered": 2}, {"last_time": T - 1}, NULL_WORD),
    ({"unanswered": 3}, {"last_time": T}, NULL_WORD),
])  # fmt: skip
def test_what_came_of_a_silence(mine: Any, others: Any, end: int) -> None:
    """The one who broke it waits for an answer; a RST that acknowledges what was sent took it."""
    tested = tcb(**{"bits": s.BROKE_SILENCE, "last_time": T, "snd_nxt": 100, **mine})

    assert silence.end_of_silence(tested, tcb(**others)) == end


@pytest.mark.parametrize(("flags", "ack", "is_answer"), [
    (ACK, 101, True), (ACK, 110, True), (ACK, 100, False), (RST | ACK, 110, False), (0, 110, False),
])  # fmt: skip
def test_an_answer_acknowledges_what_broke_the_silence(flags: int, ack: int, is_answer: bool) -> None:
    assert bool(silence.is_answer(tcb(snd_una=100, snd_nxt=110), flags, ack)) == is_answer
    assert silence.is_answer(tcb(snd_una=100, snd_nxt=100), ACK, 100)  # of a probe


@pytest.mark.parametrize(("now", "last", "silence_ns"), [(NS, 0, NS), (NS - 1, 0, 0), (NS, -T - 1, 0)])
def test_a_silence_lasts_a_second(now: int, last: int, silence_ns: int) -> None:
    one = One(T + now)
    put(one.conn, opened=OPENED_MIDSTREAM)
    for end in (one.orig, one.resp):
        put(end, bits=KNOWN, snd_nxt=100, snd_una=100)
    silence.note_silence(one.st, 0, 0, seg(seq=100, ack=100, payload_len=1), T + last)

    assert (one.conn.silence_ns, one.orig.silence_ms) == (silence_ns, silence_ns // MS)
    assert bool(one.orig.bits & s.BROKE_SILENCE) == (silence_ns > 0)


@pytest.mark.parametrize(("established", "opened", "bits", "una", "is_idle"), [
    (T, OPENED_HANDSHAKE, 0, 100, True), (-1, OPENED_HANDSHAKE, 0, 100, False), (-1, OPENED_MIDSTREAM, 0, 100, True),
    (T, OPENED_HANDSHAKE, s.FIN_SENT, 100, False), (T, OPENED_HANDSHAKE, s.RST_SENT, 100, False),
    (T, OPENED_HANDSHAKE, s.BROKE_SILENCE, 100, False), (T, OPENED_HANDSHAKE, 0, 99, False),
])  # fmt: skip
def test_only_an_open_connection_with_nothing_on_its_way_is_idle(
    established: int, opened: int, bits: int, una: int, is_idle: bool
) -> None:
    conn = SimpleNamespace(established_time=established, opened=opened)
    busy, quiet = tcb(bits=bits, snd_nxt=100, snd_una=una), tcb()

    assert bool(silence.is_idle(conn, busy, quiet)) == bool(silence.is_idle(conn, quiet, busy)) == is_idle


@pytest.mark.parametrize(("bits", "seq", "flags", "ack", "follows"), [
    (KNOWN, 100, ACK, 200, False), (KNOWN, 101, ACK, 200, True), (KNOWN, 100, ACK, 201, True),
    (KNOWN, 100, RST, 201, False),
    (0, 100, ACK, 200, True),
])  # fmt: skip
def test_a_segment_follows_what_was_not_seen(bits: int, seq: int, flags: int, ack: int, follows: bool) -> None:
    snd, rcv = tcb(bits=bits, snd_nxt=100), tcb(bits=KNOWN, snd_nxt=200)

    assert bool(silence.follows_unseen(snd, rcv, seg(flags, seq=seq, ack=ack))) == follows


@pytest.mark.parametrize(
    ("sent", "una", "is_waiting"), [(1, 101, True), (1, 102, False), (0, 101, False), (1, 100, True)]
)
def test_data_wait_until_the_first_byte_is_acknowledged(sent: int, una: int, is_waiting: bool) -> None:
    assert bool(silence.is_data_waiting(tcb(iss=100, payload_bytes=sent, snd_una=una))) == is_waiting


@pytest.mark.parametrize(("known", "payload", "una", "word"), [
    (NULL_WORD, 1, 102, DATA_TAKEN), (NULL_WORD, 0, 101, DATA_NONE), (DATA_TAKEN, 1, 101, DATA_LOST),
    (DATA_TAKEN, 1, 102, DATA_TAKEN),
])  # fmt: skip
def test_what_became_of_the_first_data(known: int, payload: int, una: int, word: int) -> None:
    row = anomaly_row(synack_repeats=1, first_data=known, race_frame=-1)
    silence.finish_silence(row, tcb(), tcb(iss=100, payload_bytes=payload, snd_una=una, retransmits=4))

    assert (row.first_data, row.peer_retransmits) == (word, 4)


@pytest.mark.parametrize(("bits", "payload", "una", "word"), [
    (s.RST_SENT, 1, 101, DATA_REFUSED), (s.RST_SENT, 1, 102, DATA_TAKEN), (0, 1, 101, DATA_TAKEN),
    (s.RST_SENT, 0, 101, DATA_NONE),
])  # fmt: skip
def test_first_data_that_come_late_may_get_a_rst(bits: int, payload: int, una: int, word: int) -> None:
    peer = tcb(iss=100, payload_bytes=payload, snd_una=una)

    assert silence.first_data(tcb(bits=bits), peer) == word


@pytest.mark.parametrize(("length", "sacked", "una", "is_told"), [
    (8, 7, 100, True), (8, 8, 100, False), (8, 0, 100, False), (8, 7, 107, True), (8, 7, 108, False),
])  # fmt: skip
def test_a_segment_is_too_large_if_none_as_large_has_passed(length: int, sacked: int, una: int, is_told: bool) -> None:
    """Neither acknowledged before it, nor by a SACK block behind it."""
    tested = tcb(bits=s.ISS_KNOWN, iss=99, snd_una=una, last_len=length, sacked_len=sacked)

    assert bool(silence.is_too_large(tested)) == is_told


@pytest.mark.parametrize(("flags", "frame", "is_lost"), [(RST, 8, 1), (RST, 7, 0), (ACK, 8, 0)])
def test_data_that_crossed_the_end_are_lost_if_a_rst_follows(flags: int, frame: int, is_lost: int) -> None:
    row = anomaly_row(race_frame=7)
    silence.finish_silence(row, tcb(), tcb(last_flags=flags, last_frame=frame))

    assert row.is_race_lost == is_lost


@pytest.mark.parametrize(("mine", "count", "since"), [
    ({}, 3, 10), ({"unanswered": 5}, 5, 10), ({"unanswered": 5, "again_since": 5, "again": 4}, 4, 10),
    ({"silence_ms": 3, "bits": KNOWN | s.BROKE_SILENCE}, 3, 7), ({"silence_ms": 3}, 3, 10),
    ({"silence_ms": 11, "bits": KNOWN | s.BROKE_SILENCE}, 3, 0),
])  # fmt: skip
def test_how_often_and_how_long_text_was_sent_in_vain(mine: Any, count: int, since: int) -> None:
    """Since the peer's last segment; without the silence that the text broke."""
    row = anomaly_row(race_frame=-1)
    tested = tcb(**{**IN_VAIN, "last_time": T + 10 * MS, "last_len": 10, "iss": 80, **mine})
    silence.finish_silence(row, tested, tcb(**SPOKE))

    assert (row.unanswered, row.unanswered_ns, row.unanswered_bytes) == (count, since * MS, 10)
    assert row.unanswered_silence_ns == (mine.get("silence_ms", 0) * MS if tested.bits & s.BROKE_SILENCE else -1)
    assert (row.is_peer_gone, row.is_sacked_beyond, row.is_deaf) == (0, 0, 0)


@pytest.mark.parametrize(("size", "bits", "is_small"), [(999, 0, True), (1000, s.SACKED_BEYOND, False)])
def test_a_little_beyond_the_hole_is_acknowledged_by_sack(size: int, bits: int, is_small: bool) -> None:
    """Less than 1000 bytes: a large segment gets through, or none does."""
    rcv = tcb(bits=bits, snd_una=100)
    ack_evidence.acknowledge(rcv, seg(ack=100, options=HAS_SACK, sack_start=101, sack_end=101 + size), 100)

    assert bool(rcv.bits & s.SACKED_BEYOND) == is_small


@pytest.mark.parametrize(
    ("start", "options", "is_beyond"), [(100, HAS_SACK, False), (101, HAS_SACK, True), (101, 0, False)]
)
def test_a_sack_block_lies_beyond_a_hole(start: int, options: int, is_beyond: bool) -> None:
    rcv = tcb(snd_una=100)
    ack_evidence.acknowledge(rcv, seg(ack=100, options=options, sack_start=start, sack_end=start + 1), 100)

    assert bool(rcv.bits & s.SACKED_BEYOND) == is_beyond


def test_an_ack_of_more_ends_the_count_of_what_is_unanswered() -> None:
    rcv = tcb(snd_una=100, unanswered=3, bits=s.SACKED_BEYOND, sacked_len=7)
    ack_evidence.acknowledge(rcv, seg(ack=100), 100)
    assert (rcv.unanswered, rcv.bits, rcv.sacked_len) == (3, s.SACKED_BEYOND, 7)
    ack_evidence.acknowledge(rcv, seg(ack=101), 101)
    assert (rcv.unanswered, rcv.bits, rcv.sacked_len, rcv.snd_una) == (0, 0, 0, 101)


def test_the_longest_sack_block_is_kept() -> None:
    rcv = tcb(snd_una=100)
    for size in (5, 9, 7):
        ack_evidence.acknowledge(rcv, seg(ack=100, options=HAS_SACK, sack_start=101, sack_end=101 + size), 100)

    assert rcv.sacked_len == 9


@pytest.mark.parametrize(
    ("segments", "run", "is_steady"),
    [(0, 0, False), (1, 1, True), (2, 1, False), (8, 8, True), (9, 8, True), (9, 7, False)],
)
def test_midstream_timestamps_are_in_use_after_eight_in_a_row(segments: int, run: int, is_steady: bool) -> None:
    assert bool(paws.has_steady_ts(tcb(segments=segments, ts_run=run))) == is_steady


@pytest.mark.parametrize(("state", "tsval", "is_stale"), [
    (ESTABLISHED, 99, False), (ESTABLISHED, 98, True), (TIME_WAIT, 99, True), (TIME_WAIT, 100, False),
])  # fmt: skip
def test_paws_tolerates_one_tick_but_not_in_time_wait(state: int, tsval: int, is_stale: bool) -> None:
    """Linux tcp_paws_check, with its tolerance (RFC 7323 5.3, R1)."""
    assert stale_of(One(), tcb(**{**ECHOED, "state": state}), seg(options=HAS_TS, tsval=tsval)) == is_stale


ECHOED = {"bits": s.ECHO_VALID, "ts_echoed": 100, "ts_echoed_s": 0, "state": ESTABLISHED}


def stale_of(one: One, rcv: Any, segment: Any) -> bool:
    one.conn.bits |= s.TS_OK
    return bool(paws.is_stale(one.st, one.conn, tcb(), rcv, segment))


def test_paws_forgets_what_is_too_old() -> None:
    idle_s = int(One().st.params[s.PAWS_IDLE_S])
    for seconds, is_stale in ((idle_s - 1, True), (idle_s, False)):
        assert stale_of(One(T + seconds * NS), tcb(**ECHOED), seg(options=HAS_TS, tsval=1)) == is_stale


@pytest.mark.parametrize(("options", "rcv"), [
    (0, {}), (HAS_TS | TRUNCATED, {}), (HAS_TS, {"bits": s.TS_VALID}), (HAS_TS, {"ts_echoed": 0}),
])  # fmt: skip
def test_paws_needs_both_timestamps(options: int, rcv: Any) -> None:
    assert not stale_of(One(), tcb(**{**ECHOED, **rcv}), seg(options=options, tsval=(1 << 32) - 50))


@pytest.mark.parametrize(
    ("ahead", "is_other"), [(-1, True), (0, True), (1, False), (1 + (1 << 20), False), (2 + (1 << 20), True)]
)
def test_an_ack_is_of_other_numbers_than_a_syn(ahead: int, is_other: bool) -> None:
    """RFC 9293 3.10.7.3, first; a little above what was captured, the tap may have lost what was acknowledged."""
    assert bool(syn_sent.is_of_other_numbers(tcb(bits=s.ISS_KNOWN, iss=100, snd_nxt=101), 100 + ahead)) == is_other
    assert not syn_sent.is_of_other_numbers(tcb(iss=100, snd_nxt=101), 100 + ahead)


@pytest.mark.parametrize(("seq", "segments", "last_ack", "is_answer"), [
    (101, 0, 101, False), (55, 0, 1, True), (55, 1, 55, True), (55, 1, 56, False),
])  # fmt: skip
def test_a_rst_out_of_syn_sent_answers_an_ack(seq: int, segments: int, last_ack: int, is_answer: bool) -> None:
    rcv = tcb(segments=segments, last_ack=last_ack)

    assert bool(syn_sent.answers_unfit(tcb(snd_nxt=101), rcv, seg(RST, seq=seq))) == is_answer


REFUSING = {"bits": s.TS_ON_SYN, "last_flags": SYN, "first_tsval": 500}
REFUSED = {"bits": s.ECHO_VALID, "last_flags": SYN | ACK, "ts_echoed": 499, "last_ack": 77}


@pytest.mark.parametrize(("mine", "others", "seq", "refuses"), [
    ({}, {}, 77, True), ({}, {"ts_echoed": 500}, 77, False), ({}, {"ts_echoed": 501}, 77, True),
    ({"syn_repeats": 1}, {"ts_echoed": 501}, 77, False), ({"syn_repeats": 1}, {}, 77, True), ({}, {}, 78, False),
    ({}, {"ts_echoed": 0}, 77, False), ({"bits": 0}, {}, 77, False), ({}, {"bits": 0}, 77, False),
    ({"last_flags": ACK}, {}, 77, False), ({}, {"last_flags": ACK}, 77, False),
    ({"last_flags": SYN | ACK}, {}, 77, False),
])  # fmt: skip
def test_the_sender_of_a_syn_refuses_an_echo_that_it_never_sent(
    mine: Any, others: Any, seq: int, refuses: bool
) -> None:
    """Older than the SYN, or newer, where that was sent once (Linux PAWSActive)."""
    snd, rcv = tcb(**{**REFUSING, **mine}), tcb(**{**REFUSED, **others})

    assert bool(syn_sent.refuses_echo(snd, rcv, seg(RST, seq=seq))) == refuses


@pytest.mark.parametrize(("bits", "tsval", "states", "gap", "is_new"), [
    (s.ACKED, 101, (ESTABLISHED, ESTABLISHED), 0, True), (s.ACKED, 100, (ESTABLISHED, ESTABLISHED), 0, False),
    (0, 101, (ESTABLISHED, ESTABLISHED), 0, False), (s.ACKED, 0, (CLOSED, CLOSED), 0, True),
    (s.ACKED, 0, (CLOSED, CLOSED), -1, False), (s.ACKED, 0, (TIME_WAIT, CLOSED), 0, False),
    (s.ACKED, 0, (CLOSED, TIME_WAIT), 0, False), (s.NXT_KNOWN, 0, (CLOSED, CLOSED), 0, False),
])  # fmt: skip
def test_a_syn_with_the_old_isn_begins_a_new_connection(
    bits: int, tsval: int, states: tuple[int, int], gap: int, is_new: bool
) -> None:
    """By a later timestamp (RFC 7323 4.1), or when both ends have been silent for 2MSL."""
    one = One()
    one.conn.bits |= s.TS_OK
    put(one.orig, bits=bits, last_tsval=100, state=states[0], last_time=T)
    put(one.resp, state=states[1], last_time=T - 5)
    one.st.counters[s.NOW] = T + one.st.params[s.TWO_MSL] + gap

    assert bool(same_isn.begins_anew(one.st, 0, one.orig, seg(SYN, options=HAS_TS, tsval=tsval))) == is_new


REPLAYED = {"last_flags": SYN, "last_seq": 100, "iss": 100, "bits": s.ISS_KNOWN | s.ACKED}


@pytest.mark.parametrize(("mine", "others", "segment", "is_third"), [
    ({}, {}, {}, True), ({}, {"last_flags": ACK}, {}, False), ({}, {"last_seq": 200}, {}, False),
    ({"last_flags": SYN | ACK}, {}, {}, False), ({"last_flags": ACK}, {}, {}, False),
    ({"bits": s.ACKED}, {}, {}, False),
    ({}, {"bits": 0}, {}, False), ({"bits": s.ISS_KNOWN}, {}, {}, False), ({"last_seq": 99}, {}, {}, False),
    ({}, {}, {"seq": 102}, False), ({}, {}, {"ack": 302}, False), ({}, {}, {"flags": SYN | ACK}, False),
    ({}, {}, {"flags": RST | ACK}, False), ({}, {"last_len": 1}, {"ack": 302}, True),
])  # fmt: skip
def test_the_third_ack_shows_that_the_syn_was_new(mine: Any, others: Any, segment: Any, is_third: bool) -> None:
    """It acknowledges a SYN+ACK of another ISN than that of the earlier connection (RFC 9293 3.5, figure 9)."""
    one = One()
    put(one.orig, **{**REPLAYED, **mine})
    put(one.resp, **{"last_flags": SYN | ACK, "last_seq": 300, "iss": 200, "bits": s.ISS_KNOWN, **others})

    found = same_isn.is_third_ack_of_same_isn(one.st, 0, seg(**{"flags": ACK, "seq": 101, "ack": 301, **segment}))
    assert bool(found) == is_third


@pytest.mark.parametrize(("isn", "old_nxt", "is_step"), [
    (165537, 100000, True), (165536, 100000, False), (165538, 100000, False), (1, (1 << 32) - 65537, True),
    (0, (1 << 32) - 65537, True), (1, (1 << 32) - 65536, True), (2, (1 << 32) - 65537, False), (1, 5, False),
])  # fmt: skip
def test_the_isn_that_linux_gives_out_of_time_wait(isn: int, old_nxt: int, is_step: bool) -> None:
    """Old SND.NXT + 65537, and 1 for 0 (tcp_twsk_unique)."""
    assert bool(reuse.is_linux_step(isn, old_nxt)) == is_step


@pytest.mark.parametrize(("spans", "holder", "gap", "frame"), [
    ((None, None), NONE, 70, -1), (((10, -1), None), ORIG, 90, 5), ((None, (10, -1)), RESP, 90, 5),
    (((10, 20), None), ORIG, 80, 6), (((10, -1), (30, -1)), BOTH, 70, 5), (((30, 40), (10, -1)), BOTH, 60, 6),
    (((10, 0), None), ORIG, 90, 6),
])  # fmt: skip
def test_who_held_time_wait_and_since_when(spans: Any, holder: int, gap: int, frame: int) -> None:
    """The latest beginning or restart counts; without TIME-WAIT, the last segment."""
    one, row = One(T + 100), reuse_row()
    for place, (end, span) in enumerate(zip((one.orig, one.resp), spans, strict=True)):
        end.last_time = T + 30
        if span:
            end.span = place
            restart = T + span[1] if span[1] >= 0 else -1
            put(one.st.spans[place], start=T + span[0], restart=restart, start_frame=5, restart_frame=6)
    reuse.note_holder(one.st, 0, 0, row, T + 100)

    assert (row.holder, row.gap_ns, row.time_wait_frame) == (holder, gap, frame)
    assert row.is_by_holder == (spans[0] is not None)


def test_time_wait_may_begin_with_the_clock_of_the_capture() -> None:
    """At 0: a time like any other."""
    one, row = One(100), reuse_row()
    put(one.orig, span=0, last_time=30)
    put(one.st.spans[0], start=0, restart=-1, start_frame=5)
    reuse.note_holder(one.st, 0, 0, row, 100)

    assert (row.gap_ns, row.time_wait_frame) == (100, 5)


@pytest.mark.parametrize(("frame", "flags", "length", "seq", "is_otherwise"), [
    (8, ACK, 1, 50, True), (7, ACK, 1, 50, False), (8, ACK, 0, 50, False), (8, ACK, 0, 51, True),
    (8, FIN | ACK, 0, 50, True),
    (8, SYN, 1, 50, False), (8, RST, 1, 50, False),
])  # fmt: skip
def test_an_old_segment_demands_an_ack_of_its_own(
    frame: int, flags: int, length: int, seq: int, is_otherwise: bool
) -> None:
    """Sent after the SYN: text, a FIN, or what is not at RCV.NXT (RFC 9293 3.10.7.4)."""
    one, row = One(), reuse_row(last_syn_frame=7, old_sender_nxt=50)
    put(one.orig, last_frame=frame, last_flags=flags, last_len=length, last_seq=seq)

    assert bool(reuse.is_asked_otherwise(one.st, 0, row, 1)) == is_otherwise


@pytest.mark.parametrize(("answer", "state", "acceptance", "seen", "fin", "is_explained"), [
    (ANSWER_CHALLENGE, ESTABLISHED, 0, 0, -1, True), (ANSWER_RST, ESTABLISHED, 0, 0, -1, True),
    (ANSWER_SYN_ACK, ESTABLISHED, 0, ACKS, 5, False), (ANSWER_NONE, LAST_ACK, 0, ACKS, -1, True),
    (ANSWER_NONE, LAST_ACK, 0, 0, -1, False), (ANSWER_NONE, LAST_ACK, 0, 0, 5, True),
    (ANSWER_NONE, TIME_WAIT, ACCEPT, ACKS, -1, False), (ANSWER_NONE, TIME_WAIT, ACCEPT_PAWS_REJECT, 0, -1, True),
])  # fmt: skip
def test_what_explains_a_retransmitted_syn(
    answer: int, state: int, acceptance: int, seen: int, fin: int, is_explained: bool
) -> None:
    row = reuse_row(answer=answer, receiver_state=state, acceptance=acceptance, observed=seen, fin_repeat_frame=fin)

    assert bool(reuse.is_retry_explained(row)) == is_explained


@pytest.mark.parametrize(("state", "acked_at", "gap", "entered", "waits", "is_likely"), [
    (CLOSED, T, NS, False, True, True), (CLOSED, T, NS + 1, False, True, False), (LAST_ACK, T, 0, False, True, False),
    (CLOSED, -1, 0, False, True, False), (CLOSED, T, 0, True, True, False), (CLOSED, T, 0, False, False, False),
])  # fmt: skip
def test_last_ack_is_likely_for_a_second(
    state: int, acked_at: int, gap: int, entered: bool, waits: bool, is_likely: bool
) -> None:
    """A FIN whose ACK was lost is retransmitted by then (RFC 6298 2.4)."""
    one = One()
    put(one.orig, state=state, fin_acked_time=acked_at, bits=s.ENTERED_FIN_WAIT_1 if entered else 0)
    one.orig.pending = 1 if waits else 0
    one.orig.pending_event[0] = RCV_ACK_OF_FIN

    assert bool(syn_in_time_wait.may_be_in_last_ack(one.st, 0, T + gap)) == is_likely


@pytest.mark.parametrize(("acceptance", "stale", "refused", "restarts"), [
    (ACCEPT, 1, 1, False), (ACCEPT_NOT_TIME_WAIT, 1, 1, False), (ACCEPT_PAWS_REJECT, 1, 0, True),
    (ACCEPT_PAWS_REJECT, 0, 1, False), (ACCEPT_CHALLENGE, 0, 1, True), (ACCEPT_DROP, 1, 0, False),
])  # fmt: skip
def test_a_refused_syn_restarts_2msl_where_the_stack_does_so(
    acceptance: int, stale: int, refused: int, restarts: bool
) -> None:
    one = One()
    one.st.params[s.RESTART_STALE_SYN], one.st.params[s.RESTART_REFUSED_SYN] = stale, refused

    assert bool(syn_in_time_wait.is_restarting(one.st, reuse_row(acceptance=acceptance))) == restarts


@pytest.mark.parametrize(("bits", "nxt", "sent", "lacks"), [
    (KNOWN, 111, 10, False), (KNOWN, 112, 10, False), (KNOWN, 113, 10, True), (KNOWN | s.FIN_SENT, 113, 10, False),
    (KNOWN | s.FIN_SENT, 114, 10, True), (s.NXT_KNOWN, 999, 10, False), (s.ISS_KNOWN, 999, 10, False),
    (KNOWN | s.NXT_ACKED, 111, 10, True), (KNOWN, 100, 0, False), (KNOWN, (101 + (1 << 31) - 1) & 0xFFFFFFFF, 0, True),
    (KNOWN, (101 + (1 << 31)) & 0xFFFFFFFF, 0, False),
])  # fmt: skip
def test_an_endpoint_has_sent_more_than_was_captured(bits: int, nxt: int, sent: int, lacks: bool) -> None:
    """By two bytes: one may be a FIN that was not captured."""
    assert bool(observed.lacks_text(tcb(bits=bits, iss=100, snd_nxt=nxt, payload_bytes=sent))) == lacks


@pytest.mark.parametrize(("bits", "ends", "first_ack", "now", "seen"), [
    (s.SAW_ACK, 0, -1, 0, True), (s.SAW_PLAIN, 0, T, 10, False), (0, s.FIN_SENT, T, 10, False), (0, 0, -1, 10, False),
    (0, 0, T + 5, 6, True), (0, 0, T + 5, 5, False),
])  # fmt: skip
def test_acks_are_captured(bits: int, ends: int, first_ack: int, now: int, seen: bool) -> None:
    """The connection shows one, or, where none was due yet, the capture has shown one before now."""
    one = One(T + now)
    one.conn.bits = bits
    one.st.counters[s.FIRST_ACK] = first_ack
    for order in ((one.orig, one.resp), (one.resp, one.orig)):
        put(order[0], bits=ends, last_time=T)
        put(order[1], bits=0, last_time=T)
        assert bool(observed.are_acks_seen(one.st, one.conn, one.orig, one.resp)) == seen


def test_acks_that_came_when_the_connection_may_have_been_forgotten_do_not_count() -> None:
    one = One(T + 10**15)
    remembered = int(one.st.params[s.REMEMBER_AT_LEAST])
    put(one.orig, last_time=T)
    for first_ack, seen in ((T + remembered - 1, True), (T + remembered, False)):
        one.st.counters[s.FIRST_ACK] = first_ack
        assert bool(observed.are_acks_seen(one.st, one.conn, one.orig, one.resp)) == seen


@pytest.mark.parametrize(("change", "missing"), [
    ({}, 0), ({"bits": s.SAW_ACK | s.CUT_OPTIONS}, OPTIONS), ({"bits": s.SAW_ACK | s.HIDDEN_TEXT}, PAYLOAD),
    ({"bits": 0}, ACKS), ({"syn": -1}, OPENING), ({"segments": 0}, BOTH_DIRECTIONS),
    ({"segments": 0, "bits": s.SAW_ACK | s.ONE_SOCKET}, 0),
])  # fmt: skip
def test_what_can_be_seen_of_a_connection(change: dict[str, int], missing: int) -> None:
    one = One()
    one.conn.bits = change.get("bits", s.SAW_ACK)
    put(one.orig, syn_frame=change.get("syn", 1), segments=1)
    put(one.resp, segments=change.get("segments", 1))

    everything = OPTIONS | OPENING | BOTH_DIRECTIONS | PAYLOAD | ACKS
    assert observed.observed(one.st, 0) == everything & ~missing


@pytest.mark.parametrize(("bits", "options", "repeats", "expected"), [
    (s.TS_ON_SYN, HAS_TS, 0, (1, 500, 20)), (s.TS_ON_SYN, 0, 0, (1, 500, 0)), (0, HAS_TS, 0, (0, 0, 0)),
])  # fmt: skip
def test_the_syn_that_met_an_unseen_connection(
    bits: int, options: int, repeats: int, expected: tuple[int, ...]
) -> None:
    """Its timestamp is compared with what its receiver echoes, where both have one."""
    row, orig = reuse_row(time=T, retry_frame=-1, waited_ns=-1), tcb(bits=bits, iss=300, last_tsval=500, last_frame=4)
    put(orig, last_time=T + 9, syn_repeats=repeats, syn_frame=3)
    unseen_reuse.note_own_syn(row, orig, seg(ack=200, options=options, tsecr=480))

    assert (row.has_ts, row.tsval, row.tsval_delta) == expected
    assert (row.isn_delta, row.syn_retries, row.retry_frame, row.waited_ns) == (100, 0, -1, -1)
    put(orig, syn_repeats=1)
    unseen_reuse.note_own_syn(row, orig, seg(ack=200))
    assert (row.syn_retries, row.retry_frame, row.waited_ns) == (1, 4, 9)


@pytest.mark.parametrize(("ack", "length", "state", "is_inferred"), [
    (101, 1, SYN_SENT, True), (101, 0, SYN_SENT, False), (100, 1, SYN_SENT, False), (102, 1, SYN_SENT, False),
    (101, 1, ESTABLISHED, False),
])  # fmt: skip
def test_text_that_acknowledges_a_syn_shows_that_a_syn_ack_was_sent(
    ack: int, length: int, state: int, is_inferred: bool
) -> None:
    """It was not captured; a bare ACK may be a challenge ACK (RFC 5961 4.2)."""
    one = One()
    put(one.orig, state=state, iss=100, snd_nxt=101, bits=KNOWN)
    ack_evidence.ack_proves_handshake(one.st, 1, seg(ack=ack, payload_len=length), ack)

    assert one.resp.state == (SYN_RECEIVED if is_inferred else CLOSED)


@pytest.mark.parametrize(("ack", "seq", "flags", "payload", "is_over"), [
    (201, 101, ACK, False, False), (202, 101, ACK, False, True), (201, 102, ACK, False, True),
    (201, 100, ACK, False, True),
    (202, 101, SYN | ACK, False, False), (202, 102, ACK, True, False),
])  # fmt: skip
def test_more_than_the_handshake_shows_the_third_ack(
    ack: int, seq: int, flags: int, payload: bool, is_over: bool
) -> None:
    """Whoever has sent or got more is ESTABLISHED; not where the SYN carried data (RFC 7413)."""
    one = One()
    put(one.orig, iss=200, bits=KNOWN | (s.SYN_PAYLOAD if payload else 0))
    put(one.resp, state=SYN_RECEIVED, iss=100, bits=KNOWN)
    ack_evidence.ack_proves_handshake(one.st, 1, seg(flags, seq=seq, ack=ack), ack)

    assert one.resp.state == (ESTABLISHED if is_over else SYN_RECEIVED)


@pytest.mark.parametrize(("ack", "bits", "is_opened"), [(201, KNOWN, True), (200, KNOWN, False), (201, 0, False)])
def test_an_ack_above_the_peers_isn_shows_its_syn_ack(ack: int, bits: int, is_opened: bool) -> None:
    one = One()
    put(one.orig, state=SYN_SENT, iss=100, snd_nxt=101, bits=KNOWN)
    put(one.resp, iss=200, bits=bits)
    ack_evidence.ack_proves_handshake(one.st, 0, seg(seq=101, ack=ack), ack)

    assert one.orig.state == (ESTABLISHED if is_opened else SYN_SENT)


@pytest.mark.parametrize(("state", "bits", "is_inferred"), [
    (CLOSED, s.NXT_KNOWN, True), (CLOSED, s.ISS_KNOWN, False), (CLOSED, s.RST_SENT, False),
    (CLOSED, s.RST_TAKEN, False),
    (ESTABLISHED, 0, False),
])  # fmt: skip
def test_a_syn_ack_is_inferred_where_nothing_is_known(state: int, bits: int, is_inferred: bool) -> None:
    one = One()
    put(one.resp, state=state, bits=bits)
    ack_evidence.infer_syn_ack(one.st, 1, T, 5)

    assert one.resp.state == (SYN_RECEIVED if is_inferred else state)
