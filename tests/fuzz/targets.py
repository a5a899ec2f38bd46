"""What a case is run through. A target raises ``AssertionError``, or whatever is our bug, where something is wrong."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tcptrace_tw.capture import ring
from tcptrace_tw.capture.facts import FileFacts
from tcptrace_tw.capture.head import read_head
from tcptrace_tw.capture.reader import Reader
from tcptrace_tw.capture.source import open_stream
from tcptrace_tw.errors import CaptureError

COMMANDS = (("report",), ("check", "--fail-on", "info:predicted"), ("analyze",), ("report", "--json"))


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
                fields = batch._fields
                parts.append([column.copy() for column in batch])
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
    from tcptrace_tw.cli.app import app

    out = path.with_name(f"{path.name}.out")
    arguments = list(COMMANDS[number % len(COMMANDS)])
    arguments[1:1] = [str(path), "--debug"]
    if arguments[0] == "analyze":
        arguments += ["-o", str(out)]
    stdout, stderr = io.TextIOWrapper(io.BytesIO()), io.StringIO()
    code: Any = 0
    try:
        with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
            app(arguments, standalone_mode=False)
    except SystemExit as exit:
        code = exit.code
    except CaptureError:
        code = 3
    finally:
        shutil.rmtree(out, ignore_errors=True)
    assert code in (0, None, 1, 3), f"exit code {code}: {stderr.getvalue()[-500:]}"
    assert code != 1 or arguments[0] == "check", f"exit code 1: {stderr.getvalue()[-500:]}"
    assert "Traceback" not in stderr.getvalue()


def find(path: Path, number: int) -> None:
    """A folder that holds the case beside something that is no capture."""
    with contextlib.suppress(CaptureError):
        ring.find([str(path), str(path)])


TARGETS = {"read": read, "command": command, "find": find}

if sys.platform != "win32":
    import resource

    def rss_mb() -> int:
        """The most memory that this process ever had."""
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
