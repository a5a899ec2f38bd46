"""Several outputs at once: each format to stdout or to a file, and a file appears whole or not at all."""

import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, TextIO

from tcptrace_tw.errors import UsageError
from tcptrace_tw.report.checked import Checked
from tcptrace_tw.report.formats import Write, text, writer
from tcptrace_tw.report.formats.text import Paint, plain
from tcptrace_tw.unfinished import begin, complete

STDOUT = "-"


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
        found.append(Output(name, target))
    for each in found:
        writer(each.format, "--format" if each.format == format_ else "--output")
        if sum(os.path.abspath(other.target) == os.path.abspath(each.target) for other in found) > 1:
            raise UsageError(f"--output: {_named(each.target)} can take one format only")
    if not any(each.target == STDOUT for each in found):
        found.insert(0, Output("text", STDOUT))
    return found


def keep_captures(outputs: Iterable[Output], captures: Iterable[str]) -> None:
    """``UsageError`` where an output would replace a capture that is to be read."""
    for output in outputs:
        for capture in captures:
            if os.path.isfile(output.target) and os.path.exists(capture) and os.path.samefile(output.target, capture):
                raise UsageError(f"--output {output.format}={output.target}: is the capture itself")


class Outputs:
    """The open outputs of a check; ``commit`` writes and moves them into place. Without it no file is left.

    ``paint`` colours the text on stdout.
    """

    def __init__(self, outputs: Iterable[Output], paint: Paint = plain) -> None:
        self._stdout: list[Write] = []
        self._files: list[_File] = []
        self._stack = ExitStack()
        with self._stack:
            for output in outputs:
                write = writer(output.format)
                if output.target == STDOUT:
                    self._stdout.append(partial(text.write, paint=paint) if output.format == "text" else write)
                else:
                    self._files.append(self._stack.enter_context(_File(output.target, write)))
            self._stack = self._stack.pop_all()

    def commit(self, checked: Checked) -> None:
        """Files first: whoever reads stdout may go away."""
        for file in self._files:
            file.fill(checked)
        for file in self._files:
            file.place()
        for write in self._stdout:
            sys.stdout.writelines(write(checked))

    def __enter__(self) -> "Outputs":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()


class _File:
    """A file beside its target; what is no ordinary file, as /dev/stderr or a pipe, is written as it stands."""

    def __init__(self, target: str, write: Write) -> None:
        self._target = Path(target)
        self._write = write
        self._is_special = self._target.exists() and not self._target.is_file()
        self._partial = self._target.with_name(f".{self._target.name}.{os.getpid()}.partial")
        begin(self._remove)
        try:
            self._stream: TextIO = (self._target if self._is_special else self._partial).open("w", encoding="utf-8")
        except OSError as error:
            complete(self._remove)
            raise UsageError(f"{target}: cannot be written: {error.strerror}") from error

    def fill(self, checked: Checked) -> None:
        with self._stream:
            self._stream.writelines(self._write(checked))

    def place(self) -> None:
        if not self._is_special:
            os.replace(self._partial, self._target)

    def __enter__(self) -> "_File":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()
        self._remove()
        complete(self._remove)

    def _remove(self) -> None:
        if not self._is_special:
            self._partial.unlink(missing_ok=True)


def _named(target: str) -> str:
    return "stdout" if target == STDOUT else target
