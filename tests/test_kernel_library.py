"""The library of compiled kernels: it fits the sources or is not loaded, and is as good as the sources."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import pytest

import tcptrace_tw as tw
from tcptrace_tw.errors import UsageError
from tcptrace_tw.kernels import build, compiler, library, marks
from tcptrace_tw.kernels import index as library_index
from tests.compiled import needs_compiler
from tests.scenario.play import why_unfit

ROOT = Path(__file__).parent.parent
PACKAGE = Path(tw.__file__).parent
CAPTURE = ROOT / "fixtures" / "kernel-syn-into-last-ack" / "capture.pcap"
needs_library = pytest.mark.skipif(bool(why_unfit()), reason=why_unfit())


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The library, where it can be damaged."""
    for name in (library.LIBRARY, library_index.INDEX):
        shutil.copy(library.FOLDER / name, tmp_path)
    return tmp_path


def edit(folder: Path, **values: Any) -> None:
    """Change the index, as a build would have written it."""
    index = json.loads((folder / library_index.INDEX).read_text())
    del index["digest"]
    (folder / library_index.INDEX).write_bytes(library_index.index_file({**index, **values}))


def spoil(folder: Path, old: str, new: str) -> None:
    """Change the index as damage would."""
    text = (folder / library_index.INDEX).read_text()
    assert old in text
    (folder / library_index.INDEX).write_text(text.replace(old, new, 1))


def endless(folder: Path, name: str) -> None:
    (folder / name).unlink()
    (folder / name).symlink_to("/dev/zero")


def pipe(folder: Path, name: str) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)


def cut(folder: Path) -> None:
    path = folder / library.LIBRARY
    path.write_bytes(path.read_bytes()[:-100])


def flip(folder: Path) -> None:
    path = folder / library.LIBRARY
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGES = {
    "no index": (lambda folder: (folder / library_index.INDEX).unlink(), "has no compiled kernels"),
    "no library": (lambda folder: (folder / library.LIBRARY).unlink(), "is missing"),
    "a pipe": (lambda folder: pipe(folder, library.LIBRARY), "is not a file that the build has written"),
    "endless": (lambda folder: endless(folder, library.LIBRARY), "is not a file that the build has written"),
    "index is endless": (
        lambda folder: endless(folder, library_index.INDEX),
        "is not a file that the build has written",
    ),
    "index of brackets": (lambda folder: (folder / library_index.INDEX).write_text("[" * 100_000), "is damaged"),
    "a kernel is gone": (lambda folder: spoil(folder, "flow.rehash", "flow.rehasp"), "is damaged"),
    "a symbol": (lambda folder: spoil(folder, "tcptrace_tw_flow_rehash", "memset"), "is damaged"),
    "a result": (lambda folder: spoil(folder, '"result": "i"', '"result": "f"'), "is damaged"),
    "a source": (lambda folder: spoil(folder, '"flow.py"', '"/dev/zero"'), "is damaged"),
    "cut": (cut, "is damaged"),
    "one bit": (flip, "is damaged"),
    "index without sense": (lambda folder: (folder / library_index.INDEX).write_bytes(b"\xff{"), "is damaged"),
    "index of another kind": (lambda folder: (folder / library_index.INDEX).write_text("[]"), "is damaged"),
    "another version": (lambda folder: edit(folder, format=2), "of another version"),
    "other sources": (lambda folder: edit(folder, sources="0" * 64), "were changed"),
    "a source is gone": (lambda folder: edit(folder, files=["gone.py"]), "cannot be read"),
    "another system": (lambda folder: edit(folder, platform="plan9 mips"), "are for plan9 mips, not for"),
    "none was wanted": (lambda folder: library_index.write_choice(folder), "was installed without compiled kernels"),
}


@needs_library
@pytest.mark.parametrize("damage", DAMAGES)
def test_what_does_not_fit_is_not_loaded(damage: str, copy: Path) -> None:
    library.Library(copy)
    do_damage, words = DAMAGES[damage]
    do_damage(copy)

    with pytest.raises(library.Unfit, match=words):
        library.Library(copy)


@needs_library
def test_the_index_and_the_sources_agree() -> None:
    index = json.loads((library.FOLDER / library_index.INDEX).read_text())

    assert sorted(index["kernels"]) == sorted(build.entries())
    assert build.LARGEST in index["kernels"]
    for function, kinds in marks.ENTRIES.items():
        about = index["kernels"][marks.name_of(function)]
        assert about["kinds"] == [text for kind in kinds for text in kind.spelling()]
    for function in marks.KERNELS.keys() & set(marks.ENTRIES):
        path = Path(function.__code__.co_filename).relative_to(library.FOLDER.parent)
        assert path.as_posix() in index["files"]


