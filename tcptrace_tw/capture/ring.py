"""Turns what the user names into an ordered list of files: directories, globs, and the files of a rotated capture.

tcpdump's names do not sort (``x.pcap1 x.pcap10 x.pcap2``, or a ring that has wrapped), so the first frame of each file
decides.
"""

from __future__ import annotations

import glob
import os
import re
import stat
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import NamedTuple

from tcptrace_tw.capture import object_search
from tcptrace_tw.capture.address import without_password
from tcptrace_tw.capture.facts import FileFacts
from tcptrace_tw.capture.head import Head, read_head
from tcptrace_tw.capture.source import STDIN, open_raw
from tcptrace_tw.capture.unsupported_formats import LOOK_BYTES, describe
from tcptrace_tw.errors import CaptureError, UsageError

SECOND_NS = 1_000_000_000

AT_ONCE = 16
"""The most beginnings of files that are read from a store at the same time."""

NAMED = 3
"""How many of the files that were left out are named."""


class Found(NamedTuple):
    """The files to read, in the order of their first frames, and what there is to say about the set."""

    files: list[str]
    first_times: list[int | None]
    """ns since 1970; None where there is no frame, or where the file can be read only once (a pipe)."""
    remarks: list[str]


def find(named: Sequence[str]) -> Found:
    """Search directories, expand globs, and order the files by their first frames.

    Files that a directory or a glob brought in and that are no captures are left out and named in a remark; a file
    named by the user must be one. Raises ``CaptureError`` where nothing is left.
    """
    remarks: list[str] = []
    if not named:
        raise UsageError("no capture given; name a file, a directory, or - for stdin")
    if len(named) == 1 and not is_search(named[0]):
        return Found(list(named), [None], remarks)
    return _order(_look(named, remarks), named, remarks)


class _Candidate(NamedTuple):
    path: str
    head: Head | None
    """None for a pipe, which cannot be looked at."""


def _look(named: Sequence[str], remarks: list[str]) -> list[_Candidate]:
    """Every capture among what is named, each file looked at once."""
    looked: dict[str, _Candidate | None] = {}
    for arg in named:
        searches = is_search(arg)
        paths = list(_search(arg)) if searches else [arg]
        keys = [path if "://" in path else os.path.realpath(path) for path in paths]
        new = {key: path for key, path in zip(keys, paths, strict=True) if key not in looked}
        left_out: list[str] = []
        for key, (candidate, why) in zip(new, _candidates(new.values(), searches), strict=True):
            looked[key] = candidate
            left_out += why
        if searches and not any(looked[key] for key in keys):
            none = f"none of its {len(keys)} files is one" if len(keys) > 1 else "its only file is not one"
            outcome = none if keys else "there is no file"
            raise CaptureError(f"{arg}: no capture found, {outcome}; record with tcpdump -w")
        if left_out:
            remarks.append(f"{arg}: {_count(left_out)} left out: {_some(left_out)}")
    return [candidate for candidate in looked.values() if candidate]


def _candidates(paths: Collection[str], is_search: bool) -> list[tuple[_Candidate | None, list[str]]]:
    """What each is, or why it is left out; a store is asked for many at the same time."""

    def look(path: str) -> tuple[_Candidate | None, list[str]]:
        left_out: list[str] = []
        return _candidate(path, is_search, left_out), left_out

    if not any("://" in path for path in paths):
        return list(map(look, paths))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(look, paths))


def _candidate(path: str, is_search: bool, left_out: list[str]) -> _Candidate | None:
    if _is_pipe(path):
        if not is_search:
            return _Candidate(path, None)
        left_out.append(f"{path} ({_kind(path)})")
        return None
    head = _head(path, is_search, left_out)
    return _Candidate(path, head) if head else None


