"""The parts of a watch: when a finding is certain, what goes on now, incidents that grow, and how all that is said."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tcptrace_tw import live, one_pass, pipeline
from tcptrace_tw.live import Clock
from tcptrace_tw.report.live.announcer import GONE_NS, Announcer, Said, Withdrawn
from tcptrace_tw.report.live.board import ATTEMPT_NS, Board, Holder, Now
from tcptrace_tw.report.live.speakers import LINES_NS, MOST_LINES, JsonSpeaker, TextSpeaker, Total, status_text
from tcptrace_tw.report.live.watching import FOUND, TIME_IS_UP, Watching, WatchSettings
from tcptrace_tw.report.words.findings import finding
from tcptrace_tw.rules import RULES
from tcptrace_tw.rules.early import SETTLES_NS, WAITS_NS, settling_ns
from tcptrace_tw.rules.rule import RuleHits
from tcptrace_tw.schema.columns import BY_NAME
from tcptrace_tw.schema.words import CLOSE_UNANSWERED, LIKELY, NOTICE, ORIG, OUTCOME_ACCEPTED, OUTCOME_UNKNOWN, RESP
from tcptrace_tw.settings import Settings
from tcptrace_tw.stages import with_ticks
from tests import a_day

FIXTURES = Path(__file__).parent.parent / "fixtures"
NS = 10**9
T0 = 1_700_000_000 * NS
WARNING = 2


def rows(table: str, count: int = 1, **columns) -> np.ndarray:
    found = np.zeros(count, BY_NAME[table].dtype)
    for name, value in columns.items():
        found[name] = value
    return found


def reuses(connection: int = 7, *, rule: str = "RU002", severity: int = WARNING, **columns) -> RuleHits:
    """One finding about a reuse."""
    columns = {"outcome": OUTCOME_ACCEPTED, "time": T0, "syn_frame": 3, "attempt_id": connection, **columns}
    found = rows("reuses", connection_id=connection, **columns).view(np.recarray)
    one = np.ones(1, np.uint8)
    return RuleHits(
        next(each for each in RULES if each.id == rule), found, one * severity, one * LIKELY, np.ones(1, int)
    )


def connection(number: int = 7, last_time: int = T0) -> np.ndarray:
    return rows("connections", connection_id=number, last_time=last_time)


def said(announcer: Announcer, now: int) -> list[tuple]:
    return [
        (each.finding.rule, each.finding.severity, each.is_worse) if isinstance(each, Said) else tuple(each)
        for each in announcer.certain(now)
    ]


def test_a_finding_is_said_once_when_it_has_settled():
    announcer = Announcer(NOTICE)
    for late in (0, SETTLES_NS // 2):
        announcer.look([reuses()], connection(), T0 + late)
        assert said(announcer, T0 + late) == []

    assert said(announcer, T0 + SETTLES_NS) == [("RU002", "warning", False)]
    announcer.look([reuses()], connection(last_time=T0 + NS), T0 + NS)
    announcer.finished([reuses()], np.array([7]))
    assert said(announcer, T0 + 9 * NS) == []
    assert announcer._known == announcer._of_connection == {}


def test_what_rests_on_absence_waits_longer():
    """No outcome yet, or a rule about what did not come."""
    announcer = Announcer(NOTICE)
    announcer.look(
        [reuses(outcome=OUTCOME_UNKNOWN), reuses(8, rule="RU005")], np.concatenate((connection(), connection(8))), T0
    )

    assert said(announcer, T0 + WAITS_NS - 1) == []
    assert {rule for rule, *_ in said(announcer, T0 + WAITS_NS)} == {"RU002", "RU005"}
    assert settling_ns(reuses()).tolist() == [SETTLES_NS]


def test_what_does_not_last_is_never_said():
    announcer = Announcer(NOTICE)
    announcer.look([reuses()], connection(), T0)
    announcer.look([], connection(), T0 + SETTLES_NS // 2)

    assert said(announcer, T0 + 9 * NS) == []


def test_what_was_said_and_does_not_hold_is_withdrawn():
    for is_over in (False, True):
        announcer = Announcer(NOTICE)
        announcer.look([reuses()], connection(), T0)
        assert len(said(announcer, T0 + NS)) == 1
        if is_over:
            announcer.finished([], np.array([7]))
        else:
            announcer.look([], connection(), T0 + NS)
        assert said(announcer, T0 + NS) == [(7202, "RU002")]
        assert said(announcer, T0 + 2 * NS) == []


def test_a_look_at_others_withdraws_nothing():
    announcer = Announcer(NOTICE)
    announcer.look([reuses()], connection(), T0)
    announcer.look([], connection(8), T0)

    assert len(said(announcer, T0 + NS)) == 1


def test_what_turns_out_worse_is_said_again():
    announcer = Announcer(NOTICE)
    announcer.look([reuses(severity=NOTICE)], connection(), T0)
    assert said(announcer, T0 + NS) == [("RU002", "notice", False)]
    announcer.look([reuses()], connection(last_time=T0 + NS), T0 + NS)
    assert said(announcer, T0 + NS) == []

    assert said(announcer, T0 + NS + SETTLES_NS) == [("RU002", "warning", True)]
    announcer.look([reuses(severity=NOTICE)], connection(), T0 + 2 * NS)
    assert said(announcer, T0 + 9 * NS) == []


def test_the_end_of_a_connection_makes_certain():
    announcer = Announcer(NOTICE)
    announcer.finished([reuses(outcome=OUTCOME_UNKNOWN)], np.array([7]))

    assert said(announcer, 1) == [("RU002", "warning", False)]


def test_below_the_least_severity_nothing_is_said():
    announcer = Announcer(WARNING)
    announcer.look([reuses(severity=NOTICE)], connection(), T0)

    assert said(announcer, T0 + 9 * NS) == []


def test_what_many_connections_show_is_said_again_after_it_was_gone():
    announcer = Announcer(NOTICE)
    ports = rows("ports", connection_id=5, most_used=27_000, range_size=28_232).view(np.recarray)
    one = np.ones(1, np.uint8)
    hits = RuleHits(
        next(rule for rule in RULES if rule.id == "PE002"), ports, one * WARNING, one * LIKELY, np.ones(1, int)
    )
    now, counts = T0, []
    for step in (0, 10 * NS, GONE_NS - NS, GONE_NS + NS):
        now += step
        announcer.overview([hits], now)
        counts.append(len(said(announcer, now)))

    assert counts == [1, 0, 0, 1]


def test_memory_is_let_go_with_the_connections():
    announcer = Announcer(NOTICE)
    for number in range(300):
        announcer.look([reuses(number)], connection(number, T0 + number), T0 + number)
        list(announcer.certain(T0 + number + NS))
        announcer.finished([reuses(number)], np.array([number]))
        list(announcer.certain(T0 + number + NS))

    assert (announcer._known, announcer._of_connection, announcer._unsaid, announcer._leaving) == ({}, {}, set(), [])


def span(connection: int, port: int, *, start: int, end: int = -1, holder: int = ORIG) -> np.ndarray:
    times = {"start": start, "restart": -1, "end": end, "two_msl_ns": 60 * NS}
    addresses = {"ip_lo": 0xFFFF << 32 | 0x0A000001, "peer_ip_lo": 0xFFFF << 32 | 0x0A000002}
    return rows("time_wait", connection_id=connection, holder=holder, port=port, peer_port=80, **times, **addresses)


def view(spans: list[np.ndarray], **columns) -> dict[str, np.ndarray]:
    ids = [int(each["connection_id"][0]) for each in spans]
    connections = rows("connections", len(ids), connection_id=ids, **columns)
    return {"connections": connections, "time_wait": np.concatenate(spans)}


def test_the_board_counts_time_wait_by_holder_against_its_ports():
    board = Board()
    board.look(view([span(n, 33_000 + n, start=T0) for n in range(1, 6)] + [span(9, 80, start=T0, holder=RESP)]))
    now = board.now(T0 + NS, 9, 6, 0)

    assert now.time_wait == 6
    assert now.holders == (Holder("10.0.0.1 > 10.0.0.2:80", 5, 28_232), Holder("10.0.0.1", 1, None))
    assert board.now(T0 + 60 * NS, 9, 6, 0).time_wait == 0


def test_a_span_that_ended_or_was_restarted_counts_as_it_is_now():
    board = Board()
    board.look(view([span(1, 40_000, start=T0), span(2, 40_001, start=T0)]))
    again = span(2, 40_001, start=T0)
    again["restart"] = T0 + 50 * NS
    board.look(view([span(1, 40_000, start=T0, end=T0 + 5), again]))

    assert [board.now(T0 + s * NS, 0, 0, 0).time_wait for s in (1, 61, 111)] == [1, 1, 0]
    board.look(view([again]))
    board.finished(view([again]))
    assert board.now(T0 + NS, 0, 0, 0).time_wait == 0


def test_unanswered_connects_are_those_that_wait():
    board = Board()
    times = {"first_time": T0, "last_time": T0}
    board.look(
        {
            "connections": rows(
                "connections", 3, connection_id=[1, 2, 3], close=CLOSE_UNANSWERED, first_time=T0, last_time=T0
            )
        }
    )
    assert [board.now(T0 + s * NS // 10, 0, 3, 0).unanswered for s in (5, 10, 300)] == [0, 3, 3]
    board.look({"connections": rows("connections", connection_id=2, close=0, **times)})
    assert board.now(T0 + 30 * NS, 0, 3, 0).unanswered == 2
    assert board.now(T0 + ATTEMPT_NS, 0, 3, 0).unanswered == 0


def test_connects_per_second_are_those_of_the_last_seconds():
    board = Board()
    for second in range(20):
        now = board.now(T0 + second * NS, 0, 100 * min(second, 10), 0)
    assert now.connects_per_second == 0
    for second in range(20, 30):
        now = board.now(T0 + second * NS, 0, 1000 + 40 * (second - 19), 0)
    assert now.connects_per_second == pytest.approx(40)
    assert len(board._counts) < 10


NOW = Now(
    T0,
    9,
    3,
    301.2,
    4,
    12_001,
    (Holder("198.51.100.17 > 203.0.113.100:443", 12_001, 28_232), Holder("10.0.0.9", 7, None)),
    0,
)


@pytest.mark.parametrize("width", [20, 60, 70, 80, 100, 140, 300])
def test_the_status_fits(width):
    text = status_text(NOW, width)

    assert len(text) <= width
    assert ("42 %" in text) == (width >= 70)
    assert ("28,232 ports" in text) == (width > 110)
    assert ("10.0.0.9 7" in text) == (width >= 100)


def text_speaker(*, in_place: bool = False) -> tuple[TextSpeaker, io.StringIO]:
    out = io.StringIO()
    return TextSpeaker(out, lambda t: f"{(t - T0) // NS}s", lambda text, style: text, in_place=in_place), out


def test_a_flood_of_one_rule_is_counted():
    speaker, out = text_speaker()
    for second in (1, 2):
        for n in range(MOST_LINES + 90):
            hits = reuses(n, time=T0 + second * LINES_NS)
            speaker.finding(Said(finding(hits, 0), hits))
    hits = reuses(5, rule="RU004", time=T0 + 2 * LINES_NS)
    speaker.finding(Said(finding(hits, 0), hits))
    speaker.end(Total("the end", {"warning": 201}, 1, 1))
    lines = out.getvalue().splitlines()

    assert len(lines) == 2 * (MOST_LINES + 1) + 2
    assert lines[MOST_LINES].startswith("60s RU002: 90 more about ")
    assert lines[-1] == "the end; 1 segment, 1 connection, 201 findings: warning 201"


def test_the_status_is_rewritten_in_place_or_a_line():
    speaker, out = text_speaker(in_place=True)
    speaker.status(NOW)
    speaker.dropped(3, T0)
    assert out.getvalue().split("\r\x1b[K")[1:] == [
        f"0s {status_text(NOW, 76)}", "0s dropped: 3 packets so far; what they would show is not known\n",
    ]  # fmt: skip
    speaker, out = text_speaker()
    speaker.status(NOW)
    assert out.getvalue() == f"0s status: {status_text(NOW)}\n"


def test_json_is_one_object_a_line():
    out = io.StringIO()
    speaker = JsonSpeaker(out)
    hits = reuses()
    speaker.finding(Said(finding(hits, 0), hits))
    speaker.withdrawn(Withdrawn(7202, "RU002"), T0)
    speaker.status(NOW)
    speaker.dropped(3, 0)
    speaker.end(Total("the end"))
    found = [json.loads(line) for line in out.getvalue().splitlines()]

    assert [each["type"] for each in found] == ["finding", "withdrawn", "status", "dropped", "end"]
    assert found[0]["rule"] == "RU002" and found[0]["finding_id"] == 7202
    assert found[2]["holders"][0] == {"name": "198.51.100.17 > 203.0.113.100:443", "time_wait": 12001, "ports": 28232}
    assert found[2]["time"] == "2023-11-14T22:13:20.000000000Z"


def test_time_goes_on_between_segments(monkeypatch):
    clock, ticks = Clock(), [100 * NS]
    monkeypatch.setattr(time, "monotonic_ns", lambda: ticks[0])
    assert clock.now() == 0
    clock.set(T0)
    ticks[0] += 3 * NS
    assert clock.now() == T0 + 3 * NS
    clock.set(T0 + NS)  # what was waited for meanwhile does not count
    assert clock.now() == T0 + NS


def test_ticks_come_while_nothing_else_does():
    def slow():
        yield 1
        time.sleep(0.5)
        yield 2

    found = list(with_ticks(slow(), 0.05))
    assert [each for each in found if each] == [1, 2]
    assert found.count(None) >= 3


def watched(path: Path, **settings) -> tuple[list[dict], Watching]:
    out = io.StringIO()
    watching = Watching(JsonSpeaker(out), WatchSettings(**settings))
    live.watch([str(path)], Settings(), watching)
    watching.end()
    return [json.loads(line) for line in out.getvalue().splitlines()], watching


class Kept:
    """A sink: rule, endpoints and severity of what is worth a reader's attention."""

    tables: frozenset[str] = frozenset()

    def __init__(self) -> None:
        self.found: set[tuple[str, str, str]] = set()

    def rows(self, table, rows) -> None:
        pass

    def findings(self, findings: RuleHits) -> None:
        each = [finding(findings, place) for place in range(findings.rows.size)]
        self.found |= {(f.rule, f.endpoints, f.severity) for f in each if f.severity != "info"}


