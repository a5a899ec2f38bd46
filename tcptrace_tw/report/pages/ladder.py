"""The ladder of one connection: time, both endpoints' states down the sides, each segment an arrow between them.

``Step`` is what ``pipeline.ladder`` hands over for a segment. State changes and findings of the connection
join the segments as timers and notes; ``ladder_page`` draws what comes of it.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tcptrace_tw.report.words.text import endpoint_text, time_text
from tcptrace_tw.schema.columns import ACK, CWR, ECE, FIN, HAS_TS, PSH, RST, SYN, URG
from tcptrace_tw.schema.words import NULL_WORD, ORIG, STATE

TIME_FORMATS = ("rel", "delta", "utc", "local", "epoch")

_FLAGS = ((SYN, "S"), (FIN, "F"), (RST, "R"), (PSH, "P"), (URG, "U"), (ECE, "E"), (CWR, "W"))


@dataclass(frozen=True)
class Step:
    """One segment, and the states of both endpoints once it has crossed the tap; a state is a code.

    Both states are ``NULL_WORD`` for a copy of a frame that was captured before.
    """

    time: int
    frame: int
    is_orig: bool
    flags: int
    seq: int
    ack: int
    payload_len: int
    tsval: int | None = None
    tsecr: int | None = None
    orig_state: int = NULL_WORD
    resp_state: int = NULL_WORD


def step_of(segment: Any) -> Step:
    """A segment of a batch, in which the states are filled in."""
    has_ts = bool(segment.options & HAS_TS)
    is_orig = segment.side == ORIG
    return Step(
        time=segment.time,
        frame=segment.frame,
        is_orig=is_orig,
        flags=segment.flags,
        seq=segment.seq,
        ack=segment.ack,
        payload_len=segment.payload_len,
        tsval=segment.tsval if has_ts else None,
        tsecr=segment.tsecr if has_ts else None,
        orig_state=segment.sender_state if is_orig else segment.receiver_state,
        resp_state=segment.receiver_state if is_orig else segment.sender_state,
    )


Others = Mapping[int, Sequence[Step]]
"""Segments of other incarnations of the tuple, by the number of the incarnation."""


@dataclass(frozen=True)
class Turn:
    """A state change of one endpoint, as a row of ``transitions`` says it."""

    time: int
    frame: int | None
    endpoint: int
    to_state: str
    event: str
    basis: str = ""
    from_state: str = ""


@dataclass(frozen=True)
class Met:
    """What a SYN met: the states of the earlier connection, whose number says which one it was."""

    connection_id: int
    orig_state: str
    resp_state: str

    def said(self, state: str) -> str:
        """``LAST-ACK (connection 1)``; empty where there was no socket."""
        return "" if state in NO_SOCKET else f"{state} (connection {self.connection_id})"


NO_SOCKET = ("", "CLOSED", "LISTEN")


@dataclass(frozen=True)
class Note:
    """What a finding says at its frame."""

    frame: int
    severity: str
    text: str


@dataclass(frozen=True)
class Head:
    """Whose ladder it is."""

    connection_id: int
    orig: str
    resp: str
    close: str
    active_closer: str
    history: str
    orig_isn: int | None = None
    resp_isn: int | None = None


@dataclass
class LadderLine:
    """One line: an arrow of ``direction`` 1 (from orig), -1 or none (0), and the states where they change."""

    time: int
    frame: int | None
    direction: int
    label: str
    orig_state: str = ""
    resp_state: str = ""
    stamps: str = ""
    """TSval and TSecr, drawn where there is room."""
    short: str = ""
    """The label without what can be done without, for a narrow page."""
    is_other: bool = False
    """Whether it belongs to another incarnation of the tuple."""
    notes: list[Note] = field(default_factory=list)


@dataclass(frozen=True)
class Style:
    """How numbers and times are written, and how many lines are drawn at most (None: all)."""

    is_relative: bool = True
    time_format: str = "rel"
    most: int | None = 200


@dataclass(frozen=True)
class Ladder:
    """What is drawn of one incarnation; without ``steps`` it is its state changes alone."""

    head: Head
    steps: Sequence[Step]
    turns: Sequence[Turn] = ()
    notes: Sequence[Note] = ()
    others: Others = field(default_factory=dict)
    met: Mapping[int, Met] = field(default_factory=dict)
    """By the frame of a SYN."""

    def rungs(self, style: Style) -> list[LadderLine]:
        """The lines, with the notes under them; quiet stretches of a long one are left out, and counted."""
        rungs = rungs_of(self.head, self.steps, self.turns, style, self.others)
        _draw_met(rungs, self.met)
        attach(rungs, self.notes)
        return rungs if style.most is None else shortened(rungs, style.most)


_AROUND = 3
"""How many lines stand before and after what was left out."""


def shortened(rungs: list[LadderLine], most: int) -> list[LadderLine]:
    """At most about ``most`` lines: where nothing changes and nothing is noted, the middle is left out."""
    if len(rungs) <= most:
        return rungs
    kept: list[LadderLine] = []
    quiet: list[LadderLine] = []
    for rung in [*rungs, None]:
        if rung is not None and not (rung.notes or rung.orig_state or rung.resp_state or rung.is_other):
            quiet.append(rung)
            continue
        left_out = quiet[_AROUND:-_AROUND]
        if len(left_out) > 1:
            gap = LadderLine(left_out[0].time, None, 0, f"{len(left_out):,} segments left out")
            quiet = [*quiet[:_AROUND], gap, *quiet[-_AROUND:]]
        kept += quiet if rung is None else [*quiet, rung]
        quiet = []
    return kept


def rungs_of(
    head: Head, steps: Sequence[Step], turns: Sequence[Turn], style: Style, others: Others | None = None
) -> list[LadderLine]:
    """The lines in order of time: segments with the states after them, and what moved without a segment.

    Segments of an earlier incarnation are shown from the first one of this on, those of a later one up to its last.
    The states are those of ``turns``: what a later segment took back is not drawn. Without turns that have frames they
    are those of ``steps``, as each segment left them.
    """
    shown = [turn for turn in turns if turn.frame is None or not steps]
    own = _segments(_bases(head, steps), steps, style)
    rungs = own + [_turn(turn) for turn in shown]
    for number, segments in (others or {}).items():
        late = _segments(_bases(None, segments), segments, style)
        for rung in late:
            if not steps or rung.time < steps[0].time or (number > head.connection_id and rung.time > steps[-1].time):
                continue
            said = f" (connection {number})"
            rungs.append(
                LadderLine(
                    rung.time, rung.frame, rung.direction, rung.label + said, short=rung.short + said, is_other=True
                )
            )
    if steps and any(turn.frame is not None for turn in turns):
        _draw_states(own, rungs, turns)
    return sorted(rungs, key=lambda rung: rung.time)


def _draw_states(own: list[LadderLine], rungs: list[LadderLine], turns: Sequence[Turn]) -> None:
    """Write the states of the turns beside the segments that caused them; what crossed, behind the endpoint's own."""
    by_frame = {rung.frame: rung for rung in [*(rung for rung in rungs if rung.is_other), *own]}
    times = [rung.time for rung in own]
    for rung in own:
        rung.orig_state = rung.resp_state = ""
    reached: dict[int, int] = {}
    for turn in turns:
        name = "resp_state" if turn.endpoint else "orig_state"
        if turn.endpoint not in reached and own:
            setattr(own[0], name, turn.from_state)
        reached[turn.endpoint] = time = max(turn.time, reached.get(turn.endpoint, 0))
        if turn.frame is None or not own:
            continue
        beside = by_frame.get(turn.frame)
        if beside is None or time > beside.time:
            at = bisect_left(times, time)
            if at == len(own):
                continue  # a segment of a later incarnation, which is not drawn here
            beside = own[at]
        setattr(beside, name, turn.to_state)


