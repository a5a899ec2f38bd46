"""Every named number of the rules: the value that the pages tell, and rows on both sides of it.

The value stands here once more, so that nobody changes one by accident; the rows are made from the number itself.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import tcptrace_tw.rules
from tcptrace_tw.keyed_hash import new_seed
from tcptrace_tw.protocol.states import ESTABLISHED, FIN_WAIT_2
from tcptrace_tw.protocol.states import TIME_WAIT as TIME_WAIT_STATE
from tcptrace_tw.rules import caveats, predicates
from tcptrace_tw.rules.catalogue import (
    aborts,
    capture,
    capture_times,
    connects,
    half_close,
    handshake,
    icmp,
    idle,
    last_ack,
    middlebox_resets,
    no_socket,
    paws,
    ports,
    reset_effects,
    reuse,
    silence,
    syn_in_open_connection,
    time_wait,
    time_wait_cut_short,
    timestamp_clocks,
    timestamps,
)
from tcptrace_tw.rules.decisions import connect_suspects, reset_causes, syn_answers
from tcptrace_tw.rules.deferred import DeferredFindings
from tcptrace_tw.rules.rule import Mask, Rule
from tcptrace_tw.rules.runner import bounded, grade
from tcptrace_tw.schema.columns import (
    ANOMALIES,
    CAPTURE,
    CLOCKS,
    CONNECTS,
    FIN,
    HOLDERS,
    ICMP_ERRORS,
    IDLES,
    PORTS,
    RESETS,
    REUSES,
    SCANS,
    SERVICES,
    STALE_SEGMENTS,
    SYN,
    TIME_WAIT,
    Table,
)
from tcptrace_tw.schema.words import (
    CONFIRMED,
    DATA_LOST,
    ERROR,
    NOTICE,
    ORIG,
    SUSPECT_FILTERED,
    SUSPECT_TIMESTAMPS,
    WARNING,
)
from tests.report_rows import blank
from tests.report_rows import rule as synthetic

FROM, TO, BELOW = (0, -1), (0, 1), (-1, 0)
"""Where it holds and where it does not any more, beside the number: from it on, up to it, only below it."""


class Pair(NamedTuple):
    """A named number, and what decides by it: ``holds`` of a row whose ``column`` is near it."""

    name: str
    value: int
    holds: Callable[[Any], Mask]
    table: Table
    column: str
    others: dict[str, int]
    side: tuple[int, int] = FROM
    offset: int = 0
    """By how much the column differs from the number, where it is compared with more than the number."""

    @property
    def number(self) -> int:
        """As the module has it now; where it has no name, as it is written here."""
        if not self.name:
            return self.value
        module, _, name = self.name.rpartition(".")
        return int(getattr(importlib.import_module(f"tcptrace_tw.rules.{module}"), name))

    def says(self, beside: int) -> bool:
        """What is decided of a row in which the column differs from the number by so much."""
        rows = blank(self.table)
        for column, value in {**self.others, self.column: self.number + self.offset + beside}.items():
            rows[column] = value
        return bool(self.holds(rows)[0])


def severity(rule: Rule, wanted: int) -> Callable[[Any], Mask]:
    """Whether the grades give this severity."""
    return lambda rows: grade(rule, rows)[0] == wanted


def confidence(rule: Rule, wanted: int) -> Callable[[Any], Mask]:
    """Whether the grades give this confidence."""
    return lambda rows: grade(rule, rows)[1] == wanted


def figures(rows: Any) -> dict[str, int]:
    """What ``caveats`` wants to know of the capture."""
    return {name: int(rows[name][0]) for name in rows.dtype.names}


SECOND = 1_000_000_000
ECHO = {"is_bare": 1, "is_echo": 1, "has_plain": 1}
UNTOLD = {"is_repeat": 0, "verdict": 255}
WAITED = {"sender_state": FIN_WAIT_2, **ECHO}
RECYCLED = {"has_shared_clock": 1, "has_server_time_wait": 1}
PROBING = {"endpoint": ORIG, "receiver_state": ESTABLISHED, "sender_state": ESTABLISHED}
CONNECTED = {"syn_retries": 1, "answer_frame": 9, "reset_frame": 10, "opened_frame": 12, "late_retry_frame": -1}
SURE_CLOCKS = {"clocks": 2, "ignored": 3, "ignored_stale": 3}

PAIRS = (
    Pair("reset_signs.FIN_WAIT_2_NS", 60 * SECOND, half_close.fin_wait_2_timeout_reset, RESETS, "fin_wait_2_ns", {**WAITED, "trigger_len": 1}),
    Pair("reset_signs.SHORTEST_FIN_WAIT_2_NS", SECOND, half_close.fin_wait_2_timeout_reset, RESETS, "fin_wait_2_ns", {**WAITED, "trigger_flags": FIN}),
    Pair("reset_signs.FAR_NS", 2_000_000, reset_causes.is_too_soon, RESETS, "rtt_ns", {**ECHO, "sender_segments": 2, "trigger_frame": 1, "trigger_gap_ns": 0}),
    Pair("reset_signs.HOPS", 2, reset_causes.has_other_ttl, RESETS, "ttl_delta", {"is_ttl_steady": 1}),
    Pair("reset_signs.HOPS", 2, no_socket.looks_like_a_hosts, RESETS, "ttl_delta", {**ECHO, "trigger_frame": 1}, BELOW),
    Pair("reset_signs.KNOWN_SEGMENTS", 3, reset_causes.has_other_ttl, RESETS, "sender_segments", {"ttl_delta": 2}),
    Pair("reset_signs.GIVES_UP", 3, reset_causes.gave_up, RESETS, "retransmits", {}),
    Pair("reset_signs.GIVES_UP", 3, reset_causes.gave_up, RESETS, "retransmits", {"bytes_in_flight": 1}, offset=-1),
    Pair("reset_signs.SECOND_NS", SECOND, reset_effects.peer_gone_after_rst, RESETS, "vain_ns", {**UNTOLD, "vain_segments": 3}),
    Pair("reset_signs.ANSWER_NS", SECOND // 2, aborts.is_drawn_by_data, RESETS, "received_gap_ns", {**ECHO, "unacked_bytes": 1}, TO),
    Pair("reset_signs.FORGETS_NS", 10 * SECOND, no_socket.is_silent_for_long, RESETS, "silence_ns", {}),
    Pair("caveats.CONTROL_ONLY_CONNECTIONS", 20, capture.control_only_capture, CAPTURE, "connections", {}),
    Pair("caveats.SWAPS", 3, capture_times.tap_reordering, CAPTURE, "swaps", {}),
    Pair("caveats.SWAPS", 3, lambda rows: np.array([caveats.caveats(figures(rows), keeps_duplicates=False).is_reordered]), CAPTURE, "swaps", {}),
    Pair("decisions.syn_answers.IN_VAIN", 2, syn_answers.never_worked, REUSES, "syn_retries", {}),
    Pair("decisions.reset_causes.IP_ID_LEAP", 1024, reset_causes.has_other_ip_id, RESETS, "ip_id_delta", {"is_ip_id_counter": 1}),
    Pair("decisions.reset_causes.AT_ONCE_NS", SECOND, reset_causes.is_soon_after_handshake, RESETS, "own_gap_ns", {}, BELOW),
    Pair("decisions.reset_causes.PROBES", 2, reset_causes.gave_up, RESETS, "probes", {"own_gap_ns": SECOND}),
    Pair("decisions.reset_causes.PROBE_INTERVAL_NS", SECOND, reset_causes.gave_up, RESETS, "own_gap_ns", {"probes": 2}),
    Pair("decisions.reset_causes.LEAST_RTO_NS", SECOND // 5, reset_causes.gave_up, RESETS, "trigger_gap_ns", {"retransmits": 3}),
    Pair("catalogue.icmp.RETRIES", 2, severity(icmp.CONNECT_UNDELIVERABLE, WARNING), ICMP_ERRORS, "most_retries", {"connections": 1}),
    Pair("catalogue.timestamp_clocks.MANY_ANSWERED", 50, timestamp_clocks.tw_recycle_drop, CLOCKS, "answered", {**SURE_CLOCKS, **RECYCLED, "answered_stale": 1}),
    Pair("catalogue.idle.RACE_NS", SECOND, idle.keep_alive_race, ANOMALIES, "race_gap_ns", {"is_race_lost": 1, "endpoint": ORIG}, TO),
    Pair("catalogue.idle.CLOSES", 2, idle.idle_connections_closed, IDLES, "closes", {"longest_close_ns": SECOND, "shortest_close_ns": SECOND}),
    Pair("catalogue.idle.SECOND_NS", SECOND, idle.idle_connections_closed, IDLES, "longest_close_ns", {"closes": 2, "shortest_close_ns": 0}, TO, -SECOND // 2),
    Pair("catalogue.half_close.DAY_NS", 86_400 * SECOND, confidence(half_close.HALF_CLOSE_LONG, CONFIRMED), ANOMALIES, "half_closed_ns", {}, BELOW),
    Pair("catalogue.half_close.LEFT_OPEN", 10, half_close.close_wait_leak, SERVICES, "left_in_close_wait", {}),
    Pair("catalogue.handshake.FIRST_RTO_NS", SECOND, handshake.syn_retry_cost, ANOMALIES, "handshake_ns", {"syn_retry_frame": 2}, offset=-20_000_000),
    Pair("catalogue.handshake.ROUNDING_NS", 20_000_000, handshake.syn_retry_cost, ANOMALIES, "handshake_ns", {"syn_retry_frame": 2}, offset=960_000_000),
    Pair("catalogue.handshake.DEFERRED_NS", 5 * SECOND, handshake.is_deferred, ANOMALIES, "synack_repeat_ns", {"synack_repeats": 1}),
    Pair("catalogue.handshake.REMEMBERED_NS", 240 * SECOND, handshake.is_on_reused_port, ANOMALIES, "reuse_gap_ns", {}, TO),
    Pair("catalogue.handshake.LOST", 3, severity(handshake.ACCEPT_QUEUE_FULL, ERROR), ANOMALIES, "peer_retransmits", {"first_data": DATA_LOST}),
    Pair("catalogue.ports.PINNED_REUSES", 20, ports.works_by_reuse, PORTS, "reuses_inside", {}),
    Pair("catalogue.ports.PINNED_REUSES", 20, ports.is_squeezed, PORTS, "reuses_at_expiry", {"most_used": 19, "lowest_port": 1, "highest_port": 20, "range_size": 28232}),
    Pair("catalogue.ports.LASTING_NS", 60 * SECOND, ports.is_slowed, PORTS, "full_ns", {"reuses_at_expiry": 20, "opened_full": 1, "filling_ns": 0}),
    Pair("catalogue.ports.FLOOR_REUSES", 5, ports.living_on_tw_reuse, PORTS, "reuses_at_floor", {}),
    Pair("catalogue.ports.EVEN_FIRST", 100, ports.even_half_used, PORTS, "even_before_odd", {}),
    Pair("catalogue.reset_effects.SENDS_ON", 3, reset_effects.peer_gone_after_rst, RESETS, "vain_segments", {**UNTOLD, "vain_ns": SECOND}),
    Pair("catalogue.time_wait.SERVER_CLOSES", 20, time_wait.tw_on_server, SERVICES, "closed_by_server", {"closed": 20}),
    Pair("catalogue.aborts.AT_ONE_GO_NS", SECOND // 100, aborts.is_at_once, RESETS, "fin_gap_ns", {}, BELOW),
    Pair("catalogue.timestamps.STAYS", 3, timestamps.sender_ts_broken, ANOMALIES, "ts_back_segments", {}),
    Pair("catalogue.time_wait_cut_short.ANSWER_NS", SECOND // 2, time_wait_cut_short.is_drawn_by_stray, TIME_WAIT, "end", {"restarts": 1, "restart": 0}, TO),
    Pair("catalogue.reuse.SURE_GAP_NS", 30 * SECOND, confidence(reuse.REUSE_INSIDE_2MSL, CONFIRMED), REUSES, "gap_ns", {"opened_frame": 9, "completed_frame": 10, "observed": 255}, BELOW),
    Pair("catalogue.reuse.SURE_GAP_NS", 30 * SECOND, confidence(reuse.REUSE_INSIDE_2MSL, CONFIRMED), REUSES, "gap_ns", {"opened_frame": 9, "has_ts": 1}, BELOW),
    Pair("catalogue.paws.STALL_NS", SECOND, paws.hurts, STALE_SEGMENTS, "acked_time", {"time": 0}),
    Pair("catalogue.connects.PROBE_NS", 10 * SECOND, connects.is_probe, CONNECTS, "longest_wait_ns", {"suspect": SUSPECT_FILTERED, "failed": 1}, BELOW),
    Pair("catalogue.connects.UNHEARD", 2, connects.syn_ack_not_received, ANOMALIES, "unheard_syns", {"is_deaf": 1}),
    Pair("catalogue.connects.UNHEARD", 2, connects.syn_ack_reset, ANOMALIES, "unheard_syns", {"rst_frame": 3, "unheard_frame": 4, "handshake_ns": -1}),
    Pair("predicates.SEVERAL", 3, connects.connects_refused, CONNECTS, "refused", {}),
    Pair("catalogue.connects.REFUSALS", 10, severity(connects.CONNECTS_REFUSED, WARNING), CONNECTS, "refused", {}),
    Pair("catalogue.silence.LONG_RUN_NS", 5 * SECOND, severity(silence.DATA_UNANSWERED, WARNING), ANOMALIES, "unanswered_ns", {}),
    Pair("catalogue.silence.LONG_RUN_NS", 5 * SECOND, confidence(silence.DATA_UNANSWERED, CONFIRMED), ANOMALIES, "unanswered_ns", {"is_peer_gone": 1}),
    Pair("catalogue.silence.SHORT_RUN_NS", SECOND, silence.data_unanswered, ANOMALIES, "unanswered_ns", {"unanswered": 1}),
    Pair("catalogue.silence.LARGE", 1000, silence.are_large_lost, ANOMALIES, "unanswered_bytes", {"is_sacked_beyond": 1}),
    Pair("catalogue.silence.LEAST_DROP_NS", 20 * SECOND, silence.data_unanswered, ANOMALIES, "unanswered_silence_ns", {"unanswered": 1, "unanswered_ns": SECOND}, BELOW),
    Pair("predicates.STALL_NS", SECOND, syn_answers.stalls, REUSES, "cost_ns", {}),
    Pair("predicates.STALL_NS", SECOND, severity(syn_in_open_connection.SYN_CHALLENGED_UNSEEN, ERROR), REUSES, "cost_ns", CONNECTED),
    Pair("predicates.SEVERAL", 3, silence.silent_after_handshake, SERVICES, "silent_after_handshake", {}),
    Pair("predicates.SEVERAL", 3, connects.connect_unanswered, CONNECTS, "unanswered", {}),
    Pair("predicates.SURE", 3, confidence(timestamp_clocks.TW_RECYCLE_DROP, CONFIRMED), CLOCKS, "ignored", {"clocks": 2, "answered": 3}),
    Pair("predicates.SURE", 3, confidence(timestamp_clocks.TW_RECYCLE_DROP, CONFIRMED), CLOCKS, "answered", {"clocks": 2, "ignored": 3}),
    Pair("predicates.ENOUGH", 2, severity(timestamp_clocks.TW_RECYCLE_DROP, ERROR), CLOCKS, "ignored", {"clocks": 1}),
    Pair("predicates.ENOUGH", 2, timestamp_clocks.tw_recycle_drop, CLOCKS, "answered", {**SURE_CLOCKS, **RECYCLED}),
)  # fmt: skip


def advice(rule: Rule, place: int) -> Callable[[Any], Mask]:
    """Whether this advice is given."""
    return rule.advice[place].when


def wording(rule: Rule, place: int) -> Callable[[Any], Mask]:
    """Whether this is the sentence."""
    return rule.wordings[place].when


UNNAMED = (
    Pair("", 4, connects.syn_ack_reset, ANOMALIES, "rst_frame", {"unheard_syns": 2, "unheard_frame": 4, "handshake_ns": -1}, BELOW),
    Pair("", 1, connect_suspects.are_ports_remembered, CONNECTS, "reused", {"unanswered": 1}),
    Pair("", 2, connect_suspects.are_ports_remembered, CONNECTS, "unanswered", {"reused": 2}, TO),
    Pair("", 0, connect_suspects.are_ports_remembered, CONNECTS, "reused_answered", {"unanswered": 1, "reused": 1}, TO),
    Pair("", 2, connects.is_clock_told, CONNECTS, "clocks", {"stale": 1, "clock_answered": 2, "is_waiting": 1, "suspect": SUSPECT_TIMESTAMPS}),
    Pair("", 1, connects.is_probe, CONNECTS, "failed", {"suspect": SUSPECT_FILTERED}, TO),
    Pair("", 50, severity(connects.MANY_SERVICES_TRIED, NOTICE), SCANS, "retried", {"vain": 99}),
    Pair("", 50, severity(connects.MANY_SERVICES_TRIED, NOTICE), SCANS, "vain", {"retried": 26}, TO, offset=1),
    Pair("", 2, severity(handshake.ACCEPT_QUEUE_FULL, WARNING), ANOMALIES, "synack_repeats", {}),
    Pair("", 1, handshake.is_deferred, ANOMALIES, "synack_repeats", {"synack_repeat_ns": 5 * SECOND}, TO),
    Pair("", 1, handshake.is_deferred, ANOMALIES, "synack_repeats", {"synack_repeat_ns": 5 * SECOND}),
    Pair("", 2, severity(icmp.CONNECT_UNDELIVERABLE, WARNING), ICMP_ERRORS, "connections", {}),
    Pair("", 1, idle.one_reset, IDLES, "drops", {"is_answered_by_reset": 1, "shortest_drop_ns": 1}),
    Pair("", 1, idle.one_reset, IDLES, "drops", {"is_answered_by_reset": 1}, TO),
    Pair("", 1, idle.one_lost, IDLES, "drops", {}),
    Pair("", 1, idle.one_lost, IDLES, "drops", {}, TO),
    Pair("", 2, severity(idle.IDLE_CONNECTION_DROPPED, WARNING), IDLES, "drops", {"is_answered_by_reset": 1, "shortest_drop_ns": 1}),
    Pair("", 1, wording(idle.IDLE_CONNECTION_RESET, 0), IDLES, "resets", {}, TO),
    Pair("", 21 * SECOND // 20 + SECOND // 2, idle.idle_connections_closed, IDLES, "longest_close_ns", {"closes": 2, "shortest_close_ns": SECOND}, TO),
    Pair("", 20 * SECOND, advice(middlebox_resets.RST_AFTER_SILENCE, 0), RESETS, "silence_ns", {}),
    Pair("", 2 * SECOND, ports.is_slowed, PORTS, "full_ns", {"opened_full": 30, "filling_ns": SECOND, "opened_filling": 30, "reuses_at_expiry": 15}, offset=58 * SECOND),
    Pair("", 120 * SECOND, ports.is_slowed, PORTS, "full_ns", {"opened_full": 30, "filling_ns": 60 * SECOND, "opened_filling": 30, "reuses_at_expiry": 15}),
    Pair("", 30, ports.is_slowed, PORTS, "opened_full", {"reuses_at_expiry": 15, "full_ns": 60 * SECOND}, TO),
    Pair("", 200, ports.works_by_reuse, PORTS, "connections", {"reuses_inside": 20, "opened_full": 99, "filling_ns": SECOND}, TO),
    Pair("", 19, ports.is_squeezed, PORTS, "most_used", {"reuses_at_expiry": 20, "lowest_port": 1, "highest_port": 20, "opened_full": 99, "filling_ns": 1}),
    Pair("", 999, ports.is_full, PORTS, "most_used", {"range_size": 1000}),
    Pair("", 50, ports.port_pressure, PORTS, "most_used", {"range_size": 100}),
    Pair("", 80, ports.port_pressure, PORTS, "most_used", {"range_size": 100}, BELOW),
    Pair("", 80, ports.port_near_exhaustion, PORTS, "most_used", {"range_size": 100}),
    Pair("", 40, time_wait.tw_on_server, SERVICES, "closed", {"closed_by_server": 20}, TO),
    Pair("", 2, time_wait.tw_extended_by_stale_syn, TIME_WAIT, "stale_syns", {}),
    Pair("", 2, time_wait.tw_census_peak, HOLDERS, "most_time_wait", {}),
    Pair("", 2, timestamp_clocks.tw_recycle_drop, CLOCKS, "clocks", {**RECYCLED, "ignored": 1, "ignored_stale": 1, "answered": 2}),
    Pair("", 2, confidence(timestamp_clocks.TW_RECYCLE_DROP, CONFIRMED), CLOCKS, "clocks", {"ignored": 3, "answered": 3}),
    Pair("", 2, timestamp_clocks.nat_many_clocks, CLOCKS, "clocks", {}),
    Pair("", 2, reset_causes.is_soon_after_handshake, RESETS, "sender_segments", {}, TO),
    Pair("", 2, reset_causes.is_too_soon, RESETS, "sender_segments", {**ECHO, "rtt_ns": SECOND, "trigger_frame": 1, "trigger_gap_ns": 0}),
    Pair("", SECOND // 2, reset_causes.is_too_soon, RESETS, "trigger_gap_ns", {**ECHO, "sender_segments": 2, "rtt_ns": SECOND, "trigger_frame": 1}, BELOW),
    Pair("", 100, predicates.are_many_damaged, CAPTURE, "segments", {"damaged_segments": 2, "impossible_flags": 1}, TO, 100),
    Pair("", 2, predicates.are_many_damaged, CAPTURE, "damaged_segments", {"segments": 100, "impossible_flags": 1}),
    Pair("", 100, severity(capture_times.DUPLICATE_FRAMES, NOTICE), CAPTURE, "segments", {"duplicates": 1}, TO),
    Pair("", 5, capture.one_way_capture, CAPTURE, "one_way_connections", {"long_connections": 5}),
    Pair("", 4, capture.one_way_capture, CAPTURE, "long_connections", {"one_way_connections": 4}, TO),
    Pair("", 1, reset_causes.is_probe, RESETS, "sender_segments", PROBING),
    Pair("", SYN, reset_causes.is_probe, RESETS, "trigger_flags", {**PROBING, "sender_segments": 1, "receiver_state": FIN_WAIT_2}),
    Pair("", 0, reset_causes.is_probe, RESETS, "retransmits", {**PROBING, "sender_segments": 1}, TO),
    Pair("", 0, reset_causes.is_empty, RESETS, "sent_bytes", PROBING, TO),
    Pair("", 0, reset_causes.is_empty, RESETS, "received_bytes", PROBING, TO),
    Pair("", 0, reset_causes.is_empty, RESETS, "sender_seq_delta", PROBING, TO),
    Pair("", 0, reset_causes.is_empty, RESETS, "ack_delta", PROBING, TO),
    Pair("", 1, aborts.sent_nothing, RESETS, "sender_segments", PROBING),
    Pair("", 0, aborts.sent_nothing, RESETS, "sent_bytes", {**PROBING, "sender_segments": 1}, TO),
    Pair("", 1, aborts.fin_never_arrived, RESETS, "retransmits", {**PROBING, **ECHO, "trigger_len": 1}),
    Pair("", 1, aborts.fin_never_arrived, RESETS, "trigger_len", {**PROBING, **ECHO, "retransmits": 1}),
    Pair("", 1, aborts.is_drawn_by_data, RESETS, "trigger_len", {**ECHO, "received_gap_ns": -1}),
    Pair("", 0, aborts.is_drawn_by_data, RESETS, "received_gap_ns", {**ECHO, "unacked_bytes": 1}),
    Pair("", 1, syn_answers.went_whole_way, REUSES, "syn_retries", {"answer_frame": 9, "reset_frame": 10, "opened_frame": 12, "late_retry_frame": -1}),
)  # fmt: skip
"""Numbers that stand in a rule without a name: shares, and what is one or several."""

ELSEWHERE = {
    "deferred.HABIT": 5,  # below
    "deferred.MOST_HELD": 1 << 16,  # below
    "catalogue.paws.MANY_DROPS": 3,  # below
    "early.SETTLES_NS": 400_000_000,  # tests/test_live_parts.py
    "early.WAITS_NS": 3_000_000_000,  # tests/test_live_parts.py
}


def named_numbers() -> dict[str, int]:
    """Every number of rules/ that has a name: not the codes of decision tables, and nothing imported."""
    found = {}
    for info in pkgutil.walk_packages(tcptrace_tw.rules.__path__, "tcptrace_tw.rules."):
        module = importlib.import_module(info.name)
        source = inspect.getsource(module)
        for name, value in vars(module).items():
            is_its_own = f"\n{name} = " in source or f", {name} = " in source or f"\n{name}, " in source
            if name.isupper() and type(value) is int and is_its_own:
                found[f"{info.name.removeprefix('tcptrace_tw.rules.')}.{name}"] = value
    return found


@pytest.mark.parametrize("pair", PAIRS + UNNAMED, ids=lambda pair: f"{pair.name}-{pair.column}-{pair.value}")
def test_a_rule_decides_by_its_number(pair: Pair) -> None:
    inside, outside = pair.side

    assert pair.says(inside)
    assert not pair.says(outside)


def test_every_number_has_its_value_and_its_pair() -> None:
    assert named_numbers() == {**{pair.name: pair.value for pair in PAIRS}, **ELSEWHERE}


@pytest.mark.parametrize(("milliseconds", "rtt_ns", "is_timed"), [
    (9_989, -1, False), (9_990, -1, True), (10_000, -1, True), (10_070, -1, True), (10_071, -1, False),
    (10_071, 1_000_000, True), (11_000, -1, False), (15_000, -1, True), (16_000, -1, False), (5_060, -1, True),
    (5_061, -1, False),
])  # fmt: skip
def test_people_set_timers_to_whole_seconds(milliseconds: int, rtt_ns: int, is_timed: bool) -> None:
    """Up to ten, or to a multiple of five; they are never early, and a little late, the more the longer they run."""
    rows = blank(RESETS)
    rows.silence_ns, rows.rtt_ns = milliseconds * 1_000_000, rtt_ns

    assert aborts.is_timed(rows).tolist() == [is_timed]


@pytest.mark.parametrize("drops", [2, 3])
def test_several_drops_in_one_connection_hurt(drops: int) -> None:
    rows = blank(STALE_SEGMENTS, drops + 1)
    rows.connection_id = [1] * drops + [2]

    assert paws.hurts(rows).tolist() == [drops >= paws.MANY_DROPS] * drops + [False]


class Closes:
    """Stands for ``Endings``: how often an endpoint closed, aborted, and left data unacknowledged."""

    def __init__(self, aborts: int, closes: int = 0, unacked: int = 0) -> None:
        self.aborts, self.closes, self.unacked = aborts, closes, unacked

    def of(self, rows: Any) -> tuple[Any, Any, Any]:
        return tuple(np.full(rows.size, number) for number in (self.closes, self.aborts, self.unacked))  # type: ignore[return-value]


@pytest.mark.parametrize(("closes", "is_habit"), [
    (Closes(4), False), (Closes(5), True), (Closes(5, closes=1), False), (Closes(5, unacked=1), False),
])  # fmt: skip
def test_five_aborts_and_no_close_are_a_habit(closes: Closes, is_habit: bool) -> None:
    deferred = DeferredFindings(compiled=False, seed=new_seed())
    deferred._endings = closes  # type: ignore[assignment]

    assert deferred._are_habits(blank(RESETS)).tolist() == [is_habit]


@pytest.mark.parametrize(("waiting", "is_full"), [((1 << 16) - 1, False), (1 << 16, True)])
def test_so_many_findings_wait(waiting: int, is_full: bool) -> None:
    deferred = DeferredFindings(compiled=False, seed=new_seed())
    deferred._size = waiting

    assert deferred.is_full == is_full


@pytest.mark.parametrize(("numbers", "is_set", "are_joined"), [
    ((0, 0, -1), False, False), ((1, 1, -1), True, False), ((1, 0, -1), False, True), ((0, 1, -1), False, False),
    ((0, 0, 0), True, False), ((2, 2, -1), True, False),
])  # fmt: skip
def test_the_clock_was_set_or_files_were_joined(numbers: tuple[int, int, int], is_set: bool, are_joined: bool) -> None:
    """One step back is enough: with connections that go on it is the clock, without them the files were joined."""
    assert caveats.is_clock_set(*numbers) == is_set
    assert caveats.are_files_joined(*numbers[:2]) == are_joined


@pytest.mark.parametrize(("long", "one_way", "holds"), [(0, 0, False), (1, 1, True), (5, 4, False), (100, 81, True)])
def test_more_than_four_fifths_show_one_direction(long: int, one_way: int, holds: bool) -> None:
    assert caveats.is_one_way(long, one_way) == holds


@pytest.mark.parametrize(("connections", "plain", "vain", "holds"), [
    (20, 0, 0, True), (19, 0, 0, False), (20, 1, 0, False), (20, 0, 1, False), (25, 0, 5, True),
])  # fmt: skip
def test_twenty_connections_without_acks_were_filtered(connections: int, plain: int, vain: int, holds: bool) -> None:
    assert caveats.is_control_only(connections, plain, vain) == holds


@pytest.mark.parametrize(("attempts", "connections", "holds"), [(0, 0, False), (1, 0, True), (0, 1, True)])
def test_whatever_was_forgotten_early_shows_the_bound_of_memory(attempts: int, connections: int, holds: bool) -> None:
    rows = blank(CAPTURE)
    rows.forgotten_attempts, rows.forgotten_connections = attempts, connections

    assert capture.memory_bound(rows).tolist() == [holds]


@pytest.mark.parametrize(("change", "holds"), [
    ({}, True), ({"is_bare": 0}, False), ({"is_echo": 0}, False), ({"has_plain": 0}, False),
    ({"sender_state": ESTABLISHED}, False), ({"is_syn_pending": 1}, False), ({"is_stale_ack_answer": 1}, False),
    ({"trigger_flags": 0}, False), ({"trigger_len": 1}, False), ({"unacked_bytes": 1}, False),
])  # fmt: skip
def test_a_fin_draws_a_rst_after_the_timer_of_fin_wait_2(change: dict[str, int], holds: bool) -> None:
    """Only a bare RST that echoes its ACK field, out of FIN-WAIT-2, and not one that answers a challenge ACK."""
    rows = blank(RESETS)
    for name, value in {**WAITED, "trigger_flags": FIN, "fin_wait_2_ns": SECOND, **change}.items():
        rows[name] = value

    assert half_close.fin_wait_2_timeout_reset(rows).tolist() == [holds]


@pytest.mark.parametrize(("least", "most", "kept"), [
    (10, None, [-1, 10, 11]), (None, 10, [-1, 0, 9, 10]), (10, 10, [-1, 10]), (11, 9, [-1]),
])  # fmt: skip
def test_the_least_and_the_most_of_a_threshold_are_within_it(
    least: int | None, most: int | None, kept: list[int]
) -> None:
    """A row with just the number that the policy names is still found, and so is one whose number is not known."""
    rows = blank(REUSES, 5)
    rows.gap_ns = [-1, 0, 9, 10, 11]
    rule = bounded(synthetic(predicate=lambda rows: np.ones(rows.size, np.bool_)), [("RU002", "gap_ns", least, most)])

    assert rows.gap_ns[rule.predicate(rows)].tolist() == kept


IN_TIME_WAIT = {"fin_frame": 1, "sender_state": TIME_WAIT_STATE, "time_wait_gap_ns": 5, "trigger_gap_ns": 5}
PAST_THE_STACK = {
    **ECHO,
    "fin_frame": -1,
    "trigger_flags": SYN,
    "sender_segments": 1,
    "window": 1,
    "continued_frame": 9,
    "continued_data_frame": 9,
}
LONG_SILENT = {
    "is_bare": 1,
    "has_plain": 1,
    "trigger_gap_ns": 10 * SECOND,
    "sender_state": ESTABLISHED,
    "fin_frame": -1,
}

CONDITIONS: tuple[tuple[Callable[[Any], Mask], Table, dict[str, int], dict[str, int]], ...] = (
    (predicates.are_many_damaged, CAPTURE, {"damaged_segments": 2, "segments": 200, "impossible_flags": 1}, {"impossible_flags": 0}),
    (last_ack.had_no_answer, RESETS, {"retransmits": 1}, {"retransmits": 0}),
    (reset_causes.has_unread, RESETS, {"window": 1, "window_missing": 9, "received_bytes": 9, "is_window_low": 1}, {"window": 0}),
    (reset_causes.is_gone, RESETS, {**IN_TIME_WAIT, "unacked_bytes": 0}, {"unacked_bytes": 1}),
    (reset_causes.is_after_silence, RESETS, {**LONG_SILENT, "own_gap_ns": 10 * SECOND}, {"own_gap_ns": 0}),
    (confidence(no_socket.RST_NO_SOCKET, CONFIRMED), RESETS, PAST_THE_STACK, {"trigger_flags": 0}),
    (confidence(no_socket.RST_NO_SOCKET, CONFIRMED), RESETS, PAST_THE_STACK, {"continued_frame": -1}),
)  # fmt: skip
"""What decides, a row of which it holds, and what must be otherwise for it not to hold."""


@pytest.mark.parametrize(("holds", "table", "known", "otherwise"), CONDITIONS)
def test_a_condition_holds_until_one_column_is_otherwise(
    holds: Callable[[Any], Mask], table: Table, known: dict[str, int], otherwise: dict[str, int]
) -> None:
    for columns, expected in ((known, True), ({**known, **otherwise}, False)):
        rows = blank(table)
        for name, value in columns.items():
            rows[name] = value

        assert holds(rows).tolist() == [expected]
