"""Settings are checked once, when they are made, and a wrong one is told in the same words at each door."""

import datetime
import math
import pickle
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import tcptrace_tw as tw
from tcptrace_tw.checking import policy_file
from tcptrace_tw.checking.plan import CliOverrides, planned
from tcptrace_tw.cli.app import app
from tcptrace_tw.errors import UsageError, hint, nearest
from tcptrace_tw.pipeline import Settings
from tcptrace_tw.pytest_plugin import assert_no_findings
from tcptrace_tw.rules import RULES
from tcptrace_tw.rules.runner import chosen

ROOT = Path(__file__).parent.parent
CAPTURE = str(ROOT / "fixtures" / "kernel-half-close" / "capture.pcap")

SECONDS = "2MSL must be a number of seconds above 0 and at most 3600"


def refusal(**fields) -> str:
    """What is said against these settings."""
    with pytest.raises(UsageError) as error:
        Settings(**fields)
    return str(error.value)


@pytest.mark.parametrize(
    "seconds",
    [0, -1, -0.0, 3600.001, 1e300, math.nan, math.inf, -math.inf, True, False, "30", b"30", [30], 30j, 10**400,
     np.float64("nan"), np.bool_(True), datetime.timedelta(seconds=30)],
    ids=lambda value: repr(value)[:20],
)  # fmt: skip
def test_2msl_is_a_number_of_seconds_up_to_an_hour(seconds):
    assert refusal(two_msl_s=seconds) == f"--two-msl {seconds!r}: {SECONDS}"


@pytest.mark.parametrize("seconds", [30, 0.25, 3600, 5e-324, np.float32(30), np.int64(7), Fraction(1, 4)])
def test_2msl_is_kept_as_a_float(seconds):
    found = Settings(two_msl_s=seconds).two_msl_s

    assert found == seconds
    assert type(found) is float


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("RU", ("RU",)),
        ("ru", ("RU",)),
        ("RU,la001", ("RU", "LA001")),
        (["RU, LA001", "pa"], ("RU", "LA001", "PA")),
        (("RU",), ("RU",)),
        (dict.fromkeys(("RU", "LA")), ("RU", "LA")),
        (" RU ", ("RU",)),
        ("", ()),
        ([""], ()),
        ([], ()),
    ],
)
@pytest.mark.parametrize("field", ["select", "ignore"])
def test_rules_are_words_however_they_are_said(field, said, kept):
    assert getattr(Settings(**{field: said}), field) == kept


def test_a_word_is_one_prefix_and_not_its_letters():
    trace = tw.analyze(CAPTURE, select="TW", findings="info")

    assert set(trace.findings.rule.str[:2]) == {"TW"}
    assert [rule.id for rule in chosen(Settings(select="RU004").select, ())] == ["RU004"]


@given(st.text(max_size=6))
def test_a_word_that_begins_no_rule_is_refused(word):
    words = [part.strip().upper() for part in word.split(",")]
    is_known = all(any(rule.id.startswith(each) for rule in RULES) for each in words)
    try:
        Settings(select=word)
    except UsageError:
        assert not is_known
    else:
        assert is_known