def _head(path: str, is_search: bool, left_out: list[str]) -> Head | None:
    """The head of a capture; None, and a note of why, for a file to leave out."""
    try:
        head = read_head(path)
    except (CaptureError, OSError) as error:
        if is_search:
            left_out.append(f"{without_password(path)} (cannot be read)")
            return None
        if isinstance(error, CaptureError):
            raise
        return Head("", None)  # it was opened, so it is damaged: that is said when its turn comes
    if head is not None:
        return head
    is_empty = "://" not in path and os.path.getsize(path) == 0
    if not is_search and not is_empty:
        raise CaptureError(f"{without_password(path)}: is {describe(_start(path))}; leave it out")
    # tcpdump has just begun the next file of a ring: empty, and no reason to stop.
    left_out.append(f"{path} ({'empty' if is_empty else 'not a capture'})")
    return None


def _start(path: str) -> bytes:
    with closing(open_raw(path).raw) as raw:
        return raw.peek(LOOK_BYTES)


def _order(found: list[_Candidate], named: Sequence[str], remarks: list[str]) -> Found:
    if not found:
        rest = ", as is every file that is named" if len(named) > 1 else ""
        raise CaptureError(
            f"{without_password(named[0])}: is empty{rest}; was the capture stopped before the first packet?"
        )
    if len(found) > 1 and any(c.head is None for c in found):
        pipe = next(c.path for c in found if c.head is None)
        remarks.append(f"{pipe} can be read only once: the files are read in the order given")
        return Found([c.path for c in found], [None] * len(found), remarks)
    found = sorted(found, key=lambda c: (_time(c) is None, _time(c) or 0, _natural(c.path)))
    return Found([c.path for c in found], [_time(c) for c in found], remarks)


def _time(candidate: _Candidate) -> int | None:
    return candidate.head.first_time if candidate.head else None


