"""``tcptrace-tw watch``: a capture while it is written: findings as they become certain, and the state of now."""

import re
import sys
from collections.abc import Callable
from contextlib import closing, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from tcptrace_tw.cli import complete, policy, run
from tcptrace_tw.cli import options as o
from tcptrace_tw.cli.interrupts import interrupts
from tcptrace_tw.cli.records import Without
from tcptrace_tw.errors import CaptureError, UsageError, hint

if TYPE_CHECKING:
    from tcptrace_tw.checking.plan import Plan
    from tcptrace_tw.cli.tcpdump import Tcpdump
    from tcptrace_tw.live import Obey
    from tcptrace_tw.pipeline import Settings
    from tcptrace_tw.report.checks.checked import Threshold
    from tcptrace_tw.report.live.speakers import Speaker
    from tcptrace_tw.report.live.watching import Watching, WatchSettings
    from tcptrace_tw.report.words.findings import Finding

STDIN = "-"
_UNITS_S = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
IN_PLACE_S, IN_LINES_S = 0.5, 10.0
"""How often the state is said: on a terminal, where it is rewritten, and in a pipe."""


class WatchOptions(NamedTuple):
    """What is watched, for how long, and what is said of it."""

    interface: Annotated[
        str,
        typer.Option(
            "--interface",
            "-i",
            metavar="NAME",
            help="Capture on this interface: tcpdump is started for it.",
            autocompletion=complete.interfaces,
        ),
    ] = ""
    for_: Annotated[str, typer.Option("--for", metavar="TIME", help="End after this time, as in 60s, 5m or 1h.")] = ""
    until_finding: Annotated[
        str,
        typer.Option(
            "--until-finding",
            metavar="THRESHOLD",
            help="End with exit code 1 at the first finding of this severity and confidence, as in warning or"
            " error:confirmed.",
            autocompletion=complete.check_thresholds,
        ),
    ] = ""
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per line, each at once.", rich_help_panel=o.OUTPUT)
    ] = False
    findings: Annotated[
        str,
        typer.Option(
            "--findings",
            metavar="SEVERITY",
            help="Print findings of this severity or higher.",
            autocompletion=complete.severities,
            rich_help_panel=o.OUTPUT,
        ),
    ] = "notice"
    every: Annotated[
        str,
        typer.Option(
            "--every",
            metavar="TIME",
            help="Time between two lines of status. Default: 10s; a terminal has one line, rewritten twice a second.",
            rich_help_panel=o.OUTPUT,
        ),
    ] = ""
    time_format: Annotated[
        str,
        typer.Option(
            "--time-format",
            metavar="FORMAT",
            help="Time format: utc, local or epoch.",
            autocompletion=complete.times_of_day,
            rich_help_panel=o.OUTPUT,
        ),
    ] = "utc"


@run.command
def watch(
    *,
    capture: Annotated[
        str,
        typer.Argument(
            metavar="CAPTURE", help="- for stdin, or a pipe that a capture is written to.", show_default=False
        ),
    ] = "",
    own: WatchOptions,
    shared: Annotated[o.Shared, Without("filter_", "since", "until", "findings", "files_from", "no_progress")],
) -> None:
    """Watch a live capture: TIME-WAIT by holder, connects per second, and findings as they become certain."""
    from tcptrace_tw.cli.tcpdump import Tcpdump

    _check_input(capture, own.interface)
    speaker, is_in_place = _speaker(own.as_json, own.time_format, shared.color)
    every = own.every or f"{IN_PLACE_S if is_in_place else IN_LINES_S}s"
    watch_settings = _watch_settings(own.findings, own.for_, own.until_finding, every)
    settings, plan = policy.obeyed(shared)
    tcpdump = Tcpdump(own.interface, settings.read_filter) if own.interface else None
    watching = _watch(capture or STDIN, settings, plan, speaker, watch_settings, tcpdump, shared.quiet)
    if watching.is_reached:
        sys.stdout.flush()
        raise run.Failed


def _check_input(capture: str, interface: str) -> None:
    if bool(capture) == bool(interface):
        raise UsageError("watch: give either - for stdin (tcpdump -U -w - | tcptrace-tw watch -) or -i INTERFACE")
    if capture == STDIN and sys.stdin is not None and sys.stdin.isatty():
        raise UsageError("watch: stdin is a terminal; pipe a capture into it, or use -i INTERFACE")


