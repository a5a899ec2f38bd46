"""Which rows of the tool stand for which counters of the kernel: one table, and the reasons for what no row can show.

A counter of a namespace moves by what its TCP stack does; each ``Part`` says which rows are such a moment, whose
counter it moves, and which rules state it. What the kernel counted and no row shows is left open by a named reason
alone, and only for as many increments as the kernel's own record has events of that kind. Linux 6.18 moves the
counters in ``tcp_validate_incoming``, ``tcp_timewait_state_process``, ``tcp_time_wait``, ``tcp_send_challenge_ack``,
``__inet_check_established``, ``__tcp_close`` and ``tcp_write_err``.
"""

from __future__ import annotations

import json
from collections import Counter as Tally
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from tests.lab.capture import segments
from tests.lab.segment import FIN, RST, SYN, Segment, endpoint
from tests.scenario import Result
from tests.scenario.play import Row

SIDES = ("client", "server")
SERVERS = (".20", "::20")
"""How the addresses of servers end (``topology``)."""


class Part(NamedTuple):
    """Rows that move a counter: ``whose`` is the endpoint whose stack counts, the row's own or its peer's.

    One of ``rules`` must state each row (none are named where the row alone is meant); none of ``unless`` may.
    """

    table: str
    whose: str
    when: Callable[[Row], bool]
    rules: tuple[str, ...]
    times: Callable[[Row], int] = lambda row: 1
    unless: tuple[str, ...] = ()


class Counted(NamedTuple):
    """A line of the table: counters that move together, the rows that explain them, the reasons for the rest."""

    counters: tuple[str, ...]
    means: str
    parts: tuple[Part, ...] = ()
    reasons: tuple[str, ...] = ()
    drop: str = ""
    """The kernel's word for a segment that it drops as it counts; empty where none is dropped."""


@dataclass
class Explained:
    """One counter of one host: what the kernel counted, what the tool stated, and why the rest cannot be seen."""

    recording: str
    side: str
    line: Counted
    kernel: int
    stated: Tally[str]
    reasons: Tally[str]
    silent: list[str]

    @property
    def is_equal(self) -> bool:
        """Whether every increment is stated or has its reason, and nothing is stated that the kernel did not count."""
        return not self.silent and self.stated.total() + self.reasons.total() == self.kernel