WRONG = [
    ({"profile": "linus"}, "--profile 'linus': did you mean linux? write one of linux, rfc, "),
    ({"profile": "LINUX"}, "--profile 'LINUX': did you mean linux?"),
    ({"profile": None}, "--profile None: is not text"),
    ({"select": "RUX"}, "--select 'RUX': did you mean RU?"),
    ({"select": ["LA01"]}, "--select 'LA01': did you mean LA001?"),
    ({"select": "X"}, "--select 'X': write one of TW, RU, PA, LA, RS, HS, SI, PE, CP; tcptrace-tw rules lists them"),
    ({"ignore": ("RU", "TW99")}, "--ignore 'TW99': did you mean TW009?"),
    ({"ignore": [1]}, "--ignore 1: is not text"),
    ({"ignore": 1}, "--ignore 1: is not text"),
    ({"select": None}, "--select None: is not text"),
    ({"filter": "prot 80"}, "--filter: prot: did you mean port?\n  prot 80\n  ^^^^"),
    ({"filter": "net 10.0.0.1/8"}, "--filter: 10.0.0.1/8: has bits set outside the mask; did you mean 10.0.0.0/8?"),
    ({"filter": "port " + "9" * 5000}, "--filter: 999"),
    ({"filter": "vlan \N{SUPERSCRIPT TWO}"}, "--filter: "),
    ({"filter": "port a\0b"}, "--filter: a\\x00b: no port has this name"),
    ({"filter": 80}, "--filter 80: is not text"),
    ({"since": "noon"}, "--since noon: is not a valid time; write it like 2026-11-21T04:16:26Z"),
    ({"until": "+5 parsecs"}, "--until +5 parsecs: parsecs is not a known unit"),
    ({"until": "9" * 5000}, f"--until {'9' * 60}...: is not a valid time"),
    ({"since": datetime.datetime(2026, 11, 21)}, "--since datetime.datetime(2026, 11, 21, 0, 0): is not text"),
    ({"ignore_vlan": "no"}, "--ignore-vlan 'no': is neither true nor false"),
    ({"community_id": "1"}, "--community-id '1': is neither true nor false"),
    ({"keep_duplicates": 1}, "keep_duplicates: 1: is neither true nor false"),
    ({"thresholds": [("LA01", "cost_ns", 1, None)]}, "thresholds: 'LA01': did you mean LA001?"),
    ({"thresholds": [("LA", "cost_ns", 1, None)]}, "thresholds: 'LA': "),
    ({"thresholds": [("LA001", "cost", 1, None)]}, "thresholds: LA001.'cost': did you mean cost_ns?"),
    ({"thresholds": [("LA001", "cost_ns", 1.5, None)]}, "thresholds: LA001.cost_ns = 1.5: write a whole number"),
    ({"thresholds": [("LA001", "cost_ns", None, True)]}, "thresholds: LA001.cost_ns = True: write a whole number"),
    ({"thresholds": [("LA001", "cost_ns")]}, "thresholds: ('LA001', 'cost_ns'): write the rule, one of its numbers"),
    ({"thresholds": "LA001"}, "thresholds: 'LA001': write the rule, one of its numbers, the minimum, the maximum"),
]


@pytest.mark.parametrize(("fields", "said"), WRONG, ids=lambda value: ascii(value)[:50])
def test_a_wrong_setting_is_told_with_what_could_have_been_meant(fields, said):
    assert refusal(**fields).startswith(said), refusal(**fields)


def test_settings_cannot_become_wrong_later():
    settings = Settings(select="RU")

    with pytest.raises(FrozenInstanceError):
        settings.two_msl_s = -1
    with pytest.raises(UsageError):
        replace(settings, two_msl_s=-1)
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert replace(settings, select=settings.select) == settings


def test_a_wrong_setting_is_a_value_error_in_python():
    with pytest.raises(ValueError, match="did you mean linux"):
        tw.analyze(CAPTURE, profile="linus")
    error = pickle.loads(pickle.dumps(UsageError("two", "  lines\n")))
    assert str(error) == "two\n  lines\\n"


def test_a_filter_is_one_line():
    assert Settings(filter=" port\n80\x1f or\u2028443 ").filter == "port 80 or 443"
    assert Settings(since="\n+30\ns").since == "+30 s"


DOORS = [
    ({"two_msl": 0}, ["--two-msl", "0"], "two_msl = 0"),
    ({"two_msl": math.nan}, ["--two-msl", "nan"], "two_msl = nan"),
    ({"two_msl": 4000.5}, ["--two-msl", "4000.5"], "two_msl = 4000.5"),
    ({"profile": "linus"}, ["--profile", "linus"], 'profile = "linus"'),
    ({"select": "LA01"}, ["--select", "LA01"], 'select = ["LA01"]'),
    ({"ignore": ["TW", "X"]}, ["--ignore", "TW", "--ignore", "X"], 'ignore = ["TW", "X"]'),
    ({"filter": "prot 80"}, ["--filter", "prot 80"], None),
    ({"filter": "closed abrot"}, ["--filter", "closed abrot"], None),
    ({"since": "noon"}, ["--since", "noon"], None),
    ({"until": "+1 fortnight"}, ["--until", "+1 fortnight"], None),
]


