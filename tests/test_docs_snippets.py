"""Every command and every piece of Python in README.md, CONTRIBUTING.md and docs/ runs."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from tcptrace_tw.cli.app import app
from tcptrace_tw.cli.commands import COMMANDS
from tcptrace_tw.cli.examples import EXAMPLES
from tests.docs import pages
from tests.tasks import TASKS

TOP = [pages.ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
ELSEWHERE = {
    "adding-a-rule.md": "test_docs_adding_a_rule",
    "cookbook.md": "test_docs_cookbook",
    "ci.md": "test_check_examples",
}
"""Pages whose snippets have a test of their own."""

BY_HAND = (
    "python3 -m venv",  # the set-up of a fresh machine: it fetches packages, .ci/run does it
    ".venv/bin/",  # the same
    "git clone",
    "pip install",
    "sudo python -m tests.lab",  # wants root and network namespaces
)
"""What a test cannot do on any machine."""

NAMES = [
    ("trace", "nat-few-ports"),
    ("one", "half-close"),
    ("ring-00", "lost-last-ack"),
    ("ring-01", "half-close"),
    ("cap", "half-close"),
]


def snippets(language):
    found = []
    for path in [*TOP, *sorted(pages.DOCS.glob("*.md"))]:
        if path.name not in ELSEWHERE:
            texts = [text for kind, text in FENCE.findall(path.read_text()) if kind == language]
            found += [pytest.param(text, id=f"{path.stem}-{number}") for number, text in enumerate(texts)]
    return found


def commands():
    """Each line of each shell snippet; a line that ends in a backslash goes on."""
    found = {}
    for parameter in snippets("sh"):
        for line in parameter.values[0].replace("\\\n", " ").splitlines():
            line = line.partition(" #")[0].strip()
            if line and not line.startswith(BY_HAND):
                found.setdefault(line, pytest.param(line, id=f"{parameter.id}: {line[:60]}"))
    return list(found.values())


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder with the captures that the pages speak of, and with what ``analyze -o out`` wrote."""
    folder = tmp_path_factory.mktemp("desk")
    for name, fixture in NAMES:
        shutil.copy(pages.ROOT / f"fixtures/kernel-{fixture}/capture.pcap", folder / f"{name}.pcap")
    (folder / "fixtures").symlink_to(pages.ROOT / "fixtures")
    (folder / "bin").mkdir()
    (folder / "bin" / "tcptrace-tw").write_text(f'#!/bin/sh\nexec {sys.executable} -m tcptrace_tw "$@"\n')
    (folder / "bin" / "ssh").write_text("#!/bin/sh\nexec cat trace.pcap\n")  # what another host's tcpdump would write
    (folder / "live").mkdir()
    (folder / "live" / "tcpdump").write_text("#!/bin/sh\nexec cat trace.pcap\n")  # what an interface would bring
    for command in (*(folder / "bin").iterdir(), *(folder / "live").iterdir()):
        command.chmod(0o755)
    run("tcptrace-tw analyze trace.pcap -o out", folder)
    return folder


def run(command, folder):
    environment = {**os.environ, "PYTHONPATH": str(pages.ROOT), "COLUMNS": "80"}
    environment["PATH"] = f"{folder / 'bin'}{os.pathsep}{environment['PATH']}"
    if "watch -i" in command:
        command = command.removeprefix("sudo ")
        environment["PATH"] = f"{folder / 'live'}{os.pathsep}{environment['PATH']}"
    arguments = {"cwd": folder, "env": environment, "capture_output": True, "text": True, "timeout": 300}
    return subprocess.run(["bash", "-o", "pipefail", "-c", command], check=False, **arguments)


@pytest.mark.parametrize("text", snippets("python"))
def test_a_piece_of_python_runs(text, desk, tmp_path):
    (tmp_path / "snippet.py").write_text(text)
    done = run(f"{shlex.quote(sys.executable)} {shlex.quote(str(tmp_path / 'snippet.py'))}", desk)

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("line", commands())
def test_a_command_runs(line, desk):
    """``check`` may find something; tcpdump reads a recording instead of an interface."""
    words = shlex.split(line)
    if "tcpdump" in words[:2]:
        listen(words[words.index("tcpdump") :], desk)
        return
    if words[0] == "python":
        exists(words)
        return
    assert "tcptrace-tw" in words, f"no test knows how to run: {line}"
    done = run(line, desk)

    assert done.returncode in ((0, 1) if may_find(line) else (0,)), done.stderr


