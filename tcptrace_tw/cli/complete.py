"""What the shell offers while a value is typed; nothing is imported before Tab is pressed."""

from collections.abc import Callable, Sequence
from typing import Any

Complete = Callable[[str], list[tuple[str, str]]]
"""From what was typed to values that begin so, each with a word of help."""


def rules(typed: str) -> list[tuple[str, str]]:
    """Ids of rules; in a list with commas the last one."""
    from tcptrace_tw.rules import RULES

    before, comma, last = typed.rpartition(",")
    return [(f"{before}{comma}{r.id}", r.name) for r in RULES if r.id.startswith(last)]


def profiles(typed: str) -> list[tuple[str, str]]:
    """Names of profiles, with their 2MSL."""
    from tcptrace_tw.protocol.profiles import PROFILES

    return [(p.name, f"2MSL is {p.two_msl_ns / 1e9:g} s") for p in PROFILES if p.name.startswith(typed)]


def severities(typed: str) -> list[tuple[str, str]]:
    """Severities, from ordinary to bad."""
    from tcptrace_tw.schema.words import SEVERITY

    return [(word, "") for word in SEVERITY.words if word.startswith(typed)]


def finding_levels(typed: str) -> list[tuple[str, str]]:
    """The same, and none."""
    return [*severities(typed), *([("none", "no finding")] if "none".startswith(typed) else [])]


def check_thresholds(typed: str) -> list[tuple[str, str]]:
    """What ``--fail-on`` takes: a severity, or with a colon a confidence too."""
    from tcptrace_tw.schema.words import CONFIDENCE, SEVERITY

    severity, colon, _ = typed.partition(":")
    ends = [f":{word}" for word in CONFIDENCE.words] if colon else [""]
    words = [f"{word}{end}" for word in SEVERITY.words if not colon or word == severity for end in ends]
    return [(word, "") for word in (*words, "never") if word.startswith(typed)]


def formats(typed: str) -> list[tuple[str, str]]:
    """Formats of a check."""
    from tcptrace_tw.report.checks.formats import FORMATS

    return [(name, meaning) for name, meaning in FORMATS.items() if name.startswith(typed)]


def outputs(typed: str) -> list[tuple[str, str]]:
    """Formats, each with a file of its name."""
    return [(f"{name}=tcp.{name}", meaning) for name, meaning in formats(typed.partition("=")[0])]


def sorts(typed: str) -> list[tuple[str, str]]:
    """Orders of a list."""
    from tcptrace_tw.report.summary.listing import SORTS

    return [(name, meaning) for name, meaning in SORTS.items() if name.startswith(typed)]


def list_times(typed: str) -> list[tuple[str, str]]:
    """How ``list`` can write a time."""
    formats = [each for each in time_formats(typed) if each[0] != "delta"]
    return [(name, "seconds since the first one in the list" if name == "rel" else said) for name, said in formats]


def filter_words(typed: str) -> list[tuple[str, str]]:
    """Words of a filter; of an expression with blanks the last word."""
    from tcptrace_tw.schema.words import CLOSE, OPENED, SEVERITY, STATE
    from tcptrace_tw.selection import CLOSERS

    before, blank, last = typed.rpartition(" ")
    after = before.split()[-1:] or [""]
    following: dict[str, Sequence[str]] = {
        "state": STATE.words,
        "opened": OPENED.words,
        "closed": (*CLOSE.words, "by"),
        "by": tuple(CLOSERS),
        "finding": (*SEVERITY.words, *(name for name, _ in rules(last))),
    }
    words = following.get(after[0], tuple(FILTER_WORDS))
    return [(f"{before}{blank}{word}", FILTER_WORDS.get(word, "")) for word in words if word.startswith(last)]


