"""What every command does around its work: settings, progress, warnings, and errors to exit codes."""

import errno
import functools
import glob
import importlib
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NoReturn, TextIO, TypeVar

from tcptrace_tw.cli.interrupts import interrupts, is_pipe
from tcptrace_tw.cli.options import Color
from tcptrace_tw.cli.records import spread
from tcptrace_tw.errors import CaptureError, TcptraceError, UsageError, printable

if TYPE_CHECKING:
    from rich.console import Console

    from tcptrace_tw.checking.plan import Plan
    from tcptrace_tw.cli.progress import Progress
    from tcptrace_tw.cluster.run import Means
    from tcptrace_tw.pipeline import Settings, Sink, Summary
    from tcptrace_tw.report.summary.digest import PolicyDigest
    from tcptrace_tw.storage import Place

_MANY = 3
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FINDINGS, USAGE, UNREADABLE, BUG, INTERRUPTED, BROKEN_PIPE = 1, 2, 3, 70, 130, 141

_FOLDER: ContextVar[str | None] = ContextVar("folder", default=None)
"""The folder that this command reads instead of captures."""

Command = TypeVar("Command", bound=Callable[..., Any])


class Failed(SystemExit):
    """The end of a check in which a finding reached the threshold."""

    def __init__(self) -> None:
        super().__init__(FINDINGS)


def command(function: Command) -> Command:
    """Turn the errors of a command into one line on stderr and the exit code of the contract.

    What typer sees of it are single options, also where the command takes records of them.
    """
    seen = spread(function)

    @functools.wraps(function)
    def wrapped(**given: Any) -> None:
        _FOLDER.set(None)
        try:
            function(**seen.gathered(given))
            sys.stdout.flush()
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        except Exception as error:
            if given.get("debug") and not isinstance(error, BrokenPipeError):
                raise
            fail(_of_folder(error) or error)

    vars(wrapped)["__signature__"] = seen.signature
    wrapped.__annotations__ = {each.name: each.annotation for each in seen.signature.parameters.values()}
    return wrapped  # type: ignore[return-value]


def _of_folder(error: Exception) -> Exception | None:
    """What an error means where the command reads a folder that ``analyze`` wrote: such a one may be a stranger's."""
    folder = _FOLDER.get()
    if folder is None or isinstance(error, (OSError, TcptraceError)):
        return None
    from tcptrace_tw.report.tables.stored import damaged_folder

    return damaged_folder(folder, error)


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
    policy: "Plan | None" = None,
    label: str = "reading",
    says: bool = True,
    means: "Means | None" = None,
) -> "Summary":
    """Read the captures once, with progress; say on stderr what is damaged.

    ``wanted_later`` is a module for what follows: it is imported while the captures are read.
    The sinks get what ``policy`` leaves of the findings; ``summary.policy`` says what it did.
    ``means``: with what the work is done; None for this process.
    ``says`` is false for another pass, in which what was said is not said again.
    """
    from tcptrace_tw.checking import obey

    if wanted_later and means is None:  # workers are copies of this process as long as it has no other thread
        threading.Thread(target=importlib.import_module, args=[wanted_later], daemon=True).start()
    with interrupts.reading(captures, quiet=quiet), progress_of(quiet, no_progress, label) as progress:
        notice = warn if says and not quiet else None
        summary = obey.analyze(captures, settings, policy, sinks, progress, notice, means)
    if says and not quiet:
        for remark in remarks(summary):
            warn(remark)
    return summary


def progress_of(quiet: bool, no_progress: bool, label: str = "reading") -> "Progress":
    """What stderr shows of the work: only a terminal sees it."""
    from tcptrace_tw.cli.progress import Progress

    return Progress(not (quiet or no_progress) and sys.stderr.isatty(), label)


@contextmanager
def saving(path: str) -> Iterator[None]:
    """Within this block stdin is kept in a file as it is read; at the end what was not read is kept as well."""
    if not path:
        yield
        return
    from tcptrace_tw.atomic import AtomicFile
    from tcptrace_tw.capture import kept_stdin

    with AtomicFile(path) as file:
        with kept_stdin.keeping(file.write):
            yield
        file.commit()


