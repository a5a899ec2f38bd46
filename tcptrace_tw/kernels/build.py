"""Build the library of compiled kernels: compile every entry kernel, link them, write the index.

The hook of the wheel build (``hatch_build.py``) and ``python -m tcptrace_tw.kernels build`` call this. It needs numba,
and a linker: ``cc``, or the one that the package ``ziglang`` brings.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tcptrace_tw.kernels import index as library_index
from tcptrace_tw.kernels import library, marks, platforms
from tcptrace_tw.kernels.compiler import compile_entry, processor

MODULES = (
    "capture.clock", "capture.damage", "capture.decode", "capture.merge_order", "capture.pcap", "capture.pcapng_scan",
    "cluster.dealing", "cluster.packing", "flow", "measure.census", "measure.clocks", "measure.community_id",
    "measure.endings", "measure.keys", "measure.measurements", "measure.ramp_up", "measure.services", "measure.syns",
    "report.summary.pools", "report.summary.steps", "report.summary.totals", "tcp.machine.batch",
    "tcp.machine.early_forgetting", "tcp.machine.end_of_capture", "tcp.machine.retirement",
    "tcp.machine.time_wait_count", "tcp.store.attempt_index",
)  # fmt: skip
"""The modules that have entry kernels."""

LARGEST = "tcp.machine.batch.segments_arrive"
"""Half of all machine code: what is compiled beside it is done before."""

COMPILERS = ("cc", "gcc", "clang")
LINUX = ("-shared", "-nostdlib", "-Wl,-z,noexecstack", "-Wl,--gc-sections", "-Wl,-s")
MACOS = ("-dynamiclib", "-Wl,-dead_strip", "-Wl,-x")

ZIG_SYSTEMS = {"linux": "linux-gnu.2.17", "darwin": "macos"}
"""How ziglang calls a system; libc's memset and memcpy are as old as that."""

MOST_JOBS = 4
STDIN = 0
MOST_WORDS = 2000
"""Of what a compiler or a linker says, its last letters are shown."""

Tell = Callable[[str], None]


class BuildError(Exception):
    """The library cannot be built here: why, and what to do."""


def build(folder: Path = library.FOLDER, *, is_checked: bool = False, tell: Tell | None = None) -> None:
    """Write the library and its index into ``folder``.

    ``is_checked``: with comparisons of every index. ``tell``: called with lines about the progress; without it they go
    to stderr.
    Raises ``BuildError``, ``UsageError`` or ``OSError`` where the folder cannot be written.
    """
    from tcptrace_tw.atomic import AtomicFile

    tell = tell or _on_stderr
    begun = time.monotonic()
    linker = find_linker()
    if importlib.util.find_spec("numba") is None:
        raise BuildError(f"kernels are compiled with numba, which is not installed: pip install '{platforms.NUMBA}'")
    if not os.access(folder, os.W_OK):
        raise BuildError(f"{folder}: the kernels cannot be written there: permission denied")
    tell("compiling the kernels with numba, which takes about a minute on two idle cores")
    with tempfile.TemporaryDirectory(prefix="tcptrace-tw-") as name:
        place = Path(name)
        compiled = _compile_all(place, is_checked, tell)
        made = place / library.LIBRARY
        link(linker, sorted(place.glob("*.o")), made)
        code = made.read_bytes()
        index = {
            "format": library_index.FORMAT,
            "platform": platforms.this_platform(),
            "sources": compiled["sources"],
            "library": hashlib.sha256(code).hexdigest(),
            "processor": processor(),
            "numba": compiled["numba"],
            **{each: compiled[each] for each in ("kernels", "files")},
        }
    if library.digest_of(compiled["files"]) != compiled["sources"]:
        raise BuildError("the sources were changed while they were compiled; build again")
    for path, content in ((library.LIBRARY, code), (library_index.INDEX, library_index.index_file(index))):
        with AtomicFile(folder / path) as file:
            file.write(content)
            file.commit()
    tell(f"built {len(index['kernels'])} kernels, {len(code) // 1000} kB, in {time.monotonic() - begun:.0f} s")


def _on_stderr(line: str) -> None:
    print(f"tcptrace-tw: {line}", file=sys.stderr, flush=True)


def entries() -> list[str]:
    """The names of all entry kernels, the largest first."""
    for room in MODULES:
        importlib.import_module(f"tcptrace_tw.{room}")
    return sorted(map(marks.name_of, marks.ENTRIES), key=lambda name: (name != LARGEST, name))


