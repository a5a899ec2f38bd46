"""An output folder in an object store: its manifest is written last and says which objects belong to it."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tcptrace_tw.errors import UsageError
from tcptrace_tw.report.tables.folder import FILES, MANIFEST, OURS, PartTables, read_manifest
from tcptrace_tw.storage import Object, bring, folder_of
from tcptrace_tw.unfinished import begin, complete


class RemoteFolder:
    """As ``Folder``, in a store, which cannot rename: ``path`` is local, and ``commit`` brings what is in it there.

    Every object of a run has a name of its own, so a reader has either the old tables or the new ones. What an older
    run has left is removed after that. Left without ``commit``, the old tables are as they were.
    """

    def __init__(self, target: str, force: bool = False) -> None:
        self._folder = folder_of(target)
        self.parts = PartTables(self._folder, f"-{os.urandom(6).hex()}")
        self._is_complete = False
        self._check(force)
        self.path = Path(tempfile.mkdtemp(prefix="tcptrace-tw-"))
        begin(self._undo)

    def commit(self) -> None:
        """Bring to the store what the parts have not written there themselves, then the manifest of all."""
        files = {**self.parts.files}
        for path in sorted(self.path.glob("*.parquet")):
            files[path.stem] = [f"part-000{self.parts.mark}.parquet"]
            bring(path, self._folder / path.name / files[path.stem][0])
        manifest = json.loads((self.path / MANIFEST).read_text())
        (self._folder / MANIFEST).put((json.dumps({**manifest, FILES: files}, indent=1) + "\n").encode())
        self._is_complete = True
        listed = {str(self._folder / f"{table}.parquet" / name) for table, names in files.items() for name in names}
        self._remove([each for each in self._ours() if each.url not in listed])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._is_complete:
            self._remove([each for each in self._ours() if each.name.endswith(f"{self.parts.mark}.parquet")])
        self._undo()
        complete(self._undo)

    def _check(self, force: bool) -> None:
        """Refuse what holds other objects; tables without a manifest are those of a run that was stopped."""
        first = {each.url.removeprefix(f"{self._folder}/").partition("/")[0] for each in self._folder.inside()}
        is_foreign = bool(first - OURS) or (MANIFEST in first and read_manifest(self._folder) is None)
        if is_foreign and not force:
            raise UsageError(
                f"{self._folder}: contains objects that tcptrace-tw did not write; choose another, or add --force"
            )

    def _ours(self) -> list[Object]:
        """The objects of tables, of whichever run."""
        found: list[Object] = []
        with suppress(OSError):
            tables = {name for name in OURS if name != MANIFEST}
            for each in self._folder.inside():
                if each.url.removeprefix(f"{self._folder}/").partition("/")[0] in tables:
                    found.append(each)
        return found

    def _remove(self, objects: list[Object]) -> None:
        with suppress(OSError):
            for each in objects:
                each.remove()

    def _undo(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
