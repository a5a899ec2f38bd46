"""What every mutant is judged by: the fixtures, the functions that each of them calls, and the rows that rules read.

It is prepared once, in a process of its own, and is plain data, so that it can be kept in a file.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent.parent
PACKAGE = ROOT / "tcptrace_tw"
LARGEST = 5_000
"""Bytes of a capture; longer ones take the interpreted kernels too long."""


class Ground(NamedTuple):
    """Of each fixture, by name."""

    captures: dict[str, bytes]
    chunks: dict[str, list[tuple[str, Any, tuple[Any, ...]]]]
    """Table, rows and caveats, as the pipeline hands them to the rules."""
    called: dict[tuple[str, str], list[str]]
    """Path of a module and name of a function: the fixtures that call it."""
    archived: dict[tuple[str, str], list[str]]
    """The same where everything that is over or silent is archived at once."""


def prepared() -> Ground:
    """Play every fixture that is not long, and note what it calls."""
    from tests import test_fixtures

    ground = Ground({}, {}, {}, {})
    for name in test_fixtures.NAMES:
        captured = test_fixtures.FIXTURES / name / "capture.pcap"
        data = captured.read_bytes() if captured.exists() else test_fixtures.rendered(name)
        if len(data) > LARGEST:
            continue
        ground.captures[name] = data
        calls, ground.chunks[name] = _played(name, data)
        for call in calls:
            ground.called.setdefault(call, []).append(name)
        with archiving():
            calls, _ = _played(name, data)
        for call in calls:
            ground.archived.setdefault(call, []).append(name)
    return ground


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


def _played(name: str, data: bytes) -> tuple[set[tuple[str, str]], list[tuple[str, Any, tuple[Any, ...]]]]:
    """The functions that are called, and the rows as the rules get them."""
    from tcptrace_tw.rules.runner import RuleRunner
    from tests import test_fixtures
    from tests.scenario import play_pcap

    chunks: list[tuple[str, Any, tuple[Any, ...]]] = []
    calls: set[tuple[str, str]] = set()
    classify, evaluate = RuleRunner.classify, RuleRunner.evaluate

    def note_rows(self: RuleRunner, table: Any, rows: Any) -> Any:
        chunks.append((table.name, rows.copy(), ()))
        return classify(self, table, rows)

    def note_caveats(self: RuleRunner, table: Any, rows: Any) -> Any:
        chunks[-1] = (*chunks[-1][:2], tuple(self.caveats))
        return evaluate(self, table, rows)

    def note_call(frame: Any, event: str, _: Any) -> None:
        if event == "call" and "tcptrace_tw" in frame.f_code.co_filename:
            path = frame.f_code.co_filename.rpartition("/tcptrace_tw/")[2]
            calls.add((f"tcptrace_tw/{path}", frame.f_code.co_name))

    RuleRunner.classify, RuleRunner.evaluate = note_rows, note_caveats  # type: ignore[method-assign]
    sys.setprofile(note_call)
    try:
        play_pcap(data, compiled=False, **test_fixtures.expectation(name).get("settings", {}))
    finally:
        sys.setprofile(None)
        RuleRunner.classify, RuleRunner.evaluate = classify, evaluate  # type: ignore[method-assign]
    return calls, chunks


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(pickle.dumps(prepared()._asdict()))
