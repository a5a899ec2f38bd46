"""The real command on real captures: every way a run can end, and what it leaves behind."""

import gzip
import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import capture_bytes as cb

ROOT = Path(__file__).parent.parent
CAPTURE = ROOT / "fixtures" / "kernel-syn-into-last-ack" / "capture.pcap"


def run(*arguments, **options) -> subprocess.CompletedProcess:
    """Kernels are interpreted: the captures are small, and compiling takes longer than all of them."""
    command = [sys.executable, "-m", "tcptrace_tw", *map(str, arguments)]
    environment = {**os.environ, "COLUMNS": "80", "PYTHONPATH": str(ROOT)}
    options = {"cwd": ROOT, "env": environment, **options}
    return subprocess.run(command, capture_output=True, check=False, **options)


def lines(done: subprocess.CompletedProcess) -> list[str]:
    return done.stderr.decode().splitlines()


def test_the_readmes_report_is_what_it_says():
    done = run("report", CAPTURE.relative_to(ROOT))

    assert done.returncode == 0
    assert lines(done) == []
    assert "LA001 syn-hits-last-ack" in done.stdout.decode()
    assert "tcptrace-tw show fixtures/kernel-syn-into-last-ack/capture.pcap --incident 1" in done.stdout.decode()


@pytest.mark.parametrize("command", ["report", "check", "analyze"])
@pytest.mark.parametrize("content", [None, b"", b"this is no capture, only text\n", b"\xd4\xc3\xb2\xa1"])
def test_what_is_no_capture_is_one_line_and_exit_3(tmp_path, command, content):
    if content is not None:
        (tmp_path / "x.pcap").write_bytes(content)
    output = ["-o", "out"] if command == "analyze" else []
    done = run(command, "x.pcap", *output, cwd=tmp_path)

    assert done.returncode == 3
    assert len(lines(done)) == 1
    assert lines(done)[0].startswith("tcptrace-tw: x.pcap: ")
    assert done.stdout == b""
    assert not (tmp_path / "out").exists()


def test_an_empty_directory_is_exit_3(tmp_path):
    assert run("report", ".", cwd=tmp_path).returncode == 3


def test_a_capture_cut_in_mid_record_is_read_up_to_there(tmp_path):
    (tmp_path / "cut.pcap").write_bytes(CAPTURE.read_bytes()[:-7])
    done = run("report", "cut.pcap", "--json", cwd=tmp_path)
    found = json.loads(done.stdout)

    assert done.returncode == 0
    assert len(lines(done)) == 1
    assert "cut.pcap" in lines(done)[0]
    assert found["capture"]["frames"] == 30
    assert found["capture"]["files"][0]["damage"]


