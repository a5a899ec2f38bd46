"""The options that several commands share."""

from enum import StrEnum
from typing import Annotated

import typer

from tcptrace_tw.cli import complete

SETTINGS, OUTPUT = "Settings", "Output"


class Color(StrEnum):
    """When to use colours."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


Captures = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="CAPTURE",
        help="Capture file, - for stdin, or the files or the directory of one rotated capture; compressed or not.",
        show_default=False,
    ),
]
CapturesOrFolder = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="CAPTURE",
        help="Capture file, - for stdin, or the files or the directory of one rotated capture; compressed or not."
        " Or a directory that analyze wrote.",
        show_default=False,
    ),
]
Profile = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="TCP stack of the hosts, with its 2MSL: linux, rfc, freebsd, macos, windows, ...",
        autocompletion=complete.profiles,
        rich_help_panel=SETTINGS,
    ),
]
TwoMsl = Annotated[
    float | None,
    typer.Option("--two-msl", metavar="SECONDS", help="2MSL, if it is not the profile's.", rich_help_panel=SETTINGS),
]
Select = Annotated[
    list[str] | None,
    typer.Option(
        metavar="RULES",
        help="Apply only these rules: ids or prefixes, as in RU,LA001.",
        autocompletion=complete.rules,
        rich_help_panel=SETTINGS,
    ),
]
Ignore = Annotated[
    list[str] | None,
    typer.Option(
        metavar="RULES", help="Do not apply these rules.", autocompletion=complete.rules, rich_help_panel=SETTINGS
    ),
]
Filter = Annotated[
    str,
    typer.Option(
        "--filter",
        metavar="EXPRESSION",
        help="Only these connections, as a pcap-filter expression.",
        rich_help_panel=SETTINGS,
    ),
]
Since = Annotated[
    str,
    typer.Option(
        metavar="TIME",
        help="Only connections with a segment at or after this time: 2026-11-21T04:16:26Z, or +30s from the start.",
        rich_help_panel=SETTINGS,
    ),
]
Until = Annotated[
    str,
    typer.Option(
        metavar="TIME", help="Only connections with a segment at or before this time.", rich_help_panel=SETTINGS
    ),
]
IgnoreVlan = Annotated[
    bool,
    typer.Option(
        "--ignore-vlan",
        help="Treat equal addresses as one 4-tuple, whatever their VLAN, VNI or GRE key.",
        rich_help_panel=SETTINGS,
    ),
]
MaxMemory = Annotated[
    str | None,
    typer.Option(
        "--max-memory",
        metavar="SIZE",
        help="Memory limit, as in 2G. If the connections need more, unanswered SYNs and the connections that were"
        " silent longest are forgotten early. The program itself takes about 200M.",
        show_default="half of the memory",
        rich_help_panel=SETTINGS,
    ),
]
Findings = Annotated[
    str,
    typer.Option(
        "--findings",
        metavar="SEVERITY",
        help="Findings of this severity or higher; those below are only counted. info: also ordinary mechanisms.",
        autocompletion=complete.severities,
        rich_help_panel=OUTPUT,
    ),
]
FilesFrom = Annotated[
    str,
    typer.Option(
        "--files-from",
        metavar="FILE",
        help="File that lists more captures, one per line or separated by NUL; - for stdin.",
        rich_help_panel=SETTINGS,
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors on stderr.", rich_help_panel=OUTPUT)]
NoProgress = Annotated[bool, typer.Option("--no-progress", help="Show no progress on stderr.", rich_help_panel=OUTPUT)]
ColorOption = Annotated[
    Color,
    typer.Option(
        "--color",
        metavar="auto|always|never",
        help="When to use colours; NO_COLOR is honoured.",
        rich_help_panel=OUTPUT,
    ),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.", rich_help_panel=OUTPUT)]
