"""The examples of docs/ci.md, each done as it stands: workflow, job, policy, and the fixture for pytest."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import yaml
from junitparser import JUnitXml

from tcptrace_tw.checking import policy_file

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "ci.md").read_text()
BAD = ROOT / "fixtures" / "kernel-syn-into-last-ack" / "capture.pcap"
GOOD = ROOT / "fixtures" / "kernel-three-segment-close" / "capture.pcap"
SHIMS = {
    "tcptrace-tw": f'exec {sys.executable} -m tcptrace_tw "$@"',
    "pip": "exit 0",
    "sudo": 'exec "$@"',
    "tcpdump": 'while [ "$1" != -w ]; do shift; done; cp "$CAPTURE" "$2"; trap "exit 0" TERM; for i in $(seq 300); do '
    "sleep 0.1; done",
}
"""What a test cannot have: root, a network and a package of this version; the rest is the real thing."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def shell(tmp_path):
    """Runs lines as a CI runner does, in a folder with ``run-tests``."""
    tools = tmp_path / ".tools"
    tools.mkdir()
    for name, line in SHIMS.items():
        (tools / name).write_text(f"#!/bin/sh\n{line}\n")
        (tools / name).chmod(0o755)
    (tmp_path / "run-tests").write_text("#!/bin/sh\nexit 0\n")
    (tmp_path / "run-tests").chmod(0o755)

    def run(lines: str, capture: Path) -> subprocess.CompletedProcess:
        environment = {
            **os.environ,
            "PATH": f"{tools}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "CAPTURE": str(capture),
            "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
        }
        command = ["bash", "-e", "-o", "pipefail", "-c", lines]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    return run


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(("capture", "code"), [(BAD, 1), (GOOD, 0)], ids=["bad", "good"])
def test_the_github_workflow(shell, tmp_path, capture, code):
    steps = yaml.safe_load(blocks("yaml")[0])["jobs"]["tcp"]["steps"]
    *before, last = [step["run"] for step in steps if "run" in step]
    for lines in before:
        done = shell(lines, capture)
        assert done.returncode == 0, done.stderr
    done = shell(last, capture)

    assert done.returncode == code, done.stderr
    assert done.stdout.count("::warning file=trace.pcap,line=") == code
    assert (tmp_path / "summary.md").read_text().startswith(f"### tcptrace-tw: {'failed' if code else 'passed'}")
    (upload,) = [step["with"]["sarif_file"] for step in steps if "upload-sarif" in step.get("uses", "")]
    assert json.loads((tmp_path / upload).read_text())["version"] == "2.1.0"


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(("capture", "code"), [(BAD, 1), (GOOD, 0)], ids=["bad", "good"])
def test_the_gitlab_job(shell, tmp_path, capture, code):
    job = yaml.safe_load(blocks("yaml")[1])["tcp"]
    shutil.copy(capture, tmp_path / "trace.pcap")
    done = shell("\n".join(job["script"]), capture)
    reports = job["artifacts"]["reports"]

    assert done.returncode == code, done.stderr
    assert bool(json.loads((tmp_path / reports["codequality"]).read_text())) == bool(code)
    assert JUnitXml.fromfile(str(tmp_path / reports["junit"])).failures == code


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_the_commands(shell, tmp_path):
    for capture, code in ((BAD, 1), (GOOD, 0)):
        shutil.copy(capture, tmp_path / "trace.pcap")
        for lines in blocks("sh"):
            assert shell(lines, capture).returncode == 0
        assert shell("tcptrace-tw check trace.pcap --fail-on warning", capture).returncode == code
        assert shell("tcptrace-tw check trace.pcap --fail-on notice --baseline tcp-known.json", capture).returncode == 0


def test_the_policy(tmp_path):
    (text,) = blocks("toml")
    found = policy_file.plan_of(policy_file.Found(tmp_path / "tcptrace-tw.toml", tomllib.loads(text)))

    assert len(found.waivers) == 1
    assert len(found.settings.thresholds) == 2


@pytest.mark.parametrize(("capture", "outcome"), [(BAD, "failed"), (GOOD, "passed")], ids=["bad", "good"])
def test_the_fixture(pytester, monkeypatch, capture, outcome):
    shutil.copy(capture, pytester.path / "trace.pcap")
    pytester.makepyfile(blocks("python")[0])
    done = pytester.runpytest_subprocess(*PLUGIN)

    done.assert_outcomes(**{outcome: 1})
    if outcome == "failed":
        done.stdout.fnmatch_lines([
            "*test_the_pool_keeps_its_connections*",
            "*1 at or above warning:likely*",
            "*trace.pcap:18: LA001 warning: *",
            "*look: tcptrace-tw show trace.pcap --finding 2401",
        ])  # fmt: skip
        done.stdout.no_fnmatch_line("*pytest_plugin.py*")


IS_INSTALLED = any(point.name == "tcptrace_tw" for point in entry_points(group="pytest11"))
PLUGIN = () if IS_INSTALLED else ("-p", "tcptrace_tw.pytest_plugin")
"""A checkout that was installed before the plugin was there does not announce it."""


def test_the_plugin_is_announced_to_pytest():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert project["entry-points"]["pytest11"] == {"tcptrace_tw": "tcptrace_tw.pytest_plugin"}


def test_the_fixture_obeys_the_policy_and_returns_what_was_found(pytester, monkeypatch):
    shutil.copy(BAD, pytester.path / "trace.pcap")
    (pytester.path / "tcptrace-tw.toml").write_text('fail_on = "warning"\n[[ignore_for]]\nrules = ["LA001"]\n')
    pytester.makepyfile("""
        import pytest
        from tcptrace_tw import CaptureError, UsageError

        def test_policy(assert_no_findings):
            found = assert_no_findings("trace.pcap")
            assert [entry.batch.rule for entry in found.entries] == ["LA004"]
            assert found.ignored == 1

        def test_arguments_win(assert_no_findings):
            with pytest.raises(pytest.fail.Exception, match="LA004 notice"):
                assert_no_findings("trace.pcap", fail_on="notice", select=["LA"])

        def test_errors(assert_no_findings):
            with pytest.raises(CaptureError):
                assert_no_findings("none.pcap")
            with pytest.raises(UsageError, match="did you mean error"):
                assert_no_findings("trace.pcap", fail_on="eror")
            with pytest.raises(UsageError, match="did you mean LA001"):
                assert_no_findings("trace.pcap", select=["LA01"])
    """)

    pytester.runpytest_subprocess(*PLUGIN).assert_outcomes(passed=3)


def test_loading_the_plugin_imports_nothing_heavy():
    script = "import tcptrace_tw.pytest_plugin, sys; print(*sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)

    assert not {"numpy", "numba", "pandas", "pyarrow", "pydantic", "typer", "rich"} & set(done.stdout.split())