SMALL = sorted(path for path in FIXTURES.glob("*/capture.pcap") if path.stat().st_size < 100_000)


@pytest.mark.parametrize("path", SMALL[::6], ids=lambda path: path.parent.name)
def test_a_watch_says_what_a_check_finds(path, monkeypatch):
    """Seven segments at a time, each with a look; nothing is withdrawn, nothing is missing, nothing is said twice."""
    monkeypatch.setattr(one_pass, "BATCH_SIZE", 7)
    kept = Kept()
    pipeline.analyze([str(path)], Settings(), [kept])
    records, _ = watched(path)
    findings = [each for each in records if each["type"] == "finding"]
    last = {(f["finding_id"], f["rule"]): (f["rule"], f["endpoints"], f["severity"]) for f in findings}

    assert [each for each in records if each["type"] == "withdrawn"] == []
    assert set(last.values()) == kept.found
    assert all(sum(f["finding_id"] == g["finding_id"] and not g["is_worse"] for g in findings) == 1 for f in findings)


def test_a_simulated_day_takes_no_more_memory_in_the_evening_than_in_the_morning(tmp_path, monkeypatch):
    """24 hours of timestamps in batches of some minutes: what is kept is what the last minutes brought."""
    monkeypatch.setattr(one_pass, "BATCH_SIZE", 120)
    count = a_day.write(tmp_path / "day.pcap", 1000, ports=300)
    sizes = []

    class Measured(Watching):
        def tick(self, moment) -> bool:
            announcer, board = self._announcer, self._board
            sizes.append(len(announcer._known) + len(announcer._of_connection) + len(announcer._unsaid)
                         + board._spans.size + board._waiting.size + len(board._counts))  # fmt: skip
            return super().tick(moment)

    out = io.StringIO()
    watching = Measured(JsonSpeaker(out), WatchSettings())
    live.watch([str(tmp_path / "day.pcap")], Settings(), watching)
    watching.end()
    records = [json.loads(line) for line in out.getvalue().splitlines()]

    assert watching.total.segments == count
    assert sum(each["type"] == "finding" and each["rule"] == "RU002" for each in records) == 1000
    assert [each["count"] for each in records if each["type"] == "incident"][-1] >= 100
    assert len(sizes) > 90
    assert max(sizes[len(sizes) // 2 :]) <= 1.2 * max(sizes[5 : len(sizes) // 2]) < 600


def test_a_watch_ends_with_a_finding_or_with_its_time(tmp_path):
    path = FIXTURES / "kernel-syn-into-last-ack" / "capture.pcap"
    records, watching = watched(path, ends_with=lambda found: found.severity == "warning")
    assert watching.is_reached and watching.total.reason == FOUND
    assert records[-1] == {
        "type": "end",
        "reason": FOUND,
        "findings": records[-1]["findings"],
        "segments": 31,
        "connections": 2,
        "dropped": 0,
    }
    _, watching = watched(path, for_s=0.0)
    assert watching.total.reason == TIME_IS_UP and not watching.is_reached


def test_lost_packets_are_said_when_they_become_more():
    out, lost = io.StringIO(), [0]
    watching = Watching(JsonSpeaker(out), WatchSettings(status_s=1e9), lambda: lost[0])
    for count in (0, 0, 5, 5, 9):
        lost[0] = count
        watching.tick(SimpleNamespace(now=T0, segments=1, connections=1, lost=0))

    assert [json.loads(line)["packets"] for line in out.getvalue().splitlines() if "dropped" in line] == [5, 9]


def test_where_memory_is_short_everything_is_looked_at_only_in_the_end(tmp_path, monkeypatch):
    """A copy of what is remembered would not fit beside it: one remark, and the rest as usual."""
    monkeypatch.setattr(one_pass, "BATCH_SIZE", 240)
    monkeypatch.setattr(live, "bytes_of", lambda tracker: 1 << 50)
    monkeypatch.setattr(live, "ended_now", None)
    a_day.write(tmp_path / "day.pcap", 60, ports=9)
    said: list[str] = []
    watching = Watching(JsonSpeaker(io.StringIO()), WatchSettings())
    live.watch([str(tmp_path / "day.pcap")], Settings(), watching, said.append)

    assert said == [live.NO_OVERVIEW]
    assert watching.total.findings == {"warning": 60}


def test_the_end_of_many_connections_withdraws_nothing(tmp_path, monkeypatch):
    """What is remembered leaves in several chunks; the rows of a connection stay together."""
    monkeypatch.setattr("tcptrace_tw.tcp.store.records.OUT_ROOM", (256, 512, 256, 256, 2048, 256, 256))
    a_day.write(tmp_path / "minute.pcap", 500, span_ns=60 * NS)
    records, watching = watched(tmp_path / "minute.pcap", status_s=1e9)

    assert [each for each in records if each["type"] == "withdrawn"] == []
    assert watching.total.findings == {"warning": 500}
