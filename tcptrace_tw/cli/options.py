"""The options that several commands share."""

from enum import StrEnum
from typing import Annotated

import typer

from tcptrace_tw.cli import complete

SETTINGS, OUTPUT = "Settings", "Output"


class Color(StrEnum):
    """When to colour."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


Captures = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="CAPTURE",
        help="A capture file, - for stdin, or the files or the directory of one rotated capture; compressed or not.",
        show_default=False,
    ),
]
CapturesOrFolder = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="CAPTURE",
        help="A capture file, - for stdin, or the files or the directory of one rotated capture; compressed or not."
        " Or the directory that analyze wrote.",
        show_default=False,
    ),
]
Profile = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="How the hosts behave and how long 2MSL is: linux, rfc, freebsd, macos, windows, ...",
        autocompletion=complete.profiles,
        rich_help_panel=SETTINGS,
    ),
]
TwoMsl = Annotated[
    float | None,
    typer.Option("--two-msl", metavar="SECONDS", help="2MSL, instead of the profile's.", rich_help_panel=SETTINGS),
]
Select = Annotated[
    list[str] | None,
    typer.Option(
        metavar="RULES",
        help="Only these rules: ids or prefixes, as in RU,LA001.",
        autocompletion=complete.rules,
        rich_help_panel=SETTINGS,
    ),
]
Ignore = Annotated[
    list[str] | None,
    typer.Option(metavar="RULES", help="Not these rules.", autocompletion=complete.rules, rich_help_panel=SETTINGS),
]
Filter = Annotated[
    str,
    typer.Option(
        "--filter", metavar="EXPRESSION", help="Only these connections, in pcap-filter words.", rich_help_panel=SETTINGS
    ),
]
Since = Annotated[
    str,
    typer.Option(
        metavar="TIME",
        help="Only connections with a segment at or after this: 2026-11-21T04:16:26Z, or +30s from the begin.",
        rich_help_panel=SETTINGS,
    ),
]
Until = Annotated[
    str,
    typer.Option(metavar="TIME", help="Only connections with a segment at or before this.", rich_help_panel=SETTINGS),
]
IgnoreVlan = Annotated[
    bool,
    typer.Option(
        "--ignore-vlan",
        help="Equal addresses are one tuple, whatever their VLAN, VNI or GRE key.",
        rich_help_panel=SETTINGS,
    ),
]
MaxMemory = Annotated[
    str | None,
    typer.Option(
        "--max-memory",
        metavar="SIZE",
        help="Memory that the run may take, as in 2G: where connections would take more, unanswered SYNs and the"
        " longest silent ones are forgotten early. The program itself takes about 200M.",
        show_default="half of what there is",
        rich_help_panel=SETTINGS,
    ),
]
FilesFrom = Annotated[
    str,
    typer.Option(
        "--files-from",
        metavar="FILE",
        help="More captures: one a line, or separated by NUL; - for stdin.",
        rich_help_panel=SETTINGS,
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Nothing on stderr but errors.", rich_help_panel=OUTPUT)]
NoProgress = Annotated[bool, typer.Option("--no-progress", help="No progress on stderr.", rich_help_panel=OUTPUT)]
ColorOption = Annotated[
    Color, typer.Option("--color", help="When to colour; NO_COLOR is honoured.", rich_help_panel=OUTPUT)
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.", rich_help_panel=OUTPUT)]