def _draw_met(rungs: list[LadderLine], met: Mapping[int, Met]) -> None:
    """Beside a SYN: the state in which the earlier connection met it, instead of no socket of its own."""
    for rung in rungs:
        found = met.get(-1 if rung.frame is None or rung.is_other or not rung.direction else rung.frame)
        if found is not None:
            rung.orig_state = rung.orig_state or found.said(found.orig_state)
            if rung.resp_state in NO_SOCKET:
                rung.resp_state = found.said(found.resp_state) or rung.resp_state


def flags_text(flags: int) -> str:
    """As tcpdump writes them: ``S``, ``S.``, ``F.``, ``.`` for a bare ACK."""
    return "".join(letter for bit, letter in _FLAGS if flags & bit) + ("." if flags & ACK else "") or "none"


def segment_text(step: Step, seq_base: int, ack_base: int) -> str:
    """``P. 1:101(100) ack 1``; numbers are relative to the bases."""
    seq = (step.seq - seq_base) & 0xFFFFFFFF
    end = (seq + step.payload_len) & 0xFFFFFFFF
    has_length = step.payload_len or step.flags & (SYN | FIN)
    text = f"{flags_text(step.flags)} " + (f"{seq}:{end}({step.payload_len})" if has_length else f"{seq}")
    return text + (f" ack {(step.ack - ack_base) & 0xFFFFFFFF}" if step.flags & ACK else "")


