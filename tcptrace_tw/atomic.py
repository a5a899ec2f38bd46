"""Outputs that appear whole or not at all: made beside their target under a name of their own, then moved onto it.

Whoever makes such a partial file or folder holds a lock on it, and the system lets go of the lock when the process
ends, however it ends. So a partial that can be locked was left by a process that is gone, and whoever writes to that
folder next sweeps it away. A process id would not tell: it is used again, and two containers have the same ones.
"""

from __future__ import annotations

import atexit
import errno
import fcntl
import os
import re
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import TracebackType
from typing import BinaryIO, Self

from tcptrace_tw.errors import UsageError
from tcptrace_tw.unfinished import begin, uninterrupted

STDOUT = "-"

_PARTIAL = re.compile(r"\..*\.tw-[0-9a-f]{16}\.partial", re.DOTALL)
_NAME_BYTES = 200
"""How much of the target's name is in that of its partial: no file system takes more than 255 bytes in all."""

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

_REASONS = {
    errno.ENOSPC: "no space is left on the device; free some, or write elsewhere",
    errno.EDQUOT: "the disk quota is used up; free some space, or write elsewhere",
    errno.EFBIG: "it grows larger than the limit of file sizes; raise that (ulimit -f), or write elsewhere",
    errno.EROFS: "the file system is read-only; write elsewhere",
    errno.EACCES: "permission denied; write to a folder that you may write to",
    errno.EPERM: "the system does not permit it; write elsewhere",
    errno.EISDIR: "it is a folder; name a file",
    errno.ENOTDIR: "a part of the path is a file, not a folder; check the path",
    errno.ELOOP: "its links lead in a circle; remove them, or write elsewhere",
    errno.ENAMETOOLONG: "its name is too long; choose a shorter one",
}


def unwritable(target: str, error: OSError) -> UsageError:
    """What to tell the user: which output, why it cannot be written, and what to do."""
    reason = _REASONS.get(error.errno or 0, f"{error.strerror or error}; write elsewhere")
    if error.errno == errno.ENOENT:
        folder = os.path.dirname(target) or "."
        reason = f"there is no folder {folder}; make it, or write elsewhere" if not os.path.isdir(folder) else reason
    return UsageError(f"{target}: cannot be written: {reason}")


def no_null(target: str) -> None:
    """``UsageError`` for what the system takes for no path at all."""
    if "\0" in target:
        raise UsageError(f"{target!r}: cannot be written: no name has a null byte in it; choose another")


