"""The real command in a process of its own: start-up, help, pipes and colours."""

import os
import re
import resource
import subprocess
import sys

import pytest

from tests import readme

HEAVY = {"numpy", "numba", "pandas", "pyarrow"}


def run(*arguments: str, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "tcptrace_tw", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def modules_after(code: str) -> set[str]:
    """The modules that are loaded when ``code`` has run."""
    script = f"import sys\ntry:\n    {code}\nexcept SystemExit:\n    pass\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_version_and_help_import_nothing_heavy(option):
    code = f"sys.argv = ['tcptrace-tw', '{option}']; from tcptrace_tw.cli import main; main()"

    assert not {*HEAVY, "pydantic"} & modules_after(code)


@pytest.mark.parametrize("arguments", [("report", "CAPTURE"), ("report", "CAPTURE", "--json", "--select", "RU")])
def test_text_and_flags_need_no_pydantic(arguments):
    """typer converts by it, and only what has to be converted is given to typer."""
    capture = str(readme.ROOT / "fixtures/kernel-half-close/capture.pcap")
    words = [capture if word == "CAPTURE" else word for word in ("tcptrace-tw", *arguments)]
    code = f"sys.argv = {words!r}; from tcptrace_tw.cli import main; main()"

    assert "pydantic" not in modules_after(code)


def test_numpy_starts_no_threads_that_wait_for_work():
    code = "sys.argv = ['tcptrace-tw', 'rules', 'RU004']; from tcptrace_tw.cli import main; main()"
    script = (
        f"import sys, os\ntry:\n    {code}\nexcept SystemExit:\n    pass\nprint(os.environ['OPENBLAS_NUM_THREADS'])"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)

    assert done.stdout.split()[-1] == "1"


def test_importing_the_package_imports_nothing_heavy():
    assert not HEAVY & modules_after("import tcptrace_tw; tcptrace_tw.analyze, tcptrace_tw.CaptureError")


@pytest.mark.parametrize("command", ["", "report", "analyze", "check", "watch", "show", "export", "annotate", "rules"])
def test_help_shows_no_python_type(command):
    done = run(*command.split(), "--help", env={**os.environ, "COLUMNS": "100", "TERM": "dumb"})

    assert done.returncode == 0
    assert not re.search(r"<\w+|list\[", done.stdout)


@pytest.mark.parametrize("arguments", [("--help",), ("report", "--help"), ("check", "--help"), ("show", "--help")])
def test_help_comes_quickly(arguments):
    """Under 0.3 s on an idle machine; processor time, best of three, because other tests run beside it."""
    durations = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert run(*arguments).returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        durations.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)

    assert min(durations) < 0.45


def test_version_is_one_line():
    assert re.fullmatch(r"tcptrace-tw \d+\.\d+\.\d+\S*\n", run("--version").stdout)


@pytest.mark.parametrize(("command", "text"), readme.blocks(), ids=lambda value: value.split("\n")[0][:40])
def test_the_readme_shows_what_a_command_prints(command, text):
    """``python -m tests.readme`` writes the blocks anew."""
    assert text == readme.printed(command)


def test_the_readme_has_the_help_a_report_a_ladder_and_a_rule():
    assert [command.split()[1] for command, _ in readme.blocks()] == ["report", "show", "rules", "--help"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("chek", "x.pcap"), "Did you mean 'check'?"),
        (("report", "x.pcap", "--filtr", "port 80"), "--filter"),
        (("report", "fixtures/kernel-half-close/captur.pcap"), "did you mean fixtures/kernel-half-close/capture.pcap?"),
        (("report", "fixtures/kernel-half-close/capture.pcap", "--profile", "freebds"), "did you mean freebsd?"),
        (("rules", "LA01"), "did you mean LA001?"),
        (("show", "fixtures/kernel-half-close/capture.pcap", "-c", "99"), "the capture has connections 1 to 1"),
        (("show", "fixtures/kernel-half-close/capture.pcap", "-c", "1", "--time-format", "utcc"), "rel, delta, utc"),
        (("report", "nowhere/at/all.pcap"), "check the path"),
    ],
)
def test_an_error_says_what_could_have_been_meant(arguments, said):
    done = run(*arguments, cwd=readme.ROOT, env={**os.environ, "COLUMNS": "200", "TERM": "dumb"})

    assert done.returncode in (2, 3)
    assert done.stdout == ""
    assert said in done.stderr
    assert "Traceback" not in done.stderr
