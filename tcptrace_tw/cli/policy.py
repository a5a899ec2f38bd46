"""The policy that a command obeys: the same for ``report``, ``list``, ``show``, ``analyze`` and ``check``."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tcptrace_tw.checking.plan import Plan
    from tcptrace_tw.cli.options import Shared
    from tcptrace_tw.cli.reading import Reading
    from tcptrace_tw.pipeline import Settings
    from tcptrace_tw.report.summary.digest import Digest

_OF_FINDINGS = ("severities", "thresholds", "ignore_for")
"""Keys of a policy that work while rules are applied, not on what is written."""


def obeyed(shared: "Shared", **instead: Any) -> "tuple[Settings, Plan | None]":
    """The settings: what the command line says, else what the policy says, else the defaults; and the policy.

    ``instead`` are fields of ``Settings`` that a command sets itself.
    """
    from tcptrace_tw.checking import obey

    only, without = (None if rules is None else tuple(rules) for rules in (shared.select, shared.ignore))
    given = {"profile": shared.profile, "two_msl_s": shared.two_msl, "select": only, "ignore": without}
    return obey.obeyed(False if shared.no_config else shared.config, given, outside_policy(shared) | instead)


def outside_policy(shared: "Shared") -> dict[str, Any]:
    """The settings that no policy has."""
    return {
        "filter": shared.filter_,
        "read_filter": shared.read_filter,
        "since": shared.since,
        "until": shared.until,
        "ignore_vlan": shared.ignore_vlan,
        "max_memory": shared.max_memory,
        "findings": shared.findings,
    }


def also_read(files_from: str, plan: "Plan | None") -> list[str | None]:
    """What a command reads beside the captures."""
    return [files_from, None if plan is None else plan.policy]


def say_stored(reading: "Reading", digest: "Digest") -> None:
    """What the policy cannot do to a report that is written already."""
    from tcptrace_tw.cli import run

    if reading.quiet:
        return
    before = digest.policy.file if digest.policy is not None else ""
    plan = reading.policy
    keys = [key for key in _OF_FINDINGS if plan is not None and key in plan.said]
    if reading.settings.config == "none" and before:
        run.warn(f"{reading.folder}: was analysed with {before}; --no-config cannot undo it; run analyze again")
    elif plan is not None and keys and before != plan.policy:
        done = f"with {before}" if before else "without a policy"
        run.warn(f"{reading.folder}: was analysed {done}; {', '.join(keys)} of {plan.policy} have no effect here")
