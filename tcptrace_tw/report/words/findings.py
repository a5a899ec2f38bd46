"""What a finding is about: its number, its connection, its endpoints and its evidence, from the rows of its rule."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.report.words.codec import Time
from tcptrace_tw.report.words.messages import COUNT, message
from tcptrace_tw.report.words.text import FRAME_MASK, Value, endpoint_text, ip_text, plain_value, row_of
from tcptrace_tw.rules.rule import Rule, RuleHits
from tcptrace_tw.schema.columns import BY_NAME, FRAME_BITS, MOVES, RESETS
from tcptrace_tw.schema.words import CONFIDENCE, NULL_WORD, ORIG, RESP, SEVERITY

FAMILIES = ("TW", "RU", "PA", "LA", "RS", "HS", "PE", "CP", "SI")
"""The first digit of a rule's number: TW is 1."""

RULES_PER_CONNECTION = 1000

Ints = NDArray[np.int64]


def rule_number(rule_id: str) -> int:
    """``RU002`` is 202: the three digits at the end of a finding's number."""
    family, number = rule_id[:2], int(rule_id[2:])
    return (FAMILIES.index(family) + 1 if family in FAMILIES else 0) * 100 + number


def is_rule_number(number: int) -> bool:
    """Whether some rule has this number: alone, it is the number of a finding about the capture."""
    from tcptrace_tw.rules import RULES

    return any(number == rule_number(rule.id) for rule in RULES)


def no_finding(number: int) -> str:
    """What to say of a number that no finding has."""
    return f"no finding {number}; tcptrace-tw report lists their numbers"


def connection_of(finding_id: Any) -> Any:
    """The incarnations that findings are about, from their numbers; 0 for the capture."""
    return finding_id // RULES_PER_CONNECTION


def finding_ids(findings: RuleHits) -> Ints:
    """The same whatever chunks the rows came in: the incarnation, then three digits for the rule."""
    subject = connection_ids(findings)
    if "attempt_id" in _names(findings):
        subject = np.where(subject == -1, findings.rows["attempt_id"], subject)
    return np.maximum(subject, 0) * RULES_PER_CONNECTION + rule_number(findings.rule.id)


def is_about(findings: RuleHits, connection_id: int) -> NDArray[np.bool_]:
    """Whether a finding is about this incarnation, or about the SYN that met it."""
    own = connection_of(finding_ids(findings)) == connection_id
    met: NDArray[np.bool_] = previous_connection_ids(findings) == connection_id
    either: NDArray[np.bool_] = own | met
    return either


def connection_ids(findings: RuleHits) -> Ints:
    """The incarnations; -1 where there is none."""
    return _column(findings, "connection_id")


def previous_connection_ids(findings: RuleHits) -> Ints:
    """The incarnations that a SYN met; -1 where there are none."""
    return _column(findings, "previous_connection_id")


class Involved:
    """A sink that looks findings up by their numbers. ``connections``: the incarnations that each is about."""

    tables: frozenset[str] = frozenset()

    def __init__(self, numbers: Sequence[int]) -> None:
        self._numbers = numbers
        self.connections: dict[int, set[int]] = {}

    def rows(self, table: str, rows: NDArray[Any]) -> None:
        """No table is asked for."""

    def findings(self, findings: RuleHits) -> None:
        """Note what one rule says, if it is asked for."""
        ids = finding_ids(findings)
        for place in np.flatnonzero(np.isin(ids, self._numbers)).tolist():
            own, met = connection_ids(findings)[place], previous_connection_ids(findings)[place]
            self.connections[int(ids[place])] = {int(number) for number in (own, met) if number > 0}


def times(findings: RuleHits) -> Ints:
    """When each finding began."""
    return _column(findings, findings.rule.time)


def end_times(findings: RuleHits) -> Ints:
    """When each finding ended; -1 where it is a moment."""
    return _column(findings, findings.rule.end_time)


DELAYS = ("cost_ns", "handshake_ns")
"""Values of a rule that say how long somebody had to wait."""