@dataclass
class Recording:
    """A folder of ``fixtures/kernel-*`` beside what the tool says about its capture."""

    folder: Path
    got: Result

    @cached_property
    def truth(self) -> Any:
        return json.loads((self.folder / "truth.json").read_text())

    @cached_property
    def frames(self) -> list[tuple[float, Segment]]:
        return segments(self.folder / "capture.pcap")

    @cached_property
    def words(self) -> dict[int, str]:
        """The segments in words, by frame; empty where the snap length has cut them."""
        return {number: each.words() for number, (_, each) in enumerate(self.frames, start=1)}

    @cached_property
    def _lives(self) -> list[tuple[str, Any]]:
        return [(each["local"], life) for each in self.truth["endpoints"] for life in each["incarnations"]]

    @cached_property
    def _sockets(self) -> set[str]:
        return {name for name, _ in self._lives}

    @cached_property
    def _talkers(self) -> set[str]:
        return {endpoint(each.src, each.sport) for _, each in self.frames if not each.has(RST)}

    @property
    def is_bulk(self) -> bool:
        """Whether the kernel's record of thousands of connections was kept as counts alone."""
        return "summary" in self.truth

    @property
    def is_whole(self) -> bool:
        """Whether the capture filter let everything through."""
        return self.truth["capture"]["filter"] in ("tcp", "tcp or ip6 proto 6")

    def is_kernel(self, ip: str, port: int, time: float, frame: int | None) -> bool:
        """Whether a Linux stack did what a row says of an endpoint, and not a hand-made peer or a forged segment.

        A kernel without a socket sends nothing but RSTs, and its trace has each of them.
        """
        name = endpoint(ip, port)
        if self.is_bulk or name.startswith("127."):
            return True
        if frame is not None and frame in self.words and self.frames[frame - 1][1].has(RST):
            return any(abs(time - sent) < NEAR_S for sent in self.resets_sent(name))
        return name in self._sockets or name not in self._talkers

    def resets_sent(self, name: str) -> list[float]:
        """When a kernel sent a RST from an endpoint; the trace does not know those of a listener, the drops do."""
        name = self.truth.get("translations", {}).get(name, name)
        traced = [row["time"] for row in self._traced_resets if row["local"] == name]
        refused = [row for row in self.truth["drops"] if row["reason"] in ANSWERED_BY_RESET]
        return traced + [row["time"] for row in refused if _ends(row["segment"])[1] == name]

    @cached_property
    def _traced_resets(self) -> list[Any]:
        return [row for row in self.truth["resets_and_retransmissions"] if row["what"] == "tcp_send_reset"]

    def is_killed(self, row: Row) -> bool:
        """Whether an operator killed the socket (``ss -K``): it was in its state still, and no counter moves."""
        name, time = endpoint(row.ip, row.port), row.time / 1e9
        return any(
            reset["local"] == name
            and reset["reason"] == "TCP_STATE"
            and reset["state"] in SYNCHRONISED
            and abs(reset["time"] - time) < NEAR_S
            for reset in self._traced_resets
        )

    def is_shown(self, side: str) -> bool:
        """Whether the capture shows the addresses of a host; behind NAT it does not."""
        shown = {address for row in self.got.connections for address in (row.orig_ip, row.resp_ip)}
        mine = {ip for ip in map(_address, self._sockets) if self.side(ip) == side}
        return not mine or bool(mine & shown)

    def side(self, ip: str) -> str:
        """The namespace that an address belongs to."""
        return "server" if ip.endswith(SERVERS) else "client"

    def counted(self, side: str, counters: tuple[str, ...]) -> int:
        """By how much the kernel's counters moved."""
        delta = self.truth["counters_delta"][side]
        return sum(delta.get(name, 0) for name in counters)

    def drops(self, side: str, reason: str) -> list[Any]:
        """Segments that a host's TCP dropped for a reason."""
        return [
            row
            for row in self.truth["drops"]
            if row["reason"] == reason and self.side(_address(_ends(row["segment"])[1])) == side
        ]

    def table(self, name: str) -> list[Row]:
        """The rows of a table; those of anomalies know whether a copy of a SYN was challenged, stale segments whether
        they came into TIME-WAIT, resets whether an operator killed the socket, and reuses whether the SYN met a
        TIME-WAIT that the capture does not show.
        """
        if name == "stale_segments":
            return [Row(row, is_in_time_wait=self._meets_time_wait(row)) for row in self.got.tables[name]]
        if name == "resets":
            return [Row(row, is_killed=self.is_killed(row)) for row in self.got.tables[name]]
        if name == "reuses":
            return [Row(row, is_unseen_time_wait=self._holds_time_wait(row)) for row in self.got.tables[name]]
        if name != "anomalies":
            return self.got.tables[name]
        answers = {row.answer_frame for row in self.got.reuses}
        return [Row(row, is_copy_challenged=self._is_copy(row, answers)) for row in self.got.tables[name]]

    def _meets_time_wait(self, row: Row) -> bool:
        spans = [span for span in self.got.time_wait if span.connection_id == row.connection_id]
        return any(span.ip == row.peer_ip and span.port == row.peer_port and span.start < row.time for span in spans)

    def _holds_time_wait(self, row: Row) -> bool:
        ends = (endpoint(row.peer_ip, row.peer_port), endpoint(row.ip, row.port))
        entries = (each for each in self.truth["time_wait"] if (each["endpoint"], each["peer"]) == ends)
        return any(each["entered"] < row.time / 1e9 < (each["end"] or float("inf")) + NEAR_S for each in entries)

    def _is_copy(self, row: Row, answers: set[int]) -> bool:
        trigger = row.challenge_trigger_frame or 0
        is_syn = trigger in self.words and self.frames[trigger - 1][1].has(SYN)
        return is_syn and row.challenge_frame not in answers

    @cached_property
    def _findings(self) -> dict[tuple[str, int], set[str]]:
        found: dict[tuple[str, int], set[str]] = {}
        for finding in self.got.findings:
            for key in _KEYS:
                if finding.get(key) is not None:
                    found.setdefault((key, finding[key]), set()).add(finding.rule)
        return found

    def rules_of(self, row: Row) -> set[str]:
        """The rules that state something about the incarnation, or the attempt at one, of a row."""
        number = row.get("attempt_id") or row.connection_id
        return set().union(*(self._findings.get((key, number), set()) for key in _KEYS))

    def lives(self, side: str) -> list[tuple[str, Any]]:
        """Endpoint and life of every socket of a host."""
        return [(name, life) for name, life in self._lives if self.side(_address(name)) == side]