def _compile_all(place: Path, is_checked: bool, tell: Tell) -> dict[str, Any]:
    """Object files in ``place``, made by processes of their own; returns what the index has to say."""
    jobs = min(os.cpu_count() or 1, MOST_JOBS)
    environment = {**os.environ, platforms.VARIABLE: "checked" if is_checked else "interpreted"}
    package = str(library.FOLDER.parent.parent)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (package, environment.get("PYTHONPATH"))))
    command = [sys.executable, "-m", "tcptrace_tw.kernels", "compile", str(place), str(jobs)]
    workers = [
        subprocess.Popen(
            [*command, str(job)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for job in range(jobs)
    ]
    try:
        for done, worker in enumerate(reversed(workers), 1):  # the first one has most to do
            words = _output(worker)
            if worker.returncode:
                raise BuildError(f"numba could not compile the kernels: {words.strip()[-MOST_WORDS:]}")
            tell(f"part {done} of {jobs} is compiled")
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    parts = [json.loads((place / f"{job}.json").read_text()) for job in range(jobs)]
    if len({part["sources"] for part in parts}) > 1:
        raise BuildError("the sources were changed while they were compiled; build again")
    kernels = {name: about for part in parts for name, about in part["kernels"].items()}
    return {**parts[0], "kernels": dict(sorted(kernels.items()))}


def _output(worker: subprocess.Popen[bytes]) -> str:
    """What a worker says until it ends; its stdin stays open as long (see ``end_with_parent``)."""
    assert worker.stdout is not None
    words = worker.stdout.read().decode(errors="replace")
    worker.wait()
    return words


def end_with_parent() -> None:
    """In a worker: whoever started it holds the other end of stdin, however that process ends."""

    def watch() -> None:
        os.read(STDIN, 1)  # nothing is written there; it returns at the end
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def compile_share(place: Path, jobs: int, job: int) -> None:
    """In a worker: the kernels that are the share of ``job``; the first one has the largest kernel for itself."""
    from importlib.metadata import version

    names = entries()
    files = _sources()
    sources = library.digest_of(files)
    others = max(1, jobs - 1)
    mine = [name for n, name in enumerate(names) if (1 + (n - 1) % others if n and jobs > 1 else 0) == job]
    kernels = {}
    for name in mine:
        done = compile_entry(name)
        (place / f"{done.symbol}.o").write_bytes(done.code)
        kernels[name] = {"symbol": done.symbol, "kinds": done.kinds, "result": done.result}
    about = {"kernels": kernels, "files": files, "sources": sources, "numba": version("numba")}
    (place / f"{job}.json").write_text(json.dumps(about))


def _sources() -> list[str]:
    """The files that decide what the machine code does, as paths within the package: whatever the kernels import."""
    package = library.FOLDER.parent
    modules = [module for name, module in sys.modules.items() if name.partition(".")[0] == package.name]
    return sorted(Path(str(module.__file__)).relative_to(package).as_posix() for module in modules)


def find_linker() -> list[str]:
    """The command that links: what ``CC`` names, a C compiler, or the one of the package ziglang."""
    if named := os.environ.get("CC"):
        try:
            words = shlex.split(named)
        except ValueError as error:
            raise BuildError(f"CC={named}: {error}; unset CC, or name a C compiler") from None
        if not words or shutil.which(words[0]) is None:
            raise BuildError(f"CC={named}: there is no such command; unset CC, or name a C compiler")
        return words
    for name in COMPILERS:
        if found := shutil.which(name):
            return [found]
    if importlib.util.find_spec("ziglang") is None:
        raise BuildError(f"there is no linker: install a C compiler ({', '.join(COMPILERS)}), or pip install ziglang")
    target = f"{platform.machine().replace('arm64', 'aarch64')}-{ZIG_SYSTEMS[sys.platform]}"
    return [sys.executable, "-m", "ziglang", "cc", "-target", target]


def link(linker: list[str], objects: list[Path], made: Path) -> None:
    """Link object files into the library ``made``; raises ``BuildError``."""
    flags = MACOS if sys.platform == "darwin" else LINUX
    command = [*linker, *flags, "-o", str(made), *map(str, objects), "-lc"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"{shlex.join(linker)} could not link the kernels: {done.stderr.strip()[-MOST_WORDS:]}")
