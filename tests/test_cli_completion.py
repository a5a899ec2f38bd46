"""Shell completion: each shell gets its script, and Tab offers commands, options, rules, profiles and formats."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def tool(*arguments, **variables):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", **variables}
    command = [sys.executable, "-c", "from tcptrace_tw.cli import main; main()", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def offered(words):
    """What bash offers for the last one of the words."""
    number = str(len(words.split(" ")) - 1)
    done = tool(_TCPTRACE_TW_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=number)
    return done.stdout.split()


@pytest.mark.parametrize(
    ("shell", "said"), [("bash", "complete -o default"), ("zsh", "#compdef"), ("fish", "--command")]
)
def test_each_shell_has_its_script(shell, said):
    done = tool(_TCPTRACE_TW_COMPLETE=f"source_{shell}")

    assert done.returncode == 0
    assert said in done.stdout
    assert "tcptrace-tw" in done.stdout


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("tcptrace-tw re", {"report"}),
        ("tcptrace-tw rules LA00", {f"LA00{n}" for n in range(1, 9)}),
        ("tcptrace-tw check x.pcap --ignore RU010,PE00", {f"RU010,PE00{n}" for n in range(1, 6)}),
        ("tcptrace-tw report --profile win", {"windows", "windows-2000"}),
        ("tcptrace-tw show x.pcap --time-format e", {"epoch"}),
        ("tcptrace-tw check x.pcap --show w", {"warning"}),
        ("tcptrace-tw check x.pcap --fail-on n", {"notice", "never"}),
        ("tcptrace-tw check x.pcap --format g", {"github", "gitlab"}),
        ("tcptrace-tw check x.pcap --profile win", {"windows", "windows-2000"}),
        ("tcptrace-tw report --ht", {"--html"}),
        ("tcptrace-tw an", {"analyze", "annotate"}),
        ("tcptrace-tw watch - --time-format l", {"local"}),
        ("tcptrace-tw watch - --until-finding error:c", {"error:confirmed"}),
        ("tcptrace-tw watch --interface l", {name for _, name in socket.if_nameindex() if name.startswith("l")}),
        ("tcptrace-tw annotate x.pcap --findings n", {"notice", "none"}),
    ],
)
def test_tab_offers_what_fits(words, wanted):
    assert set(offered(words)) == wanted


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_understands_its_script(tmp_path):
    wrapper = tmp_path / "tcptrace-tw"
    wrapper.write_text(f'#!/bin/sh\nexec {sys.executable} -c "from tcptrace_tw.cli import main; main()" "$@"\n')
    wrapper.chmod(0o755)
    script = tool(_TCPTRACE_TW_COMPLETE="source_bash").stdout
    ask = "COMP_WORDS=(tcptrace-tw rules TW01); COMP_CWORD=2; _tcptrace_tw_completion tcptrace-tw; echo ${COMPREPLY[@]}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    command = ["bash", "-c", f"{script}\n{ask}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)

    assert {"TW010", "TW011"} <= set(done.stdout.split())