@contextmanager
def writing(target: str) -> Iterator[None]:
    """Within it, what the system says against writing becomes a ``UsageError``; a closed pipe stays one."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise unwritable(target, error) from error


def identity(path: str) -> tuple[object, ...]:
    """Equal for two paths of one file, through links and hard links, also where that file does not exist yet."""
    try:
        real = os.path.realpath(path)
    except (OSError, ValueError):  # the current folder is gone, or this is no path
        return (path,)
    for each in (path, real):  # a path through a folder that is not there may still be the long way to a file
        with suppress(OSError):
            found = os.stat(each)
            return found.st_dev, found.st_ino
    folder, name = os.path.split(real)
    return (*identity(folder), name) if folder != real else (real,)


class AtomicFile:
    """A file that takes its target's name with ``commit``, when it is complete; without it nothing changes.

    The target of a symbolic link is replaced, not the link, and a new file has the mode of the one that it replaces.
    ``-`` is stdout. Devices, pipes and open descriptors (``/dev/stdout``, ``/dev/fd/3``) are written directly.
    Raises ``UsageError`` as soon as it is known that the target cannot be written: nearly always before any work.
    """

    def __init__(self, target: str | os.PathLike[str]) -> None:
        self.target = os.fspath(target)
        no_null(self.target)
        self._name = self.target if self.target != STDOUT else "stdout"
        self._partial: Partial | None = None
        with writing(self._name):
            self._stream = self._open()

    def write(self, data: str | bytes | memoryview) -> None:
        """Add bytes, or text as UTF-8."""
        try:
            self._stream.write(data.encode(errors="replace") if isinstance(data, str) else data)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise unwritable(self._name, error) from error

    def writelines(self, lines: Iterable[str]) -> None:
        """Add texts, one after the other."""
        for line in lines:
            self.write(line)

    def finish(self) -> None:
        """Write what is still in memory: what fails for want of space fails here."""
        with writing(self._name):
            if self.target == STDOUT:
                self._stream.flush()
            else:
                self._stream.close()

    def commit(self) -> None:
        """Let the file take its place."""
        self.finish()
        if self._partial is not None:
            with writing(self._name):
                self._partial.place(self._place)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._partial is not None:
            self._partial.discard()
        if self.target != STDOUT:
            with suppress(OSError):
                self._stream.close()

    def _open(self) -> BinaryIO:
        if self.target == STDOUT:
            return sys.stdout.buffer
        number = open_descriptor(self.target)
        if number is not None:
            if fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            return open(os.dup(number), "wb")
        if not os.path.basename(self.target):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        try:
            found = os.stat(self.target)
        except FileNotFoundError:
            return self._beside(None)
        if stat.S_ISBLK(found.st_mode):
            raise UsageError(f"{self.target}: is a disk, which would be overwritten; name a file")
        probe = os.open(self.target, os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC)
        if not stat.S_ISREG(found.st_mode):
            return open(probe, "wb")
        os.close(probe)  # whether this very file may be written, which its folder does not say
        return self._beside(found)

    def _beside(self, found: os.stat_result | None) -> BinaryIO:
        self._place = _followed(self.target)
        mode = 0o666 if found is None else stat.S_IMODE(found.st_mode) & 0o777
        folder, name = os.path.split(self._place)
        self._partial = Partial(folder, name, partial(os.open, flags=_NEW_FILE, mode=mode))
        stream = open(os.dup(self._partial.descriptor), "wb")  # noqa: SIM115 - to the end of this object
        if found is not None:
            with suppress(OSError):  # only root may give a file away
                os.fchown(stream.fileno(), found.st_uid, found.st_gid)
            os.fchmod(stream.fileno(), mode)
        return stream


class Partial:
    """A file or a folder in the making, in ``folder``, under a name that cannot be foreseen.

    ``make(path)`` creates it and returns a descriptor of it, or None where another process swept it away at once:
    nothing can be locked before it is there.
    """

    def __init__(self, folder: str, name: str, make: Callable[[str], int | None]) -> None:
        sweep(folder)
        while not self._is_made(folder, name, make):
            pass

    def _is_made(self, folder: str, name: str, make: Callable[[str], int | None]) -> bool:
        with uninterrupted():
            self.path = os.path.join(folder, f".{_cut(name)}.tw-{os.urandom(8).hex()}.partial")
            _pending.add(self.path)  # first, lest a signal comes between
            try:
                descriptor = make(self.path)
            except FileExistsError:
                _pending.discard(self.path)
                raise
            except BaseException:
                _remove(self.path)
                raise
            if descriptor is not None:
                if _holds(descriptor, self.path):
                    self.descriptor = descriptor
                    return True
                os.close(descriptor)
            _remove(self.path)
            return False

    def place(self, target: str) -> None:
        """Move it to its target; the lock ends after that, lest it is swept away in between."""
        with uninterrupted():
            os.replace(self.path, target)
            _pending.discard(self.path)
        self._let_go()

    def discard(self) -> None:
        """Remove it, if it was not placed."""
        if self.path in _pending:
            _remove(self.path)
            self._let_go()

    def _let_go(self) -> None:
        with suppress(OSError):
            os.close(self.descriptor)


def make_folder(path: str) -> int | None:
    """Make a folder and open it: what ``Partial`` wants."""
    os.mkdir(path)
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None


def is_partial(name: str) -> bool:
    """Whether this is the name of a file or a folder in the making."""
    return _PARTIAL.fullmatch(name) is not None


def sweep(folder: str) -> None:
    """Remove the partial files and folders that processes which are gone have left in a folder."""
    with suppress(OSError), os.scandir(folder) as entries:
        for path in [entry.path for entry in entries if is_partial(entry.name)]:
            with suppress(OSError):
                descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while its maker lives
                    _remove(path)
                finally:
                    os.close(descriptor)


@contextmanager
def locked(folder: str) -> Iterator[None]:
    """One process after the other; where the file system has no locks, all at once."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _followed(path: str) -> str:
    """Where a file is or will be, through links, without a guess: ``nowhere/../x`` is an error, as for the system."""
    for _ in range(_MOST_LINKS):
        folder, name = os.path.split(path)
        if not os.path.islink(path):
            return os.path.join(os.path.realpath(folder, strict=True), name)
        path = os.path.join(folder, os.readlink(path))
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def open_descriptor(path: str) -> int | None:
    """The number of the open descriptor that a path like ``/dev/stdout`` or ``/proc/self/fd/3`` is a name of."""
    for _ in range(_MOST_LINKS):
        folder, name = os.path.split(os.path.abspath(path))
        if _DESCRIPTOR.fullmatch(name) and os.path.realpath(folder) in ("/dev/fd", f"/proc/{os.getpid()}/fd"):
            return int(name)
        if not os.path.islink(path):
            return None
        path = os.path.join(folder, os.readlink(path))
    return None


_DESCRIPTOR = re.compile(r"0|[1-9][0-9]{0,8}")
"""The system knows no other way to write the number of an open file; no process has a billion of them."""

_MOST_LINKS = 40
_MOST_REMOVALS = 100
"""Another thread may create a file in a folder while that is removed."""

_pending: set[str] = set()
"""Everything that this process has begun and neither placed nor removed yet."""


@atexit.register
def discard_pending() -> None:
    """Remove whatever is not complete: for an end that comes before a ``with`` could begin or without its end."""
    for path in list(_pending):
        _remove(path)


begin(discard_pending)


def _remove(path: str) -> None:
    with suppress(OSError):
        if os.path.isdir(path) and not os.path.islink(path):
            _remove_folder(path)
        else:
            os.unlink(path)
    _pending.discard(path)


def _remove_folder(path: str) -> None:
    import shutil

    for _ in range(_MOST_REMOVALS):
        shutil.rmtree(path, ignore_errors=True)
        if not os.path.lexists(path):
            break


def _holds(descriptor: int, path: str) -> bool:
    """Lock it, and look whether it is still there."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # no locks here: then others cannot lock it either, and let it be
        return True
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False


def _cut(name: str) -> str:
    while len(os.fsencode(name)) > _NAME_BYTES:
        name = name[:-1]
    return name