_KEYS = ("connection_id", "attempt_id", "previous_connection_id")

NEAR_S = 0.05
"""From the kernel's event to the frame at the tap."""

ANSWERED_BY_RESET = ("NO_SOCKET", "TCP_FLAGS", "TCP_LISTEN_OVERFLOW")
"""Why a segment is dropped that a listener, or a host without a socket, answers by RST."""

SYNCHRONISED = ("ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2", "CLOSE-WAIT", "CLOSING", "LAST-ACK")

RELAYED = ("delay", "duplicate")
"""What the relay does to a segment that arrives all the same."""


def _ends(words: str) -> tuple[str, str]:
    source, _, target, *_ = words.split()
    return source, target


def _address(name: str) -> str:
    return name.rpartition(":")[0].strip("[]")


# What is known of a row.


def _is_text(row: Row) -> bool:
    return row.payload_len > 0 or bool(row.tcp_flags & FIN)


def _is_paws_drop(row: Row) -> bool:
    return _is_text(row) and row.verdict != "accepted" and not row.is_in_time_wait


def _is_paws_ack(row: Row) -> bool:
    """A pure ACK at RCV.NXT may be late by 1.2 times the retransmission timeout (Linux tcp_disordered_ack_check)."""
    lag = (row.ts_recent - row.tsval) % 2**32
    return (
        not _is_text(row)
        and not row.is_in_time_wait
        and (row.seq_delta > 0 or (row.seq_delta == 0 and lag > LEAST_REPLAY_TICKS))
    )


LEAST_REPLAY_TICKS = 240
"""1.2 times the least retransmission timeout of Linux, in ticks of its timestamp clock."""


def _is_challenged_syn(row: Row) -> bool:
    is_unseen = row.receiver_state is None and row.is_unseen_time_wait
    return row.answer == "challenge-ack" and row.receiver_state != "TIME-WAIT" and not is_unseen


def _is_challenged_copy(row: Row) -> bool:
    """It answered a copy of its own incarnation's SYN or SYN+ACK; the SYN of another is a reuse, a RST is no SYN."""
    return row.challenges > 0 and row.is_copy_challenged


def _is_challenged_rst(row: Row) -> bool:
    return row.challenge_frame is not None and row.verdict == "not-exact"


def _is_abort(row: Row) -> bool:
    """The RST of a socket's owner, not of a host without a socket, and not of one that gave up."""
    is_own = not row.is_bare and not row.is_syn_answer and not row.is_killed
    return is_own and row.verdict not in ("timeout", "port-closed")


def _is_late_refusal(row: Row) -> bool:
    """Data after both ways were closed, or TCP_LINGER2 below zero, in a socket: a timewait entry counts nothing."""
    from_socket = row.sender_state == "FIN-WAIT-1" or row.trigger_len == 0
    return row.verdict == "after-fin" and row.is_echo and from_socket and row.sender_state != "CLOSED"


