"""docs/cookbook.md: every snippet runs, and pandas, DuckDB and polars give the same answer to a question."""

import ast
import math
import re
import subprocess
import sys
from datetime import UTC, datetime

import duckdb
import pandas as pd
import polars as pl
import pytest

from tests.docs import pages

PAGE = (pages.DOCS / "cookbook.md").read_text()
BLOCK = re.compile(r"```(python|sql)\n(.*?)```", re.DOTALL)
SECTIONS = {part.split("\n", 1)[0]: BLOCK.findall(part) for part in PAGE.split("\n## ")[1:]}
QUESTIONS = {title: blocks for title, blocks in SECTIONS.items() if title.endswith("?")}
CAPTURES = (
    "nat-few-ports", "syn-into-last-ack", "linger0-habit", "traffic-both-ways", "reuse-after-expiry", "syn-retries",
    "tw-reuse-client", "tw-assassination", "close-wait-leak", "half-close",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with ``out`` in it, and the same in ``parts``, of captures in which everything happens."""
    folder = tmp_path_factory.mktemp("cookbook")
    captures = [str(pages.ROOT / f"fixtures/kernel-{name}/capture.pcap") for name in CAPTURES]
    command = [sys.executable, "-m", "tcptrace_tw", "analyze", *captures, "-o", str(folder / "out"), "--quiet"]
    subprocess.run(command, check=True, cwd=pages.ROOT)
    in_parts = [*command, "--jobs", "2"]
    in_parts[in_parts.index("-o") + 1] = str(folder / "parts")
    subprocess.run(in_parts, check=True, cwd=pages.ROOT)
    return folder


@pytest.fixture
def kitchen(folder, monkeypatch):
    """What the page's first section leaves behind: names for Python, and a database with views."""
    monkeypatch.chdir(folder)
    names, db = {}, duckdb.connect()
    for language, text in SECTIONS["Begin"]:
        if language == "python":
            exec(text, names)
        else:
            db.execute(text)
    return names, db


def value_of(text, names):
    """Run the statements; the value of the last expression, as an interactive session shows it."""
    *before, last = ast.parse(text).body
    exec(compile(ast.Module(before, []), "cookbook", "exec"), names)
    assert isinstance(last, ast.Expr)
    return eval(compile(ast.Expression(last.value), "cookbook", "eval"), names)


def rows_of(value):
    """Any of the three kinds of tables as a sorted list of rows of plain values."""
    if isinstance(value, pl.DataFrame):
        rows = value.rows()
    elif isinstance(value, list):
        rows = value
    else:
        frame = value.to_frame() if isinstance(value, pd.Series) else value
        is_plain = isinstance(frame.index, pd.RangeIndex) or (frame.index.name is None and frame.index.nlevels == 1)
        frame = frame if is_plain else frame.reset_index()
        rows = list(frame.itertuples(index=False, name=None))
    return sorted((tuple(plain(cell) for cell in row) for row in rows), key=repr)


def plain(cell):
    """Times as seconds since 1970, coarsely: not all three keep ns when asked for Python objects."""
    if cell is None or cell is pd.NaT or cell is pd.NA or (isinstance(cell, float) and math.isnan(cell)):
        return None
    if isinstance(cell, datetime):
        return (cell.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds().__round__(4)
    if isinstance(cell, str):
        return cell
    return round(float(cell), 3)


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_three_answers_are_the_same(question, kitchen):
    names, db = kitchen
    (kinds, texts) = zip(*QUESTIONS[question], strict=True)
    assert kinds == ("python", "sql", "python")
    pandas, sql, polars = value_of(texts[0], names), db.execute(texts[1]).fetchall(), value_of(texts[2], names)
    rows = rows_of(pandas)

    assert rows
    assert rows_of(sql) == rows
    assert rows_of(polars) == rows


@pytest.mark.parametrize("title", [title for title in SECTIONS if title not in QUESTIONS and title != "Begin"])
def test_the_other_snippets_run(title, kitchen):
    names, db = kitchen
    assert SECTIONS[title]
    for language, text in SECTIONS[title]:
        if language == "python":
            exec(text, names)
        else:
            assert db.execute(text).fetchall()


def test_there_are_enough_questions():
    assert len(QUESTIONS) >= 12


def test_nothing_of_the_page_is_left_out():
    fences = re.findall(r"^```(\w+)$", PAGE, re.MULTILINE)

    assert len(fences) == sum(len(blocks) for blocks in SECTIONS.values()) + fences.count("sh")
