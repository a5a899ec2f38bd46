"""Several outputs at once: each format to stdout or to a file, and a file appears whole or not at all."""

import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import NamedTuple

from tcptrace_tw.atomic import STDOUT, AtomicFile, identity, open_descriptor
from tcptrace_tw.errors import UsageError
from tcptrace_tw.report.checks.checked import Checked
from tcptrace_tw.report.checks.formats import Write, text, writer
from tcptrace_tw.report.checks.formats.text import Paint, plain


class Output(NamedTuple):
    """One format and where it goes."""

    format: str
    target: str


def parse(format_: str | None, outputs: Sequence[str]) -> list[Output]:
    """``--format`` and every ``--output FORMAT=FILE``; without anything for stdout, that gets the text.

    Raises ``UsageError`` for a format that is not known and for a target that is named twice.
    """
    found = [Output(format_, STDOUT)] if format_ else []
    for output in outputs:
        name, equals, target = output.partition("=")
        if not equals or not target:
            raise UsageError(f"--output {output}: write FORMAT=FILE, as in sarif=out.sarif; - is stdout")
        found.append(Output(name, STDOUT if open_descriptor(target) == 1 else target))
    for each in found:
        writer(each.format, "--format" if each.format == format_ else "--output")
        if sum(_place(other.target) == _place(each.target) for other in found) > 1:
            raise UsageError(f"--output: {_named(each.target)} can take one format only")
    if not any(each.target == STDOUT for each in found):
        found.insert(0, Output("text", STDOUT))
    return found


class Outputs:
    """The open outputs of a check; ``commit`` writes and moves them into place. Without it no file is left.

    ``paint`` colours the text on stdout.
    """

    def __init__(self, outputs: Iterable[Output], paint: Paint = plain) -> None:
        self._stdout: list[Write] = []
        self._files: list[tuple[AtomicFile, Write]] = []
        self._stack = ExitStack()
        with self._stack:
            for output in outputs:
                write = writer(output.format)
                if output.target == STDOUT:
                    self._stdout.append(partial(text.write, paint=paint) if output.format == "text" else write)
                else:
                    self._files.append((self._stack.enter_context(AtomicFile(output.target)), write))
            self._stack = self._stack.pop_all()

    def commit(self, checked: Checked) -> None:
        """Files first: the reader of stdout may go away."""
        for file, write in self._files:
            file.writelines(write(checked))
            file.finish()
        for file, _ in self._files:
            file.commit()
        for write in self._stdout:
            sys.stdout.writelines(write(checked))

    def __enter__(self) -> "Outputs":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()


def _place(target: str) -> tuple[object, ...]:
    return (STDOUT,) if target == STDOUT else identity(target)


def _named(target: str) -> str:
    return "stdout" if target == STDOUT else target