def _is_overflow(row: Row) -> bool:
    """A FIN that met no TIME-WAIT where one had begun, or should have begun with it."""
    is_lost = row.verdict == "no-socket" and row.sender_state == "TIME-WAIT" and bool(row.trigger_flags & FIN)
    return is_lost or (row.verdict == "last-ack-refused" and row.sender_state == "FIN-WAIT-2")


def _is_refused_syn_ack(row: Row) -> bool:
    """A RST out of SYN-SENT that answers numbers of this connection, not older ones."""
    return row.verdict == "stale-ack-answer" and row.receiver_state == "SYN-RECEIVED" and not row.is_syn_pending


def _is_cut_short(row: Row) -> bool:
    return row.verdict == "no-socket" and row.sender_state == "TIME-WAIT" and not row.trigger_flags & FIN


def _is_paws_in_time_wait(row: Row) -> bool:
    """Without timestamps it is the sequence number that gives old text away."""
    return bool(row.is_in_time_wait and row.tsval)


def _has_stale_syns(row: Row) -> bool:
    return bool(row.stale_syns)


def _is_stale_rst(row: Row) -> bool:
    return row.receiver_state == "TIME-WAIT" and row.has_ts and row.seq_delta == 0 and not row.is_accepted


def _always(row: Row) -> bool:
    return True


_CHALLENGED_SYNS = (
    Part("reuses", "peer", _is_challenged_syn, ("RU011", "RU013", "LA001", "HS004")),
    Part("anomalies", "own", _is_challenged_copy, ("RU008", "HS004"), lambda row: row.challenges),
    Part("anomalies", "peer", lambda row: row.synack_repeats > 0, ("HS003", "HS005"), lambda row: row.synack_repeats),
)

COUNTED: tuple[Counted, ...] = (
    Counted(
        ("TW", "TWKilled"), "timewait entries", (Part("time_wait", "own", _always, ("TW001",)),),
        ("FIN-WAIT-2 entry", "close not captured"),
    ),
    Counted(
        ("TWRecycled",), "connect() over the own timewait entry",
        (Part("reuses", "own", lambda row: row.is_linux_tw_reuse, ("RU001",)),),
        ("close not captured",),
    ),
    Counted(
        ("TCPTimeWaitOverflow",), "no timewait entry for want of room",
        (
            Part("resets", "own", _is_overflow, ("TW009", "LA005"), unless=("TW008",)),
            Part("resets", "own", _is_cut_short, ("TW007",)),
        ),
    ),
    Counted(
        ("PAWSActive",), "SYN+ACK that echoes a time never sent",
        (Part("resets", "own", _is_refused_syn_ack, ("HS002",)),),
    ),
    Counted(
        ("PAWSEstab",), "stale segment dropped by a connection",
        (
            Part("stale_segments", "peer", _is_paws_drop, ("PA001", "PA003")),
            Part("stale_segments", "peer", _is_paws_ack, ("PA005",)),
        ),
        ("behind the tap", "taken for a frame captured twice"), "TCP_RFC7323_PAWS",
    ),
    Counted(
        ("PAWSOldAck",), "stale ACK below RCV.NXT",
        (Part("stale_segments", "peer", lambda row: not _is_text(row) and row.seq_delta < 0, ("PA005",)),),
        ("behind the tap",), "TCP_RFC7323_PAWS_ACK",
    ),
    Counted(
        ("PAWSTimewait",), "stale segment dropped in TIME-WAIT",
        (
            Part("time_wait", "own", _has_stale_syns, ("TW006", "PA004", "RU004", "RU008"), lambda row: row.stale_syns),
            Part("resets", "peer", _is_stale_rst, ()),
            Part("stale_segments", "peer", _is_paws_in_time_wait, ("PA003", "PA005")),
        ),
        (), "TCP_RFC7323_TW_PAWS",
    ),
    Counted(("TCPSYNChallenge",), "SYN into a synchronised state", _CHALLENGED_SYNS),
    Counted(
        ("TCPChallengeACK",), "challenge ACK sent",
        (*_CHALLENGED_SYNS, Part("resets", "peer", _is_challenged_rst, ("RS009", "HS004"))), ("unacceptable ACK",),
    ),
    Counted(
        ("TCPAbortOnData", "TCPAbortOnClose"), "closed with SO_LINGER 0 or unread data",
        (
            Part("resets", "own", _is_late_refusal, ("RS003",)),
            Part("resets", "own", _is_abort, ("RS001", "RS002", "RS003", "RS005", "RS008", "RS014", "LA005", "TW007")),
        ),
        ("lost before the tap",),
    ),
    Counted(
        ("TCPAbortOnClose",), "of these, with unread data",
        (Part("resets", "own", lambda row: row.verdict == "unread-data", ("RS002",)),), ("window does not tell",),
    ),
    Counted(
        ("TCPAbortOnTimeout",), "gave up",
        (Part("resets", "own", lambda row: row.verdict == "timeout", ("RS007",)),),
        ("no segment", "lost before the tap"),
    ),
    Counted(("TCPAbortOnLinger", "TCPAbortOnMemory", "TCPAbortFailed"), "orphan let go at once"),
    Counted(("OutRsts",), "RST sent", (Part("resets", "own", _always, ()),), ("lost before the tap",)),
)  # fmt: skip
"""In the order of the page. The names are those of ``nstat``, without ``TcpExt``."""