def test_stdin_and_compression_give_the_same_report(tmp_path):
    plain = json.loads(run("report", CAPTURE, "--json").stdout)
    with CAPTURE.open("rb") as stream:
        piped = json.loads(run("report", "-", "--json", stdin=stream).stdout)
    (tmp_path / "x.gz").write_bytes(gzip.compress(CAPTURE.read_bytes()))
    packed = json.loads(run("report", tmp_path / "x.gz", "--json").stdout)

    assert plain["connections"] == piped["connections"] == packed["connections"]
    assert plain["findings"] == piped["findings"] == packed["findings"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_an_analysis_that_is_interrupted_leaves_nothing(tmp_path, number, code):
    command = [sys.executable, "-m", "tcptrace_tw", "analyze", "-", "-o", "out"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, **pipes) as process:
        process.stdin.write(CAPTURE.read_bytes()[:100])
        process.stdin.flush()
        deadline = time.monotonic() + 30
        while not list(tmp_path.glob(".out.*.partial/*.parquet")) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(number)
        process.wait(30)
        errors = process.stderr.read()

    assert (process.returncode, errors) == (code, b"")
    assert list(tmp_path.iterdir()) == []


def test_analyze_then_report_check_and_show_agree_with_the_capture(tmp_path):
    assert run("analyze", CAPTURE, "-o", tmp_path / "out").returncode == 0
    fresh, stored = run("report", CAPTURE, "--json"), run("report", tmp_path / "out", "--json")

    assert json.loads(fresh.stdout) == json.loads(stored.stdout)
    assert run("check", CAPTURE).stdout == run("check", tmp_path / "out").stdout
    assert run("show", CAPTURE, "-c", "2").stdout == run("show", tmp_path / "out", "-c", "2").stdout


def test_show_has_a_rung_for_every_segment():
    done = run("show", CAPTURE, "-c", "1")
    arrows = [line for line in done.stdout.decode().splitlines() if "▶" in line or "◀" in line]

    assert done.returncode == 0
    assert len(arrows) >= 17


def test_check_exits_with_1_at_the_bar():
    assert run("check", CAPTURE).returncode == 0
    assert run("check", CAPTURE, "--fail-on", "warning").returncode == 1
    assert run("check", CAPTURE, "--fail-on", "warning", "--ignore", "LA,RU,TW,PA").returncode == 0


def test_a_rule_that_does_not_exist_is_exit_2():
    done = run("report", CAPTURE, "--select", "XX001")

    assert done.returncode == 2
    assert "XX001" in lines(done)[0]


def test_a_profile_that_does_not_exist_is_exit_2():
    done = run("report", CAPTURE, "--profile", "plan9")

    assert (done.returncode, "plan9" in lines(done)[0]) == (2, True)


@pytest.mark.parametrize(
    "arguments", [("report", CAPTURE, "--json"), ("report", CAPTURE), ("check", CAPTURE), ("rules",), ("--help",)]
)
def test_a_reader_that_goes_away_ends_the_command_quietly(arguments):
    command = [sys.executable, "-m", "tcptrace_tw", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as process:
        process.stdout.close()
        errors = process.stderr.read()

    assert (process.returncode, errors) == (141, b"")


@pytest.mark.parametrize(
    ("arguments", "environment", "is_coloured"),
    [
        ([], {}, True),
        (["--color", "never"], {}, False),
        ([], {"NO_COLOR": "1"}, False),
        (["--color", "always"], {"NO_COLOR": "1"}, True),
    ],
)
def test_a_terminal_gets_colour_unless_it_is_not_wanted(arguments, environment, is_coloured):
    master, slave = pty.openpty()
    env = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
    env |= {"TERM": "xterm-256color", "COLUMNS": "80", **environment}
    command = [sys.executable, "-m", "tcptrace_tw", "rules", "LA001", *arguments]
    with subprocess.Popen(command, stdout=slave, stderr=slave, cwd=ROOT, env=env) as process:
        process.wait()
    os.close(slave)
    text = os.read(master, 1 << 16)
    os.close(master)

    assert b"LA001" in text
    assert (b"\x1b[" in text) == is_coloured


def test_a_pipe_gets_plain_text_unless_colour_is_asked_for():
    assert b"\x1b" not in run("report", CAPTURE).stdout
    assert b"\x1b" in run("report", CAPTURE, "--color", "always").stdout


def test_a_report_imports_neither_tables_nor_data_frames():
    script = f"""
import sys
sys.argv = ["tcptrace-tw", "report", {str(CAPTURE)!r}]
try:
    from tcptrace_tw.cli import main
    main()
except SystemExit:
    pass
print(*sys.modules, file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert not {"pandas", "pyarrow"} & set(done.stderr.split())


def test_tables_are_written_without_pandas(tmp_path):
    command = [sys.executable, "-X", "importtime", "-m", "tcptrace_tw", "analyze", CAPTURE, "-o", tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert "pandas" not in done.stderr.split()


def test_the_python_api_gives_the_same_findings_as_the_command():
    import tcptrace_tw as tw

    trace = tw.analyze(CAPTURE)
    found = json.loads(run("report", CAPTURE, "--json").stdout)

    assert trace.summary.to_json()["findings"] == found["findings"]
    shown = [rule["rule"] for rule in found["findings"] if rule["severity"] != "info"]
    assert sorted(set(trace.findings.rule)) == sorted(shown)
    assert len(trace.transitions) == trace.table("transitions").num_rows > 10
    with pytest.raises(tw.CaptureError):
        tw.analyze("no-such-file.pcap")


@pytest.mark.parametrize("separator", ["\n", "\0"])
def test_captures_are_named_by_a_list_on_stdin(separator):
    named = separator.join([str(CAPTURE), ""]).encode()
    done = run("report", "--files-from", "-", "--json", input=named)

    assert json.loads(done.stdout)["capture"]["files"][0]["name"] == str(CAPTURE)


def test_a_span_is_said_and_the_commands_to_paste_keep_what_numbers_depend_on():
    done = run("report", CAPTURE, "--until", "+0.01s", "--two-msl", "30", "--ignore-vlan")

    assert "only          until +0.01s" in done.stdout.decode()
    assert "Connections  1" in done.stdout.decode()
    assert "--finding 1404 --two-msl 30 --ignore-vlan" in done.stdout.decode()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("report",), "no capture given"),
        (("report", CAPTURE, "--since", "noon"), "--since noon: is not a valid time"),
        (("check", "--files-from", "nowhere"), "--files-from nowhere: No such file"),
        (("analyze", "-", "--files-from", "-", "-o", "out"), "not both"),
        (("report", "--files-from", "/dev/zero"), "--files-from /dev/zero: is not a list of names"),
        (("report", CAPTURE, "--html", ""), "--html: the name of the file is empty"),
        (("export", CAPTURE, "-o", "out.pcap"), "--connection N or --finding N"),
        (("export", CAPTURE, "--finding", "7", "-o", "out.pcap"), "no finding 7"),
        (("export", CAPTURE, "--finding", "810", "-o", "out.pcap"), "about the capture"),
        (("export", CAPTURE, "-c", "1", "-o", "nowhere/out.pcap"), "cannot be written"),
        (("show", CAPTURE, "--finding", "7"), "no finding 7; tcptrace-tw report lists their numbers"),
        (("show", CAPTURE, "--finding", "1499"), "no finding 1499"),
        (("show", CAPTURE, "--finding", "810"), "finding 810 is about the capture"),
        (("report", "s3://"), "s3://: it names no bucket; write s3://BUCKET/KEY"),
        (("analyze", CAPTURE, "-o", "gs:///folder"), "gs:///folder: it names no bucket"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrong_use_is_one_line_that_says_what_to_do(arguments, words):
    done = run(*arguments, stdin=subprocess.DEVNULL)

    assert done.returncode == 2
    assert words in lines(done)[0]


def test_a_capture_without_tcp_says_so_lest_nothing_found_be_taken_for_nothing_wrong(tmp_path):
    frame = cb.ethernet(cb.ipv4(cb.udp(b"x" * 8, 53), protocol=17))
    (tmp_path / "udp.pcap").write_bytes(cb.pcap([cb.Record(frame, 0), cb.Record(frame, 1000)]))
    (tmp_path / "usb.pcap").write_bytes(cb.pcap([cb.Record(frame, 0)], link=249))
    (tmp_path / "none.pcap").write_bytes(cb.pcap([]))

    said = [lines(run("check", name, cwd=tmp_path))[0] for name in ("udp.pcap", "usb.pcap", "none.pcap")]
    assert "udp.pcap: no TCP segment in 2 frames (UDP 2)" in said[0]
    assert "link type not known: USB 1" in said[1]
    assert "contains no frame" in said[2]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("command", ["report", "check", "export"])
def test_a_full_disk_is_one_line(command):
    arguments = ("-c", "1", "-o", "-") if command == "export" else ()
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "tcptrace_tw", command, CAPTURE, "-q", *arguments],
            stdout=full, stderr=subprocess.PIPE, env={**os.environ}, cwd=ROOT, check=False,
        )  # fmt: skip

    assert done.returncode == 2
    assert len(lines(done)) == 1
    assert "no space is left" in lines(done)[0]


def test_a_closed_stdout_is_no_bug():
    command = f"exec {sys.executable} -m tcptrace_tw report {CAPTURE} >&-"
    done = subprocess.run(["sh", "-c", command], capture_output=True, cwd=ROOT, check=False)

    assert (done.returncode, done.stderr) == (0, b"")
