"""The policy of a check: what it changes, what is wrong with it, and who wins."""

import ipaddress
import os
import subprocess
import sys
import tomllib
from datetime import date
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcptrace_tw.checking import policy_file
from tcptrace_tw.checking.effective import policy_lines
from tcptrace_tw.checking.plan import CliOverrides, Plan, planned
from tcptrace_tw.checking.policy import Policy
from tcptrace_tw.checking.waivers import Network
from tcptrace_tw.errors import UsageError, hint
from tcptrace_tw.keyed_hash import new_seed
from tcptrace_tw.pipeline import Settings
from tcptrace_tw.protocol.profiles import profile
from tcptrace_tw.report.checks.json_schema import schema
from tcptrace_tw.report.words.text import ip_halves, ip_text
from tcptrace_tw.rules import RULES
from tcptrace_tw.rules.runner import RuleRunner
from tcptrace_tw.schema import words as w
from tcptrace_tw.schema.columns import REUSES
from tcptrace_tw.settings import numbers_of
from tests.check_rows import ERROR, checked, judged
from tests.report_rows import findings, put_ip, reuses

ROOT = Path(__file__).parent.parent
CAPTURE = ROOT / "fixtures" / "kernel-syn-into-last-ack" / "capture.pcap"

WHOLE = """
select = ["RU", "LA"]
ignore = ["RU010"]
fail_on = "warning:confirmed"
show = "info"
profile = "freebsd"
two_msl = 30
baseline = "known.json"

[severities]
RU = "notice"
RU002 = "error"

[thresholds.LA001]
cost_ns = "50 ms"
syn_retries = 2

[thresholds.RU002]
gap_ns = { max = "1.5 s" }

[[ignore_for]]
hosts = ["10.0.0.0/8", "2001:db8::7"]
ports = [443, "8000-8099"]
rules = ["rs"]
reason = "health checks of the load balancer"
until = 2027-01-31
"""


def plan(text: str) -> Plan:
    return policy_file.plan_of(policy_file.Found(Path("tcptrace-tw.toml"), tomllib.loads(text)))


def test_every_key_of_a_policy_is_in_the_plan():
    found = plan(WHOLE)

    assert found.settings == Settings(
        profile="freebsd",
        two_msl_s=30.0,
        select=("RU", "LA"),
        ignore=("RU010",),
        thresholds=(
            ("LA001", "cost_ns", 50_000_000, None),
            ("LA001", "syn_retries", 2, None),
            ("RU002", "gap_ns", None, 1_500_000_000),
        ),
    )
    assert (found.fail_on, found.show, str(found.baseline)) == ("warning:confirmed", "info", "known.json")
    (waiver,) = found.waivers
    assert (waiver.ports, waiver.rules) == ((range(443, 444), range(8000, 8100)), ("RS",))
    assert (waiver.reason, waiver.until) == ("health checks of the load balancer", date(2027, 1, 31))
    assert set(tomllib.loads(WHOLE)) == set(Policy.model_fields)


