"""Numbers as strangers write them, in names, options, policies and the environment: none ends in a traceback."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tcptrace_tw.checking.policy import port_range
from tcptrace_tw.cli.app import app
from tests.test_outputs import CAPTURE, run_real

LONG, LARGE = "9" * 5000, "9" * 20


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copy(CAPTURE, "c.pcap")
    return tmp_path


def refused(*words: str) -> str:
    """What is said at exit 2."""
    done = CliRunner().invoke(app, list(words))
    assert (done.exit_code, "bug" in done.stderr) == (2, False), done.stderr
    return done.stderr


def test_digits_that_are_no_numbers_order_files_like_letters(folder: Path) -> None:
    for name in ("1²3.pcap", "1³3.pcap"):
        shutil.move("c.pcap", name) if name == "1²3.pcap" else shutil.copy(CAPTURE, name)

    assert CliRunner().invoke(app, ["report", "."]).exit_code == 0


@pytest.mark.parametrize("words", [[LONG], [LARGE], ["-c", LARGE], ["-c", LONG]])
def test_a_connection_of_any_number_is_looked_for(words: list[str]) -> None:
    said = refused("show", "c.pcap", *words)

    assert "the capture has connections 1 to 2" in said or "exceeded maximum size" in said


def test_an_export_of_a_connection_of_any_number_is_refused() -> None:
    assert "no connection" in refused("export", "c.pcap", "-c", LARGE, "-o", "x.pcap")


@pytest.mark.parametrize("text", ["two_msl_s = " + LONG, "a = " + "[" * 5000 + "]" * 5000])
def test_a_policy_that_the_parser_gives_up_on_is_not_valid_toml(text: str) -> None:
    Path("p.toml").write_text(text)

    assert "is not valid TOML" in refused("report", "c.pcap", "--config", "p.toml")


def test_a_bound_longer_than_time_is_refused() -> None:
    Path("p.toml").write_text('[thresholds.TW001]\ntwo_msl_ns = "' + "9" * 400 + ' ms"\n')

    assert "write a shorter one" in refused("check", "c.pcap", "--config", "p.toml")


def test_a_baseline_that_is_too_deep_is_none() -> None:
    Path("b.json").write_text("[" * 100_000)

    assert "is not a baseline" in refused("check", "c.pcap", "--baseline", "b.json")


@pytest.mark.parametrize("port", ["²", LONG, "1-²", "-1", "٣"])
def test_a_port_is_written_in_digits(port: str) -> None:
    with pytest.raises(ValueError, match="is neither a port nor a range of ports"):
        port_range(port)


@pytest.mark.parametrize("size", ["0", "²", "-5", LONG])
def test_a_width_that_is_none_is_not_believed(size: str) -> None:
    from tests.test_outputs import ENVIRONMENT

    done = run_real("report", "c.pcap", env={**ENVIRONMENT, "COLUMNS": size, "LINES": size})

    assert (done.returncode, done.stderr) == (0, b"")
