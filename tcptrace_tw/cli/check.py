"""``tcptrace-tw check``: findings like a linter's, and an exit code for CI."""

import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tcptrace_tw.cli import complete, run
from tcptrace_tw.cli import options as o
from tcptrace_tw.errors import UsageError, printable

if TYPE_CHECKING:
    from tcptrace_tw.atomic import AtomicFile
    from tcptrace_tw.checking.plan import CliOverrides, Plan
    from tcptrace_tw.pipeline import Settings, Sink, Summary
    from tcptrace_tw.report.checks.checked import Checked
    from tcptrace_tw.report.checks.formats.text import Paint

VERDICT, POLICY = "Verdict", "Policy"


@run.command
def check(
    captures: o.CapturesOrFolder = None,
    fail_on: Annotated[
        str | None,
        typer.Option(
            "--fail-on",
            metavar="THRESHOLD",
            help="Exit with 1 if a finding reaches this severity and confidence, as in warning:confirmed;"
            " never: always exit with 0. Default: error:likely.",
            autocompletion=complete.bars,
            rich_help_panel=VERDICT,
        ),
    ] = None,
    show: Annotated[
        str | None,
        typer.Option(
            "--findings",
            "--show",
            metavar="SEVERITY",
            help="Show findings of this severity or higher; those below are only counted. Default: notice.",
            autocompletion=complete.severities,
            rich_help_panel=VERDICT,
        ),
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(
            "--baseline",
            metavar="FILE",
            help="File of known findings; these do not fail the check.",
            rich_help_panel=VERDICT,
        ),
    ] = None,
    update_baseline: Annotated[
        bool,
        typer.Option(
            "--update-baseline", help="Write all shown findings to the baseline file.", rich_help_panel=VERDICT
        ),
    ] = False,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            "-f",
            metavar="FORMAT",
            help="Output format: text (the default), json, ndjson, sarif, junit, github, gitlab or markdown.",
            autocompletion=complete.formats,
            rich_help_panel=o.OUTPUT,
        ),
    ] = None,
    output: Annotated[
        list[str] | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FORMAT=FILE",
            help="Write one format to a file, as in sarif=out.sarif; may be repeated.",
            autocompletion=complete.outputs,
            show_default=False,
            rich_help_panel=o.OUTPUT,
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="Policy file to use instead of the nearest tcptrace-tw.toml or pyproject.toml.",
            rich_help_panel=POLICY,
        ),
    ] = None,
    no_config: Annotated[bool, typer.Option("--no-config", help="Use no policy file.", rich_help_panel=POLICY)] = False,
    show_policy: Annotated[
        bool,
        typer.Option(
            "--show-policy", help="Print the settings of this check and the source of each one.", rich_help_panel=POLICY
        ),
    ] = False,
    profile: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="TCP stack of the hosts, with its 2MSL: linux (the default), rfc, freebsd, macos, windows, ...",
            autocompletion=complete.profiles,
            rich_help_panel=o.SETTINGS,
        ),
    ] = None,
    two_msl: o.TwoMsl = None,
    select: o.Select = None,
    ignore: o.Ignore = None,
    filter_: o.Filter = "",
    since: o.Since = "",
    until: o.Until = "",
    ignore_vlan: o.IgnoreVlan = False,
    max_memory: o.MaxMemory = None,
    files_from: o.FilesFrom = "",
    color: o.ColorOption = o.Color.AUTO,
    quiet: o.Quiet = False,
    no_progress: o.NoProgress = False,
    debug: o.Debug = False,
) -> None:
    """Print one finding per line; exit 1 if any reaches the --fail-on threshold.

    The command line overrides the policy, and the policy overrides the defaults.
    """
    from tcptrace_tw.checking.plan import CliOverrides, planned
    from tcptrace_tw.cli import targets
    from tcptrace_tw.report.checks import outputs

    others = {"filter": filter_, "since": since, "until": until, "ignore_vlan": ignore_vlan, "max_memory": max_memory}
    overrides = CliOverrides(fail_on, show, profile, two_msl, _given(select), _given(ignore), baseline, others)
    wanted = outputs.parse(format_, output or ())
    policy = None if no_config else _policy(config)
    plan = planned(overrides, policy)
    if update_baseline and plan.baseline is None:
        raise UsageError("--update-baseline: give --baseline FILE too")
    if show_policy:
        _print_policy(plan, overrides)
        return
    captures = run.sources(captures, files_from)
    written = [targets.Target(each.target, f"--output {each.format}={each.target}") for each in wanted]
    if plan.baseline is not None:
        written.append(targets.Target(str(plan.baseline), f"--baseline {plan.baseline}"))
    targets.keep_apart(written, captures, [files_from, plan.policy])
    learnt = _opened(plan.baseline) if update_baseline and plan.baseline is not None else None
    with learnt or nullcontext(), outputs.Outputs(wanted, _paint(color)) as opened:
        checked = _check(captures, plan, learnt, quiet, no_progress)
        opened.commit(checked)
    if not quiet:
        _say_end(checked)
    if checked.failing:
        sys.stdout.flush()
        raise run.Failed


def _opened(baseline: Path) -> "AtomicFile":
    from tcptrace_tw.atomic import AtomicFile

    return AtomicFile(baseline)


def _paint(color: o.Color) -> "Paint":
    """Colours for a terminal that wants them; rich says how once, since a check may print many lines."""
    from tcptrace_tw.report.checks.formats.text import plain

    if color is not o.Color.ALWAYS and not sys.stdout.isatty() and not os.environ.get("FORCE_COLOR"):
        return plain
    from rich.text import Text

    console = run.console(color)
    around: dict[str, list[str]] = {}

    def paint(text: str, style: str) -> str:
        if style not in around:
            with console.capture() as got:
                console.print(Text("|", style), end="")
            around[style] = got.get().split("|")
        return text.join(around[style])

    return paint


def _given(values: list[str] | None) -> tuple[str, ...] | None:
    return None if values is None else tuple(values)


def _policy(config: Path | None) -> "Plan | None":
    """The policy that is named, or the nearest one; None where there is none."""
    from tcptrace_tw.checking import policy_file

    found = policy_file.find(Path.cwd()) if config is None else policy_file.read(config)
    return None if found is None else policy_file.plan_of(found)


def _check(captures: list[str], plan: "Plan", learnt: "AtomicFile | None", quiet: bool, no_progress: bool) -> "Checked":
    """Judge what is found; ``learnt`` is the baseline, where it is to be written."""
    from datetime import date

    from tcptrace_tw.checking.check import check_captures, check_folder, learn

    def analyze(captures: Sequence[str], settings: "Settings", sinks: "Sequence[Sink]") -> "Summary":
        return run.analyze(captures, settings, sinks, quiet, no_progress)

    say = (lambda text: None) if quiet else run.warn
    for remark in plan.remarks(date.today()):
        say(remark)
    folder = run.written_folder(captures)
    if folder is not None:
        judged = check_folder(folder, plan, date.today(), say)
    else:
        judged = check_captures(captures, plan, analyze, date.today(), run.has_several_files(captures))
    if learnt is not None:
        say(learn(judged, plan, learnt))
    return judged.verdict(plan)


def _print_policy(plan: "Plan", overrides: "CliOverrides") -> None:
    from tcptrace_tw.checking.effective import told

    for line in told(plan, overrides):
        print(printable(line))


def _say_end(checked: "Checked") -> None:
    from tcptrace_tw.report.checks.formats.text import incidents, total

    for text in checked.stale:
        run.warn(f"{checked.baseline}: known, but not found this time: {text}")
    if said := incidents(checked):
        run.warn(said)
    run.warn(total(checked))
