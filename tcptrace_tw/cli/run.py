"""What every command does around its work: settings, progress, warnings, and errors to exit codes."""

import errno
import functools
import glob
import importlib
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO, TypeVar

from tcptrace_tw.cli.interrupts import interrupts
from tcptrace_tw.cli.options import Color
from tcptrace_tw.errors import CaptureError, TcptraceError, UsageError, printable

if TYPE_CHECKING:
    from rich.console import Console

    from tcptrace_tw.cli.progress import Progress
    from tcptrace_tw.pipeline import Settings, Sink, Summary

_MANY = 3
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FINDINGS, USAGE, UNREADABLE, BUG, INTERRUPTED, BROKEN_PIPE = 1, 2, 3, 70, 130, 141

Command = TypeVar("Command", bound=Callable[..., Any])


class Failed(SystemExit):
    """The end of a check in which a finding reached the threshold."""

    def __init__(self) -> None:
        super().__init__(FINDINGS)


def command(function: Command) -> Command:
    """Turn the errors of a command into one line on stderr and the exit code of the contract."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        try:
            function(*args, **kwargs)
            sys.stdout.flush()
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        except Exception as error:
            if kwargs.get("debug") and not isinstance(error, BrokenPipeError):
                raise
            fail(error)

    return wrapped  # type: ignore[return-value]


def fail(error: Exception) -> NoReturn:
    """Say what is wrong in one line and end with the exit code for it."""
    if isinstance(error, BrokenPipeError):
        _drop(sys.stdout)
        sys.exit(BROKEN_PIPE)
    if isinstance(error, TcptraceError):
        warn(*error.args)
        sys.exit(UNREADABLE if isinstance(error, CaptureError) else USAGE)
    if isinstance(error, OSError) and error.errno in _FULL and error.filename is None:  # what print() has met
        from tcptrace_tw.atomic import unwritable

        _drop(sys.stdout)
        warn(str(unwritable("stdout", error)))
        sys.exit(USAGE)
    if isinstance(error, OSError):
        warn(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        sys.exit(USAGE)
    warn(f"this is a bug: {type(error).__name__}: {error}; --debug shows where")
    sys.exit(BUG)


def warn(*lines: str) -> None:
    """Lines on stderr, each of which says whose it is; where stderr takes nothing, the exit code must do."""
    try:
        for line in lines:
            print(f"tcptrace-tw: {printable(line)}", file=sys.stderr)
    except OSError:
        _drop(sys.stderr)


def _drop(stream: TextIO) -> None:
    """Let go what could not be written, or Python would try once more at its end and warn."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def settings(
    profile: str,
    two_msl: float | None,
    select: list[str] | None,
    ignore: list[str] | None,
    **others: Any,
) -> "Settings":
    """The settings that the common options say; ``others`` are fields of ``Settings`` as they are."""
    from tcptrace_tw.pipeline import Settings

    return Settings(profile, two_msl, tuple(select or ()), tuple(ignore or ()), **others)


def sources(captures: Sequence[str] | None, files_from: str = "") -> list[str]:
    """What is to be read: the arguments, and those that the list of ``--files-from`` adds."""
    named = list(captures or ())
    if files_from:
        from tcptrace_tw.capture.ring import read_list

        if files_from == "-" and "-" in named:
            raise UsageError("--files-from -: stdin can be the list or a capture, not both")
        named += read_list(files_from)
        if not named:
            raise UsageError(f"--files-from {files_from}: lists no capture; write one path per line")
    if not named:
        raise UsageError("no capture given; name a file, a directory, - for stdin, or use --files-from FILE")
    return named


def analyze(
    captures: Sequence[str],
    settings: "Settings",
    sinks: "Sequence[Sink]",
    quiet: bool,
    no_progress: bool,
    wanted_later: str = "",
) -> "Summary":
    """Read the captures once, with progress; say on stderr what is damaged.

    ``wanted_later`` is a module for what follows: it is imported while the captures are read.
    """
    from tcptrace_tw import pipeline

    if wanted_later:
        threading.Thread(target=importlib.import_module, args=[wanted_later], daemon=True).start()
    with interrupts.reading(captures, quiet=quiet), progress_of(quiet, no_progress) as progress:
        summary = pipeline.analyze(captures, settings, sinks, progress, None if quiet else warn)
    if not quiet:
        for remark in remarks(summary):
            warn(remark)
    return summary


def progress_of(quiet: bool, no_progress: bool) -> "Progress":
    """What stderr shows of the work: only a terminal sees it."""
    from tcptrace_tw.cli.progress import Progress

    return Progress(enabled=not (quiet or no_progress) and sys.stderr.isatty())


def remarks(summary: "Summary") -> Iterator[str]:
    """What is damaged; and that there is no TCP, lest nothing found be taken for nothing wrong."""
    capture = summary.capture
    for file in capture.files:
        if file.damage:
            yield f"{file.name}: {file.damage}"
    if capture.tcp_segments:
        return
    where = capture.files[0].name if len(capture.files) == 1 else f"{len(capture.files)} files"
    if not capture.frames:
        yield f"{where}: contains no frame; was the capture stopped early, or is its filter too narrow?"
        return
    skipped = ", ".join(f"{reason} {count}" for reason, count in list(capture.skipped.items())[:3])
    found = f"no TCP segment in {capture.frames} frames ({skipped})"
    yield f"{where}: {found}; is it the right capture, with the right filter?"


def glob_for(captures: Sequence[str]) -> list[str]:
    """What a command to paste calls the captures: one glob, where it names just these files; and no passwords."""
    from tcptrace_tw.capture.address import shown

    if len(captures) < _MANY or any("://" in name or glob.has_magic(name) for name in captures):
        return [shown(name) for name in captures]
    begin = os.path.commonprefix(list(captures))  # noqa: RUF071 (letters are meant, not parts of the path)
    ends = [name[len(begin) :][::-1] for name in captures]
    end = os.path.commonprefix(ends)[::-1]  # noqa: RUF071 (the same)
    pattern = f"{begin}*{end}"
    return [pattern] if sorted(glob.glob(pattern)) == sorted(captures) else list(captures)


def has_several_files(captures: Sequence[str]) -> bool:
    """Whether a frame number needs its file beside it."""
    from tcptrace_tw.capture.ring import is_search

    return len(captures) > 1 or any(is_search(capture) for capture in captures)


def written_folder(captures: Sequence[str]) -> Path | None:
    """The folder that ``analyze`` wrote, if that is what was given."""
    from tcptrace_tw.report.tables.folder import read_manifest

    folders = [Path(capture) for capture in captures if Path(capture).is_dir() and read_manifest(capture) is not None]
    if folders and len(captures) > 1:
        raise UsageError(f"{folders[0]}: was written by analyze; name no other capture with it")
    return folders[0] if folders else None


def console(color: Color) -> "Console":
    """Where a report is drawn: plain through a pipe, without any escape for ``never`` or NO_COLOR."""
    from rich.console import Console

    class Pipe(Console):
        """rich ends a broken pipe with exit code 1, which is that of findings."""

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    is_forced = color is Color.ALWAYS
    is_plain = color is Color.NEVER or (not is_forced and bool(os.environ.get("NO_COLOR")))
    return Pipe(
        color_system=None if is_plain else "standard" if is_forced else "auto",
        force_terminal=True if is_forced else None,
        no_color=False if is_forced else None,
        highlight=False,
        markup=False,
        emoji=False,
    )
