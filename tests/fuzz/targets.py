"""What a case is run through. A target raises ``AssertionError``, or whatever is our bug, where something is wrong."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tcptrace_tw.capture import ring
from tcptrace_tw.capture.facts import FileFacts
from tcptrace_tw.capture.head import read_head
from tcptrace_tw.capture.reader import Reader
from tcptrace_tw.capture.source import open_stream
from tcptrace_tw.errors import CaptureError, UsageError
from tests.fuzz import commands, mutate

COMMANDS = (
    ("report",),
    ("check", "--fail-on", "info:predicted"),
    ("report", "--json", "--ignore-vlan"),
    ("check", "--since", "+0.5s", "--filter", "tcp and not port 1"),
    ("show", "--connection", "1"),
    ("export", "--connection", "1", "--output", "{out}"),
    ("report", "--until", "+1s", "{path}"),
    ("analyze", "--output", "{out}"),
)
"""Every case goes through one of them. The last but one reads the case twice, as files of one capture."""


def write(target: str, number: int, run: int, start: Sequence[bytes], folder: Path) -> Path:
    """Put a case on the disk: for ``commands`` a capture of its own, for the others a mutated seed."""
    if target == "commands":
        return commands.write(number, run, folder)
    path = folder / "case"
    path.write_bytes(mutate.case(number, start, run))
    return path


def read(path: Path, number: int) -> None:
    """Open, unpack, read and decode; every frame is a segment or was skipped with a reason."""
    with contextlib.suppress(CaptureError):
        read_head(str(path))
    interpreted = _segments(path, compiled=False)
    if os.environ.get("FUZZ_COMPILED"):
        compiled = _segments(path, compiled=True)
        assert (interpreted is None) == (compiled is None), "one engine refuses the capture, the other does not"
        if interpreted is not None and compiled is not None:
            assert interpreted[1] == compiled[1], f"facts differ: {interpreted[1]} {compiled[1]}"
            for name, one, other in zip(interpreted[2], interpreted[0], compiled[0], strict=True):
                assert np.array_equal(one, other), f"column {name} differs between the engines"


def _segments(path: Path, *, compiled: bool) -> tuple[list[Any], Any, Any] | None:
    parts: list[Any] = []
    fields: Any = ()
    try:
        with open_stream(str(path)) as stream:
            reader = Reader(stream, compiled=compiled)
            for batch in reader.batches():
                fields = batch.dtype.names
                parts.append([batch[name].copy() for name in fields])
    except CaptureError as error:
        message = str(error)
    else:
        return _checked(reader.facts, parts, fields)
    assert message.startswith(str(path)), f"a message that does not say where: {message}"
    assert "\n" not in message
    return None


def _checked(facts: FileFacts, parts: list[Any], fields: Any) -> tuple[list[Any], Any, Any]:
    accounted = facts.tcp_segments + sum(facts.skipped.values())
    assert facts.frames == accounted, f"{facts.frames} frames, {accounted} accounted for"
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    if columns:
        named = dict(zip(fields, columns, strict=True))
        assert (named["payload_len"] >= 0).all(), "negative payload"
        assert (named["scope"] >= 0).all(), "negative scope"
        assert (np.diff(named["frame"]) > 0).all(), "frame numbers do not rise"
    return columns, facts, fields


def command(path: Path, number: int) -> None:
    """A whole command, as typed."""
    out = path.with_name(f"{path.name}.out")
    name, *options = COMMANDS[number % len(COMMANDS)]
    arguments = [name, str(path), "--debug", *(option.format(path=path, out=out) for option in options)]
    stdout, stderr = io.TextIOWrapper(io.BytesIO()), io.StringIO()
    code: Any = 0
    try:
        with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
            _command_line()(arguments, standalone_mode=False)
    except SystemExit as exit:
        code = exit.code
    except CaptureError as error:
        code, message = 3, str(error)
        assert message.startswith(str(path)), f"a message that does not say where: {message}"
        assert "\n" not in message
    except UsageError as error:
        code = 2 if any(words in str(error) for words in ("no connection 1", "convert it with")) else str(error)
    finally:
        shutil.rmtree(out, ignore_errors=True)
        out.unlink(missing_ok=True)
    assert code in (0, None, 3) or (code, name) == (1, "check") or (code == 2 and name in ("show", "export")), (
        f"exit code {code}: {stderr.getvalue()[-500:]}"
    )
    assert "Traceback" not in stderr.getvalue()


@functools.cache
def _command_line() -> Any:
    """The command line, put together once."""
    import typer.main

    from tcptrace_tw.cli.app import app

    return typer.main.get_command(app)


def find(path: Path, number: int) -> None:
    """A folder that holds the case beside something that is no capture."""
    with contextlib.suppress(CaptureError):
        ring.find([str(path), str(path)])


TARGETS = {"read": read, "command": command, "find": find, "commands": commands.command}

if sys.platform != "win32":
    import resource

    def rss_mb() -> int:
        """The most memory that this process ever had."""
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
