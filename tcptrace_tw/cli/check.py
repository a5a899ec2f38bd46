"""``tcptrace-tw check``: findings like a linter's, and an exit code for CI."""

import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from tcptrace_tw.cli import complete, policy, run
from tcptrace_tw.cli import options as o
from tcptrace_tw.cli.means import of_this_machine
from tcptrace_tw.cli.records import Without
from tcptrace_tw.errors import UsageError, printable

if TYPE_CHECKING:
    from tcptrace_tw.atomic import AtomicFile
    from tcptrace_tw.checking.plan import CliOverrides, Plan
    from tcptrace_tw.cluster.run import Means
    from tcptrace_tw.pipeline import Settings, Sink, Summary
    from tcptrace_tw.report.checks import outputs
    from tcptrace_tw.report.checks.checked import Checked
    from tcptrace_tw.report.checks.formats.text import Paint

VERDICT = "Verdict"


class CheckOptions(NamedTuple):
    """What is checked against what, and where it is said."""

    each: Annotated[bool, typer.Option("--each", help="Check each file by itself.")] = False
    together: Annotated[bool, typer.Option("--together", help="Check all files as one capture.")] = False
    fail_on: Annotated[
        str | None,
        typer.Option(
            "--fail-on",
            metavar="THRESHOLD",
            help="Exit with 1 if a finding reaches this severity and confidence, as in warning:confirmed;"
            " never: always exit with 0. Default: error:likely.",
            autocompletion=complete.check_thresholds,
            rich_help_panel=VERDICT,
        ),
    ] = None
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
    ] = None
    baseline: Annotated[
        Path | None,
        typer.Option(
            "--baseline",
            metavar="FILE",
            help="File of known findings; these do not fail the check.",
            rich_help_panel=VERDICT,
        ),
    ] = None
    update_baseline: Annotated[
        bool,
        typer.Option(
            "--update-baseline", help="Write all shown findings to the baseline file.", rich_help_panel=VERDICT
        ),
    ] = False
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
    ] = None
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
    ] = None
    save: o.Save = ""
    jobs: o.Jobs = 1


@run.command
def check(
    *,
    captures: o.CapturesOfCheck = None,
    own: CheckOptions,
    shared: Annotated[o.Shared, Without("findings")],
    show_policy: Annotated[
        bool,
        typer.Option(
            "--show-policy",
            help="Print the settings of this check and the source of each one.",
            rich_help_panel=o.POLICY,
        ),
    ] = False,
) -> None:
    """Print one finding per line; exit 1 if any reaches the --fail-on threshold.

    Files whose names differ in numbers only are the rotated files of one capture; others are checked by themselves.
    The command line overrides the policy, and the policy overrides the defaults.
    """
    from tcptrace_tw.checking import obey
    from tcptrace_tw.checking.plan import planned
    from tcptrace_tw.report.checks import outputs

    overrides = _overrides(own, shared)
    wanted = outputs.parse(own.format_, own.output or ())
    plan = planned(overrides, obey.found(False if shared.no_config else shared.config))
    if own.update_baseline and plan.baseline is None:
        raise UsageError("--update-baseline: give --baseline FILE too")
    if show_policy:
        _print_policy(plan, overrides)
        return
    captures = run.sources(captures, shared.files_from)
    _keep_apart(wanted, own.save, plan, captures, shared.files_from)
    learnt = _opened(plan.baseline) if own.update_baseline and plan.baseline is not None else None
    with learnt or nullcontext(), run.saving(own.save), outputs.Outputs(wanted, paint_for(shared.color)) as opened:
        how, means = _how(own.each, own.together), of_this_machine(own.jobs)
        checked = _check(captures, plan, learnt, how, shared.quiet, shared.no_progress, means)
        opened.commit(checked)
    _end(checked, shared.quiet)


def _overrides(own: CheckOptions, shared: o.Shared) -> "CliOverrides":
    from tcptrace_tw.checking.plan import CliOverrides

    config = "none" if shared.no_config else "" if shared.config is None else str(shared.config)
    others = policy.outside_policy(shared) | {"config": config}
    return CliOverrides(
        own.fail_on, own.show, shared.profile, shared.two_msl, _given(shared.select), _given(shared.ignore),
        own.baseline, others,
    )  # fmt: skip


def _keep_apart(
    wanted: "Sequence[outputs.Output]", save: str, plan: "Plan", captures: list[str], files_from: str
) -> None:
    """No output replaces what is read."""
    from tcptrace_tw.cli import targets

    written = [targets.Target(each.target, f"--output {each.format}={each.target}") for each in wanted]
    written += targets.saved(save, captures)
    if plan.baseline is not None:
        written.append(targets.Target(str(plan.baseline), f"--baseline {plan.baseline}"))
    targets.keep_apart(written, captures, policy.also_read(files_from, plan))


def _how(each: bool, together: bool) -> str:
    from tcptrace_tw.checking import several

    if each and together:
        raise UsageError("check: give either --each or --together")
    return several.EACH if each else several.TOGETHER if together else several.BY_NAME


def _opened(baseline: Path) -> "AtomicFile":
    from tcptrace_tw.atomic import AtomicFile

    return AtomicFile(baseline)


def paint_for(color: o.Color) -> "Paint":
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


def _check(
    captures: list[str], plan: "Plan", learnt: "AtomicFile | None", how: str, quiet: bool, no_progress: bool,
    means: "Means | None",
) -> "Checked":  # fmt: skip
    """Judge what is found; ``learnt`` is the baseline, where it is to be written."""
    from datetime import date

    from tcptrace_tw.checking import several
    from tcptrace_tw.checking.check import Judged, check_captures, check_folder, learn
    from tcptrace_tw.cli.progress import busy

    done = iter(count(1))

    def analyze(captures: Sequence[str], settings: "Settings", sinks: "Sequence[Sink]") -> "Summary":
        label = "reading" if len(parts) == 1 else f"reading {next(done)} of {len(parts)}"
        return run.analyze(captures, settings, sinks, quiet, no_progress, label=label, means=means)

    say = (lambda text: None) if quiet else run.warn
    for remark in plan.remarks(date.today()):
        say(remark)
    folder, parts = run.written_folder(captures), [captures]
    if folder is not None:
        run.keep_whole(folder, plan.settings)
        with busy("reading tables", enabled=not (quiet or no_progress) and sys.stderr.isatty()):
            judged = check_folder(folder, plan, date.today(), say)
    else:
        parts = several.captures_of(captures, how)

        def judge(part: Sequence[str]) -> Judged:
            return check_captures(part, plan, analyze, date.today(), run.has_several_files(part))

        judged = several.judged(parts, captures, judge, say)
        if said := several.grouping_text(parts, len(judged.files), how):
            say(said)
    if learnt is not None:
        say(learn(judged, plan, learnt))
    return judged.verdict(plan)


def _print_policy(plan: "Plan", overrides: "CliOverrides") -> None:
    from tcptrace_tw.checking.effective import policy_lines

    for line in policy_lines(plan, overrides):
        print(printable(line))


def _end(checked: "Checked", quiet: bool) -> None:
    """The last words, and the exit code."""
    if not quiet:
        _say_end(checked)
    if checked.failing:
        sys.stdout.flush()
        raise run.Failed


def _say_end(checked: "Checked") -> None:
    from tcptrace_tw.report.checks.formats.text import incidents, total

    for text in checked.stale:
        run.warn(f"{checked.baseline}: known, but not found this time: {text}")
    if said := incidents(checked):
        run.warn(said)
    run.warn(total(checked))
