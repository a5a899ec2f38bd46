"""The tool against the kernel: every recording of fixtures/kernel-* beside the states that Linux itself passed through.

A truth file knows more than a capture can show. What is left out, by rule and not by name: a last change to CLOSED
that comes too late for any captured segment (a timer, or the application); the opening of a connection that the
tool took up in mid-stream, and the whole close where it had begun before; a life that was over, or in a state that
only a timer or another SYN ends, when the capture began; where the capture filter hid segments,
states after the last one that the tool could conclude, and everything where it hid one direction; whether the
accept queue of a listener took a connection on which it never spoke again; addresses that
the capture never shows (behind NAT); and the lives of hand-made peers, which no kernel recorded.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.scenario import Result, play_pcap
from tests.scenario.play import Row

FIXTURES = Path(__file__).parent.parent / "fixtures"
NAMES = sorted(path.parent.name for path in FIXTURES.glob("kernel-*/truth.json"))
WHOLE_FILTERS = ("tcp", "tcp or ip6 proto 6")
LEAST_RTT_S = 0.010
HALF_OPEN = ["LISTEN", "SYN-RECEIVED", "LISTEN"]
"""What an old duplicate of a SYN does to a listener: no incarnation of the tool's, it says RU008."""


@dataclass
class Comparison:
    """One recording: how much of the kernel's record the tool has found, and what differs."""

    endpoints: int = 0
    transitions: int = 0
    spans: int = 0
    differences: list[str] = field(default_factory=list)


@cache
def comparison(name: str) -> Comparison:
    truth = json.loads((FIXTURES / name / "truth.json").read_text())
    got = play_pcap(FIXTURES / name / "capture.pcap")
    compared = Comparison()
    end_s = got.summary.capture.last_time / 1e9
    for endpoint in truth["endpoints"]:
        _compare_histories(truth, endpoint, got, end_s, compared)
    if truth["endpoints"]:
        _compare_spans(truth, got, end_s, compared)
    return compared


def _address(ip: str, port: int) -> str:
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def _sides(row: Row) -> dict[str, str]:
    return {_address(row[f"{end}_ip"], row[f"{end}_port"]): end for end in ("orig", "resp")}


def _compare_histories(truth: Any, endpoint: Any, got: Result, end_s: float, compared: Comparison) -> None:
    local, peer = endpoint["local"], endpoint["peer"]
    rows = [row for row in got.connections if {local, peer} <= set(_sides(row))]
    if not rows or not _is_two_way(rows):
        return
    said = [(row, got.history(row.connection_id, _sides(row)[local])) for row in rows]
    said = [(row, history) for row, history in said if history]
    lives = [life for life in endpoint["incarnations"] if len(life["history"]) > 1 and not _is_past(life, got)]
    is_whole = truth["capture"]["filter"] in WHOLE_FILTERS
    for row, history, life in _pairs(said, lives, truth, compared, local):
        kernel = list(life["history"])
        if history == kernel[:-1] and _is_silent(truth, life["transitions"][-1], row, end_s):
            kernel.pop()
        if row.opened == "midstream":
            if not _was_established(life, row):
                continue
            kernel = kernel[kernel.index("ESTABLISHED") :]
        if not is_whole:
            kernel = kernel[: len(history)]
        if kernel[:2] == HALF_OPEN[:2] and set(kernel) <= set(HALF_OPEN) and _is_unheard(row):
            history, kernel = history[:2], kernel[:2]
        compared.endpoints += 1
        compared.transitions += len(kernel) - 1
        if history != kernel:
            compared.differences.append(f"{local} #{row.incarnation}: {' '.join(history)}; kernel: {' '.join(kernel)}")


def _pairs(
    said: list[tuple[Row, list[str]]], lives: list[Any], truth: Any, compared: Comparison, local: str
) -> Iterator[tuple[Row, list[str], Any]]:
    """Each life of the kernel's record with the incarnation that began at the same time.

    An incarnation that begins with a SYN and is in no record belongs to a hand-made peer; one that begins in
    mid-stream has no such excuse.
    """
    left = list(said)
    for life in lives:
        begin = life["transitions"][0]["time"]
        hits = [each for each in left if each[0].opened == "midstream" or _begins(each[0], begin, _rtt(truth))]
        if not hits and life["history"] == HALF_OPEN and any(row.old_syn_frame for row, _ in said):
            continue
        if not hits:
            compared.differences.append(f"{local}: no incarnation is {' '.join(life['history'])}")
            continue
        left.remove(hits[0])
        yield *hits[0], life
    for row, history in left:
        if row.opened == "midstream" or len(left) == len(said):
            compared.differences.append(f"{local}: the kernel knows nothing of {' '.join(history)}")


def _is_unheard(row: Row) -> bool:
    """Whether a server sent nothing but SYN+ACKs and RSTs: its kernel may have dropped what came."""
    return row.resp_payload_bytes == 0 and row.resp_fin_frame is None and row.orig_fin_frame is None


def _begins(row: Row, begin: float, rtt: float) -> bool:
    return row.first_time / 1e9 - rtt <= begin <= row.last_time / 1e9 + rtt


def _is_two_way(rows: list[Row]) -> bool:
    """Whether both directions were captured; a SYN that nobody answered is no one-way capture."""
    return any(row.resp_segments or row.close == "unanswered" for row in rows)


