"""An output folder that appears all at once or not at all."""

import json
import os
import secrets
import shutil
from pathlib import Path
from types import TracebackType
from typing import Any

from tcptrace_tw.errors import UsageError
from tcptrace_tw.spec.columns import TABLES
from tcptrace_tw.unfinished import begin, complete, uninterrupted

MANIFEST = "manifest.json"
TOOL = "tcptrace-tw"
_ATTEMPTS = 100
"""Another thread may create a file in a folder while that is removed."""

OURS = frozenset({MANIFEST, *(f"{table.name}.parquet" for table in TABLES)})


class Folder:
    """Write into ``path`` (a temporary sibling of the target); ``commit`` moves it to the target.

    Left without ``commit``, nothing remains. A folder that an earlier run wrote is replaced; a folder with
    other things in it is refused, or with ``force`` kept, and only files of our names in it are replaced.
    """

    def __init__(self, target: str | os.PathLike[str], force: bool = False) -> None:
        self.target = Path(os.path.abspath(target))
        if self.target.exists() and not self.target.is_dir():
            raise UsageError(f"{target}: is a file; -o wants a folder")
        if not force and _has_foreign_files(self.target):
            raise UsageError(f"{target}: holds files that tcptrace-tw did not write; choose another, or add --force")
        self._made = _missing_parents(self.target.parent)
        self.path = self.target.parent / f".{self.target.name}.{secrets.token_hex(4)}.partial"
        begin(self._undo)
        try:
            self.path.mkdir(parents=True)
        except OSError as error:
            complete(self._undo)
            raise UsageError(f"{target}: cannot be written: {error.strerror}") from error

    def commit(self) -> None:
        """Move everything to the target; the manifest comes last where files must be moved one by one."""
        with uninterrupted():
            self._move()

    def _move(self) -> None:
        if self.target.is_dir() and (_has_foreign_files(self.target) or self.target.samefile(os.getcwd())):
            self._move_files()
        elif self.target.is_dir() and any(self.target.iterdir()):
            self._swap()
        else:
            os.rename(self.path, self.target)
        self._made = []

    def _move_files(self) -> None:
        for name in sorted(OURS, key=lambda name: name == MANIFEST):
            if (self.path / name).exists():
                os.replace(self.path / name, self.target / name)
            else:
                (self.target / name).unlink(missing_ok=True)
        self.path.rmdir()

    def _swap(self) -> None:
        old = self.path.with_suffix(".old")
        os.rename(self.target, old)
        try:
            os.rename(self.path, self.target)
        except OSError:
            os.rename(old, self.target)
            raise
        shutil.rmtree(old)

    def _undo(self) -> None:
        """Leave nothing of what was not moved to the target."""
        for _ in range(_ATTEMPTS):
            shutil.rmtree(self.path, ignore_errors=True)
            if not self.path.exists():
                break
        for parent in self._made:
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()

    def __enter__(self) -> "Folder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._undo()
        complete(self._undo)


def read_manifest(folder: str | os.PathLike[str]) -> dict[str, Any] | None:
    """The manifest of a folder that ``analyze`` wrote; None for anything else."""
    try:
        manifest = json.loads((Path(folder) / MANIFEST).read_text())
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) and manifest.get("tool") == TOOL else None


def _has_foreign_files(target: Path) -> bool:
    if not target.is_dir() or not any(target.iterdir()):
        return False
    return read_manifest(target) is None or any(path.name not in OURS for path in target.iterdir())


def _missing_parents(parent: Path) -> list[Path]:
    """The folders above the target that do not exist yet, innermost first."""
    missing = []
    while not parent.exists():
        missing.append(parent)
        parent = parent.parent
    return missing
