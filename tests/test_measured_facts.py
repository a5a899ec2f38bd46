"""Facts of several connections together: who was answered meanwhile, a longer 2MSL, silent services; and damage."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tcptrace_tw.capture.damage import Damage, is_impossible
from tcptrace_tw.measure.meanwhile import Meanwhile
from tcptrace_tw.measure.silent_services import SilentServices
from tcptrace_tw.measure.two_msl import LongerTwoMsl
from tcptrace_tw.protocol.states import LAST_ACK
from tcptrace_tw.schema import words as w
from tcptrace_tw.schema.columns import ACK, CONNECTIONS, FIN, PSH, REUSES, RST, SERVICES, SYN, URG
from tcptrace_tw.schema.columns import TIME_WAIT as SPANS
from tcptrace_tw.schema.segments import allocate

SECOND = 1_000_000_000
T = 1_700_000_000 * SECOND


def records(table: Any, count: int, **columns: Any) -> Any:
    rows = np.zeros(count, table.dtype).view(np.recarray)
    for column in table.columns:
        if column.name in table.dtype.names and column.kind in ("id", "frame", "time", "ns"):
            rows[column.name] = -1
    for name, value in columns.items():
        rows[name] = value
    return rows


def connects(times: list[int], *, answered: bool, first_id: int = 100) -> Any:
    rows = records(
        CONNECTIONS, len(times), first_time=times, orig_syn_frame=1, resp_ip_lo=7, resp_port=80,
        resp_syn_frame=2 if answered else -1, close=w.CLOSE_OPEN if answered else w.CLOSE_REFUSED,
    )  # fmt: skip
    rows.connection_id = np.arange(first_id, first_id + len(times))
    return rows


def refused_syn() -> Any:
    return records(
        REUSES, 1, attempt_id=1, previous_connection_id=9, time=T, waited_ns=SECOND, peer_ip_lo=7, peer_port=80,
        answer=w.ANSWER_REFUSED, is_last_ack_likely=1, receiver_state=LAST_ACK,
    )  # fmt: skip


def meanwhile(*chunks: Any) -> str:
    """What is found, whatever comes first: the connects or the SYN."""
    found = set()
    for order in (chunks, chunks[::-1]):
        looks = Meanwhile()
        for chunk in order:
            if chunk.dtype == REUSES.dtype:
                assert looks.hold(chunk).size == 0
            else:
                looks.see(chunk)
        rows = looks.release()
        found.add(w.MEANWHILE.words[rows["meanwhile"][0]])
    (word,) = found
    return word


def test_others_that_are_answered_tell_of_the_service() -> None:
    """Those after the SYN count first; where there are none, those before it."""
    before, after = T - SECOND, T + SECOND
    syn = refused_syn()

    assert meanwhile(syn, connects([after], answered=True)) == "others-answered"
    assert meanwhile(syn, connects([after], answered=False)) == "nobody-answered"
    assert meanwhile(syn, connects([before], answered=True)) == "others-answered"
    assert meanwhile(syn, connects([before], answered=True), connects([after], answered=False)) == "nobody-answered"
    assert meanwhile(syn, connects([after], answered=False), connects([after], answered=True)) == "others-answered"


@pytest.mark.parametrize(("time", "word"), [
    (T - 5 * SECOND - 1, "unknown"), (T - 5 * SECOND, "others-answered"), (T - 1, "others-answered"),
    (T + 6 * SECOND, "others-answered"), (T + 6 * SECOND + 1, "unknown"),
])  # fmt: skip
def test_connects_long_before_or_after_tell_nothing(time: int, word: str) -> None:
    """More than 5 s before the SYN, or behind its last one."""
    assert meanwhile(refused_syn(), connects([time], answered=True)) == word


@pytest.mark.parametrize("column", ["resp_ip_hi", "resp_ip_lo", "resp_port"])
def test_a_service_has_an_address_and_a_port(column: str) -> None:
    other = connects([T + SECOND], answered=True)
    other[column] += 1

    assert meanwhile(refused_syn(), other) == "unknown"


def test_another_service_and_the_attempt_itself_tell_nothing() -> None:
    other = connects([T + SECOND], answered=True)
    other.resp_port = 81

    assert meanwhile(refused_syn(), other) == "unknown"
    assert meanwhile(refused_syn(), connects([T], answered=False, first_id=1)) == "unknown"


def test_only_syns_in_question_are_held_back() -> None:
    rows = np.concatenate((refused_syn(), refused_syn()))
    rows["opened_frame"][0] = 5

    assert Meanwhile().hold(rows)["opened_frame"].tolist() == [5]


def test_a_longer_time_wait_counts_from_then_on() -> None:
    """At the host that showed it, whoever sends the SYN; not at its peer."""
    spans = records(SPANS, 2, ip_lo=[7, 8], shown_ns=[148 * SECOND, 30 * SECOND], two_msl_ns=60 * SECOND)
    longer = LongerTwoMsl()
    longer.see(spans)
    reuses = records(REUSES, 4, ip_lo=[5, 7, 5, 7], peer_ip_lo=[7, 5, 8, 5], two_msl_ns=60 * SECOND, holder=w.RESP)
    reuses.is_by_holder = [0, 1, 0, 0]
    longer.correct(reuses)

    assert [ns // SECOND for ns in reuses.two_msl_ns.tolist()] == [148, 148, 60, 60]


def silent_rows(count: int) -> Any:
    rows = records(
        CONNECTIONS, count, resp_segments=1, orig_payload_bytes=100, established_time=T, observed=255, resp_syn_frame=2,
        resp_ip_lo=7, resp_port=80,
    )  # fmt: skip
    rows.connection_id = np.arange(1, count + 1)
    return rows


def silent_count(rows: Any, end: int) -> int:
    services = records(SERVICES, 2, ip_lo=[7, 7], port=[80, 81])
    silent = SilentServices()
    silent.see(rows)
    silent.fill_in(services, end)
    assert services.silent_after_handshake[1] == 0
    return int(services.silent_after_handshake[0])


def test_a_service_is_silent_if_nothing_follows_its_syn_ack() -> None:
    assert silent_count(silent_rows(3), T + SECOND) == 3
    assert silent_count(silent_rows(3), T + SECOND - 1) == 0


@pytest.mark.parametrize(
    "change",
    [
        {"resp_segments": 2},
        {"orig_payload_bytes": 0},
        {"rst_frame": 9},
        {"observed": 0},
        {"orig_retransmits": 2 + 1},
    ],
)
def test_a_service_is_not_silent(change: dict[str, int]) -> None:
    """It answered, was asked nothing, or reset; or it is not known; or another rule tells it."""
    rows = silent_rows(3)
    for name, value in change.items():
        rows[name] = value

    assert silent_count(rows, T + 10 * SECOND) == 0


def test_flags_that_exclude_each_other() -> None:
    possible = [SYN, SYN | ACK, ACK, RST, RST | ACK, FIN | ACK, FIN | PSH | URG | ACK]
    impossible = [0, FIN, SYN | FIN, SYN | RST, RST | FIN | ACK, FIN | PSH | URG, SYN | FIN | RST | ACK]

    assert not any(map(is_impossible, possible))
    assert all(map(is_impossible, impossible))


def test_damage_is_counted_over_batches() -> None:
    batch = allocate(3)
    batch["flags"], batch["frame"] = [ACK, SYN | FIN, ACK], [1, 2, 3]
    damage = Damage()
    damage.see(batch)
    damage.see(batch)

    assert list(damage.figures().values()) == [2, 2, 2]
