"""A fixture for pytest: ``assert_no_findings(capture)`` fails a test for the same reasons as ``tcptrace-tw check``.

pytest loads this module at every start wherever the package is installed: nothing heavy is imported before a test
asks for the fixture.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from tcptrace_tw.checking.plan import CliOverrides
    from tcptrace_tw.report.checks.checked import Checked

Capture = str | os.PathLike[str]


class AssertNoFindings(Protocol):
    """What the fixture is."""

    def __call__(
        self,
        captures: Capture | Sequence[Capture],
        *,
        fail_on: str | None = None,
        select: Sequence[str] | None = None,
        ignore: Sequence[str] | None = None,
        profile: str | None = None,
        two_msl: float | None = None,
        baseline: Capture | None = None,
        config: Capture | None = None,
    ) -> "Checked":
        """Fail the test if a finding is at or above the threshold; else return what was found, for other assertions.

        Captures whose names differ in numbers only are one capture, others are checked by themselves.

        Arguments win over the policy: ``config``, or the nearest ``tcptrace-tw.toml`` or pyproject.toml from
        pytest's root directory upwards. Raises ``CaptureError`` where nothing can be read, ``UsageError`` for a
        rule, a threshold or a policy that is wrong.
        """


@pytest.fixture
def assert_no_findings(pytestconfig: pytest.Config) -> AssertNoFindings:
    """Fail the test if a capture has findings: ``assert_no_findings("trace.pcap", fail_on="warning")``."""

    def check(
        captures: Capture | Sequence[Capture],
        *,
        fail_on: str | None = None,
        select: Sequence[str] | None = None,
        ignore: Sequence[str] | None = None,
        profile: str | None = None,
        two_msl: float | None = None,
        baseline: Capture | None = None,
        config: Capture | None = None,
    ) -> "Checked":
        __tracebackhide__ = True
        from tcptrace_tw.checking.plan import CliOverrides

        overrides = CliOverrides(
            fail_on=fail_on,
            profile=profile,
            two_msl_s=two_msl,
            select=select,
            ignore=ignore,
            baseline=None if baseline is None else Path(baseline),
        )
        checked = _checked(captures, overrides, pytestconfig.rootpath, config)
        if checked.failing:
            pytest.fail(_told(checked))
        return checked

    return check


def _checked(
    captures: Capture | Sequence[Capture], overrides: "CliOverrides", root: Path, config: Capture | None
) -> "Checked":
    from datetime import date
    from functools import partial

    from tcptrace_tw import pipeline
    from tcptrace_tw.capture.ring import is_search
    from tcptrace_tw.checking import policy_file, several
    from tcptrace_tw.checking.check import Judged, check_captures
    from tcptrace_tw.checking.plan import planned
    from tcptrace_tw.errors import warn

    paths = [captures] if isinstance(captures, (str, os.PathLike)) else list(captures)
    names = [os.fspath(path) for path in paths]
    found = policy_file.find(root) if config is None else policy_file.read(Path(config))
    plan = planned(overrides, None if found is None else policy_file.plan_of(found))

    def judge(part: Sequence[str]) -> Judged:
        has_several_files = len(part) > 1 or any(is_search(name) for name in part)
        return check_captures(part, plan, partial(pipeline.analyze, notice=warn), date.today(), has_several_files)

    return several.judged(several.captures_of(names, several.BY_NAME), names, judge, warn).verdict(plan)


def _told(checked: "Checked") -> str:
    """What failed, as ``check`` prints it, and how to see more."""
    from tcptrace_tw.report.checks.formats.text import line, look, total

    failing = [entry for entry in checked.entries if entry.fails]
    worst = max(failing, key=lambda entry: entry.rank)
    lines = [line(entry) for entry in failing[:_MOST]]
    if len(failing) > _MOST:
        lines.append(f"and {len(failing) - _MOST:,} more")
    return "\n".join([total(checked), *lines, f"look: {look(checked, worst)}"])


_MOST = 20
"""The most failing findings in the message of a failed test."""