@pytest.mark.parametrize("line", dict.fromkeys(line for lines in EXAMPLES.values() for line in lines))
def test_an_example_of_the_help_runs(line, desk):
    if line.startswith("tcpdump"):
        listen(shlex.split(line), desk)
        return
    done = run(line, desk)

    assert done.returncode in ((0, 1) if may_find(line) else (0,)), done.stderr


def may_find(line):
    """Whether exit code 1 is an ordinary end."""
    return "tcptrace-tw check" in line or "--until-finding" in line


def test_every_command_has_examples():
    assert set(EXAMPLES) == {"", *COMMANDS}


def listen(words, desk):
    """The options are known and the filter means something: it is run over a recording, as nobody in particular."""
    if shutil.which("tcpdump") is None:
        pytest.skip("tcpdump is not installed")
    if "-i" in words:
        at = words.index("-i")
        words[at : at + 2] = ["-r", "trace.pcap"]
    words = words[: words.index("|")] if "|" in words else words
    if "-w" in words:
        words[words.index("-w") + 1] = "written.pcap"
    done = run(shlex.join(words), desk)

    assert done.returncode == 0, done.stderr


def exists(words):
    """``python -m tests.docs`` and its siblings rewrite the project or take long: they must be there, no more."""
    assert words[1] == "-m"
    path = pages.ROOT.joinpath(*words[2].split("."))

    assert path.with_suffix(".py").exists() or (path / "__main__.py").exists()


INLINE = re.compile(r"`(tcptrace-tw [^`]+|python -m [^`]+)`")


@pytest.mark.parametrize("path", [*TOP, *sorted(pages.DOCS.glob("*.md"))], ids=lambda path: path.stem)
def test_a_command_within_a_sentence_has_options_that_exist(path):
    """Values may be placeholders, so it is not run: its command and its options must be known."""
    for line in INLINE.findall(path.read_text()):
        words = line.replace("...", " ").split("\\|")[0].split()
        if words[0] == "python":
            exists(words)
            assert words[2] != "tests.tasks" or len(words) < 4 or words[3] in TASKS, line
        elif len(words) > 1 and not words[1].startswith("-"):
            known = options_of(words[1])
            unknown = [word for word in words[2:] if word.startswith("-") and word != "-" and word not in known]
            assert not unknown, line


def options_of(command):
    group = typer.main.get_command(app)
    found = group.commands[command]
    return {option for parameter in found.params for option in parameter.opts} | {"-h", "--help"}


def test_contributing_has_every_habit():
    text = (pages.ROOT / "CONTRIBUTING.md").read_text()
    rows = re.findall(r"^\| (.+) \| `python -m tests\.tasks (\w+)` \|$", text, re.MULTILINE)

    assert {name: purpose for purpose, name in rows} == {name: task.purpose for name, task in TASKS.items()}


def test_a_habit_runs_its_commands_and_passes_on_what_follows():
    done = run(f"{shlex.quote(sys.executable)} -m tests.tasks fuzz --help", pages.ROOT)

    assert done.returncode == 0, done.stderr
    assert "--count" in done.stdout
    assert run(f"{shlex.quote(sys.executable)} -m tests.tasks", pages.ROOT).stdout.count("\n") == len(TASKS)
    assert run(f"{shlex.quote(sys.executable)} -m tests.tasks knitting", pages.ROOT).returncode == 2


def test_no_fence_has_a_language_that_nobody_runs():
    kinds = set()
    for path in [*TOP, *pages.DOCS.glob("*.md")]:
        kinds |= {kind for kind, _ in FENCE.findall(path.read_text()) if path.name not in ELSEWHERE}

    assert kinds <= {"python", "sh", "text", "toml", "mermaid"}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_pages_with_a_test_of_their_own_have_it(name):
    if (pages.DOCS / name).exists():
        assert (Path(__file__).parent / f"{ELSEWHERE[name]}.py").exists()
