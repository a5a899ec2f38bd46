"""What the shell offers while a value is typed; nothing is imported before Tab is pressed."""

from collections.abc import Callable

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


def bars(typed: str) -> list[tuple[str, str]]:
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


def pictures(typed: str) -> list[tuple[str, str]]:
    """What ``show --svg`` can draw."""
    meanings = {
        "ladder": "segments, and the states of both endpoints",
        "states": "the states of all incarnations of the 4-tuple as bars",
        "sequence": "time and sequence numbers, both directions",
    }
    return [(name, meaning) for name, meaning in meanings.items() if name.startswith(typed)]