def _natural(path: str) -> list[tuple[int, str]]:
    """A key by which ``x9`` comes before ``x10``."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", path)]


def is_search(arg: str) -> bool:
    """Whether an argument may stand for several files: a directory or a glob, here or in a store."""
    if "://" in arg:
        return object_search.is_search(arg)
    return arg != STDIN and (os.path.isdir(arg) or (not os.path.exists(arg) and _is_glob(arg)))


def _is_glob(arg: str) -> bool:
    return glob.has_magic(arg)


def _is_pipe(path: str) -> bool:
    if path == STDIN:
        return True
    try:
        return "://" not in path and not stat.S_ISREG(os.stat(path).st_mode) and not os.path.isdir(path)
    except OSError:
        return False


def local_files(named: Iterable[str]) -> Iterator[tuple[str, bool]]:
    """Every local file that ``find`` looks at, and whether a search brought it, so that it may be no capture."""
    for arg in named:
        if arg == STDIN or "://" in arg:
            continue
        searches = is_search(arg)
        for path in _search(arg) if searches else [arg]:
            yield path, searches


def is_capture(path: str) -> bool:
    """Whether a file is a capture, or cannot be looked at, so that it may be one; pipes and devices are none."""
    try:
        return os.path.isfile(path) and read_head(path) is not None
    except (CaptureError, OSError):
        return True


def _kind(path: str) -> str:
    mode = os.stat(path).st_mode
    return "a pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"


def _search(arg: str) -> Iterator[str]:
    if "://" in arg:
        yield from sorted(object_search.search(arg), key=_natural)
        return
    for path in sorted(_expand(arg), key=_natural) if _is_glob(arg) else [arg]:
        if os.path.isdir(path):
            yield from _walk(path)
        else:
            yield path


def _expand(pattern: str) -> Iterator[str]:
    """As ``glob.glob``, but ``**`` does not go through links to folders: a few that lead up multiply without end."""
    parts = pattern.split(os.sep)
    if "**" not in parts:
        yield from glob.iglob(pattern)
        return
    at = parts.index("**")
    rest = parts[at + 1 :] or ["*"]
    for top in glob.iglob(os.sep.join([*parts[:at], ""])) if at else [""]:
        for parent, folders, _ in os.walk(top or os.curdir):
            folders[:] = [folder for folder in folders if not folder.startswith(".")]
            inside = parent if top else parent.removeprefix(os.curdir).removeprefix(os.sep)
            yield from _expand(os.path.join(glob.escape(inside), *rest))


def _walk(folder: str) -> Iterator[str]:
    for parent, folders, files in os.walk(folder):
        folders.sort(key=_natural)
        for file in sorted(files, key=_natural):
            path = os.path.join(parent, file)
            if os.path.exists(path):  # not a dangling link
                yield path


LIST_MAX = 1 << 26
"""Bytes of a list of names."""

NAME_MAX = 1 << 14
"""Bytes of a name in it; paths of Linux have at most 4096."""


def read_list(files_from: str) -> list[str]:
    """The names in a file (``-``: stdin), one a line, or separated by NUL as ``find -print0`` has it."""
    try:
        if files_from == STDIN:
            data = sys.stdin.buffer.read(LIST_MAX + 1)
        else:
            with open(files_from, "rb") as file:
                data = file.read(LIST_MAX + 1)
    except OSError as error:
        raise UsageError(f"--files-from {files_from}: {error.strerror}; name a file with a capture per line") from None
    names = data.split(b"\0") if b"\0" in data else data.splitlines()
    if len(data) > LIST_MAX or max(map(len, names), default=0) > NAME_MAX:
        raise UsageError(f"--files-from {files_from}: is not a list of names; give a file with one capture a line")
    return [os.fsdecode(name) for name in names if name.strip()]


def _count(left_out: Sequence[str]) -> str:
    return f"{len(left_out)} file{'s' if len(left_out) > 1 else ''}"


def _some(left_out: Sequence[str]) -> str:
    more = f" and {len(left_out) - NAMED} more" if len(left_out) > NAMED else ""
    return ", ".join(left_out[:NAMED]) + more


def remarks_on_times(files: Iterable[FileFacts]) -> list[str]:
    """What the times of files, in the order in which they were read, say about the set: gaps and overlaps above 1 s.

    A pause is a gap only where it is ten times as long as frames are usually apart; a quiet network has pauses.
    """
    remarks: list[str] = []
    before: FileFacts | None = None
    for file in files:
        if file.first_time is None or file.last_time is None:
            continue
        if before is not None and before.last_time is not None:
            gap_ns = file.first_time - before.last_time
            if gap_ns > max(SECOND_NS, 10 * _spacing_ns(before), 10 * _spacing_ns(file)):
                remarks.append(f"{gap_ns / SECOND_NS:.1f} s are missing between {before.name} and {file.name}")
            elif -gap_ns > SECOND_NS:
                shared_ns = min(-gap_ns, file.last_time - file.first_time)
                remarks.append(
                    f"{before.name} and {file.name} overlap by {shared_ns / SECOND_NS:.1f} s; merged by time"
                )
        if before is None or file.last_time > (before.last_time or 0):
            before = file
    return remarks


def remarks_on_numbers(files: Sequence[FileFacts]) -> list[str]:
    """Which numbers of files were not believed, each kind named once."""
    remarks = []
    if unfit := [file for file in files if file.unfit_times]:
        count = sum(file.unfit_times for file in unfit)
        frames = "1 frame has a time" if count == 1 else f"{count} frames have times"
        remarks.append(f"{_one(unfit)}: {frames} before 1970 or after 2115, which is not possible; replaced")
    if absurd := [file for file in files if file.absurd_loss]:
        highest = max(file.absurd_loss for file in absurd)
        remarks.append(f"{_one(absurd)}: {highest} lost frames are claimed, which is not possible; treated as unknown")
    return remarks


def _one(files: Sequence[FileFacts]) -> str:
    return files[0].name if len(files) == 1 else f"{files[0].name} and {len(files) - 1} more"


def _spacing_ns(file: FileFacts) -> int:
    """Mean time from one frame to the next."""
    return ((file.last_time or 0) - (file.first_time or 0)) // max(1, file.frames - 1)
