"""What the commands print as JSON, held against the schemas that docs/reference publishes."""

import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import jsonschema
import pytest

from tcptrace_tw import analyze
from tcptrace_tw.checking.check import check_captures
from tcptrace_tw.checking.plan import Plan
from tcptrace_tw.pipeline import analyze as run_pipeline
from tcptrace_tw.report.checks.formats import writer
from tests.check_rows import checked
from tests.docs.pages import DOCS
from tests.docs.schemas import SCHEMAS

ROOT = Path(__file__).parent.parent
CAPTURES = sorted((ROOT / "fixtures").glob("kernel-syn-*/capture.pcap"))


def schema(name: str) -> dict:
    return json.loads((DOCS / "reference" / f"{name}.schema.json").read_text())


def validate(data, name: str) -> None:
    validator = jsonschema.Draft202012Validator(schema(name), format_checker=jsonschema.FormatChecker())
    validator.validate(data)


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_one(name):
    jsonschema.Draft202012Validator.check_schema(schema(name))


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: path.parent.name)
def test_reports_and_checks_of_real_captures_are_as_published(capture, monkeypatch):
    validate(json.loads(json.dumps(analyze(capture).summary.to_json())), "report")
    plan = Plan(show="info")
    found = check_captures([str(capture)], plan, run_pipeline, date(2026, 11, 21)).verdict(plan)
    validate(json.loads("".join(writer("json")(found))), "check")
    for line in "".join(writer("ndjson")(found)).splitlines():
        validate(json.loads(line), "check-finding")


def test_a_check_of_several_files_is_as_published():
    validate(json.loads("".join(writer("json")(checked(files=("a.pcap", "b.pcap"))))), "check")


@pytest.mark.parametrize(("name", "field"), [("report", "connections"), ("check", "findings")])
def test_the_schemas_refuse_what_lacks_a_field_or_has_one_more(name, field):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    option = {"report": ["--json"], "check": ["--format", "json"]}[name]
    command = [sys.executable, "-m", "tcptrace_tw", name, str(CAPTURES[0]), *option]
    data = json.loads(subprocess.run(command, capture_output=True, check=True, env=environment).stdout)

    validate(data, name)
    for wrong in ({**data, "more": 1}, {key: data[key] for key in data if key != field}, {**data, field: "x"}):
        with pytest.raises(jsonschema.ValidationError):
            validate(wrong, name)
