"""What is to be done: files, parts, settings, and where the spool is. Each task gets the plan and a number."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from tcptrace_tw.capture import ring
from tcptrace_tw.capture.address import without_password
from tcptrace_tw.capture.cuts import PIECE_BYTES, cuts
from tcptrace_tw.capture.pcap import HEADER_LEN
from tcptrace_tw.cluster.spool import CODECS, digest_of
from tcptrace_tw.errors import UsageError
from tcptrace_tw.schema.columns import SCHEMA_VERSION
from tcptrace_tw.schema.segments import SHARDS
from tcptrace_tw.settings import Settings
from tcptrace_tw.storage import Object, Place, is_remote, place
from tcptrace_tw.version import __version__

PARTS_A_WORKER = 4
"""Parts per worker: the largest part goes first, and a worker that is done takes the next one."""

FEW_WORKERS, PARTS_OF_FEW = 4, 2
"""Up to ``FEW_WORKERS`` workers get fewer: each part has a cost, and few workers hardly wait for the last one."""

OF_A_PROCESS = ("/dev/stdin", "/dev/fd/", "/proc/")
"""The beginnings of names that may mean another file in each process, as ``/dev/stdin`` does."""

_LATER = ("filter", "since", "until", "select", "ignore", "thresholds", "findings", "config", "max_memory")
"""Settings that rows of the spool do not depend on.

Those that choose rows, and ``max_memory`` where something had to be forgotten, are in the notes of the tasks that they
matter to."""


class Piece(NamedTuple):
    """What one task maps: a file, or of a large pcap file the records from ``begin`` to ``end``."""

    file: int
    begin: int = 0
    """0: all of the file, with its header."""
    end: int | None = None
    """None: to the end of the file."""


@dataclass(frozen=True)
class Plan:
    """Plain values only: it is handed to every task."""

    folder: str
    """Where this plan has its spool."""
    directory: str
    """What relative names of files are relative to, for workers that run elsewhere."""
    files: tuple[str, ...]
    first_times: tuple[int | None, ...]
    pieces: tuple[Piece, ...]
    """Of all files, in their order."""
    remarks: tuple[str, ...]
    parts: int
    settings: dict[str, Any]
    compiled: bool
    transitions: bool
    codec: int
    workers: int

    @property
    def several_files(self) -> bool:
        """Whether frames need their file beside them."""
        return len(self.files) > 1

    @property
    def is_found_again(self) -> bool:
        """Whether another run may come back to the spool: a temporary one goes with its run."""
        return CODECS[self.codec] != "none"

    def piece(self, number: int) -> Piece:
        """What a task maps. Behind the pieces, each file comes as a whole: for where its pieces do not fit together."""
        return self.pieces[number] if number < len(self.pieces) else Piece(number - len(self.pieces))

    def place_of(self, file: int) -> str:
        """Where a worker finds a file."""
        name = self.files[file]
        return name if "://" in name or _here() == self.directory else os.path.join(self.directory, name)

    def numbers(self) -> list[list[int]]:
        """By file, the tasks that map its pieces."""
        found: list[list[int]] = [[] for _ in self.files]
        for number, piece in enumerate(self.pieces):
            found[piece.file].append(number)
        return found

    def whole(self, file: int) -> int:
        """The task that maps all of a file."""
        return len(self.pieces) + file

    def checked(self) -> Settings:
        """The settings as ``Settings``; the plan holds them as plain values."""
        values: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in self.settings.items()}
        return Settings(**values)

    def path(self, stage: str, name: str) -> Place:
        """Where a stage keeps a file."""
        return place(self.folder, stage, name)


def make_plan(
    captures: Sequence[str],
    settings: Settings,
    spool: str,
    *,
    workers: int,
    parts: int | None,
    compiled: bool,
    transitions: bool,
    codec: int,
    piece_bytes: int = PIECE_BYTES,
) -> Plan:
    """Look at all captures and decide who does what. The same captures and settings have the same folder."""
    found = ring.find([_for_all(name) for name in captures])
    for name in found.files:
        is_of_process = name == "-" or name.startswith(OF_A_PROCESS)
        if is_of_process or (os.path.exists(name) and not os.path.isfile(name)):
            raise UsageError(
                f"{without_password(name)}: can be read only once, which is not enough for several processes;"
                " save it first"
            )
    kept = {name: value for name, value in asdict(settings).items() if name not in _LATER}
    names = [_identity(name) for name in found.files]
    pieces = tuple(piece for index, name in enumerate(found.files) for piece in _pieces(index, name, piece_bytes))
    what = [__version__, SCHEMA_VERSION, names, pieces, found.first_times, kept, compiled, transitions, codec]
    digest = digest_of(what)
    spools = place(spool if is_remote(spool) else os.path.abspath(spool))
    count = min(SHARDS, parts) if parts else _parts(_begun(spools, f"tcptrace-tw-{digest}-"), workers)
    return Plan(
        str(place(spools, f"tcptrace-tw-{digest}-{count}")), _here(),
        tuple(found.files), tuple(found.first_times), pieces, tuple(found.remarks), count, asdict(settings), compiled,
        transitions, codec, workers,
    )  # fmt: skip


def _here() -> str:
    """The folder of the process; empty where that has been removed."""
    try:
        return os.getcwd()
    except OSError:
        return ""


def _for_all(name: str) -> str:
    """The name of the same file in every process, where there is one."""
    real = os.path.realpath(name) if name.startswith(OF_A_PROCESS) else name
    return real if os.path.isfile(real) else name


def _pieces(index: int, name: str, piece_bytes: int) -> list[Piece]:
    """A large pcap file of this machine in pieces, any other one as it is."""
    found = cuts(name, piece_bytes)
    if not found:
        return [Piece(index)]
    return [Piece(index, begin, end) for begin, end in pairwise([HEADER_LEN, *found, None]) if begin is not None]


def _parts(begun: Collection[int], workers: int) -> int:
    """How many parts there are: as many as an earlier run has begun with, if all workers have something to do then."""
    count = min(SHARDS, workers * (PARTS_OF_FEW if workers <= FEW_WORKERS else PARTS_A_WORKER))
    fit = [each for each in begun if each >= min(count, workers)]
    return count if count in fit else max(fit, default=count)


def _begun(spools: Place, stem: str) -> list[int]:
    """The numbers of parts of the spools whose names begin with ``stem``; none where the folder cannot be read."""
    names = list[str]()
    with suppress(OSError):
        names = spools.entries()[0] if isinstance(spools, Object) else os.listdir(spools)
    rests = [name.removeprefix(stem) for name in names if name.startswith(stem)]
    return [int(rest) for rest in rests if rest.isdecimal()]


def spools_of(plan: Plan) -> list[str]:
    """The spool of a plan, and what runs over the same with other numbers of parts have left."""
    stem, _, _ = plan.folder.rpartition("-")
    where, _, name = stem.rpartition("/")
    return [f"{stem}-{parts}" for parts in _begun(place(where), f"{name}-")]


def _identity(name: str) -> list[Any]:
    """What changes when a file changes. A file that cannot be read has its name alone: its task says why."""
    try:
        if is_remote(name):
            return [name, *(Object(name).state() or ())]
        found = os.stat(name)
    except (OSError, UsageError):
        return [name]
    return [os.path.abspath(name), found.st_size, found.st_mtime_ns]