def test_the_whole_policy_validates_against_its_schema():
    data = tomllib.loads(WHOLE)
    data["ignore_for"][0]["until"] = str(data["ignore_for"][0]["until"])  # JSON has no dates
    jsonschema.validate(data, schema(Policy, "policy"))

    for wrong in ({"fail_onn": "error"}, {"show": "warnin"}, {"thresholds": {"XX": {}}}, {"fail_on": "error:maybe"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema(Policy, "policy"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('fail_onn = "error"', "fail_onn: unknown key; did you mean fail_on?"),
        ('fail_on = "eror"', "fail_on: fail_on eror: did you mean error?"),
        ('show = "warnin"', "show: 'warnin': did you mean warning?"),
        ('profile = "linus"', "profile: 'linus': did you mean linux?"),
        ('select = ["RUX"]', "select: 'RUX': "),
        ('ignore = ["LA01"]', "ignore: 'LA01': did you mean LA001?"),
        ("two_msl = 0", "two_msl: 0: 2MSL must be a number of seconds above 0 and at most 3600"),
        ('severities.RU002 = "warnin"', "severities: RU002 = 'warnin': did you mean warning?"),
        ("thresholds.LA01.cost_ns = 1", "thresholds: 'LA01': did you mean LA001?"),
        ("thresholds.LA001.cost = 1", "thresholds: LA001.'cost': did you mean cost_ns?"),
        ('thresholds.LA001.cost_ns = "50 parsecs"', "thresholds: cost_ns = '50 parsecs': write a whole number, or a"),
        ('thresholds.LA001.syn_retries = "50 ms"', "thresholds: syn_retries = '50 ms': write a whole number"),
        (
            "thresholds.LA001.cost_ns = { mim = 1 }",
            "thresholds.LA001.cost_ns.mim: unknown key; did you",
        ),
        ('[[ignore_for]]\nhost = ["10.0.0.1"]', "ignore_for[1].host: unknown key; did you mean hosts?"),
        (
            '[[ignore_for]]\nhosts = ["10.0.0.300"]',
            "ignore_for[1].hosts: 10.0.0.300 is neither an address",
        ),
        ("[[ignore_for]]\nports = [65536]", "ignore_for[1].ports: 65536 is neither a port"),
        ('[[ignore_for]]\nports = ["9-1"]', "ignore_for[1].ports: '9-1' is neither a port nor a range"),
        ('[[ignore_for]]\nreason = "all"', "ignore_for[1]: name hosts, ports or rules"),
        ('[[ignore_for]]\nrules = ["RU"]\nuntil = "soon"', "ignore_for[1].until: "),
    ],
)
def test_a_mistake_is_told_with_file_key_and_suggestion(text, said):
    with pytest.raises(UsageError) as error:
        plan(text)

    assert str(error.value).startswith(f"tcptrace-tw.toml: {said}"), str(error.value)


def test_all_mistakes_are_told_at_once():
    with pytest.raises(UsageError) as error:
        plan('a = 1\nb = 2\nshow = "x"')

    assert str(error.value).splitlines()[0] == "tcptrace-tw.toml: 3 errors"
    assert len(str(error.value).splitlines()) == 4


def test_the_command_line_wins_over_the_policy():
    found = planned(CliOverrides(fail_on="never", select=("TW",), profile="rfc"), plan(WHOLE))

    assert (found.fail_on, found.settings.select, found.settings.profile) == ("never", ("TW",), "rfc")
    assert (found.show, found.settings.ignore, found.settings.two_msl_s) == ("info", ("RU010",), 30.0)
    assert planned(CliOverrides()) == Plan()


def test_whatever_can_fail_is_shown():
    assert len(checked(plan=Plan(fail_on="notice", show="error")).entries) == 3
    assert len(checked(plan=Plan(fail_on="never", show="error")).entries) == 1


def test_the_longest_prefix_says_the_severity():
    found = checked(plan=plan('severities.RU = "info"\nseverities.RU002 = "error"\nseverities.LA = "notice"'))

    assert [entry.severity for entry in found.entries] == ["error", "notice", "error"]
    assert (found.failing, found.severities) == (2, {"error": 2, "notice": 1})


def test_a_severity_may_be_that_of_several_rules():
    assert plan('severities."ru, LA001" = "info"').severities == (("RU", w.INFO), ("LA001", w.INFO))


@pytest.mark.parametrize(
    ("entry", "left"),
    [
        ('hosts = ["192.0.2.0/24"]', 0),
        ('hosts = ["198.51.100.7"]', 0),
        ('hosts = ["192.0.2.2"]', 3),
        ('hosts = ["::/0"]', 0),
        ('hosts = ["2001:db8::/32"]', 3),
        ("ports = [80]", 0),
        ('ports = ["40001-40001"]', 2),
        ("ports = [443]", 3),
        ('rules = ["la"]', 2),
        ('rules = ["RU"]\nports = [40000]', 2),
        ('hosts = ["192.0.2.1"]\nports = [443]', 3),
        ('rules = ["RU"]\nuntil = 2026-11-21', 1),
        ('rules = ["RU"]\nuntil = 2026-11-20', 3),
    ],
)
def test_what_is_ignored_fits_all_that_is_named_until_its_last_day(entry, left):
    found = checked(plan=plan(f"[[ignore_for]]\n{entry}"))

    assert (len(found.entries), found.ignored) == (left, 3 - left)


def test_a_finding_without_addresses_is_ignored_by_rule_only():
    bare = findings(reuses(1), table="capture", message="x", frames=(), values=(), id="CP001", name="x")

    assert checked(bare, plan=plan('[[ignore_for]]\nhosts = ["::/0"]')).ignored == 0
    assert checked(bare, plan=plan('[[ignore_for]]\nrules = ["CP"]')).ignored == 1


def test_an_entry_that_has_ended_is_remarked():
    found = plan('[[ignore_for]]\nrules = ["RU"]\nuntil = 2026-11-20')

    assert found.remarks(date(2026, 11, 20)) == []
    assert "ended on 2026-11-20" in found.remarks(date(2026, 11, 21))[0]


@given(st.ip_addresses().map(str), st.integers(0, 128), st.ip_addresses().map(str))
def test_a_network_holds_what_the_standard_library_says(base, bits, other):
    bits = min(bits, 32 if ":" not in base else 128)
    network = ipaddress.ip_network(f"{base}/{bits}", strict=False)
    for address in (base, other, str(network.broadcast_address)):
        if getattr(ipaddress.ip_address(address), "ipv4_mapped", None):
            continue  # in the rows it is the IPv4 address itself
        hi, lo = (np.array([half], np.int64) for half in ip_halves(address))
        expected = ipaddress.ip_address(address) in network
        if network.version == 4 or ":" in address:  # IPv4 stands in the rows as ::ffff:a.b.c.d
            assert Network.parse(str(network)).holds(hi, lo)[0] == expected


@given(st.ip_addresses().map(str))
def test_an_address_survives_its_halves(address):
    expected = ipaddress.ip_address(address)
    expected = getattr(expected, "ipv4_mapped", None) or expected

    assert ipaddress.ip_address(ip_text(*ip_halves(address))) == expected


def test_a_threshold_keeps_rows_within_and_those_whose_number_is_not_known():
    """The rule itself sees only such rows, so another row of the connection can still be found."""
    rows = reuses(4)
    rows.connection_id = rows.attempt_id = [7, 7, 8, 9]
    rows.receiver_state, rows.sender_state = 9, 2  # LAST-ACK and SYN-SENT are not looked at by RU002
    rows.is_by_holder, rows.holder = 1, 0
    rows.gap_ns = [5, 50, 5, -1]
    found = {}
    for bounds in ((), (("RU002", "gap_ns", 10, None),), (("RU002", "gap_ns", None, 10),)):
        runner = RuleRunner(["RU002"], [], profile("linux"), bounds, compiled=False, seed=new_seed())
        found[bounds] = [
            n for f in (*runner.evaluate(REUSES, rows.copy()), *runner.close()) for n in f.rows.connection_id.tolist()
        ]

    assert list(found.values()) == [[7, 8, 9], [7, 9], [7, 8, 9]]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_every_number_of_a_rule_can_have_a_threshold(rule):
    for name in numbers_of(rule.id):
        assert plan(f"thresholds.{rule.id}.{name} = 1").settings.thresholds == ((rule.id, name, 1, None),)


def test_the_nearest_policy_is_found_upwards(tmp_path):
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert policy_file.find(below) is None
    (tmp_path / "pyproject.toml").write_text('[tool.tcptrace-tw]\nfail_on = "info"\n')
    assert policy_file.find(below).path == tmp_path / "pyproject.toml"
    (tmp_path / "a" / "pyproject.toml").write_text('[project]\ndependencies = ["tcptrace-tw"]\n')
    assert policy_file.find(below).data == {"fail_on": "info"}
    (tmp_path / "a" / "tcptrace-tw.toml").write_text('fail_on = "error"\n')
    assert policy_file.find(below).data == {"fail_on": "error"}


def test_what_is_no_toml_is_told_with_its_place(tmp_path):
    (tmp_path / "tcptrace-tw.toml").write_text("fail_on = \n")

    with pytest.raises(UsageError, match=r"tcptrace-tw\.toml: is not valid TOML: .*line 1"):
        policy_file.find(tmp_path)


def test_show_policy_tells_what_holds_and_where_it_comes_from():
    policy, overrides = plan(WHOLE), CliOverrides(show="error")
    text = "\n".join(policy_lines(planned(overrides, policy), overrides))

    assert tomllib.loads(text) == {**tomllib.loads(WHOLE), "show": "error"}
    assert [line.split("# ")[1] for line in text.splitlines()[1:8]] == [
        "tcptrace-tw.toml", "tcptrace-tw.toml", "tcptrace-tw.toml", "command line", "tcptrace-tw.toml",
        "tcptrace-tw.toml", "tcptrace-tw.toml",
    ]  # fmt: skip
    assert "default" in "\n".join(policy_lines(Plan(), CliOverrides()))


@pytest.mark.parametrize(
    ("word", "known", "said"),
    [
        ("SARIF", ("sarif", "text"), "did you mean sarif? write one of sarif, text"),
        ("xyz", ("sarif", "text"), "write one of sarif, text"),
        ("RU02", [f"RU{n:03}" for n in range(20)], "did you mean RU002?"),
        ("xyz", [f"RU{n:03}" for n in range(20)], "unknown value"),
    ],
)
def test_a_hint_names_the_nearest_word_and_few_others(word, known, said):
    assert hint(word, known) == said


def run(*arguments, cwd, stdin=None) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tcptrace_tw", "check", str(CAPTURE), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=environment)


def test_the_command_takes_the_policy_that_lies_about(tmp_path):
    (tmp_path / "tcptrace-tw.toml").write_text('fail_on = "warning"\n[[ignore_for]]\nrules = ["LA004"]\n')
    done = run(cwd=tmp_path)

    assert done.returncode == 1
    assert [line.split(": ")[1].split()[0] for line in done.stdout.splitlines()] == ["LA001"]
    assert done.stderr.endswith("; 1 at or above warning:likely; 1 ignored by tcptrace-tw.toml\n")
    assert run("--fail-on", "error", cwd=tmp_path).returncode == 0
    assert run("--no-config", cwd=tmp_path).returncode == 0
    assert run("--config", "none.toml", cwd=tmp_path).returncode == 2
    (tmp_path / "tcptrace-tw.toml").write_text("fail = 1\n")
    assert run(cwd=tmp_path).stderr.startswith("tcptrace-tw: tcptrace-tw.toml: fail: unknown key")


def test_a_written_folder_is_judged_by_the_same_policy(tmp_path):
    (tmp_path / "tcptrace-tw.toml").write_text(
        'fail_on = "warning"\nshow = "info"\nseverities.LA004 = "error"\nthresholds.LA001.cost_ns = "20 ms"\n'
        '[[ignore_for]]\nports = [5000]\nrules = ["TW"]\n'
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tcptrace_tw"]
    subprocess.run(
        [*command, "analyze", CAPTURE, "-o", "out", "--no-config"], cwd=tmp_path, env=environment, check=True
    )
    for form in ("text", "ndjson", "gitlab", "junit"):
        fresh, stored = (
            subprocess.run([*command, "check", what, "-f", form], cwd=tmp_path, env=environment, capture_output=True)
            for what in (CAPTURE, "out")
        )
        one, other = (done.stdout.replace(str(CAPTURE).encode(), b"out") for done in (fresh, stored))
        assert one == other
        assert (fresh.returncode, fresh.stderr) == (stored.returncode, stored.stderr)
        assert fresh.returncode == 1


def test_a_check_without_policy_does_not_load_the_model_of_one(tmp_path):
    script = f"""
import sys
sys.argv = ["tcptrace-tw", "check", {str(CAPTURE)!r}]
try:
    from tcptrace_tw.cli import main
    main()
except SystemExit:
    pass
print(*sys.modules, file=sys.stderr)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    options = {"capture_output": True, "text": True, "check": True, "env": environment, "cwd": tmp_path}
    done = subprocess.run([sys.executable, "-c", script], **options)

    assert not {"tcptrace_tw.checking.policy", "pyarrow", "pandas", "pytest"} & set(done.stderr.split())


def test_synthetic_findings_are_judged_once():
    assert [len(group.entries) for group in judged(findings(), findings(reuses(1), **ERROR)).groups] == [2, 1]
    rows = reuses(1)
    put_ip(rows, "ip", "2001:db8::1")
    assert checked(findings(rows)).groups[0].subject == "2001:db8::1 > 198.51.100.7:80"