def say_policy(policy: "PolicyDigest | None", quiet: bool) -> None:
    """Say in one line what the policy did, where the output does not."""
    if policy is not None and not quiet:
        from tcptrace_tw.report.pages.sentences import policy_text

        said = policy_text(policy)
        warn(*([f"{said}; --no-config ignores it"] if said else ()))


def remarks(summary: "Summary") -> Iterator[str]:
    """What is damaged; and that there is no TCP, lest nothing found be taken for nothing wrong."""
    capture = summary.capture
    for file in capture.files:
        if file.damage:
            yield f"{file.name}: {file.damage}"
    if capture.tcp_segments:
        yield from _nothing_chosen(summary)
        return
    where = capture.files[0].name if len(capture.files) == 1 else f"{len(capture.files)} files"
    if not capture.frames:
        yield f"{where}: contains no frame; was the capture stopped early, or is its filter too narrow?"
        return
    skipped = ", ".join(f"{reason} {count}" for reason, count in list(capture.skipped.items())[:3])
    found = f"no TCP segment in {capture.frames} frames ({skipped})"
    yield f"{where}: {found}; is it the right capture, with the right filter?"


def _nothing_chosen(summary: "Summary") -> Iterator[str]:
    """That a filter keeps nothing."""
    from tcptrace_tw.report.words.phrases import counted

    settings = summary.settings
    if not summary.connections and settings.read_filter:
        segments = counted(summary.capture.tcp_segments, "TCP segment")
        yield f"--read-filter {settings.read_filter!r} matches none of {segments}"
    elif summary.kept == 0:
        words = [("--filter", settings.filter), ("--since", settings.since), ("--until", settings.until)]
        said = " and ".join(f"{option} {value!r}" for option, value in words if value)
        yield f"no connection matches {said}; the capture has {counted(summary.connections, 'connection')}"


def glob_for(captures: Sequence[str]) -> list[str]:
    """What a command to paste calls the captures: one glob, where it names just these files; and no passwords."""
    from tcptrace_tw.capture.address import without_password

    captures = ["-" if is_pipe(name) else name for name in captures]
    if len(captures) < _MANY or any("://" in name or glob.has_magic(name) for name in captures):
        return [without_password(name) for name in captures]
    begin = os.path.commonprefix(list(captures))  # noqa: RUF071 (letters are meant, not parts of the path)
    ends = [name[len(begin) :][::-1] for name in captures]
    end = os.path.commonprefix(ends)[::-1]  # noqa: RUF071 (the same)
    pattern = f"{begin}*{end}"
    return [pattern] if sorted(glob.glob(pattern)) == sorted(captures) else list(captures)


def has_several_files(captures: Sequence[str]) -> bool:
    """Whether a frame number needs its file beside it."""
    from tcptrace_tw.capture.ring import is_search

    return len(captures) > 1 or any(is_search(capture) for capture in captures)


def written_folder(captures: Sequence[str]) -> "Place | None":
    """The folder that ``analyze`` wrote, if that is what was given."""
    if not any("://" in each or os.path.isdir(each) for each in captures):
        return None  # what follows is not even imported
    from tcptrace_tw.report.tables.folder import read_manifest
    from tcptrace_tw.storage import is_remote, place

    folders = [place(each) for each in captures if (is_remote(each) or os.path.isdir(each)) and read_manifest(each)]
    if folders and len(captures) > 1:
        raise UsageError(f"{folders[0]}: was written by analyze; name no other capture with it")
    _FOLDER.set(str(folders[0]) if folders else None)
    return folders[0] if folders else None


_CHOOSING = {"filter": "--filter", "read_filter": "--read-filter", "since": "--since", "until": "--until"}


def keep_whole(folder: "Place", settings: "Settings") -> None:
    """``UsageError`` for options that choose while captures are read: what is written is written."""
    for name, option in _CHOOSING.items():
        if getattr(settings, name):
            raise UsageError(f"{folder}: was written by analyze; {option} works on captures: run analyze with it")


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
