"""An output folder that appears all at once or not at all."""

import errno
import json
import os
import re
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from tcptrace_tw.atomic import Partial, is_partial, locked, make_folder, no_null, sweep, unwritable, writing
from tcptrace_tw.errors import UsageError
from tcptrace_tw.report.words.codec import printable_data
from tcptrace_tw.schema.columns import TABLES
from tcptrace_tw.storage import Object, Place, place
from tcptrace_tw.unfinished import begin, complete, uninterrupted

MANIFEST = "manifest.json"
TOOL = "tcptrace-tw"
PART = re.compile(r"part-\d+\.parquet")
"""The files of a table that is a folder, because several processes have written it."""

FILES = "files"
"""The key of the manifest, in a store, that names the files of each table."""

ENCODED = "_percent_encoded"
"""The end of a key of the manifest: the names of files once more, in the bytes that open them."""

OURS = frozenset({MANIFEST, *(f"{table.name}.parquet" for table in TABLES)})


@dataclass
class PartTables:
    """The tables of an output folder that several processes write: where to, and what they have written."""

    folder: Place
    mark: str = ""
    """A part of the names of the files: each run into a store has its own."""
    rows: dict[str, int] = field(default_factory=dict)
    """By table, how many rows it has."""
    files: dict[str, list[str]] = field(default_factory=dict)
    """By table, the names of its files."""

    def add(self, table: str, part: int, rows: int) -> Place:
        """Note a file of a table; returns its place."""
        name = f"part-{part:03d}{self.mark}.parquet"
        self.rows[table] = self.rows.get(table, 0) + rows
        self.files.setdefault(table, []).append(name)
        return self.folder / f"{table}.parquet" / name


class Folder:
    """Write into ``path``, a partial folder; ``commit`` brings what is in it to the target, all at once.

    Left without ``commit``, nothing remains. Of a folder that is there, the files of our names are replaced and the
    folder itself stays; where it holds other files it is refused, unless ``force`` says to keep them beside ours.
    The target of a symbolic link is written, not the link.
    """

    def __init__(self, target: str | os.PathLike[str], force: bool = False) -> None:
        self._name = os.fspath(target)
        no_null(self._name)
        self._made: list[Path] = []
        with writing(self._name):
            self.target = Path(os.path.realpath(target))
            self._is_there = _check(self._name, self.target, force)
            try:
                self._partial = self._begin()
            except BaseException:
                self._remove_made()
                raise
        self.path = Path(self._partial.path)
        self.parts = PartTables(self.path)
        begin(self._undo)

    def commit(self) -> None:
        """Bring everything to the target: by one rename where it is not there yet, else file by file."""
        with writing(self._name):
            if not self._is_there:
                try:
                    self._partial.place(str(self.target))
                    return
                except OSError as error:  # another process was faster
                    if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                        raise
            with locked(str(self.target)), uninterrupted():
                self._move_files()

    def _begin(self) -> Partial:
        """The partial folder: inside a target that is there, which may be all that can be written, else beside it."""
        parent = self.target.parent
        sweep(str(parent))
        if self._is_there:
            return Partial(str(self.target), self.target.name, make_folder)
        for folder in reversed(_missing_parents(parent)):
            folder.mkdir(exist_ok=True)
            self._made.insert(0, folder)
        return Partial(str(parent), self.target.name, make_folder)

    def _move_files(self) -> None:
        """No manifest, no result: it goes first and comes last. What was there comes back if anything fails."""
        aside = self.path / "before"
        aside.mkdir()
        moves = [(self.target / name, aside / name) for name in sorted(OURS, key=lambda name: name != MANIFEST)]
        moves += [(self.path / name, self.target / name) for name in sorted(OURS, key=lambda name: name == MANIFEST)]
        done: list[tuple[Path, Path]] = []
        try:
            for old, new in moves:
                if os.path.lexists(old):
                    done.append((old, new))
                    os.replace(old, new)
        except BaseException:
            for old, new in reversed(done):
                if os.path.lexists(new):
                    os.replace(new, old)
            raise

    def _undo(self) -> None:
        """Leave nothing of what was not moved to the target."""
        self._partial.discard()
        self._remove_made()

    def _remove_made(self) -> None:
        for parent in self._made:
            with suppress(OSError):  # it is not empty
                parent.rmdir()

    def __enter__(self) -> "Folder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._undo()
        complete(self._undo)
        if isinstance(error, OSError) and not isinstance(error, BrokenPipeError) and self._is_about_us(error):
            raise unwritable(self._name, error) from error

    def _is_about_us(self, error: OSError) -> bool:
        """Whether what went wrong is the writing of our files; writers of Parquet do not say which file it was."""
        return error.filename is None or str(error.filename).startswith(str(self.path))


def read_manifest(folder: str | os.PathLike[str] | Object) -> dict[str, Any] | None:
    """The manifest of a folder that ``analyze`` wrote; None for anything else."""
    where = place(folder, MANIFEST)
    if isinstance(where, Path) and not where.is_file():  # a pipe or a device would be read for ever
        return None
    try:
        manifest = json.loads(where.read_bytes())
        return printable_data(manifest) if isinstance(manifest, dict) and manifest.get("tool") == TOOL else None
    except (OSError, ValueError, RecursionError):
        return None


def _check(name: str, target: Path, force: bool) -> bool:
    """Whether the target is there; ``UsageError`` where it must not be written."""
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        return False
    if not stat.S_ISDIR(mode):
        raise UsageError(f"{name}: is a file; -o needs a folder")
    with locked(str(target)):  # another process may be moving its files
        is_foreign = _has_foreign_files(target)
    if is_foreign and not force:
        raise UsageError(f"{name}: contains files that tcptrace-tw did not write; choose another, or add --force")
    for each in OURS:
        if (target / each).is_dir() and not _are_parts(target / each):
            raise UsageError(f"{name}: contains a folder {each} in place of a table; choose another folder")
    return True


def _are_parts(folder: Path) -> bool:
    """Whether this is a table that several processes have written."""
    return folder.suffix == ".parquet" and all(PART.fullmatch(path.name) for path in folder.iterdir())


def _has_foreign_files(target: Path) -> bool:
    names = {path.name for path in target.iterdir() if not is_partial(path.name)}
    return bool(names) and (read_manifest(target) is None or not names <= OURS)


def _missing_parents(parent: Path) -> list[Path]:
    """The folders above the target that do not exist yet, innermost first."""
    missing = []
    while not parent.exists():
        missing.append(parent)
        parent = parent.parent
    return missing
