"""What a check is asked to do: the policy and the command line in one plain record."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from tcptrace_tw.checking.waivers import Waiver
from tcptrace_tw.errors import UsageError, hint
from tcptrace_tw.pipeline import Settings
from tcptrace_tw.report.checks.checked import Threshold
from tcptrace_tw.schema.words import SEVERITY

DEFAULT_FAIL_ON, DEFAULT_SHOW = "error:likely", "notice"


@dataclass(frozen=True)
class Plan:
    """A check: what is looked for, what of it counts, and where the policy came from."""

    settings: Settings = field(default_factory=Settings)
    fail_on: str = DEFAULT_FAIL_ON
    show: str = DEFAULT_SHOW
    severities: tuple[tuple[str, int], ...] = ()
    """Rule prefix and the severity that its findings have instead of their own; the longest prefix decides."""
    waivers: tuple[Waiver, ...] = ()
    baseline: Path | None = None
    policy: str | None = None
    said: Mapping[str, Any] = field(default_factory=dict)
    """What the policy file says, as it stands there."""
    sets: tuple[str, ...] = ()
    """The settings of an analysis that come from the policy, not from the command line."""

    def __post_init__(self) -> None:
        """``UsageError`` with a suggestion for a word that is not known."""
        Threshold.parse(self.fail_on)
        if self.show not in SEVERITY.words:
            raise UsageError(f"--findings {self.show}: {hint(self.show, SEVERITY.words)}")

    @property
    def threshold(self) -> Threshold | None:
        """What fails the check."""
        return Threshold.parse(self.fail_on)

    @property
    def least(self) -> int:
        """The least severity that is shown: whatever can fail is."""
        shown = SEVERITY.code(self.show)
        return shown if self.threshold is None else min(shown, self.threshold.severity)

    def remarks(self, today: date) -> list[str]:
        """What the person who keeps the policy should know, one sentence each."""
        return [
            f"{self.policy}: ignore_for[{waiver.number}] ended on {waiver.until}: its findings count again"
            for waiver in self.waivers
            if waiver.has_ended(today)
        ]

    def severity_of(self, rule: str) -> int | None:
        """What the policy says instead of the rule's own severity."""
        found = [(len(prefix), code) for prefix, code in self.severities if rule.startswith(prefix)]
        return max(found)[1] if found else None


class CliOverrides(NamedTuple):
    """What the command line says; None where it says nothing."""

    fail_on: str | None = None
    show: str | None = None
    profile: str | None = None
    two_msl_s: float | None = None
    select: Sequence[str] | None = None
    ignore: Sequence[str] | None = None
    baseline: Path | None = None
    others: Mapping[str, Any] = {}
    """Fields of ``Settings`` that no policy has, as the filter."""


def planned(overrides: CliOverrides, policy: Plan | None = None) -> Plan:
    """The plan: what the command line says, else what the policy says, else the defaults."""
    base = policy or Plan()
    of_plan = {name: getattr(overrides, name) for name in ("fail_on", "show", "baseline")}
    of_settings = {name: getattr(overrides, name) for name in ("profile", "two_msl_s", "select", "ignore")}
    settings = replace(base.settings, **overrides.others, **_given(of_settings))
    by_key = of_settings | {"two_msl": overrides.two_msl_s, "thresholds": None}
    sets = tuple(key for key in base.said if key in by_key and by_key[key] is None)
    return replace(base, settings=settings, sets=sets, **_given(of_plan))


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