def _speaker(as_json: bool, time_format: str, color: o.Color) -> "tuple[Speaker, bool]":
    """Who says it, and whether the state is rewritten in place."""
    from tcptrace_tw.cli.check import paint_for
    from tcptrace_tw.report.live.speakers import CLEAR, JsonSpeaker, TextSpeaker
    from tcptrace_tw.report.pages.ladder import stamp
    from tcptrace_tw.unfinished import begin

    formats = complete.TIMES_OF_DAY
    if time_format not in formats:
        raise UsageError(f"--time-format {time_format}: {hint(time_format, formats)}")
    if as_json:
        return JsonSpeaker(sys.stdout), False
    console = run.console(color)
    is_in_place = console.is_terminal and not console.is_dumb_terminal and sys.stdout.isatty()
    if is_in_place:
        begin(partial(_write, CLEAR))
    times: Callable[[int], str] = lambda time: stamp(time, 0, 0, time_format)[: 12 if time_format != "epoch" else 14]  # noqa: E731
    return TextSpeaker(sys.stdout, times, paint_for(color), in_place=is_in_place), is_in_place


def _write(text: str) -> None:
    import os

    os.write(1, text.encode())


def _watch_settings(findings: str, for_: str, until_finding: str, every: str) -> "WatchSettings":
    from tcptrace_tw.report.checks.checked import Threshold
    from tcptrace_tw.report.live.watching import WatchSettings
    from tcptrace_tw.schema.words import SEVERITY

    if findings not in SEVERITY.words:
        raise UsageError(f"--findings {findings}: {hint(findings, SEVERITY.words)}")
    least, ends_with = SEVERITY.code(findings), None
    if until_finding and (threshold := Threshold.parse(until_finding, "--until-finding")) is not None:
        least, ends_with = min(least, threshold.severity), partial(_reaches, threshold)
    return WatchSettings(least, seconds(every, "--every"), seconds(for_, "--for") if for_ else None, ends_with)


def _reaches(threshold: "Threshold", finding: "Finding") -> bool:
    from tcptrace_tw.schema.words import CONFIDENCE, SEVERITY

    return threshold.is_reached_by(SEVERITY.code(finding.severity), CONFIDENCE.code(finding.confidence))


def seconds(text: str, option: str) -> float:
    """``60s``, ``5m``, ``1.5h``, ``2d`` or ``60`` in seconds.

    >>> seconds("5m", "--for")
    300.0
    """
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)\s*([a-z]*)", text.strip())
    if match is None or match[2] not in _UNITS_S or not float(match[1]):
        raise UsageError(f"{option} {text}: is not a valid time; write it like 60s, 5m, 1h or 2d")
    return float(match[1]) * _UNITS_S[match[2]]


def _obedience(plan: "Plan | None", quiet: bool) -> "Obey | None":
    """What a policy leaves of findings; that there is one is said, for a live capture has no end to sum it up."""
    if plan is None:
        return None
    from datetime import date

    from tcptrace_tw.checking.applied import Applied

    if not quiet and plan.policy:
        run.warn(f"findings are those that {plan.policy} leaves; --no-config ignores it")
    return Applied(plan, (), date.today()).left


def _watch(
    capture: str,
    settings: "Settings",
    plan: "Plan | None",
    speaker: "Speaker",
    watch_settings: "WatchSettings",
    tcpdump: "Tcpdump | None",
    quiet: bool,
) -> "Watching":
    from tcptrace_tw import live
    from tcptrace_tw.report.live.watching import Watching

    end_input = tcpdump.stop if tcpdump is not None else None
    watching = Watching(speaker, watch_settings, tcpdump.dropped if tcpdump is not None else lambda: 0)
    if tcpdump is not None:
        tcpdump.start()
    started = closing(tcpdump) if tcpdump is not None else nullcontext()
    with started, interrupts.reading([capture], quiet=quiet, end_input=end_input):
        try:
            summary: Any = live.watch(
                [capture], settings, watching, None if quiet else run.warn, _obedience(plan, quiet)
            )
        except CaptureError as error:
            raise (tcpdump.failure() if tcpdump is not None else None) or error from None
    watching.end()
    for text in tcpdump.messages() if tcpdump is not None and not quiet else ():
        run.warn(f"tcpdump: {text}")
    if not quiet and watching.has_ended:
        for remark in run.remarks(summary):
            run.warn(remark)
    return watching
