"""report, list, show, analyze and Python obey the policy that check obeys, and say in one line what it did."""

import json
import warnings
from pathlib import Path

import pytest
from typer.testing import CliRunner

import tcptrace_tw as tw
from tcptrace_tw.cli.app import app

CAPTURE = Path(__file__).parent.parent / "fixtures" / "kernel-syn-into-last-ack" / "capture.pcap"
POLICY = """
two_msl = 30
ignore = ["TW"]
fail_on = "error"

[severities]
LA004 = "error"

[[ignore_for]]
rules = ["LA001"]
hosts = ["198.18.10.10"]
"""
LINE = "1 finding suppressed and 1 finding given another severity by tcptrace-tw.toml, which also sets two_msl, ignore"


@pytest.fixture(autouse=True)
def policy(tmp_path, monkeypatch):
    """The capture holds one LA001 (warning) and one LA004 (notice)."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tcptrace-tw.toml").write_text(POLICY)


def run(*arguments):
    return CliRunner().invoke(app, [str(word) for word in arguments])


def rules(digest):
    return {rule["rule"]: rule["severity"] for rule in digest["findings"] if rule["severity"] != "info"}


def test_a_report_is_made_under_the_policy():
    found = json.loads(run("report", CAPTURE, "--json").stdout)

    assert rules(found) == {"LA004": "error"}
    assert [incident["rule"] for incident in found["incidents"]] == ["LA004"]
    assert not any(rule["rule"].startswith("TW") for rule in found["findings"])
    assert found["settings"]["two_msl_s"] == 30
    assert found["policy"] == {
        "file": "tcptrace-tw.toml", "suppressed": 1, "changed": 1, "sets": ["two_msl", "ignore"],
    }  # fmt: skip


def test_no_config_ignores_it():
    found = json.loads(run("report", CAPTURE, "--json", "--no-config").stdout)

    assert rules(found) == {"LA001": "warning", "LA004": "notice"}
    assert found["policy"] is None
    assert found["settings"]["two_msl_s"] is None


def test_the_command_line_wins_over_it():
    found = json.loads(run("report", CAPTURE, "--json", "--two-msl", "7", "--ignore", "LA004").stdout)

    assert rules(found) == {}
    assert any(rule["rule"].startswith("TW") for rule in found["findings"])
    assert found["policy"]["sets"] == []
    assert found["settings"]["two_msl_s"] == 7


def test_each_command_says_in_one_line_what_it_did(tmp_path):
    assert " ".join(run("report", CAPTURE).stdout.split()).count(f"policy {LINE}") == 1
    for arguments in (("list", CAPTURE), ("show", CAPTURE, "2"), ("show", CAPTURE, "port 40000 and finding LA004")):
        done = run(*arguments)
        assert done.exit_code == 0
        assert done.stderr == f"tcptrace-tw: {LINE}; --no-config ignores it\n", arguments
        assert "LA001" not in done.stdout
        assert "LA001" in run(*arguments[:2], *arguments[2:3] and ["2"], "--no-config").stdout
    assert run("analyze", CAPTURE, "-o", tmp_path / "out").stderr == f"tcptrace-tw: {LINE}; --no-config ignores it\n"
    assert run("list", CAPTURE, "--quiet").stderr == ""


def test_a_policy_that_changes_nothing_is_not_mentioned(tmp_path):
    (tmp_path / "tcptrace-tw.toml").write_text('fail_on = "warning"\n[severities]\nRU = "info"\n')

    assert run("list", CAPTURE).stderr == ""
    assert "policy" not in run("report", CAPTURE).stdout


def test_a_waiver_that_has_ended_is_remarked(tmp_path):
    (tmp_path / "tcptrace-tw.toml").write_text('[[ignore_for]]\nrules = ["LA001"]\nuntil = 2020-01-01\n')
    done = run("list", CAPTURE)

    assert done.stderr == (
        "tcptrace-tw: tcptrace-tw.toml: ignore_for[1] ended on 2020-01-01: its findings count again\n"
    )
    assert "LA001" in done.stdout


def test_a_wrong_policy_is_an_error_of_every_command(tmp_path):
    (tmp_path / "tcptrace-tw.toml").write_text('profile = "freebds"\n')

    for command in ("report", "list", "check"):
        done = run(command, CAPTURE)
        assert (done.exit_code, "did you mean freebsd?" in done.stderr) == (2, True)
        assert run(command, CAPTURE, "--no-config").exit_code == 0


def test_commands_to_paste_are_under_the_same_policy(tmp_path):
    (tmp_path / "other.toml").write_text('profile = "rfc"\n')

    assert "--no-config" in _look(run("report", CAPTURE, "--no-config").stdout)
    assert "--config other.toml" in _look(run("report", CAPTURE, "--config", "other.toml").stdout)
    assert "config" not in _look(run("report", CAPTURE).stdout)


def _look(page):
    return next(line for line in page.splitlines() if line.startswith("  look"))


def test_tables_are_written_under_the_policy_and_say_so(tmp_path):
    run("analyze", CAPTURE, "-o", "out")
    trace = tw.load("out")

    assert set(trace.findings.rule) & {"LA001", "LA004"} == {"LA004"}
    assert trace.summary.policy.suppressed == 1
    assert json.loads(run("report", "out", "--json").stdout)["policy"]["suppressed"] == 1


def test_a_written_folder_cannot_be_changed_by_a_policy_and_that_is_said(tmp_path):
    run("analyze", CAPTURE, "-o", "plain", "--no-config")
    run("analyze", CAPTURE, "-o", "under")

    assert run("report", "plain").stderr == (
        "tcptrace-tw: plain: was analysed without a policy; severities, ignore_for of tcptrace-tw.toml have no effect"
        " here\n"
    )
    assert run("report", "under").stderr == ""
    assert "--no-config cannot undo it" in run("report", "under", "--no-config").stderr


def test_python_obeys_it_and_warns():
    with pytest.warns(RuntimeWarning, match="1 finding suppressed and 1 finding given another severity") as said:
        trace = tw.analyze(CAPTURE)
    assert len(said) == 1
    assert said[0].filename == __file__

    assert trace.summary.policy.sets == ("two_msl", "ignore")
    assert trace.findings[trace.findings.rule == "LA004"].severity.tolist() == ["error"]


@pytest.mark.parametrize("config", [False, "empty.toml"])
def test_python_can_ignore_it(config, tmp_path):
    (tmp_path / "empty.toml").touch()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trace = tw.analyze(CAPTURE, config=config)

    assert {"LA001", "LA004"} <= set(trace.findings.rule)


@pytest.mark.parametrize(
    "arguments",
    [
        ("report", CAPTURE, "--html", "tcptrace-tw.toml"),
        ("export", CAPTURE, "-c", "1", "-o", "tcptrace-tw.toml"),
    ],
)
def test_no_output_replaces_the_policy(arguments, tmp_path):
    done = run(*arguments)

    assert (done.exit_code, "is read by this command" in done.stderr) == (2, True)
    assert (tmp_path / "tcptrace-tw.toml").read_text() == POLICY
