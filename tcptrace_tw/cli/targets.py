"""What a command writes, held against what it reads, before it reads or writes: no output replaces an input."""

import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tcptrace_tw.errors import UsageError

Identity = tuple[object, ...]
STDIN = STDOUT = "-"


class Target(NamedTuple):
    """One file that a command will write, and how the user named it: ``--html report.html``."""

    path: str
    named: str
    takes_captures: bool = False
    """It may replace an older capture, as that of an earlier export; never one that is read."""


def folder(path: str, option: str = "-o") -> list[Target]:
    """The files that ``analyze`` writes into a folder, and the folder itself; none where it is in a store."""
    from tcptrace_tw.report.tables.folder import OURS
    from tcptrace_tw.storage import is_remote

    if is_remote(path):
        return []
    return [
        Target(path, f"{option} {path}"),
        *(Target(each, f"{option} {path}: {each}") for each in _inside(path, OURS)),
    ]


def saved(save: str, captures: Sequence[str]) -> list[Target]:
    """The file of ``--save``, if there is one; ``UsageError`` where nothing comes through stdin."""
    if not save:
        return []
    if STDIN not in captures:
        raise UsageError(f"--save {save}: keeps what comes through stdin; name - as the capture")
    return [Target(save, f"--save {save}", takes_captures=True)]


def keep_apart(targets: Iterable[Target], captures: Sequence[str], also_read: Iterable[str | Path | None] = ()) -> None:
    """``UsageError`` where two outputs are one file, or where an output is a file that is read.

    Links are followed, and hard links are known. ``captures`` are as the user named them: directories and globs are
    searched, and ``-`` is stdin; ``also_read`` are other files, as that of ``--files-from``. Where stdout or stderr
    is a file, it is an output as well.
    """
    files = [target for target in targets if target.path != STDOUT]
    streams = {name: place for number, name in ((1, "stdout"), (2, "stderr")) if (place := _identity_of(number))}
    if files or streams:  # else what follows is not even imported
        _keep_inputs(_written(files, streams), captures, also_read)


def _written(files: Iterable[Target], streams: Mapping[str, Identity]) -> dict[Identity, Target]:
    """Every file that is written; no two of them are one."""
    from tcptrace_tw.atomic import identity, open_descriptor

    written: dict[Identity, Target] = {}
    for target in files:
        other = written.setdefault(identity(target.path), target)
        if other is not target:
            raise UsageError(f"{target.named}: is the same file as {other.named}; name another file")
    for name, place in streams.items():
        other = written.setdefault(place, Target(STDOUT, name, takes_captures=True))
        if other.path != STDOUT and open_descriptor(other.path) is None:
            raise UsageError(f"{other.named}: is the file that {name} goes to; name another file")
    return written


def _keep_inputs(
    written: dict[Identity, Target], captures: Sequence[str], also_read: Iterable[str | Path | None]
) -> None:
    files, stored_in = _stored(captures)
    for path, may_be_none in _captures([*captures, *stored_in]):
        target = written.get(_place(path) or ())
        if target is not None and not (may_be_none and not _is_capture(path)):
            raise UsageError(f"{target.named}: is the capture itself{_shown(path, target)}; name another file")
    for path in [os.fspath(path) for path in also_read if path] + files:
        target = written.get(_place(path) or ())
        if target is not None:
            raise UsageError(f"{target.named}: is read by this command{_shown(path, target)}; name another file")
    for target in written.values():
        if not target.takes_captures and os.path.isfile(target.path) and os.path.getsize(target.path):
            _keep_capture(target)


def _keep_capture(target: Target) -> None:
    """A glob after ``--html`` names a capture as the output and the others as captures."""
    if os.access(target.path, os.R_OK) and _is_capture(target.path):
        raise UsageError(f"{target.named}: contains a capture, which would be lost; name another file")


def _captures(captures: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """Every file that is read, and whether it may turn out to be no capture, which is left out then."""
    from tcptrace_tw.capture.ring import local_files

    if STDIN in captures:
        yield STDIN, False
    yield from local_files(captures)


def _stored(captures: Sequence[str]) -> tuple[list[str], list[str]]:
    """Of folders that ``analyze`` wrote: their files, and the captures that ladders are read from."""
    from tcptrace_tw.report.tables.folder import OURS, read_manifest

    files: list[str] = []
    behind: list[str] = []
    for folder in filter(os.path.isdir, captures):
        manifest = read_manifest(folder)
        if manifest is not None:
            files += _inside(folder, OURS)
            named = manifest.get("captures")
            behind += [str(name) for name in named if name != STDIN] if isinstance(named, list) else []
    return files, behind


def _inside(path: str, names: Iterable[str]) -> list[str]:
    return [os.path.join(path, name) for name in sorted(names)]


def _is_capture(path: str) -> bool:
    from tcptrace_tw.capture.ring import is_capture

    return is_capture(path)


def _place(path: str) -> Identity | None:
    """Where a file is that is read; stdin counts where it is a file."""
    from tcptrace_tw.atomic import identity

    return _identity_of(0) if path == STDIN else identity(path)


def _identity_of(descriptor: int) -> Identity | None:
    """None where it is no file: many may write into one terminal or pipe."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISREG(found.st_mode) else None


def _shown(path: str, target: Target) -> str:
    """The other name of the file, where it has one."""
    return "" if path == target.path else f", {'stdin' if path == STDIN else path}"
