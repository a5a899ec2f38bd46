"""docs/adding-a-rule.md, step by step, in a copy of the project."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "adding-a-rule.md").read_text()


def block(name):
    """What stands between the marks of this name."""
    return re.search(rf"<!-- {name}:begin -->\n```\w+\n(.*?)```\n<!-- {name}:end -->", PAGE, re.DOTALL)[1]


def run(copy, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(copy), "COLUMNS": "80"}
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=copy, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The project with the rule of the page and its two fixtures."""
    folder = tmp_path_factory.mktemp("project")
    leave_out = shutil.ignore_patterns("__pycache__", "bench", "fuzz")
    shutil.copytree(ROOT / "tcptrace_tw", folder / "tcptrace_tw", ignore=leave_out)
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=leave_out)
    rules = folder / "tcptrace_tw" / "rules" / "catalogue"
    (rules / "retries.py").write_text(block("rule"))
    catalogue = (rules / "__init__.py").read_text()
    for line in ("from tcptrace_tw.rules.catalogue import (\n", "MODULES = (\n"):
        assert line in catalogue
        catalogue = catalogue.replace(line, f"{line}    retries,\n", 1)
    (rules / "__init__.py").write_text(catalogue)
    add_fixture(folder, "many-syn-retries", block("scenario"), block("expect"))
    fewer = block("scenario").rsplit("\n", 2)[0] + "\n"
    add_fixture(folder, "many-syn-retries-nearly", fewer, 'near_miss_of = "HS099"\nignore = ["SI001"]\n')
    return folder


def add_fixture(folder, name, scenario, expect):
    path = folder / "fixtures" / name
    path.mkdir(parents=True)
    (path / "README.md").write_text(f"# {name}\n\nOrigin: docs/adding-a-rule.md. Licence: that of the project.\n")
    (path / "scenario.pkt").write_text(scenario)
    (path / "expect.toml").write_text(expect)


def test_the_fixtures_of_the_page_pass(copy):
    shutil.copy(ROOT / "pyproject.toml", copy / "pyproject.toml")
    said = run(copy, "tests.said", "many-syn-retries", "many-syn-retries-nearly")
    assert said.returncode == 0, said.stderr
    assert "HS099 many-syn-retries: notice, confirmed" in (copy / "fixtures/many-syn-retries/said.txt").read_text()
    chosen = ("tests/test_fixtures.py", "-k", "many-syn-retries or HS099")
    done = run(copy, "pytest", "-n0", "-p", "no:cacheprovider", *chosen)

    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


def test_the_rule_explains_itself(copy):
    done = run(copy, "tcptrace_tw", "rules", "HS099")

    assert done.returncode == 0, done.stderr
    assert "HS099 many-syn-retries" in done.stdout
    assert "Look for loss" in done.stdout


def test_the_pages_have_the_rule(copy):
    (copy / "docs").mkdir()
    shutil.copy(ROOT / "zensical.toml", copy / "zensical.toml")
    done = run(copy, "tests.docs")

    assert done.returncode == 0, done.stderr
    assert "## HS099 many-syn-retries" in (copy / "docs" / "rules" / "HS.md").read_text()
    assert "many-syn-retries" in (copy / "docs" / "rules" / "index.md").read_text()
    assert "rules/HS.md#hs099" in (copy / "docs" / "reference" / "rfc-coverage.md").read_text()
