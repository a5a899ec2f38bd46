"""What every mutant is judged by: fixtures and random conversations, the lines that each runs, the rows of rules.

It is prepared once, in a process of its own, and is plain data, so that it can be kept in a file.
"""

from __future__ import annotations

import pickle
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

from tests.fuzz import borders

if __name__ == "__main__":
    borders.install()  # before the rooms are imported

from tests import conversations
from tests.mutate.meets import needed
from tests.mutate.operators import Mutant

ROOT = Path(__file__).parent.parent.parent
PACKAGE = ROOT / "tcptrace_tw"
ROOMS = ("rules", "tcp", "measure", "flow.py")
LARGEST = 100_000
"""Bytes of a capture; longer ones take the interpreted kernels too long."""


class Ground(NamedTuple):
    """Of each fixture, by name."""

    captures: dict[str, bytes]
    chunks: dict[str, list[tuple[str, Any, tuple[Any, ...]]]]
    """Table, rows and caveats, as the pipeline hands them to the rules."""
    lines: dict[str, dict[int, int]]
    """Path of a module and number of a line: a bit for each fixture that runs it, in the order of ``captures``."""
    archived: dict[str, dict[int, int]]
    """The same where everything that is over or silent is archived at once."""
    conversations: dict[str, dict[int, int]]
    """The same of the random conversations, in the order of their file."""
    borders: dict[str, dict[tuple[str, int], dict[int, int]]]
    """Of ``FIXTURES`` and ``TALKS``: by how much the sides of a comparison differ, and the bits of who meets that."""

    talked: list[str]
    """The names of the random conversations, in the order of their bits."""

    def names(self, mutant: Mutant) -> list[str]:
        """The fixtures that can meet the change."""
        return _named(self._running(self.lines, mutant) & self._meeting(FIXTURES, mutant), self.captures)

    def names_archived(self, mutant: Mutant) -> list[str]:
        """The same where everything is archived at once."""
        return _named(self._running(self.archived, mutant), self.captures)

    def talks(self, mutant: Mutant) -> list[str]:
        """The random conversations that can meet the change."""
        return _named(self._running(self.conversations, mutant) & self._meeting(TALKS, mutant), self.talked)

    def _running(self, of: dict[str, dict[int, int]], mutant: Mutant) -> int:
        lines, bits = of.get(mutant.path, {}), 0
        for line in range(mutant.first, mutant.last + 1):
            bits |= lines.get(line, 0)
        return bits

    def _meeting(self, who: str, mutant: Mutant) -> int:
        wanted = needed(mutant)
        known = self.borders[who].get((mutant.path, wanted[0]), {}) if wanted else {}
        if not wanted or not any(-borders.FAR <= code <= borders.FAR for code in known):
            return -1
        bits = 0
        for code in wanted[1]:
            bits |= known.get(code, 0)
        return bits


FIXTURES, TALKS = "fixtures", "conversations"


def _named(bits: int, names: Iterable[str]) -> list[str]:
    return [name for number, name in enumerate(names) if bits >> number & 1]


class Tracer:
    """Within it the lines of the rooms that are run are noted, in every thread."""

    def __init__(self) -> None:
        self.lines: dict[str, set[int]] = {}
        self._is_in_a_room: dict[CodeType, str] = {}

    def __enter__(self) -> Tracer:
        threading.settrace(self._called)
        sys.settrace(self._called)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)
        threading.settrace(None)

    def _called(self, frame: FrameType, event: str, _: Any) -> Any:
        path = self._is_in_a_room.get(frame.f_code)
        if path is None:
            path = self._is_in_a_room[frame.f_code] = _path_of(frame.f_code.co_filename)
        if not path:
            return None
        lines = self.lines.setdefault(path, set())
        lines.add(frame.f_lineno)

        def note(frame: FrameType, event: str, _: Any) -> Any:
            lines.add(frame.f_lineno)
            return note

        return note

    def put(self, number: int, into: dict[str, dict[int, int]]) -> None:
        """Set the bit of this fixture."""
        for path, lines in self.lines.items():
            of_path = into.setdefault(path, {})
            for line in lines:
                of_path[line] = of_path.get(line, 0) | 1 << number