def test_every_entry_kernel_is_in_a_room_that_is_built() -> None:
    marked = {path for path in PACKAGE.rglob("*.py") if "\n@entry(" in path.read_text()}
    rooms = {PACKAGE / f"{room.replace('.', '/')}.py" for room in build.MODULES}

    assert marked == rooms


@needs_library
@pytest.mark.skipif(shutil.which("nm") is None, reason="nm is not installed")
def test_the_library_needs_nothing_but_libc() -> None:
    done = subprocess.run(
        ["nm", "-D", "--undefined-only", library.FOLDER / library.LIBRARY], capture_output=True, text=True, check=True
    )
    wanted = {line.split()[-1].partition("@")[0] for line in done.stdout.splitlines()}

    assert wanted <= compiler.FROM_LIBC


@needs_library
def test_the_library_is_loaded_without_numba() -> None:
    """Neither the compiler nor anything of it is wanted where kernels run."""
    script = f"""
import sys
sys.modules["numba"] = sys.modules["llvmlite"] = None
import tcptrace_tw as tw
from tcptrace_tw import pipeline
capture = {str(CAPTURE)!r}
print(len(tw.analyze(capture).connections), pipeline.analyze([capture], pipeline.Settings(), []).engine)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)

    assert (done.stdout, done.stderr) == ("2 compiled\n", "")


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the package, in which a kernel can be changed."""
    shutil.copytree(PACKAGE, tmp_path / "tcptrace_tw", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def command(package: Path, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(package), "COLUMNS": "80", **variables}
    words = [sys.executable, "-m", "tcptrace_tw", *map(str, arguments)]
    return subprocess.run(words, env=environment, cwd=package, capture_output=True, text=True, check=False)


@needs_library
@pytest.mark.parametrize(
    "arguments", [("report",), ("analyze", "-o", "out"), ("check",), ("show", "--connection", "1")]
)
def test_a_stale_library_falls_back_and_says_so_once(arguments: tuple[str, ...], package: Path) -> None:
    """The same is printed, and one line says what is the matter and what to do."""
    environment = {library.VARIABLE: ""}
    right = command(package, arguments[0], CAPTURE, *arguments[1:], **environment)
    with (package / "tcptrace_tw" / "flow.py").open("a") as file:
        file.write("# changed\n")
    done = command(package, arguments[0], CAPTURE, *arguments[1:], **environment)

    assert (done.returncode, done.stdout) == (right.returncode, right.stdout)
    new = [line for line in done.stderr.splitlines() if line not in right.stderr.splitlines()]
    assert len(new) == 1
    assert "kernels run interpreted" in new[0]
    assert "the sources of the compiled kernels were changed" in new[0]
    assert library.BUILD in new[0]


def test_an_installation_without_library_works(package: Path) -> None:
    for name in (library.LIBRARY, library_index.INDEX):
        (package / "tcptrace_tw" / "kernels" / name).unlink(missing_ok=True)
    done = command(package, "report", CAPTURE, **{library.VARIABLE: ""})

    assert done.returncode == 0
    assert "\n2 connections" in done.stdout
    assert "this installation has no compiled kernels" in done.stderr


def test_a_run_that_has_to_be_compiled_says_why_it_cannot_be(package: Path) -> None:
    for name in (library.LIBRARY, library_index.INDEX):
        (package / "tcptrace_tw" / "kernels" / name).unlink(missing_ok=True)
    done = command(package, "report", CAPTURE, **{library.VARIABLE: "library"})

    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "TCPTRACE_TW_KERNELS=library: this installation has no compiled kernels; " in done.stderr


def test_who_installed_without_kernels_is_not_told_again_and_again(package: Path) -> None:
    library_index.write_choice(package / "tcptrace_tw" / "kernels")
    done = command(package, "report", CAPTURE, **{library.VARIABLE: ""})

    assert (done.returncode, done.stderr) == (0, "")
    assert "\n2 connections" in done.stdout


def test_a_linker_that_does_not_exist_is_known_before_anything_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler -O2")
    with pytest.raises(build.BuildError, match="CC=no-such-compiler -O2: there is no such command; unset CC"):
        build.build()


@pytest.mark.parametrize("mode", ["compiled", "checked"])
def test_a_run_that_cannot_compile_says_so(mode: str) -> None:
    done = command(PACKAGE.parent, "report", CAPTURE, **{library.VARIABLE: mode, "CC": "no-such-compiler"})

    assert (done.returncode, done.stdout) == (2, "")
    assert f"TCPTRACE_TW_KERNELS={mode}: CC=no-such-compiler: there is no such command" in done.stderr


@needs_compiler
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_build_leaves_nothing(number: int, package: Path, tmp_path: Path) -> None:
    """Neither a traceback nor a worker nor a folder; the library that was there stays."""
    (tmp_path / "tmp").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(package), "TMPDIR": str(tmp_path / "tmp")}
    words = [sys.executable, "-m", "tcptrace_tw.kernels", "build"]
    process = subprocess.Popen(words, env=environment, cwd=package, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    first = process.stderr.readline()
    time.sleep(1)
    process.send_signal(number)
    rest = process.communicate(timeout=60)[1]

    assert "compiling the kernels" in first
    assert (process.returncode, rest) == (130, "")
    assert list((tmp_path / "tmp").iterdir()) == []


def test_sources_that_are_changed_while_they_are_compiled_are_not_taken_for_those(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The digest is that of what the workers have read."""
    compiled = {"kernels": {}, "files": ["flow.py"], "sources": "of another flow.py", "numba": "0"}
    monkeypatch.setattr(build, "_compile_all", lambda *_: compiled)
    monkeypatch.setattr(build, "link", lambda linker, objects, made: made.write_bytes(b"machine code"))
    monkeypatch.setattr(build, "find_linker", lambda: ["cc"])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    with pytest.raises(build.BuildError, match="the sources were changed while they were compiled; build again"):
        build.build(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_word_for_the_kernels_is_refused() -> None:
    done = command(PACKAGE.parent, "report", CAPTURE, **{library.VARIABLE: "libary"})

    assert (done.returncode, done.stdout) == (2, "")
    assert "TCPTRACE_TW_KERNELS=libary: did you mean library?" in done.stderr


def test_python_is_warned_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def unfit(wanted: str) -> library.Library:
        raise library.Unfit("there is nothing")

    monkeypatch.setenv(library.VARIABLE, "")
    monkeypatch.setattr(library, "_library", unfit)
    monkeypatch.setattr(library, "_said", set())
    with pytest.warns(RuntimeWarning, match="tcptrace-tw: kernels run interpreted") as told:
        tw.analyze(CAPTURE)
    assert told[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tw.analyze(CAPTURE)
    monkeypatch.setenv(library.VARIABLE, "library")
    with pytest.raises(UsageError, match="there is nothing"):
        tw.analyze(CAPTURE)


SOME_MODULES = ("capture.clock", "flow")

LOAD = """
import sys
from tcptrace_tw.kernels import library
print(callable(library.compiled_kernel(sys.argv[1])))
"""


@needs_compiler
@pytest.mark.slow
def test_kernels_are_built_by_one_command(package: Path) -> None:
    """What is built is loaded, whatever the environment of the build was, and a second time nothing is to do.

    Here the kernels of two modules: all of them take minutes, and are in the library that the other tests load.
    """
    builder = package / "tcptrace_tw" / "kernels" / "build.py"
    some = f"MODULES = {SOME_MODULES}"
    builder.write_text(re.sub(r"MODULES = \([^)]*\)  # fmt: skip", some, builder.read_text()))
    assert some in builder.read_text()
    for name in (library.LIBRARY, library_index.INDEX):
        (package / "tcptrace_tw" / "kernels" / name).unlink(missing_ok=True)
    with (package / "tcptrace_tw" / "flow.py").open("a") as file:
        file.write("# changed\n")
    words = [sys.executable, "-m", "tcptrace_tw.kernels"]
    environment = {**os.environ, "PYTHONPATH": str(package)}
    options: dict[str, Any] = {"env": environment, "cwd": package, "capture_output": True, "text": True, "check": False}
    before = subprocess.run(words, **options)
    built = subprocess.run([*words, "build"], **options)
    after = subprocess.run([*words, "build", "--unless-fit"], **options)
    loaded = subprocess.run([sys.executable, "-c", LOAD, "flow.assign_slots"], **options)

    assert (before.returncode, after.returncode) == (1, 0)
    some_kernels = [name for name in build.entries() if name.rpartition(".")[0] in SOME_MODULES]
    assert f"built {len(some_kernels)} kernels" in built.stderr
    assert after.stderr == ""
    assert loaded.stdout == "True\n"
    left = {path.name for path in (package / "tcptrace_tw" / "kernels").iterdir() if path.suffix != ".py"}
    assert left - {"__pycache__"} == {library.LIBRARY, library_index.INDEX}


def test_no_rule_decides_what_the_machine_code_does() -> None:
    """Whoever writes a rule need not build the kernels again."""
    words = (
        "import json, sys; from tcptrace_tw.kernels import build; build.entries(); print(json.dumps(build._sources()))"
    )
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)

    assert [name for name in json.loads(done.stdout) if name.startswith(("rules/", "report/words/", "cli/"))] == []
