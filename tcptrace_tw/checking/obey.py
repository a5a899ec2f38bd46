"""Commands and Python obey the same policy: which one it is, the settings that follow, and a pass under it."""

import os
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tcptrace_tw import pipeline
from tcptrace_tw.checking.search import candidates
from tcptrace_tw.pipeline import Notice, Settings, Sink, Summary
from tcptrace_tw.position import Progress

if TYPE_CHECKING:  # most folders have no policy
    from tcptrace_tw.checking.plan import Plan
    from tcptrace_tw.cluster.run import Means

Config = str | os.PathLike[str] | bool | None
"""The file of the policy; None is the nearest one, and False is none."""

NO_POLICY = "none"
"""What ``Settings.config`` has for False."""


def found(config: Config) -> "Plan | None":
    """The policy, if there is one."""
    named = isinstance(config, (str, os.PathLike))
    if config is False or (not named and not candidates(Path.cwd())):
        return None
    from tcptrace_tw.checking import policy_file

    read = policy_file.read(Path(config)) if isinstance(config, (str, os.PathLike)) else policy_file.find(Path.cwd())
    return None if read is None else policy_file.plan_of(read)


def obeyed(config: Config, given: dict[str, Any], others: dict[str, Any]) -> "tuple[Settings, Plan | None]":
    """The settings: what was ``given``, else what the policy says, else the defaults; and the policy.

    ``given`` are fields of ``Settings`` that a policy has, too, where None is not given; ``others`` are the rest.
    """
    named = os.fspath(config) if isinstance(config, (str, os.PathLike)) else ""
    others = others | {"config": NO_POLICY if config is False else named}
    policy = found(config)
    if policy is None:
        return Settings(**{name: value for name, value in given.items() if value is not None}, **others), None
    from tcptrace_tw.checking.plan import CliOverrides, planned

    plan = planned(CliOverrides(**given, others=others), policy)
    return plan.settings, plan


def analyze(
    captures: Sequence[str],
    settings: Settings,
    policy: "Plan | None",
    sinks: Sequence[Sink],
    progress: Progress | None = None,
    notice: Notice | None = None,
    means: "Means | None" = None,
) -> Summary:
    """One pass whose sinks get what the policy leaves of the findings; ``summary.policy`` says what it did.

    ``means``: with what it is done; None for this process.
    """
    if policy is None:
        return _analyze(captures, settings, sinks, progress, notice, means)
    from tcptrace_tw.checking.applied import Applied

    today = date.today()
    if notice is not None:
        for remark in policy.remarks(today):
            notice(remark)
    applied = Applied(policy, sinks, today)
    summary = _analyze(captures, settings, [applied], progress, notice, means)
    summary.policy = applied.digest()
    return summary


def _analyze(
    captures: Sequence[str],
    settings: Settings,
    sinks: Sequence[Sink],
    progress: Progress | None,
    notice: Notice | None,
    means: "Means | None",
) -> Summary:
    if means is None:
        return pipeline.analyze(captures, settings, sinks, progress, notice)
    from tcptrace_tw.cluster import run

    return run.analyze(captures, settings, sinks, progress, notice, means=means)
