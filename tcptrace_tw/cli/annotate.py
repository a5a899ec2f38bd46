"""``tcptrace-tw annotate``: the capture as pcapng, with states and findings as packet comments for Wireshark."""

from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from tcptrace_tw.cli import complete, run
from tcptrace_tw.cli import options as o
from tcptrace_tw.cli.interrupts import is_pipe
from tcptrace_tw.cli.reading import Reading, prepared
from tcptrace_tw.cli.records import Without
from tcptrace_tw.errors import UsageError, hint

if TYPE_CHECKING:
    from tcptrace_tw.atomic import AtomicFile
    from tcptrace_tw.capture.annotated import Annotator
    from tcptrace_tw.report.comments.notes import PacketNotes

NONE = "none"


class AnnotateOptions(NamedTuple):
    """What is said of a capture in its copy, and where the copy goes."""

    out: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Output file, .pcapng; - for stdout.",
            show_default=False,
        ),
    ]
    states: Annotated[
        bool, typer.Option("--states/--no-states", help="Comment on the segments that change the state of an endpoint.")
    ] = True
    findings: Annotated[
        str,
        typer.Option(
            "--findings",
            metavar="SEVERITY",
            help="Comment on the frames of findings of this severity or higher; none: of no finding.",
            autocompletion=complete.finding_levels,
        ),
    ] = "notice"


@run.command
def annotate(
    *,
    captures: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CAPTURE",
            help="Capture file, or the files or the directory of one rotated capture; compressed or not.",
            show_default=False,
        ),
    ] = None,
    own: AnnotateOptions,
    shared: Annotated[o.Shared, Without("findings", "color")],
) -> None:
    """Copy a capture for Wireshark, with state changes and findings as packet comments.

    Packets, times and all other blocks stay as they are; classic pcap becomes pcapng.
    """
    from tcptrace_tw.atomic import AtomicFile
    from tcptrace_tw.capture import annotated, ring
    from tcptrace_tw.cli import targets
    from tcptrace_tw.report.comments.notes import PacketNotes

    least = _least(own.findings)
    captures = run.sources(captures, shared.files_from)
    if any(is_pipe(capture) or capture == "-" for capture in captures):
        raise UsageError("annotate: a pipe cannot be read twice; save the capture to a file")
    reading = prepared(captures, shared, [targets.Target(own.out, f"-o {own.out}", takes_captures=True)])
    annotated.check(ring.find(captures).files)
    notes = PacketNotes(states=own.states, least=least, several_files=reading.has_several_files)
    with AtomicFile(own.out) as file:
        done = _annotate(reading, notes, file)
    if not shared.quiet:
        _say(own.out, done)


def _least(severity: str) -> int | None:
    """The code of the severity; None for none."""
    from tcptrace_tw.schema.words import SEVERITY

    if severity == NONE:
        return None
    if severity not in SEVERITY.words:
        raise UsageError(f"--findings {severity}: {hint(severity, (*SEVERITY.words, NONE))}")
    return SEVERITY.code(severity)


def _annotate(reading: Reading, notes: "PacketNotes", file: "AtomicFile") -> "Annotator":
    """One pass for what is to be said, and one to copy."""
    from tcptrace_tw.capture import ring
    from tcptrace_tw.capture.annotated import Annotator
    from tcptrace_tw.kernels import library

    run.say_policy(reading.analyze([notes]).policy, reading.quiet)
    annotator = Annotator(ring.find(reading.captures).files, notes, file, compiled=library.choose())
    with run.progress_of(reading.quiet, reading.no_progress, "copying") as progress:
        progress(annotator.position)
        annotator.copy()
        file.commit()
    return annotator


def _say(out: str, done: "Annotator") -> None:
    from tcptrace_tw.report.words.phrases import counted

    made = f"; {counted(done.made, 'Simple Packet Block')} became Enhanced" if done.made else ""
    where = "stdout" if out == "-" else out
    run.warn(f"{where}: {counted(done.frames, 'frame')}, {done.commented:,} with comments{made}")