def short_text(step: Step, seq_base: int, ack_base: int) -> str:
    """The same without the end, and with a length only where there is payload: ``P. 1(100) ack 1``."""
    length = f"({step.payload_len})" if step.payload_len else ""
    text = f"{flags_text(step.flags)} {(step.seq - seq_base) & 0xFFFFFFFF}{length}"
    return text + (f" ack {(step.ack - ack_base) & 0xFFFFFFFF}" if step.flags & ACK else "")


def stamp(time: int, first: int, before: int, time_format: str) -> str:
    """A time in one of ``TIME_FORMATS``."""
    if time_format == "rel":
        return _seconds(time - first)
    if time_format == "delta":
        return _seconds(time - before)
    if time_format == "epoch":
        return f"{time // 1_000_000_000}.{time % 1_000_000_000:09}"
    if time_format == "local":
        return f"{datetime.fromtimestamp(time // 1_000_000_000):%H:%M:%S}.{time // 1000 % 1_000_000:06}"
    return time_text(time)[11:26]


def _seconds(ns: int) -> str:
    sign, ns = ("-", -ns) if ns < 0 else ("", ns)
    return f"{sign}{ns // 1_000_000_000}.{ns // 1000 % 1_000_000:06}"


def _segments(bases: tuple[int, int], steps: Sequence[Step], style: Style) -> list[LadderLine]:
    bases = bases if style.is_relative else (0, 0)
    rungs, before = [], (NULL_WORD, NULL_WORD)
    for step in steps:
        own, other = bases if step.is_orig else bases[::-1]
        label, short = segment_text(step, own, other), short_text(step, own, other)
        rung = LadderLine(step.time, step.frame, 1 if step.is_orig else -1, label, short=short)
        rungs.append(rung)
        if step.orig_state == NULL_WORD and step.resp_state == NULL_WORD:
            rung.label, rung.short = f"{label}  (copy)", f"{short} (copy)"
            continue
        if step.tsval is not None:
            rung.stamps = f"TS {step.tsval}/{step.tsecr}"
        now = (step.orig_state, step.resp_state)
        rung.orig_state, rung.resp_state = (
            _state(new) if new != old else "" for new, old in zip(now, before, strict=True)
        )
        before = now
    return rungs


def _bases(head: Head | None, steps: Sequence[Step]) -> tuple[int, int]:
    """Where relative numbers begin: the ISNs, or the first numbers that were seen."""
    found: dict[bool, int] = {}
    for step in steps:
        found.setdefault(step.is_orig, step.seq)
        if step.flags & ACK:
            found.setdefault(not step.is_orig, (step.ack - 1) & 0xFFFFFFFF)
    orig = found.get(True, 0) if head is None or head.orig_isn is None else head.orig_isn
    resp = found.get(False, 0) if head is None or head.resp_isn is None else head.resp_isn
    return orig, resp


def _turn(turn: Turn) -> LadderLine:
    label = turn.event if turn.basis in ("", "sent", "confirmed", "timer") else f"{turn.event} ({turn.basis})"
    states = (turn.to_state, "") if turn.endpoint == ORIG else ("", turn.to_state)
    return LadderLine(turn.time, turn.frame, 0, label, *states)


def _state(code: int) -> str:
    return STATE.words[code] if code < len(STATE.words) else "?"


def attach(rungs: list[LadderLine], notes: Sequence[Note]) -> None:
    """Put each note under the last rung of its frame; one whose frame belongs elsewhere goes to the end."""
    for note in notes:
        home = [rung for rung in rungs if rung.frame == note.frame] or rungs[-1:]
        if home:
            home[-1].notes.append(note)


def head_of(row: dict[str, Any]) -> Head:
    """The head of a ladder, from a written row of ``connections``."""
    return Head(
        row["connection_id"],
        endpoint_text(row["orig_ip"], row["orig_port"]),
        endpoint_text(row["resp_ip"], row["resp_port"]),
        row["close"],
        row["active_closer"],
        row["history"],
    )
