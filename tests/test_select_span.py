"""``--since`` and ``--until`` keep whole connections: the rows are those of the whole capture, chosen by connection."""

from __future__ import annotations

from pathlib import Path

import pytest

from tcptrace_tw import one_pass
from tcptrace_tw.capture import time_window
from tests.generate import healthy_traffic
from tests.scenario import play, play_pcap, render
from tests.scenario.play import Result

FIXTURES = Path(__file__).parent.parent / "fixtures"
LAST_ACK = FIXTURES / "kernel-syn-into-last-ack" / "capture.pcap"
S = 1_000_000_000


def chosen(result: Result, ids: set[int]) -> dict[str, list[str]]:
    """The rows of these connections, and of SYNs that met one of them and came to nothing."""
    tables = {}
    for name in ("connections", "transitions", "time_wait", "reuses", "stale_segments", "resets"):
        rows = [row for row in result.tables.get(name, ()) if (_owner(row) in ids)]
        tables[name] = sorted(str(row) for row in rows)
    return tables


def _owner(row: dict[str, int | None]) -> int | None:
    return row["connection_id"] if row["connection_id"] is not None else row.get("previous_connection_id")


@pytest.mark.parametrize(("since_s", "until_s"), [(None, 3), (2, None), (2, 4), (0, 0), (3600, None)])
@pytest.mark.parametrize("batch_size", [40, 16384])
def test_a_span_chooses_connections_and_changes_none(monkeypatch, batch_size, since_s, until_s):
    """Rows wait until their connection is known to be kept, however the capture is cut into batches."""
    capture = render(healthy_traffic(3, 40))
    every = play_pcap(capture)
    begin = every.summary.capture.first_time
    since = begin + since_s * S if since_s is not None else 0
    until = begin + until_s * S if until_s is not None else 1 << 62
    wanted = {row.connection_id for row in every.connections if row.last_time >= since and row.first_time <= until}

    monkeypatch.setattr(one_pass, "BATCH_SIZE", batch_size)
    monkeypatch.setattr(time_window, "WAITING_ROWS", 10)
    relative = {"since": since_s, "until": until_s}
    some = play_pcap(capture, **{name: f"+{s}s" for name, s in relative.items() if s is not None})

    assert chosen(some, wanted) == chosen(every, wanted)
    assert {row.connection_id for row in some.connections} == wanted
    assert {row.connection_id for row in some.transitions} <= wanted


def test_what_a_connection_met_before_the_span_is_known():
    """The SYN met LAST-ACK of a connection that ended before the span; the finding keeps its number."""
    whole_run = play_pcap(LAST_ACK)
    late = play_pcap(LAST_ACK, since="+1s", until="+2s")

    assert [row.connection_id for row in late.connections] == [1, 2]
    assert "LA001" in {finding.rule for finding in late.findings}
    assert len(late.findings) == len(whole_run.findings)


def test_the_filter_and_the_span_hold_together():
    assert play_pcap(LAST_ACK, filter="port 1", since="+0s").connections == []


ASYMMETRIC = """
    A = 10.0.0.1:40000
    B = 10.0.0.2:80
    +0      A > B  S  0:0(0) win 65535 vlan 7
    +0.001  A < B  S. 0:0(0) ack 1 win 65535 vlan 8
    +0.001  A > B  .  1:1(0) ack 1 vlan 7
    +0.001  A > B  F. 1:1(0) ack 1 vlan 7
    +0.001  A < B  F. 1:1(0) ack 2 vlan 8
    +0.001  A > B  .  2:2(0) ack 2 vlan 7
"""


def test_vlans_can_be_ignored():
    """One direction in VLAN 7, the other in VLAN 8: two halves, or one connection."""
    assert [row.close for row in play(ASYMMETRIC, ignore_vlan=True).connections] == ["normal"]
    assert len(play(ASYMMETRIC).connections) == 2
