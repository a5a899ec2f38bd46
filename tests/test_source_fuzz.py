"""A short run of ``python -m tests.fuzz``, and every case that ever failed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz import mutate, seeds, targets

CORPUS = Path(__file__).parent / "fuzz" / "corpus"


@pytest.mark.parametrize(("target", "count"), [("read", 400), ("find", 100), ("command", 40)])
def test_mutated_captures_do_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, count: int) -> None:
    monkeypatch.setenv("TCPTRACE_TW_JIT", "0")
    start = seeds.load()
    for number in range(count):
        (tmp_path / "case").write_bytes(mutate.case(number, start))
        targets.TARGETS[target](tmp_path / "case", number)


@pytest.mark.parametrize("path", sorted(p for p in CORPUS.iterdir() if p.suffix != ".md"), ids=lambda p: p.name)
def test_what_once_did_harm_does_no_more(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TCPTRACE_TW_JIT", "0")
    case = tmp_path / "case"
    case.write_bytes(path.read_bytes())
    for target in targets.TARGETS.values():
        target(case, 0)


def test_a_case_has_always_the_same_bytes() -> None:
    start = list(seeds.built())
    assert [mutate.case(i, start) for i in range(20)] == [mutate.case(i, start) for i in range(20)]
