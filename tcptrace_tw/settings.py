"""What a run depends on besides the capture, validated once, here.

Python, the policy file and the command line all end up here, so a wrong setting gives the same message everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from numbers import Real
from typing import TYPE_CHECKING, Any

from tcptrace_tw.capture.time_spec import parse_moment, parse_span
from tcptrace_tw.errors import UsageError, hint
from tcptrace_tw.memory_limit import LEAST, parse_size
from tcptrace_tw.protocol.profiles import profile
from tcptrace_tw.rules import RULES
from tcptrace_tw.schema.columns import BY_NAME, Column
from tcptrace_tw.schema.words import SEVERITY

if TYPE_CHECKING:  # what a plain report does without is imported where it is used
    from tcptrace_tw.capture.pcap_filter import Filter
    from tcptrace_tw.capture.time_window import Keeps

TWO_MSL_MAX_S = 3600

Threshold = tuple[str, str, int | None, int | None]

_THRESHOLD = ("the rule", "one of its numbers", "the minimum", "the maximum")

_NUMBERS = ("ns", "i8", "i4", "u4", "u2", "u1")


@dataclass(frozen=True)
class Settings:
    """The same settings and capture give the same rows; ``UsageError`` for a setting that cannot be."""

    profile: str = "linux"
    two_msl_s: float | None = None
    select: tuple[str, ...] = ()
    """Only these rules: ids or prefixes. A plain string is one of them, or several with commas."""
    ignore: tuple[str, ...] = ()
    filter: str = ""
    """Which connections to look at, in the words of ``selection``; empty: all. They keep the numbers that they have."""
    read_filter: str = ""
    """Which segments to read at all, in pcap-filter words; empty: all. Connections are numbered among those."""
    since: str = ""
    until: str = ""
    """Only connections with a segment in this span, whole; as ``capture.time_spec`` reads it. Empty: open."""
    ignore_vlan: bool = False
    """Leave VLAN ids and ids of tunnels out of the tuple."""
    thresholds: tuple[Threshold, ...] = ()
    """Rule, one of its numbers, and the least and the most of it that make a finding."""
    keep_duplicates: bool = False
    """Take frames that are copies of a segment for segments of their own."""
    config: str = ""
    """How the policy was chosen: empty for the nearest one, ``none`` for none, else the file that was named."""
    max_memory: int | str | None = None
    """Bytes that the run may take, as a number or as ``"2G"``; None: half of what the machine or its container has.

    What is least useful is forgotten early where connections would take more; nothing is where they do not.
    """

    community_id: bool = False
    """Write the Community ID of each connection: its text is the largest column of the tables."""

    findings: str = "notice"
    """Findings of this severity or higher are shown and written; the others are only counted."""

    @property
    def least(self) -> int:
        """The code of that severity."""
        return SEVERITY.code(self.findings)

    def __post_init__(self) -> None:
        """Check each field, and keep it in its one form."""
        for name, (option, check) in _CHECKS.items():
            try:
                value = check(getattr(self, name))
            except UsageError as error:
                reason, *rest = error.args
                raise UsageError(reason if reason.startswith(option) else f"{option} {reason}", *rest) from None
            object.__setattr__(self, name, value)

    def read_segments(self) -> Filter | None:
        """What decides which segments are read; None where all are."""
        if not self.read_filter:
            return None
        from tcptrace_tw.capture.pcap_filter import Filter

        return Filter(self.read_filter, "--read-filter")

    def keeps(self) -> Keeps | None:
        """What decides which connections are kept; None where all are."""
        span = parse_span(self.since, self.until)
        if not self.filter:
            return span.keeps if any(span) else None
        from tcptrace_tw.selection import Selection

        selection = Selection(self.filter)
        return lambda rows, begin: span.keeps(rows, begin) & selection.keeps(rows)


def known_profile(name: Any) -> str:
    """The name of a profile."""
    return profile(_text(name)).name


def two_msl(seconds: Any) -> float | None:
    """2MSL in seconds; None is that of the profile."""
    if seconds is None:
        return None
    is_number = isinstance(seconds, Real) and not isinstance(seconds, (bool, str))
    if not is_number or not 0 < seconds <= TWO_MSL_MAX_S:  # nan is in no span
        raise UsageError(f"{seconds!r}: 2MSL must be a number of seconds above 0 and at most {TWO_MSL_MAX_S}")
    return float(seconds)


def rule_words(words: Any) -> tuple[str, ...]:
    """Rule ids or prefixes: ``"RU"``, ``"RU,la001"`` and ``["RU", "LA001"]`` are two ways to say it."""
    named = [words] if isinstance(words, str) else list(words) if isinstance(words, Iterable) else [words]
    ids = [rule.id for rule in RULES]
    found = []
    for word in (part.strip().upper() for each in named for part in _text(each).split(",")):
        if not any(each.startswith(word) for each in ids):
            families = list(dict.fromkeys(each[:2] for each in ids))
            known = [*ids, *families] if len(word) > 2 else families
            raise UsageError(f"{word!r}: {hint(word, known)}; tcptrace-tw rules lists them")
        if word:
            found.append(word)
    return tuple(found)


def numbers_of(rule: str) -> dict[str, Column]:
    """The numbers behind the findings of a rule: what a threshold can be set on."""
    found = {each.id: each for each in RULES}
    if rule not in found:
        raise UsageError(f"{rule!r}: {hint(rule, found)}")
    columns = {column.name: column for column in BY_NAME[found[rule].table].columns}
    values = found[rule].values
    return {name: columns[name] for name in values if name in columns and columns[name].kind in _NUMBERS}


def number_of(rule: str, name: str) -> Column:
    """One of them."""
    columns = numbers_of(rule)
    if name not in columns:
        raise UsageError(f"{rule}.{name!r}: {hint(name, columns)}")
    return columns[name]


def _thresholds(bounds: Any) -> tuple[Threshold, ...]:
    found = []
    for bound in bounds if isinstance(bounds, (list, tuple)) else [bounds]:
        if not isinstance(bound, (list, tuple)) or len(bound) != len(_THRESHOLD):
            raise UsageError(f"{bound!r}: write {', '.join(_THRESHOLD)}")
        rule, name, least, most = bound
        rule = _text(rule).upper()
        number_of(rule, _text(name))
        for amount in (least, most):
            if amount is not None and (isinstance(amount, bool) or not isinstance(amount, int)):
                raise UsageError(f"{rule}.{name} = {amount!r}: write a whole number")
        found.append((rule, name, least, most))
    return tuple(found)


def _filter(words: Any) -> str:
    """One line of words that the parser understands."""
    text = " ".join(_text(words).split())
    if text:
        from tcptrace_tw.selection import Selection

        Selection(text)
    return text


def _read_filter(words: Any) -> str:
    """The same, of words about segments."""
    text = " ".join(_text(words).split())
    if text:
        from tcptrace_tw.capture.pcap_filter import Filter

        Filter(text, "--read-filter")
    return text


def _moment(option: str, time: Any) -> str:
    text = " ".join(_text(time).split())
    if text:
        parse_moment(text, option)
    return text


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise UsageError(f"{value!r}: is not text")
    return value


def memory_bound(size: Any) -> int | None:
    """A bound of memory in bytes."""
    if size is None:
        return None
    found = parse_size(size) if isinstance(size, str) else size
    if isinstance(found, bool) or not isinstance(found, int) or found < LEAST:
        raise UsageError(f"{size!r}: is not a valid size; write bytes, or a number with K, M, G or T, at least 1M")
    return found


def _severity(value: Any) -> str:
    word = _text(value)
    if word not in SEVERITY.words:
        raise UsageError(f"{word!r}: {hint(word, SEVERITY.words)}")
    return word


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise UsageError(f"{value!r}: is neither true nor false")
    return value


_CHECKS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "profile": ("--profile", known_profile),
    "two_msl_s": ("--two-msl", two_msl),
    "select": ("--select", rule_words),
    "ignore": ("--ignore", rule_words),
    "filter": ("--filter", _filter),
    "read_filter": ("--read-filter", _read_filter),
    "since": ("--since", partial(_moment, "--since")),
    "until": ("--until", partial(_moment, "--until")),
    "ignore_vlan": ("--ignore-vlan", _flag),
    "thresholds": ("thresholds:", _thresholds),
    "keep_duplicates": ("keep_duplicates:", _flag),
    "community_id": ("--community-id", _flag),
    "config": ("--config", _text),
    "max_memory": ("--max-memory", memory_bound),
    "findings": ("--findings", _severity),
}
"""Each field: how its messages begin, and what gives its one form or raises ``UsageError`` with the reason."""