# Why an increment cannot be stated: each counts events of the kernel's own record.


def _fin_wait_2_entries(recording: Recording, side: str, line: Counted, seen: set[str]) -> int:
    """After close() FIN-WAIT-2 is a timewait entry, after shutdown() a socket; no segment tells them apart."""
    histories = [life["history"] for _, life in recording.lives(side)]
    return sum("FIN-WAIT-2" in history and "TIME-WAIT" not in history for history in histories)


def _closes_not_captured(recording: Recording, side: str, line: Counted, seen: set[str]) -> int:
    """The capture has one direction, or began within the close or after it."""
    hidden = [
        row for row in recording.got.connections
        if not row.orig_segments or not row.resp_segments or row.opened == "midstream"
    ]  # fmt: skip
    names = {endpoint(row[f"{end}_ip"], row[f"{end}_port"]) for row in hidden for end in ("orig", "resp")}
    begin = recording.frames[0][0] if recording.frames else 0
    entries = _entries(recording, side)
    return sum(entry["endpoint"] in names or entry["entered"] < begin for entry in entries)


def _entries(recording: Recording, side: str) -> list[Any]:
    return [entry for entry in recording.truth["time_wait"] if recording.side(_address(entry["endpoint"])) == side]


def _behind_the_tap(recording: Recording, side: str, line: Counted, seen: set[str]) -> int:
    """The wire delayed or doubled the segment after it had crossed the tap, or the tap never saw it."""
    late = {row["segment"] for row in recording.truth["relay_actions"] if row["action"] in RELAYED}
    known = set(recording.words.values())
    is_far = recording.truth["capture"]["namespace"] != side
    drops = recording.drops(side, line.drop)
    return sum(row["segment"] not in known or (is_far and row["segment"] in late) for row in drops)


def _captured_twice(recording: Recording, side: str, line: Counted, seen: set[str]) -> int:
    """The wire doubled the segment before the tap: the copy looks like a frame that was captured twice."""
    copies = Tally(recording.words.values())
    return sum(copies[row["segment"]] > 1 and row["segment"] not in seen for row in recording.drops(side, line.drop))


GIVES_UP_IN = ("SYN-SENT", "ESTABLISHED", "CLOSE-WAIT", "FIN-WAIT-1", "CLOSING")


def _no_segment(recording: Recording, side: str, line: Counted, seen: set[str]) -> int:
    """The socket was closed without a RST or a FIN: retransmissions, or SYNs, had been in vain."""
    resets = [row["time"] for row in recording.truth["resets_and_retransmissions"] if row["what"].endswith("_reset")]
    last = [life["transitions"][-1] for _, life in recording.lives(side)]
    ends = [step for step in last if step["from"] in GIVES_UP_IN and step["to"] == "CLOSED"]
    return sum(not any(abs(step["time"] - time) < NEAR_S for time in resets) for step in ends)