SILENCES = ("silence_ns", "unanswered_silence_ns", "race_idle_ns", "idle_ns", "shortest_drop_ns", "shortest_reset_ns",
            "shortest_close_ns")  # fmt: skip
"""Those that say how long it had been silent before."""


def delay_column(rule: Rule) -> str:
    """The column with the delay that its findings tell; "" if they tell none."""
    return next((name for name in rule.values if name in DELAYS), "")


def silence_column(rule: Rule) -> str:
    """The same for the silence; of resets it is known whether the rule tells it or not."""
    named = next((name for name in rule.values if name in SILENCES), "")
    return named or ("silence_ns" if rule.table == RESETS.name else "")


def delays(findings: RuleHits) -> Ints:
    """How long somebody had to wait, in ns; -1 where it is not known."""
    return _column(findings, delay_column(findings.rule))


def silences(findings: RuleHits) -> Ints:
    """How long it had been silent before, in ns; -1 where it is not known."""
    return _column(findings, silence_column(findings.rule))


def detail_names(rule: Rule) -> list[str]:
    """The values of a rule that have no column of their own in the table ``findings``."""
    told = {delay_column(rule), silence_column(rule), COUNT}
    return [name for name in rule.values if name not in told]


def peer_fields(findings: RuleHits) -> tuple[str, str, str, str]:
    """The columns that hold ip, port, peer ip and peer port; "" where the rows have none."""
    columns = {column.name for column in BY_NAME[findings.rule.table].columns}
    names = ("ip", "port", "peer_ip", "peer_port")
    if "orig_ip" in columns:
        names = ("orig_ip", "orig_port", "resp_ip", "resp_port")
    one, two, three, four = (name if name in columns else "" for name in names)
    return one, two, three, four


_SIDES = {"connections": ORIG, "reuses": ORIG, "ports": ORIG, "clocks": ORIG, "services": RESP, "connects": ORIG,
          "scans": ORIG, "floods": RESP, "idles": RESP, "moves": ORIG}  # fmt: skip
"""Which side ``ip`` of ``peer_fields`` is, in tables in which it is always the same."""


def endpoints(findings: RuleHits) -> NDArray[np.uint8]:
    """Which side of its connection ``ip`` is: a code of ``ENDPOINT``; 255 where it is none."""
    table = findings.rule.table
    own = {"time_wait": "holder"}.get(table, "endpoint")
    if table not in _SIDES and own in _names(findings):
        column: NDArray[np.uint8] = np.ascontiguousarray(findings.rows[own])
        return column
    return np.full(findings.rows.size, _SIDES.get(table, NULL_WORD), np.uint8)


def parties(findings: RuleHits) -> tuple[tuple[Ints, Ints], Ints, tuple[Ints, Ints]]:
    """Who serves, on which port, and who is the client, as halves of addresses; 0 where the rows do not know.

    Where nobody knows which end is which, the end whose port is lower counts as the server.
    """
    size = findings.rows.size
    nothing = np.zeros(size, np.int64)
    ip, port, peer_ip, peer_port = peer_fields(findings)
    one, two = (_address(findings, name) if name else (nothing, nothing) for name in (ip, peer_ip))
    ports = [findings.rows[name].astype(np.int64) if name else nothing for name in (port, peer_port)]
    side = endpoints(findings)
    is_server = (side == RESP) | (side == NULL_WORD) & ((ports[0] < ports[1]) | (two[0] == 0) & (two[1] == 0))
    server = np.where(is_server, one[0], two[0]), np.where(is_server, one[1], two[1])
    client = np.where(is_server, two[0], one[0]), np.where(is_server, two[1], one[1])
    return server, np.where(is_server, *ports), client


def _address(findings: RuleHits, name: str) -> tuple[Ints, Ints]:
    return np.ascontiguousarray(findings.rows[f"{name}_hi"]), np.ascontiguousarray(findings.rows[f"{name}_lo"])


