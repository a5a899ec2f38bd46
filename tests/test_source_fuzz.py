"""A short run of ``python -m tests.fuzz``, and every case that ever failed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz import captures, commands, mutate, seeds, targets

CORPUS = Path(__file__).parent / "fuzz" / "corpus"


@pytest.mark.parametrize(("target", "count"), [("read", 400), ("find", 100), ("command", 40)])
def test_mutated_captures_do_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, count: int) -> None:
    monkeypatch.setenv("TCPTRACE_TW_KERNELS", "interpreted")
    start = seeds.load()
    for number in range(count):
        (tmp_path / "case").write_bytes(mutate.case(number, start))
        targets.TARGETS[target](tmp_path / "case", number)


def test_whole_commands_over_hostile_captures_do_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A short run of ``python -m tests.fuzz --target commands``."""
    monkeypatch.setenv("TCPTRACE_TW_KERNELS", "interpreted")
    for number in range(100):
        commands.command(commands.write(number, 0, tmp_path), number)


def test_hostile_captures_are_of_every_kind() -> None:
    """Every format, clock, ring, packing and damage comes among the first cases, and a case stays the same."""
    made = [captures.case(number) for number in range(300)]
    said = " ".join(case.made for case in made)

    for clock in captures.CLOCKS:
        assert clock.__name__ in said
    assert {"pcap,", "pcapng,", "snoop,", "erf,"} <= set(said.split())
    assert max(len(case.files) for case in made) > 20
    assert any(case.made.endswith(" 0 packed") is False for case in made)
    assert made[:20] == [captures.case(number) for number in range(20)]


@pytest.mark.parametrize("path", sorted(p for p in CORPUS.iterdir() if p.suffix != ".md"), ids=lambda p: p.name)
def test_what_once_did_harm_does_no_more(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TCPTRACE_TW_KERNELS", "interpreted")
    case = tmp_path / "case"
    case.write_bytes(path.read_bytes())
    for target in targets.TARGETS.values():
        target(case, 0)


def test_a_case_has_always_the_same_bytes() -> None:
    start = list(seeds.built())
    assert [mutate.case(i, start) for i in range(20)] == [mutate.case(i, start) for i in range(20)]