@pytest.mark.parametrize(("keywords", "options", "policy"), DOORS, ids=lambda value: ascii(value)[:30])
def test_the_words_are_the_same_in_python_in_the_policy_and_on_the_command_line(
    keywords, options, policy, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as error:
        tw.analyze("never-opened.pcap", **keywords)
    said = str(error.value).splitlines()
    reason = said[0].partition(" ")[2].replace("-0.0", "0").replace("0.0:", "0:")

    for command in ("report", "check", "analyze", "show"):
        if command == "show" and options[0] in ("--select", "--ignore", "--filter", "--since", "--until"):
            continue
        rest = {"analyze": ["-o", "out"], "show": ["-c", "1"]}.get(command, [])
        done = CliRunner().invoke(app, [command, CAPTURE, *options, *rest])
        assert done.exit_code == 2
        assert [line.replace("0.0:", "0:") for line in done.stderr.splitlines()] == [
            f"tcptrace-tw: {options[0]}{':' * (options[0] == '--filter')} {reason.removeprefix(': ')}",
            *(f"tcptrace-tw: {line}" for line in said[1:]),
        ]
    if policy is not None:
        with pytest.raises(UsageError) as error:
            policy_file.plan_of(policy_file.read(_written(tmp_path, policy)))
        assert str(error.value).replace("0.0:", "0:") == f"tcptrace-tw.toml: {policy.partition(' ')[0]}: {reason}"


def _written(folder: Path, policy: str) -> Path:
    path = folder / "tcptrace-tw.toml"
    path.write_text(policy)
    return path


@pytest.mark.parametrize("text", ['two_msl = "30"', "two_msl = true", "two_msl = inf"])
def test_a_policy_takes_no_other_2msl_than_python(text, tmp_path):
    with pytest.raises(UsageError, match=SECONDS):
        policy_file.plan_of(policy_file.read(_written(tmp_path, text)))


def test_whoever_plans_a_check_goes_the_same_way():
    """The pytest plugin hands its arguments over as they are."""
    assert planned(CliOverrides(select="RU", ignore="RU010,TW", two_msl_s=30)).settings == Settings(
        select=("RU",), ignore=("RU010", "TW"), two_msl_s=30.0
    )
    with pytest.raises(UsageError, match="--two-msl True"):
        planned(CliOverrides(two_msl_s=True))
    with pytest.raises(UsageError, match="did you mean RU"):
        planned(CliOverrides(select="RUX"))


def test_the_plugin_takes_one_word(pytestconfig):
    check = assert_no_findings.__wrapped__(pytestconfig)

    assert {rule[:2] for rule in check(CAPTURE, select="TW").rules} == {"TW"}
    with pytest.raises(UsageError, match="--two-msl nan"):
        check(CAPTURE, two_msl=math.nan)


def test_the_parser_of_filters_is_imported_for_a_filter_only():
    script = """
import sys
from tcptrace_tw.pipeline import Settings
Settings(select="RU", since="+1s", two_msl_s=30, profile="rfc")
print("tcptrace_tw.capture.pcap_filter" in sys.modules, "difflib" in sys.modules)
Settings(filter="port 80")
print("tcptrace_tw.capture.pcap_filter" in sys.modules, "difflib" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)

    assert done.stdout.split() == ["False", "False", "True", "False"]


@given(st.lists(st.text(max_size=8), max_size=8), st.text(max_size=8))
def test_the_nearest_word_is_one_of_those_that_are_known(known, word):
    found = nearest(word, known)

    assert found in (*known, "")
    if word.lower() in (each.lower() for each in known):
        assert found.lower() == word.lower()
    assert (f"did you mean {found}?" in hint(word, known)) == bool(found)


@pytest.mark.parametrize("size", ["9" * 5000 + "G", "9" * 310])
def test_a_size_beyond_all_numbers_is_no_size(size):
    with pytest.raises(UsageError, match="is not a valid size"):
        Settings(max_memory=size)
