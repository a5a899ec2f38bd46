"""The house itself: who imports whom, types, lint and format."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOOLS = Path(sys.executable).parent


def run(*command: str) -> subprocess.CompletedProcess:
    tool = str(TOOLS / command[0]) if (TOOLS / command[0]).exists() else shutil.which(command[0])
    if tool is None:
        pytest.skip(f"{command[0]} is not installed")
    return subprocess.run([tool, *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)


def test_rooms_import_only_to_the_right():
    done = run("lint-imports", "--no-cache")

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("arguments", [("check",), ("format", "--check")], ids=["lint", "format"])
def test_ruff_has_no_complaint(arguments):
    done = run("ruff", *arguments, "--no-cache", "tcptrace_tw", "tests")

    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="types are checked with the stubs for the oldest Python")
def test_types_are_right(tmp_path):
    done = run("mypy", "--cache-dir", str(tmp_path))

    assert done.returncode == 0, done.stdout


def test_modules_are_short():
    """A module is one noun, at most 400 lines, one of the rules 350; data (protocol, schema) may be longer."""
    long = {
        path.relative_to(ROOT).as_posix(): lines
        for path in (ROOT / "tcptrace_tw").rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > (350 if "rules" in path.parts else 400)
        and path.parent.name not in ("protocol", "schema")
    }

    assert long == {}


def test_functions_are_short():
    """A function does one thing, in at most 40 lines; the conductor of the pass is the exception that is named."""
    long = {
        f"{path.relative_to(ROOT).as_posix()}: {node.name}": lines
        for path in (ROOT / "tcptrace_tw").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or 0) - node.lineno + 1) > 40
    }

    assert set(long) <= {"tcptrace_tw/pipeline.py: analyze"}