FILTER_WORDS = {
    "host": "an address of either end",
    "net": "a network, as in 10.0.0.0/8",
    "port": "a port of either end",
    "portrange": "ports, as in 8000-8099",
    "src": "of the sender",
    "dst": "of the receiver",
    "vlan": "a VLAN id",
    "state": "the state of one end at the end",
    "opened": "how the connection began",
    "closed": "how it ended, or by whom",
    "finding": "a rule or a severity",
    "and": "",
    "or": "",
    "not": "",
}
"""What Tab offers in a filter, and what it means."""


_QUICK_BYTES = 16 << 20
"""What is read for Tab within a moment."""

_MOST_OFFERED = 200


def connections(ctx: Any, args: list[str], incomplete: str) -> list[tuple[str, str]]:
    """Numbers of connections, with their ends, where all captures are small."""
    from contextlib import suppress

    from tcptrace_tw.errors import TcptraceError

    with suppress(TcptraceError, OSError):
        return [each for each in _connections(_captures(ctx)) if each[0].startswith(incomplete)]
    return []


def _captures(ctx: Any) -> list[str]:
    """The captures on the line; behind an option without its value typer has parsed none."""
    import os
    import shlex

    line = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS") or ""
    return list(ctx.params.get("captures") or filter(os.path.exists, shlex.split(line)[2:]))


def _connections(words: list[str]) -> list[tuple[str, str]]:
    import os

    from tcptrace_tw import pipeline
    from tcptrace_tw.cli import filters, run
    from tcptrace_tw.report.pages.connection_list import ends
    from tcptrace_tw.report.summary.listing import Listing
    from tcptrace_tw.report.tables.stored_list import stored_list

    captures, said = filters.split(words)
    listing = Listing(filters.selection("" if said.isdecimal() else said), limit=_MOST_OFFERED)
    folder = run.written_folder(captures)
    if folder is not None:
        rows = stored_list(folder, listing).rows
    elif all(os.path.isfile(each) for each in captures) and sum(map(os.path.getsize, captures)) <= _QUICK_BYTES:
        pipeline.analyze(captures, pipeline.Settings(), [listing])
        rows = listing.result().rows
    else:
        return []
    return list(zip(map(str, rows["connection_id"].tolist()), ends(rows), strict=True))


def captures_and_filter(ctx: Any, args: list[str], incomplete: str) -> list[tuple[str, str]]:
    """Words of a filter once a capture is named; nothing lets the shell offer files."""
    import glob

    named = list(ctx.params.get("captures") or ())
    if not named or glob.glob(glob.escape(incomplete) + "*"):
        return []
    return filter_words(incomplete)


def report_times(typed: str) -> list[tuple[str, str]]:
    """How a report can write a time."""
    return [each for each in time_formats(typed) if each[0] in ("utc", "local")]


def time_formats(typed: str) -> list[tuple[str, str]]:
    """How ``show`` can write a time."""
    meanings = {
        "rel": "seconds since the first segment",
        "delta": "seconds since the previous segment",
        "utc": "time of day in UTC",
        "local": "local time of day",
        "epoch": "seconds since 1970",
    }
    return [(name, meaning) for name, meaning in meanings.items() if name.startswith(typed)]


TIMES_OF_DAY = ("utc", "local", "epoch")
"""The formats of a moment alone."""


def times_of_day(typed: str) -> list[tuple[str, str]]:
    """How a moment can be written."""
    return [(name, meaning) for name, meaning in time_formats(typed) if name in TIMES_OF_DAY]


def interfaces(typed: str) -> list[tuple[str, str]]:
    """The network interfaces of this machine."""
    import socket

    return [(name, "") for _, name in socket.if_nameindex() if name.startswith(typed)]


def pictures(typed: str) -> list[tuple[str, str]]:
    """What ``show --svg`` can draw."""
    meanings = {
        "ladder": "segments, and the states of both endpoints",
        "states": "the states of all incarnations of the 4-tuple as bars",
        "sequence": "time and sequence numbers, both directions",
    }
    return [(name, meaning) for name, meaning in meanings.items() if name.startswith(typed)]