def frame_lists(findings: RuleHits) -> tuple[Ints, NDArray[np.int32]]:
    """All evidence frames one finding after the other, and the offset at which each finding's begin.

    A finding's frames rise; each is named once; nulls are left out.
    """
    size, names = findings.rows.size, findings.rule.frames
    if not names:
        return np.zeros(0, np.int64), np.zeros(size + 1, np.int32)
    matrix = np.stack(_rising([findings.rows[name] for name in names]), axis=1)
    keep = matrix != -1
    keep[:, 1:] &= matrix[:, 1:] != matrix[:, :-1]
    offsets = np.zeros(size + 1, np.int32)
    np.cumsum(keep.sum(axis=1), out=offsets[1:])
    return matrix[keep], offsets


def _rising(columns: list[Ints]) -> list[Ints]:
    """Few columns sorted row by row: neighbours change places until all rows rise."""
    columns = [column for column in columns if (column != -1).any()] or columns[:1]
    for end in range(len(columns) - 1, 0, -1):
        for i in range(end):
            low, high = columns[i], columns[i + 1]
            columns[i], columns[i + 1] = np.minimum(low, high), np.maximum(low, high)
    return columns


def kept(findings: RuleHits, keep: NDArray[np.bool_]) -> RuleHits:
    """Only the findings that ``keep`` marks."""
    if keep.all():
        return findings
    return findings._replace(
        rows=findings.rows[keep],
        severity=findings.severity[keep],
        confidence=findings.confidence[keep],
        count=findings.count[keep],
    )


def main_frames(findings: RuleHits) -> Ints:
    """The frame to look at first: the event's own, or the first of the evidence; -1 where there is none."""
    for name in ("syn_frame", "frame", "start_frame"):
        if name in findings.rule.frames:
            return _column(findings, name)
    frames, offsets = frame_lists(findings)
    first = np.full(findings.rows.size, -1, np.int64)
    has = np.diff(offsets) > 0
    first[has] = frames[offsets[:-1][has]]
    return first


def tuple_filter(ip: str, port: int, peer_ip: str, peer_port: int) -> str:
    """A Wireshark display filter for everything between two endpoints."""
    return side_filter([(ip, port), (peer_ip, peer_port)])


def side_filter(sides: Sequence[tuple[str, int | None]]) -> str:
    """The same for one or two endpoints, of which a port may not be known."""
    version = "ipv6" if sides and ":" in sides[0][0] else "ip"
    parts = [f"{version}.addr == {ip}" for ip, _ in sides]
    parts += [f"tcp.port == {port}" for _, port in sides if port is not None]
    return " && ".join(parts) or "tcp"


def frame_filter(frames: list[int]) -> str:
    """A Wireshark display filter for some frames of one file."""
    return f"frame.number in {{{', '.join(str(frame & FRAME_MASK) for frame in frames)}}}"


@dataclass(frozen=True)
class Finding:
    """One finding in full, as the terminal and ``check`` print it; ``frame`` is the one to look at first."""

    finding_id: int = field(metadata={"doc": "The connection, then three digits for the rule: the same in every run."})
    incident_id: int | None = field(
        default=None, kw_only=True, metadata={"doc": "The incident that it belongs to; null for info."}
    )
    rule: str = field(metadata={"doc": "Rule id, as in RU002."})
    name: str = field(metadata={"doc": "Rule name, as in reuse-inside-2msl."})
    severity: str = field(metadata={"doc": "How serious it is."})
    confidence: str = field(metadata={"doc": "How certain it is."})
    connection_id: int | None = field(metadata={"doc": "Number for `show --connection`; null for the whole capture."})
    endpoints: str = field(metadata={"doc": "The endpoints: ADDRESS:PORT > ADDRESS:PORT, or less."})
    time: Time = field(metadata={"doc": "When it began, UTC."})
    file: int = field(metadata={"doc": "Index of the file that contains the frames."})
    frame: int | None = field(metadata={"doc": "The frame to look at first, as Wireshark numbers it."})
    frames: tuple[int, ...] = field(metadata={"doc": "All frames that are evidence."})
    message: str = field(metadata={"doc": "One sentence."})
    delay_ns: int | None = field(metadata={"doc": "How long somebody had to wait for it; null if that is not known."})
    silence_ns: int | None = field(metadata={"doc": "The silence before it, the shortest of several; null if unknown."})
    count: int = field(metadata={"doc": "Rows of the rule's table that it stands for."})
    values: dict[str, Value] = field(
        metadata={"doc": "The numbers and words behind it; those that end in _ns are nanoseconds."}
    )
    rival: str = field(metadata={"doc": "Another possible explanation; empty if there is none."})
    caveats: tuple[str, ...] = field(metadata={"doc": "Properties of the capture that lower the confidence."})
    display_filter: str = field(metadata={"doc": "Display filter for Wireshark."})