def _lost_before_the_tap(recording: Recording, side: str, line: Counted, seen: set[str]) -> int:
    """The wire lost the RST on its way to the tap."""
    lost = [row["segment"] for row in recording.truth["relay_actions"] if row["action"] == "drop"]
    known = set(recording.words.values())
    return sum(
        " R" in words and words not in known and recording.side(_address(_ends(words)[0])) == side for words in lost
    )


def _untold_by_window(recording: Recording, side: str, line: Counted, seen: set[str]) -> int:
    """Fewer bytes were unread than the window, scaled, can show: that looks like SO_LINGER 0."""
    rows = recording.table("resets")
    return sum(_is_abort(row) and row.received_bytes > 0 and recording.side(row.ip) == side for row in rows)


def _unacceptable_acks(recording: Recording, side: str, line: Counted, seen: set[str]) -> int:
    """An ACK of what was never sent, or of long ago, is challenged too (RFC 5961 5.2); no rule speaks of it."""
    return sum(len(recording.drops(side, reason)) for reason in ("TCP_ACK_UNSENT_DATA", "TCP_TOO_OLD_ACK"))


REASONS: dict[str, Callable[[Recording, str, Counted, set[str]], int]] = {
    "FIN-WAIT-2 entry": _fin_wait_2_entries,
    "close not captured": _closes_not_captured,
    "behind the tap": _behind_the_tap,
    "taken for a frame captured twice": _captured_twice,
    "no segment": _no_segment,
    "lost before the tap": _lost_before_the_tap,
    "window does not tell": _untold_by_window,
    "unacceptable ACK": _unacceptable_acks,
}


# The comparison.


def explain(recording: Recording) -> list[Explained]:
    """Every line of ``COUNTED`` that moved in the kernel or in the rows, for each host that the capture shows."""
    found = [_line(recording, side, line) for side in SIDES if recording.is_shown(side) for line in COUNTED]
    return [each for each in found if each.kernel or each.stated or each.silent]


def _line(recording: Recording, side: str, line: Counted) -> Explained:
    stated: Tally[str] = Tally()
    silent, seen = [], set()
    for part in line.parts:
        for row in _rows(recording, side, part):
            rule = _rule(recording, part, row)
            if rule is None:
                silent.append(
                    f"{line.counters[0]}: no finding of {' or '.join(part.rules)} for {part.table} {_place(row)}"
                )
            elif rule not in part.unless:
                stated[rule] += part.times(row)
                seen.add(recording.words.get(row.get("frame") or 0, ""))
    kernel = recording.counted(side, line.counters)
    left = kernel - stated.total()
    reasons: Tally[str] = Tally()
    for name in line.reasons:
        count = min(left, REASONS[name](recording, side, line, seen)) if left > 0 else 0
        reasons += Tally({name: count})
        left -= count
    return Explained(recording.folder.name, side, line, kernel, stated, reasons, silent)


def _rows(recording: Recording, side: str, part: Part) -> list[Row]:
    ip, port = ("ip", "port") if part.whose == "own" else ("peer_ip", "peer_port")
    table = recording.table(part.table)
    rows = [row for row in table if recording.side(row[ip]) == side and part.when(row)]
    own_frame = "frame" if part.whose == "own" else ""
    return [
        row for row in rows
        if recording.is_kernel(row[ip], row[port], (row.get("time") or row.get("start")) / 1e9, row.get(own_frame))
    ]  # fmt: skip


def _rule(recording: Recording, part: Part, row: Row) -> str | None:
    """The rule that states a row; the row's table where no rule is asked for."""
    if not part.rules:
        return part.table
    said = recording.rules_of(row)
    return next((rule for rule in (*part.unless, *part.rules) if rule in said), None)


def _place(row: Row) -> str:
    return f"frame {row.get('frame') or row.get('syn_frame') or row.get('start_frame')}"