def _path_of(file: str) -> str:
    """The path of a module of the rooms; empty for all others."""
    path = "tcptrace_tw/" + file.rpartition("/tcptrace_tw/")[2]
    return path if path.startswith(tuple(f"tcptrace_tw/{room}" for room in ROOMS)) else ""


def prepared() -> Ground:
    """Play every fixture that is not long, and every random conversation, and note what it runs."""
    from tests import test_fixtures

    ground = Ground({}, {}, {}, {}, {}, {FIXTURES: {}, TALKS: {}}, [])
    for name in test_fixtures.NAMES:
        captured = test_fixtures.FIXTURES / name / "capture.pcap"
        data = captured.read_bytes() if captured.exists() else test_fixtures.rendered(name)
        if len(data) > LARGEST:
            continue
        number = len(ground.captures)
        ground.captures[name] = data
        borders.met.clear()
        ground.chunks[name] = _played(name, data, number, ground.lines)
        _put_borders(number, ground.borders[FIXTURES])
        with archiving():
            _played(name, data, number, ground.archived)
    add_conversations(ground)
    return ground


def add_conversations(ground: Ground) -> None:
    """Play those that are not known, and note what they run."""
    for name in conversations.kept():
        if name in ground.talked:
            continue
        tracer = Tracer()
        borders.met.clear()
        with tracer:
            list(conversations.lines([name]))
        tracer.put(len(ground.talked), ground.conversations)
        _put_borders(len(ground.talked), ground.borders[TALKS])
        ground.talked.append(name)


def _put_borders(number: int, into: dict[tuple[str, int], dict[int, int]]) -> None:
    """Set the bit of this capture for all that was met."""
    for path, node, code in borders.met:
        of_node = into.setdefault((path, node), {})
        of_node[code] = of_node.get(code, 0) | 1 << number


@contextmanager
def archiving() -> Iterator[None]:
    """Within it everything that is over or silent is archived at once, as where very many connections live."""
    from tcptrace_tw.tcp import tracker

    names = ("ARCHIVE_FROM", "LINGER_NS", "IDLE_AFTER_NS")
    before = {name: getattr(tracker, name) for name in names}
    for name in names:
        setattr(tracker, name, 0)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(tracker, name, value)


def _played(name: str, data: bytes, number: int, lines: dict[str, dict[int, int]]) -> list[tuple[str, Any, Any]]:
    """The rows as the rules get them; in ``lines`` those that are run."""
    from tcptrace_tw.rules.runner import RuleRunner
    from tests import test_fixtures
    from tests.scenario import play_pcap

    chunks: list[tuple[str, Any, tuple[Any, ...]]] = []
    classify, evaluate = RuleRunner.classify, RuleRunner.evaluate

    def note_rows(self: RuleRunner, table: Any, rows: Any) -> Any:
        chunks.append((table.name, rows.copy(), ()))
        return classify(self, table, rows)

    def note_caveats(self: RuleRunner, table: Any, rows: Any) -> Any:
        chunks[-1] = (*chunks[-1][:2], tuple(self.caveats))
        return evaluate(self, table, rows)

    RuleRunner.classify, RuleRunner.evaluate = note_rows, note_caveats  # type: ignore[method-assign]
    tracer = Tracer()
    try:
        with tracer:
            play_pcap(data, compiled=False, **test_fixtures.expectation(name).get("settings", {}))
    finally:
        RuleRunner.classify, RuleRunner.evaluate = classify, evaluate  # type: ignore[method-assign]
    tracer.put(number, lines)
    return chunks


def main(path: Path) -> None:
    """Write the file; if it is there, only the conversations that are new are played."""
    ground = Ground(**pickle.loads(path.read_bytes())) if path.exists() else prepared()
    add_conversations(ground)
    path.write_bytes(pickle.dumps(ground._asdict()))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
