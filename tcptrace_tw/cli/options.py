"""The options that several commands share."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from tcptrace_tw.cli import complete

SETTINGS, OUTPUT, POLICY, WORK = "Settings", "Output", "Policy", "Work"


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
CapturesOfCheck = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="CAPTURE",
        help="Capture file, - for stdin, or several files or a directory of them; compressed or not."
        " Or a directory that analyze wrote.",
        show_default=False,
    ),
]
CapturesAndFilter = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="CAPTURE [FILTER]",
        help="Capture file, or the files or the directory of one rotated capture, or a directory that analyze wrote."
        " Then a filter, as in 'host 10.0.0.1 and port 40000'.",
        autocompletion=complete.captures_and_filter,
        show_default=False,
    ),
]
Profile = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="TCP stack of the hosts, with its 2MSL: linux (the default), rfc, freebsd, macos, windows, ...",
        autocompletion=complete.profiles,
        rich_help_panel=SETTINGS,
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Policy file to use instead of the nearest tcptrace-tw.toml or pyproject.toml.",
        rich_help_panel=POLICY,
    ),
]
NoConfig = Annotated[bool, typer.Option("--no-config", help="Use no policy file.", rich_help_panel=POLICY)]
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
        help="Only these connections: a pcap-filter expression, also with state TIME-WAIT, opened midstream,"
        " closed abort, closed by server. They keep the numbers that they have in the whole capture.",
        autocompletion=complete.filter_words,
        rich_help_panel=SETTINGS,
    ),
]
ReadFilter = Annotated[
    str,
    typer.Option(
        "--read-filter",
        metavar="EXPRESSION",
        help="Read only these segments: a pcap-filter expression. Faster than --filter, but connections are numbered"
        " among these segments only.",
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
Jobs = Annotated[
    int,
    typer.Option(
        "--jobs",
        "-j",
        metavar="N",
        min=1,
        help="Use N processes of this machine. The result is the same as with one.",
        rich_help_panel=WORK,
    ),
]
Cluster = Annotated[
    str,
    typer.Option(
        "--cluster",
        metavar="ADDRESS",
        help="Address of the scheduler of a dask.distributed cluster whose workers do the work, as in"
        " tcp://scheduler:8786. They need the captures, and --spool, under the same names as here.",
        rich_help_panel=WORK,
    ),
]
Spool = Annotated[
    str,
    typer.Option(
        "--spool",
        metavar="DIR",
        help="Folder for what the processes hand to each other. After an interrupt, the same command goes on from"
        " there.",
        show_default="a temporary one",
        rich_help_panel=WORK,
    ),
]
KeepSpool = Annotated[
    bool,
    typer.Option("--keep-spool", help="Keep the spool when all is done.", rich_help_panel=WORK),
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
Save = Annotated[
    str,
    typer.Option(
        "--save",
        metavar="FILE",
        help="Keep the stream that comes through stdin in FILE, for show, list and export.",
        rich_help_panel=OUTPUT,
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


class Shared(NamedTuple):
    """What commands have in common, in the order of ``--help``; a command that has not all of it says ``Without``."""

    config: Config = None
    no_config: NoConfig = False
    profile: Profile = None
    two_msl: TwoMsl = None
    select: Select = None
    ignore: Ignore = None
    filter_: Filter = ""
    read_filter: ReadFilter = ""
    since: Since = ""
    until: Until = ""
    ignore_vlan: IgnoreVlan = False
    max_memory: MaxMemory = None
    findings: Findings = "notice"
    files_from: FilesFrom = ""
    color: ColorOption = Color.AUTO
    quiet: Quiet = False
    no_progress: NoProgress = False
    debug: Debug = False