def finding(findings: RuleHits, index: int, several_files: bool = False) -> Finding:
    """Finding ``index`` of a chunk."""
    one = RuleHits(
        findings.rule, findings.rows[index : index + 1], findings.severity[index : index + 1],
        findings.confidence[index : index + 1], findings.count[index : index + 1], findings.caveats,
    )  # fmt: skip
    connection = int(connection_ids(one)[0])
    frames, main = frame_lists(one)[0].tolist(), int(main_frames(one)[0])
    sides = _endpoints(one)
    return Finding(
        int(finding_ids(one)[0]),
        one.rule.id,
        one.rule.name,
        SEVERITY.words[one.severity[0]],
        CONFIDENCE.words[one.confidence[0]],
        None if connection == -1 else connection,
        " > ".join(ip if port is None else endpoint_text(ip, port) for ip, port in sides),
        Time(int(times(one)[0])),
        0 if main == -1 else main >> FRAME_BITS,
        None if main == -1 else main & FRAME_MASK,
        tuple(frame & FRAME_MASK for frame in frames),
        message(one, 0, several_files),
        _known(delays(one)[0]),
        _known(silences(one)[0]),
        int(one.count[0]),
        values(one, 0),
        one.rule.rival,
        one.caveats,
        _display_filter(frames, _sides_of_filter(one.rule.table, sides), several_files),
    )


def values(findings: RuleHits, index: int) -> dict[str, Value]:
    """The numbers behind the sentence; nulls are left out."""
    table, row = BY_NAME[findings.rule.table], row_of(findings.rows, index)
    found: dict[str, Value] = {}
    for name in findings.rule.values:
        value = int(findings.count[index]) if name == COUNT else plain_value(table, name, row)
        if value is not None:
            found[name] = value
    return found


def _known(ns: Any) -> int | None:
    return None if ns == -1 else int(ns)


def _display_filter(frames: list[int], sides: list[tuple[str, int | None]], several_files: bool) -> str:
    if frames and not several_files:
        return frame_filter(frames)
    return side_filter(sides)


def _sides_of_filter(table: str, sides: list[tuple[str, int | None]]) -> list[tuple[str, int | None]]:
    """What went on from another port is shown with both."""
    return [(sides[0][0], None), *sides[1:]] if table == MOVES.name else sides


def _endpoints(findings: RuleHits) -> list[tuple[str, int | None]]:
    row, (ip, port, peer_ip, peer_port) = row_of(findings.rows, 0), peer_fields(findings)
    return [
        (ip_text(row[f"{address}_hi"], row[f"{address}_lo"]), row[number] if number else None)
        for address, number in ((ip, port), (peer_ip, peer_port))
        if address
    ]


def _names(findings: RuleHits) -> tuple[str, ...]:
    names: Any = findings.rows.dtype.names
    return tuple(names)


def _column(findings: RuleHits, name: str) -> Ints:
    """A column of ids or times; -1 in all rows where the table does not have it."""
    if name not in _names(findings):
        return np.full(findings.rows.size, -1, np.int64)
    column: Ints = findings.rows[name]
    return column
