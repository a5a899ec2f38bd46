"""Several outputs at once: where they go, and that a file is whole or not there."""

import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tcptrace_tw.errors import UsageError
from tcptrace_tw.report.checks.formats import FORMATS
from tcptrace_tw.report.checks.outputs import Output, Outputs, parse
from tests.check_rows import checked

ROOT = Path(__file__).parent.parent
CAPTURE = ROOT / "fixtures" / "kernel-syn-into-last-ack" / "capture.pcap"


@pytest.mark.parametrize(
    ("format_", "outputs", "expected"),
    [
        (None, [], [("text", "-")]),
        ("json", [], [("json", "-")]),
        (None, ["sarif=a"], [("text", "-"), ("sarif", "a")]),
        (None, ["json=-", "junit=b=c"], [("json", "-"), ("junit", "b=c")]),
    ],
)
def test_stdout_gets_the_text_unless_something_else_goes_there(format_, outputs, expected):
    assert parse(format_, outputs) == [Output(*each) for each in expected]


@pytest.mark.parametrize(
    ("format_", "outputs"),
    [("sarfi", []), (None, ["sarfi=x"]), (None, ["sarif"]), (None, ["sarif="]), ("json", ["text=-"]),
     (None, ["json=x", "sarif=./x"])],
)  # fmt: skip
def test_outputs_that_cannot_be_are_refused(format_, outputs):
    with pytest.raises(UsageError):
        parse(format_, outputs)


def test_a_file_appears_when_it_is_whole(tmp_path):
    target = tmp_path / "out.json"
    target.write_text("old")
    with Outputs([Output("json", str(target))]) as opened:
        assert target.read_text() == "old"
        opened.commit(checked())

    assert json.loads(target.read_text())["failing"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


def test_a_check_that_fails_half_way_leaves_what_was_there(tmp_path):
    target = tmp_path / "out.json"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), Outputs([Output("json", str(target))]):
        raise ZeroDivisionError

    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


def test_what_cannot_be_written_is_told_before_the_work_and_leaves_nothing(tmp_path):
    with pytest.raises(UsageError, match="cannot be written"):
        Outputs([Output("json", str(tmp_path / "a.json")), Output("sarif", str(tmp_path / "no" / "b"))])

    assert list(tmp_path.iterdir()) == []


def run(*arguments, cwd, **options) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tcptrace_tw", "check", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=environment, **options)


def test_all_formats_at_once(tmp_path):
    wanted = [f"--output={name}=out.{name}" for name in FORMATS if name != "text"]
    done = run(CAPTURE, *wanted, "--fail-on", "warning", cwd=tmp_path)

    assert (done.returncode, len(done.stdout.splitlines())) == (1, 2)
    assert len(list(tmp_path.iterdir())) == len(FORMATS) - 1
    assert all(path.stat().st_size for path in tmp_path.iterdir())


def test_a_capture_that_cannot_be_read_leaves_no_output(tmp_path):
    done = run("no.pcap", "-o", "sarif=out.sarif", cwd=tmp_path)

    assert (done.returncode, list(tmp_path.iterdir())) == (3, [])


def test_an_output_does_not_replace_the_capture(tmp_path):
    shutil.copy(CAPTURE, tmp_path / "x.pcap")
    done = run("x.pcap", "-o", "json=./x.pcap", cwd=tmp_path)

    assert (done.returncode, "is the capture itself" in done.stderr) == (2, True)
    assert (tmp_path / "x.pcap").read_bytes() == CAPTURE.read_bytes()


def test_outputs_may_lie_among_the_captures_of_a_folder(tmp_path):
    shutil.copy(CAPTURE, tmp_path / "x.pcap")
    first, second = (run(".", "-o", "json=out.json", "-o", "sarif=out.sarif", cwd=tmp_path) for _ in range(2))

    assert (first.returncode, first.stdout) == (second.returncode, second.stdout)
    assert first.stdout.startswith("./x.pcap:8: LA004 notice")


def test_a_pipe_is_written_as_it_stands(tmp_path):
    done = run(CAPTURE, "-o", "json=/dev/stderr", "-q", cwd=tmp_path)

    assert json.loads(done.stderr)["failing"] == 0


def test_stdin_has_a_name_in_every_format(tmp_path):
    for name in ("sarif", "gitlab", "github"):
        with CAPTURE.open("rb") as stream:
            assert "stdin" in run("-", "-f", name, cwd=tmp_path, stdin=stream).stdout


@pytest.mark.parametrize(
    ("arguments", "environment", "is_coloured"),
    [
        ([], {}, True),
        (["--color", "never"], {}, False),
        ([], {"NO_COLOR": "1"}, False),
        (["--color", "always"], {"NO_COLOR": "1"}, True),
    ],
)
def test_a_terminal_gets_colour_and_a_pipe_does_not(tmp_path, arguments, environment, is_coloured):
    master, slave = pty.openpty()
    env = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
    env |= {"TERM": "xterm-256color", "PYTHONPATH": str(ROOT), **environment}
    command = [sys.executable, "-m", "tcptrace_tw", "check", str(CAPTURE), *arguments]
    with subprocess.Popen(command, stdout=slave, stderr=subprocess.DEVNULL, cwd=tmp_path, env=env) as process:
        process.wait()
    os.close(slave)
    text = os.read(master, 1 << 16)
    os.close(master)

    assert b"LA001" in text
    assert (b"\x1b[" in text) == is_coloured
    assert "\x1b" not in run(CAPTURE, cwd=tmp_path).stdout
