"""A child in which one module is changed, and what it plays to notice the change.

The functions of the module get their changed code where they are, so that all who have imported them have the change.
"""

from __future__ import annotations

import functools
import gc
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import itertools
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any
from zlib import crc32

import numpy as np

from tests.mutate.ground import ROOT, Ground, archiving
from tests.mutate.operators import Mutant

SECONDS = 5
"""A mutant that no fixture has noticed in so much processor time survives the fixtures; and so the conversations."""

LONGEST = 8
"""Seconds of processor time; a fixture that takes longer, or a second round of the archive, loops for ever."""

ON_ROWS = "tcptrace_tw/rules/"
"""What is changed here is judged on the rows that were kept: the tracker need not run again."""

CAPTURES = "tests.fuzz."
"""What is kept there are captures: to make them anew takes longer than some mutants have."""

NOT_ON_ROWS = ("caveats.py", "early.py")
ARCHIVES = ("retirement.py", "tracker.py", "early_forgetting.py")

TESTS = (
    ("rules/early.py", ("live_parts",)),
    ("rules/mechanisms.py", ("incident_tables", "incidents")),
    ("rules/", ("rule_numbers", "decision_tables")),
    ("flow.py", ("flow", "duplicate_frames", "measure_limits")),
    ("measure/community_id.py", ("community_id",)),
    ("measure/icmp_errors.py", ("icmp_errors",)),
    ("measure/connects.py", ("connects",)),
    ("measure/", ("measure_limits", "measure_twin", "measured_facts")),
    ("tcp/store/attempt", ("attempts", "models")),
    ("tcp/store/reservations.py", ("reservations",)),
    ("tcp/store/", ("models",)),
    ("tcp/peek.py", ("peek",)),
    ("tcp/tracker.py", ("memory_bound", "models")),
    ("tcp/machine/early_forgetting.py", ("memory_bound",)),
    ("tcp/machine/duplicate_frames.py", ("duplicate_frames",)),
    ("tcp/store/delta_codec.py", ("archive",)),
    ("tcp/machine/syn_in_time_wait.py", ("decision_tables",)),
    ("tcp/machine/time_wait_count.py", ("time_wait_count",)),
    ("tcp/facts/silence.py", ("silence",)),
    ("tcp/", ("segment_limits", "reset_limits", "silence_limits", "store_limits", "twin_tracker")),
)
"""Test files that are quick, and look at what fixtures cannot show: those of every path that begins so."""


PYTEST = ("-q", "-x", "-n0", "-m", "not slow", "-p", "no:cacheprovider", "--no-header", "--hypothesis-profile=mutants")


class Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module with its change."""

    def __init__(self, mutant: Mutant) -> None:
        self._path = ROOT / mutant.path
        self._name = name_of(mutant)
        self._mutant = mutant

    def find_spec(self, name: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        """Only that module."""
        if name != self._name:
            return None
        is_package = self._path.name == "__init__.py"
        return importlib.util.spec_from_file_location(
            name, self._path, loader=self, submodule_search_locations=[str(self._path.parent)] if is_package else None
        )

    def exec_module(self, module: ModuleType) -> None:
        """The changed code."""
        tree = self._mutant.tree(self._path.read_text())
        exec(compile(tree, str(self._path), "exec", dont_inherit=True), vars(module))


def name_of(mutant: Mutant) -> str:
    """The module's name."""
    return mutant.path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")


def functions() -> dict[str, list[FunctionType]]:
    """All functions of the package that exist, by module: lambdas and wrapped ones, too."""
    found: dict[str, list[FunctionType]] = {}
    for each in gc.get_objects():
        if isinstance(each, FunctionType) and str(each.__module__).startswith("tcptrace_tw."):
            found.setdefault(each.__module__, []).append(each)
    return found


def is_swapped(mutant: Mutant, known: dict[str, list[FunctionType]]) -> bool:
    """Give the functions of a module their changed code; False where the change is in none of them."""
    path = str(ROOT / mutant.path)
    code = {
        _place(each): each
        for each in _codes(compile(mutant.tree(Path(path).read_text()), path, "exec", dont_inherit=True))
    }
    has_changed = False
    for function in known.get(name_of(mutant), ()):
        new = code.get(_place(function.__code__))
        if new is not None and new != function.__code__:
            function.__code__ = new
            has_changed = True
    return has_changed


def _codes(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)


def _place(code: CodeType) -> tuple[Any, ...]:
    """Where it stands: there may be several lambdas in a line."""
    return code.co_name, code.co_firstlineno, next((p for p in code.co_positions() if p[2] is not None and p[3]), None)


def verdict(mutant: Mutant, ground: Ground, known: dict[str, list[FunctionType]]) -> str:
    """What noticed the change; empty where nothing did. Errors of any kind notice it."""
    try:
        if is_swapped(mutant, known):
            gc.unfreeze()
            for each in gc.get_objects():
                if isinstance(each, functools._lru_cache_wrapper) and not str(each.__module__).startswith(CAPTURES):
                    each.cache_clear()
        else:  # a number of the module itself: whoever has imported it must import it again
            for name in [name for name in sys.modules if name.partition(".")[0] in ("tcptrace_tw", "tests")]:
                if not name.startswith("tests.mutate"):
                    del sys.modules[name]
            sys.meta_path.insert(0, Changed(mutant))
            importlib.import_module(name_of(mutant))  # now: pytest puts an importer of its own before this one
            play_interpreted()
        rounds = [_conversations(mutant, ground), _fixtures(mutant, ground), _tests(mutant)]
        if not mutant.function:
            rounds.reverse()  # it is mostly a number that has a name
        for name, problem in itertools.chain(*rounds):
            if problem:
                return name
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    return ""


