"""The recipes: each committed recording has one, and software that is not installed is no error."""

import json
import pathlib

from tests.lab import record
from tests.lab.situations import SITUATIONS

FIXTURES = pathlib.Path(__file__).resolve().parents[2] / "fixtures"


def test_every_recording_can_be_made_again():
    """The situation of a recording is known, and played from where it was captured."""
    for path in FIXTURES.glob("kernel-*/truth.json"):
        content = json.loads(path.read_text())
        assert SITUATIONS[content["situation"]].capture == content["capture"]["namespace"]


def test_a_situation_without_its_program_is_left_out(capsys, monkeypatch):
    """What is missing is named, and the rest is recorded."""
    monkeypatch.setattr(record.software.shutil, "which", lambda name: None if name == "nginx" else f"/bin/{name}")

    assert record._is_left_out("haproxy-checks")
    assert capsys.readouterr().out == "left out: haproxy-checks (nginx not installed)\n"
    assert not record._is_left_out("redis-healthy")
    assert not record._is_left_out("refused")