def _was_established(life: Any, row: Row) -> bool:
    """Whether the endpoint was ESTABLISHED when its capture began; of an earlier close nothing can be known."""
    states = [step["to"] for step in life["transitions"] if step["time"] < row.first_time / 1e9]
    return states[-1:] == ["ESTABLISHED"]


CLOSED_BOTH_WAYS = ("TIME-WAIT", "LAST-ACK", "CLOSED")


def _is_past(life: Any, got: Result) -> bool:
    """Whether both ends had sent their FINs before the capture began."""
    begin = got.summary.capture.first_time / 1e9 - LEAST_RTT_S
    states = [step["to"] for step in life["transitions"] if step["time"] < begin]
    return bool(states) and states[-1] in CLOSED_BOTH_WAYS


def _is_silent(truth: Any, last: Any, row: Row, end_s: float) -> bool:
    """Whether no captured segment can have caused this last change: a timer or the application did."""
    latest = end_s if last["source"] == "timewait_expired" and last["from"] == "TIME-WAIT" else row.last_time / 1e9
    return last["to"] == "CLOSED" and last["time"] > latest + _rtt(truth)


def _compare_spans(truth: Any, got: Result, end_s: float, compared: Comparison) -> None:
    holders = {endpoint["local"] for endpoint in truth["endpoints"]}
    begin_s = got.summary.capture.first_time / 1e9
    shown = [span for span in truth["time_wait"] if span["entered"] >= begin_s]
    kernel = sorted(shown, key=lambda span: span["entered"])
    said = [span for span in got.time_wait if _address(span.ip, span.port) in holders]
    seen = {ends for row in got.connections if _is_known(truth, row) for ends in _both_ways(row)}
    for local, peer in sorted(seen & ({(span["endpoint"], span["peer"]) for span in kernel} | set(map(_ends, said)))):
        mine = [span for span in said if _ends(span) == (local, peer)]
        real = [span for span in kernel if (span["endpoint"], span["peer"]) == (local, peer)]
        if len(mine) != len(real):
            compared.differences.append(f"{local}: {len(real)} TIME-WAIT spans, the tool has {len(mine)}")
            continue
        compared.spans += len(real)
        for span, entry in zip(mine, real, strict=True):
            compared.differences += _span_differences(truth, span, entry, end_s)


def _is_known(truth: Any, row: Row) -> bool:
    """Whether the close of a connection can be known: both directions, and ESTABLISHED before the close."""
    lives = [life for end in truth["endpoints"] if end["local"] in _sides(row) for life in end["incarnations"]]
    return _is_two_way([row]) and (row.opened != "midstream" or any(_was_established(life, row) for life in lives))


def _both_ways(row: Row) -> Iterator[tuple[str, str]]:
    one, other = _sides(row)
    yield from ((one, other), (other, one))


def _ends(span: Row) -> tuple[str, str]:
    return _address(span.ip, span.port), _address(span.peer_ip, span.peer_port)


def _span_differences(truth: Any, span: Row, entry: Any, end_s: float) -> list[str]:
    reason = entry["end_reason"]
    if entry["end"] is None or (reason == "expired" and entry["end"] > end_s):
        reason = "capture-end"
    differences = []
    if abs(span.start / 1e9 - entry["entered"]) > _rtt(truth):
        differences.append(f"start {span.start / 1e9:.6f}, kernel {entry['entered']:.6f}")
    if span.end_reason != reason:
        differences.append(f"end {span.end_reason}, kernel {reason}")
    if truth["capture"]["filter"] in WHOLE_FILTERS and span.restarts != entry["restarts"]:
        differences.append(f"{span.restarts} restarts, kernel {entry['restarts']}")
    return [f"{entry['endpoint']} TIME-WAIT: {difference}" for difference in differences]


def _rtt(truth: Any) -> float:
    """The longest handshake of the recording: from SYN-SENT to ESTABLISHED."""
    rtts = [LEAST_RTT_S]
    for endpoint in truth["endpoints"]:
        for life in endpoint["incarnations"]:
            first, *rest = life["transitions"]
            if first["to"] == "SYN-SENT" and rest and rest[0]["to"] == "ESTABLISHED":
                rtts.append(min(1.0, rest[0]["time"] - first["time"]))
    return max(rtts)


@pytest.mark.parametrize("name", NAMES)
def test_histories_and_spans_are_those_of_the_kernel(name: str) -> None:
    """Every transition of both endpoints and every TIME-WAIT span, as the kernel recorded them."""
    compared = comparison(name)

    assert not compared.differences, "\n".join(["", *compared.differences])


def test_the_table_of_the_truth(capsys: pytest.CaptureFixture[str]) -> None:
    """All recordings in one table, for the eye; what differs fails above."""
    rows = {name: comparison(name) for name in NAMES}
    with capsys.disabled():
        print(f"\n{'recording':<44} {'histories':>9} {'changes':>8} {'spans':>6}  equal")
        for name, row in rows.items():
            is_equal = "no" if row.differences else "yes"
            print(f"{name:<44} {row.endpoints:>9} {row.transitions:>8} {row.spans:>6}  {is_equal}")

    assert sum(row.transitions for row in rows.values()) > 500