def play_interpreted() -> None:
    """Tests that play something by the kernels that there are shall play the changed ones, which are not compiled."""
    play = importlib.import_module("tests.scenario.play")
    vars(play)["why_unfit"] = lambda: "mutants are interpreted"


def _conversations(mutant: Mutant, ground: Ground) -> Iterator[tuple[str, bool]]:
    """Random conversations that run the changed line, until the time is over; none for the rules."""
    from tests import conversations

    kept = conversations.kept()
    names = ground.talks(mutant)
    if not names and not mutant.function:
        names = list(kept)
    until = time.process_time() + SECONDS
    for name in _mixed(names, mutant) if not mutant.path.startswith(ON_ROWS) else ():
        if time.process_time() > until:
            return
        conversations.named(name)  # to make it is no part of what is limited
        with limited():
            yield name, next(conversations.lines([name])) != kept[name]


def _fixtures(mutant: Mutant, ground: Ground) -> Iterator[tuple[str, bool]]:
    """The fixtures that call the changed function, until the time is over; the code of a module is called by all."""
    from tests import test_fixtures

    until = time.process_time() + SECONDS
    is_on_rows = mutant.path.startswith(ON_ROWS) and not mutant.path.endswith(NOT_ON_ROWS)
    names = ground.names(mutant)
    if not names and not mutant.function:
        names = list(ground.captures)
    for name in _near(names, mutant, test_fixtures):
        if time.process_time() > until:
            return
        with limited():
            expected = test_fixtures.expectation(name)
            if is_on_rows:
                yield (
                    name,
                    _differs(name, _judged(expected, ground.chunks[name]), {each[0] for each in ground.chunks[name]}),
                )
            else:
                yield name, _differs(name, _played(expected, ground.captures[name]))
    if mutant.path.endswith(ARCHIVES) or "/store/" in mutant.path:
        yield from _archived(mutant, ground, until)


def _differs(name: str, got: Any, tables: set[str] | None = None) -> bool:
    """Whether it is something else than before, or than must be true of the changed rules."""
    from tests import said

    return any(said.problems(name, got, tables, has_borders=tables is not None))


@contextmanager
def limited() -> Iterator[None]:
    """A loop that does not end ends the process, which is noticed."""
    signal.setitimer(signal.ITIMER_PROF, LONGEST)
    yield
    signal.setitimer(signal.ITIMER_PROF, 0)


def _archived(mutant: Mutant, ground: Ground, until: float) -> Iterator[tuple[str, bool]]:
    """The same where everything is archived at once: fixtures expect what they expect otherwise."""
    from tests import test_fixtures

    names = ground.names_archived(mutant)
    for name in _near(names, mutant, test_fixtures):
        if time.process_time() > until:
            return
        expected = test_fixtures.expectation(name)
        with archiving(), limited():
            yield f"{name}, archived", any(test_fixtures.problems(expected, _played(expected, ground.captures[name])))


def _mixed(names: Sequence[str], mutant: Mutant) -> list[str]:
    """Always in the same order, in which every kind comes soon."""
    return sorted(names, key=lambda name: crc32(f"{name} {mutant.path}".encode()))


def _near(names: Sequence[str], mutant: Mutant, test_fixtures: Any) -> list[str]:
    """First those that are about a rule of the changed module, and of the others some of every kind."""
    names = _mixed(names, mutant)
    if "/catalogue/" not in mutant.path:
        return names
    text = (ROOT / mutant.path).read_text()

    def is_far(name: str) -> bool:
        expected = test_fixtures.expectation(name)
        rules = [entry["rule"] for entry in expected.get("finding", ())] + [expected.get("near_miss_of", "none")]
        return not any(f'"{rule}"' in text for rule in rules)

    return sorted(names, key=is_far)


def _played(expected: dict[str, Any], capture: bytes) -> Any:
    from tests.scenario import play_pcap

    return play_pcap(capture, compiled=False, **expected.get("settings", {}))


def _judged(expected: dict[str, Any], chunks: list[tuple[str, Any, tuple[Any, ...]]]) -> Any:
    """What the rules say about the rows of a fixture: as ``pipeline.analyze``, behind the tracker."""
    from tcptrace_tw.keyed_hash import new_seed
    from tcptrace_tw.protocol.profiles import profile
    from tcptrace_tw.rules.caveats import Caveats
    from tcptrace_tw.rules.runner import RuleRunner
    from tcptrace_tw.schema.columns import BY_NAME
    from tcptrace_tw.settings import Settings
    from tests.scenario.play import _Collector

    settings = Settings(**expected.get("settings", {}))
    runner = RuleRunner(
        settings.select, settings.ignore, profile(settings.profile, settings.two_msl_s), settings.thresholds,
        compiled=False, seed=new_seed(),
    )  # fmt: skip
    sink = _Collector()
    for name, kept, caveats in chunks:
        rows = runner.classify(BY_NAME[name], np.array(kept))
        if name in sink.tables:
            sink.rows(name, rows)
        runner.caveats = Caveats(*caveats)
        for found in runner.evaluate(BY_NAME[name], rows):
            sink.findings(found)
    for found in runner.close():
        sink.findings(found)
    return sink.result(None)


def _tests(mutant: Mutant) -> Iterator[tuple[str, bool]]:
    """Whole test files, in this process."""
    import pytest

    for path, names in TESTS:
        for name in names if mutant.path.startswith(f"tcptrace_tw/{path}") else ():
            file = f"tests/test_{name}.py"
            yield file, pytest.main([*PYTEST, file]) not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
