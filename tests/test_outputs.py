"""Outputs of every command: no capture is overwritten, and a file or a folder appears whole or not at all."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tcptrace_tw import pipeline
from tcptrace_tw.cli.app import app
from tests import report_pipeline

ROOT = Path(__file__).parent.parent
CAPTURE = ROOT / "fixtures" / "kernel-syn-into-last-ack" / "capture.pcap"
COMMAND = [sys.executable, "-m", "tcptrace_tw"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}

WAYS = {
    "html": ["report", "{capture}", "--html", "{output}"],
    "output": ["check", "{capture}", "--output", "json={output}"],
    "baseline": ["check", "{capture}", "--baseline", "{output}", "--update-baseline"],
    "export": ["export", "{capture}", "-c", "1", "-o", "{output}"],
    "annotate": ["annotate", "{capture}", "-o", "{output}"],
    "analyze": ["analyze", "{capture}", "-o", "{output}"],
}
"""Every way to name an output."""

FILES = [name for name in WAYS if name != "analyze"]


def words(way: str, output: str, capture: str = "c.pcap") -> list[str]:
    return [word.format(capture=capture, output=output) for word in WAYS[way]]


def run(*arguments: str):
    return CliRunner().invoke(app, list(arguments))


def run_real(*arguments: str, **options) -> subprocess.CompletedProcess:
    options = {"capture_output": True, "env": ENVIRONMENT, "check": False, **options}
    return subprocess.run([*COMMAND, *arguments], **options)


def names(folder: str | Path = ".") -> list[str]:
    return sorted(os.listdir(folder))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder with one capture in it."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(CAPTURE, "c.pcap")
    return tmp_path


@pytest.fixture
def no_pass(monkeypatch):
    """Whoever begins to read the capture fails."""

    def begin(*arguments, **options):
        raise AssertionError("the pass has begun")

    for name in ("analyze", "export", "ladders"):
        monkeypatch.setattr(pipeline, name, begin)


def refuses(done, said: str, before: list[str]) -> None:
    """Exit 2, one line that says why, and nothing in the folder has changed."""
    assert (done.exit_code, said in done.stderr) == (2, True), done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert names() == before
    assert Path("c.pcap").read_bytes() == CAPTURE.read_bytes()


@pytest.mark.parametrize(
    "name", ["c.pcap", "./d/../c.pcap", "hard.pcap", "link.pcap", "chain.pcap", "d/up/c.pcap", "no/../c.pcap"]
)
@pytest.mark.parametrize("way", WAYS)
def test_an_output_that_is_the_capture_is_refused_before_the_pass(no_pass, way, name):
    os.mkdir("d")
    os.link("c.pcap", "hard.pcap")
    os.symlink("c.pcap", "link.pcap")
    os.symlink("link.pcap", "chain.pcap")
    os.symlink("..", "d/up")
    before = names()

    refuses(run(*words(way, name)), "is the capture itself", before)


@pytest.mark.parametrize("named", [".", "*.pcap", "c.pcap d/b.pcap", "d/up", "--files-from list"])
@pytest.mark.parametrize("way", FILES)
def test_captures_that_a_search_or_a_list_brings_are_known(no_pass, way, named):
    os.mkdir("d")
    shutil.copy("c.pcap", "d/b.pcap")
    os.symlink("..", "d/up")
    Path("list").write_text("d/b.pcap\nc.pcap\n")
    arguments = [part for word in words(way, "c.pcap", "{}") for part in (named.split() if word == "{}" else [word])]
    before = names()

    refuses(run(*arguments), "is the capture itself", before)


@pytest.mark.parametrize("way", ["html", "output", "baseline", "analyze"])
def test_stdin_is_known_where_it_is_a_file(way):
    with open("c.pcap", "rb") as stream:
        done = run_real(*words(way, "c.pcap", "-"), stdin=stream)

    assert (done.returncode, b"is the capture itself, stdin" in done.stderr) == (2, True), done.stderr
    assert Path("c.pcap").read_bytes() == CAPTURE.read_bytes()


@pytest.mark.parametrize(
    "arguments", [("report", "c.pcap"), ("check", "."), ("export", "c.pcap", "-c", "1", "-o", "-")]
)
def test_stdout_is_an_output_too(arguments):
    with open("c.pcap", "ab") as stream:
        done = run_real(*arguments, stdout=stream, stderr=subprocess.PIPE, capture_output=False)

    assert (done.returncode, b"stdout: is the capture itself" in done.stderr) == (2, True), done.stderr
    assert Path("c.pcap").read_bytes() == CAPTURE.read_bytes()


def test_stdout_and_a_file_beside_it_are_not_one_file():
    with open("log", "ab") as stream:
        done = run_real("check", "c.pcap", "--output", "json=log", stdout=stream, stderr=subprocess.PIPE,
                        capture_output=False)  # fmt: skip

    assert (done.returncode, b"is the file that stdout goes to" in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        "--output json=a --output sarif=./a",
        "--output json=a --output sarif=link",
        "--output json=dangling --output sarif=new",
        "--output json=b --output sarif=hard",
        "--baseline a --update-baseline --output json=a",
        "--baseline dangling --update-baseline --output json=new",
        "--baseline b --output json=hard",
    ],
)
def test_two_outputs_are_not_one_file(no_pass, arguments):
    Path("a").write_text('{"baseline_version": 1, "known": []}')
    Path("b").write_text('{"baseline_version": 1, "known": []}')
    os.link("b", "hard")
    os.symlink("a", "link")
    os.symlink("new", "dangling")
    before = names()
    done = run("check", "c.pcap", *arguments.split())

    assert done.exit_code == 2
    assert "one format only" in done.stderr or "is the same file as" in done.stderr
    assert (names(), Path("a").read_text()) == (before, Path("b").read_text())


def test_lists_and_policies_that_are_read_are_no_outputs(no_pass):
    Path("list").write_text("c.pcap\n")
    Path("tcptrace-tw.toml").write_text('fail_on = "warning"\n')
    before = names()

    refuses(run("report", "--files-from", "list", "--html", "list"), "is read by this command", before)
    refuses(run("check", "c.pcap", "--output", "json=tcptrace-tw.toml"), "is read by this command", before)


def test_a_written_folder_and_the_captures_behind_it_are_inputs():
    assert run("analyze", "c.pcap", "-o", "out").exit_code == 0
    before = names()

    refuses(run("report", "out", "--html", "out/manifest.json"), "is read by this command", before)
    refuses(run("check", "out", "--output", "json=out/findings.parquet"), "is read by this command", before)
    refuses(run("report", "out", "--html", "c.pcap"), "is the capture itself", before)


@pytest.mark.parametrize("way", ["html", "output"])
def test_a_glob_behind_an_option_does_not_cost_a_capture(no_pass, way):
    """``--html *.pcap`` names the first file as the output and the others as captures."""
    shutil.copy("c.pcap", "b.pcap")
    done = run(*words(way, "b.pcap"))

    assert (done.exit_code, "contains a capture" in done.stderr) == (2, True)
    assert Path("b.pcap").read_bytes() == CAPTURE.read_bytes()


def test_a_folder_of_tables_does_not_replace_a_capture(no_pass):
    os.mkdir("out")
    os.rename("c.pcap", "out/findings.parquet")
    for arguments in (["out/findings.parquet"], ["out"]):
        done = run("analyze", *arguments, "-o", "out", "--force")
        assert (done.exit_code, "is the capture itself" in done.stderr) == (2, True)
    os.mkdir("other")
    os.link("out/findings.parquet", "other/manifest.json")

    assert run("analyze", "out/findings.parquet", "-o", "other", "--force").exit_code == 2
    assert Path("out/findings.parquet").read_bytes() == CAPTURE.read_bytes()


def test_what_is_no_capture_in_a_folder_may_be_written_again():
    for _ in range(2):
        assert run("report", ".", "--html", "page.html").exit_code == 0
        assert run("check", ".", "--output", "json=out.json").exit_code == 0

    assert names() == ["c.pcap", "out.json", "page.html"]


@pytest.mark.parametrize("way", FILES)
@pytest.mark.parametrize("link", ["link", "dangling"])
def test_the_target_of_a_link_is_written_and_the_link_stays(way, link):
    os.mkdir("d")
    Path("d/there").write_text('{"baseline_version": 1, "known": []}')
    os.symlink("d/there", "link")
    os.symlink("d/new", "dangling")
    before = names()
    done = run(*words(way, link))

    assert done.exit_code == 0, done.stderr
    assert (names(), os.path.islink(link), os.path.islink(os.path.realpath(link))) == (before, True, False)
    assert os.path.getsize(link) > 100
    assert set(names("d")) <= {"there", "new"}


@pytest.mark.parametrize("kind", ["full", "empty", "dangling"])
def test_a_link_to_a_folder_is_followed(kind):
    if kind == "full":
        assert run("analyze", "c.pcap", "-o", "real", "--ignore", "LA").exit_code == 0
    elif kind == "empty":
        os.mkdir("real")
    os.symlink("real", "link")
    done = run("analyze", "c.pcap", "-o", "link")

    assert done.exit_code == 0, done.stderr
    assert (names(), os.path.islink("link")) == (["c.pcap", "link", "real"], True)
    assert json.loads(Path("real/manifest.json").read_text())["settings"]["ignore"] == []
    assert not [name for name in names("real") if name.startswith(".")]


MORE = {way: ["nodir/x", "d", "d/", "x/"] for way in WAYS} | {"analyze": ["/dev/null"], "baseline": ["nodir/x", "d"]}


def unwritable(way: str) -> list[str]:
    return ["/proc/x", "c.pcap/x", "loop", *MORE[way]]


@pytest.mark.parametrize(("way", "output"), [(way, output) for way in WAYS for output in unwritable(way)])
def test_what_cannot_be_written_is_said_before_the_pass(no_pass, way, output):
    os.mkdir("d")
    os.symlink("loop", "loop")
    before = names()

    refuses(run(*words(way, output)), f"{output}: ", before)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize("way", WAYS)
def test_a_folder_that_must_not_be_written_is_said_before_the_pass(no_pass, way):
    os.mkdir("d", 0o555)

    refuses(run(*words(way, "d/x")), "d/x: cannot be written: permission denied", names())


@pytest.mark.parametrize("is_there", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_a_disk_that_takes_no_more_leaves_what_was_there(way, is_there):
    """A limit of file sizes ends a write half way, as a full disk does."""
    if is_there:
        assert run(*words(way, "out")).exit_code == 0
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))  # noqa: E731
    done = run_real(*words(way, "out"), preexec_fn=limit)

    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert done.stderr.startswith(b"tcptrace-tw: out: cannot be written: ")
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before
    assert os.path.isdir("out") == (is_there and way == "analyze")


@pytest.mark.parametrize("where", ["gone/out", "gone/there"])
def test_a_folder_that_vanishes_during_the_pass_is_said(monkeypatch, where):
    os.makedirs("gone/there")

    def analyze(*arguments, **options):
        shutil.rmtree("gone")
        return report_pipeline.analyze(*arguments, **options)

    monkeypatch.setattr(pipeline, "analyze", analyze)

    refuses(run("analyze", "c.pcap", "-o", where), f"{where}: cannot be written: there is no folder", ["c.pcap"])


def test_an_earlier_result_comes_back_where_the_new_one_cannot_be_moved(monkeypatch):
    assert run("analyze", "c.pcap", "-o", "out", "--ignore", "LA").exit_code == 0
    before = {name: Path("out", name).read_bytes() for name in names("out")}
    moves = iter(range(100))
    replace = os.replace

    def fail_at_last(old, new):
        if next(moves) == 20:
            raise OSError(5, "Input/output error")
        replace(old, new)

    monkeypatch.setattr(os, "replace", fail_at_last)
    done = run("analyze", "c.pcap", "-o", "out")

    assert (done.exit_code, "out: cannot be written: Input/output error" in done.stderr) == (2, True)
    assert {name: Path("out", name).read_bytes() for name in names("out")} == before


@pytest.mark.parametrize("way", FILES)
def test_devices_are_written_and_not_replaced(way):
    if way == "baseline":
        pytest.skip("a device is no baseline")
    done = run(*words(way, "/dev/null"))
    full = run(*words(way, "/dev/full"))

    assert done.exit_code == 0, done.stderr
    assert (full.exit_code, "/dev/full: cannot be written: no space is left" in full.stderr) == (2, True)
    assert Path("/dev/null").is_char_device()
    assert Path("/dev/full").is_char_device()


@pytest.mark.parametrize("device", ["/dev/full", "/dev/null"])
def test_a_device_is_no_baseline(no_pass, device):
    """``/dev/full`` can be read without end."""
    before = names()

    refuses(run(*words("baseline", device)), "is a device", before)


@pytest.mark.parametrize("way", ["html", "output", "export"])
def test_an_open_descriptor_is_written_where_it_is(way):
    """``/dev/stdout`` behind ``>>`` is a link to a file, which is neither replaced nor cut."""
    Path("log").write_bytes(b"before\n")
    for name in ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"):
        with open("log", "ab") as stream:
            done = run_real(*words(way, name), "-q", stdout=stream, stderr=subprocess.PIPE, capture_output=False)
        assert (done.returncode, done.stderr) == (0, b"")
    written = Path("log").read_bytes()

    assert written.startswith(b"before\n")
    assert len(written.removeprefix(b"before\n")) % 3 == 0
    assert names() == ["c.pcap", "log"]


@pytest.mark.parametrize("way", ["html", "output", "export"])
def test_a_pipe_is_written_directly(way):
    os.mkfifo("pipe")
    with subprocess.Popen(["cat", "pipe"], stdout=subprocess.PIPE) as reader:
        done = run_real(*words(way, "pipe"))
        try:
            written = reader.communicate(timeout=20)[0]
        finally:
            reader.kill()

    assert (done.returncode, len(written) > 100) == (0, True), done.stderr
    assert Path("pipe").is_fifo()


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["report", "--help"], ["report"], ["analyze"]])
def test_a_stdout_that_takes_nothing_is_one_line(arguments):
    arguments = {"report": ["report", "c.pcap"], "analyze": words("analyze", "out")}.get(" ".join(arguments), arguments)
    with open("/dev/full", "wb") as full:
        one = run_real(*arguments, stdout=full, stderr=subprocess.PIPE, capture_output=False)
        both = run_real(*arguments, stdout=full, stderr=full, capture_output=False)

    assert (one.returncode, both.returncode) == (2, 2)
    assert one.stderr == (
        b"tcptrace-tw: stdout: cannot be written: no space is left on the device; free some, or write elsewhere\n"
    )


def test_a_file_keeps_its_mode_and_a_long_name_is_no_hindrance():
    long = "x" * 255
    Path(long).write_text("")
    os.chmod(long, 0o640)

    assert run("report", "c.pcap", "--html", long).exit_code == 0
    assert os.stat(long).st_mode & 0o777 == 0o640


def partials() -> set[Path]:
    return set(Path().rglob(".*.partial"))


def begun(*arguments: str, before=None) -> subprocess.Popen:
    """A command that waits for the rest of its capture, after it has begun to write."""
    old = partials()
    process = subprocess.Popen(
        [*COMMAND, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=ENVIRONMENT, preexec_fn=before,
    )  # fmt: skip
    process.stdin.write(CAPTURE.read_bytes()[:100])
    process.stdin.flush()
    deadline = time.monotonic() + 60
    while not partials() - old and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    time.sleep(0.1)
    return process


STREAMED = {
    "html": ["report", "-", "--html", "d/out"],
    "output": ["check", "-", "--output", "json=d/out"],
    "baseline": ["check", "-", "--baseline", "d/out", "--update-baseline"],
    "analyze": ["analyze", "-", "-o", "d/out"],
}


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
@pytest.mark.parametrize("way", STREAMED)
def test_a_signal_leaves_nothing(way, number):
    os.mkdir("d")
    with begun(*STREAMED[way]) as process:
        process.send_signal(number)
        process.wait(30)
        errors = process.stderr.read()

    assert (process.returncode, errors, names("d")) == (128 + number, b"", [])


def test_nohup_outlives_its_terminal():
    ignore = lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)  # noqa: E731
    with begun("analyze", "-", "-o", "out", before=ignore) as process:
        process.send_signal(signal.SIGHUP)
        process.communicate(CAPTURE.read_bytes()[100:], 60)

    assert (process.returncode, "manifest.json" in names("out")) == (0, True)


@pytest.mark.parametrize("is_there", [False, True])
def test_what_a_killed_process_left_is_swept_away_and_what_a_living_one_makes_is_not(is_there):
    if is_there:
        assert run("analyze", "c.pcap", "-o", "d/out").exit_code == 0
    os.makedirs("d", exist_ok=True)
    with begun("analyze", "-", "-o", "d/out") as dead:
        dead.kill()
    left = partials()
    with begun("analyze", "-", "-o", "d/out") as living:
        assert run("analyze", "c.pcap", "-o", "d/out").exit_code == 0
        kept = partials()
        living.communicate(CAPTURE.read_bytes()[100:], 60)

    assert (len(left), len(kept), left & kept) == (1, 1, set())
    assert (living.returncode, names("d"), partials()) == (0, ["out"], set())


@pytest.mark.parametrize("way", ["analyze", "baseline", "html", "output", "export"])
def test_several_at_once_give_one_whole_result(way):
    for _ in range(2):
        processes = [
            subprocess.Popen([*COMMAND, *words(way, "d/out" if way == "analyze" else "out")], env=ENVIRONMENT,
                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            for _ in range(4)
        ]  # fmt: skip
        errors = [process.communicate()[1] for process in processes]
        assert [process.returncode for process in processes] == [0] * 4, errors

    assert not list(Path().rglob(".*"))
    assert names() == ["c.pcap", "d" if way == "analyze" else "out"]
    if way == "analyze":
        stored, fresh = (json.loads(run("report", name, "--json").stdout) for name in ("d/out", "c.pcap"))
        assert {**stored, "engine": ""} == {**fresh, "engine": ""}  # it depends on what is compiled by then
