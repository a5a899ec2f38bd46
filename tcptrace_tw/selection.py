"""Reads ``--filter`` and the filters of ``list``, ``show`` and ``export``: which connections of a capture are meant.

Beside the words of pcap-filter, which name endpoints, there are words for what became of a connection:

    state TIME-WAIT      one of its ends is in that state at the end of the connection or the capture
    opened midstream     how it began
    closed abort         how it ended
    closed by server     who closed first
    finding RU004        a finding of that rule, of rules that begin so, or of that severity or a worse one, is about it

The words choose connections after they were tracked, so that each keeps the number that it has in the whole capture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.capture.filter_tests import Ends, Mask, Test
from tcptrace_tw.capture.pcap_filter import PCAP_WORDS, Parser, parse
from tcptrace_tw.errors import hint
from tcptrace_tw.rules import RULES
from tcptrace_tw.schema.words import ACTIVE_CLOSER, CLOSE, OPENED, SEVERITY, STATE, Vocabulary

CLOSERS = {"client": "orig", "server": "resp", "both": "both", "none": "none", "unknown": "unknown"}
"""Who closed first, as people say it, and the word of the tables."""

WORDS = ("state", "opened", "closed", "finding")
"""The words that pcap-filter does not have."""

FIRST_WORDS = (*WORDS, *PCAP_WORDS)
"""With which a filter may begin, beside an address."""


class Wanted(NamedTuple):
    """Which findings a filter means: rules that begin so, or all of a severity and worse."""

    rules: str = ""
    severity: int = 0


FindingsOf = Callable[[Wanted, NDArray[np.int64]], Mask]
"""Which of some connections, given by their numbers, have such a finding."""


class _Connections(NamedTuple):
    rows: Any
    findings_of: FindingsOf | None


class Selection:
    """A filter over rows of ``connections``; picklable by its text.

    ``with_findings``: the caller knows what was found; without it the word ``finding`` is a ``UsageError``.
    """

    def __init__(self, text: str, option: str = "--filter", *, with_findings: bool = False) -> None:
        self.text = text
        self.wanted: list[Wanted] = []
        """The findings that have to be known."""
        self._option = option
        self._with_findings = with_findings
        self._test = parse(text, option, self._words())

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(Selection, with_findings=self._with_findings), (self.text, self._option)

    def keeps(self, rows: NDArray[Any], findings_of: FindingsOf | None = None) -> Mask:
        """Which rows of ``connections`` are meant."""
        names = ("orig_ip_hi", "orig_ip_lo", "resp_ip_hi", "resp_ip_lo", "orig_port", "resp_port", "scope")
        ends = Ends(*(rows[name] for name in names))
        return ends._replace(connections=_Connections(rows, findings_of)).either_way(self._test)

    def _words(self) -> Mapping[str, Callable[[Parser], Test]]:
        words: dict[str, Callable[[Parser], Test]] = {"state": _state, "opened": _opened, "closed": _closed}
        return words | {"finding": self._finding} if self._with_findings else words

    def _finding(self, parser: Parser) -> Test:
        wanted = _wanted(parser)
        self.wanted.append(wanted)

        def test(ends: Ends) -> Mask:
            rows, findings_of = ends.connections
            assert findings_of is not None
            found: Mask = findings_of(wanted, rows["connection_id"])
            return found

        return test


def _state(parser: Parser) -> Test:
    code = _word_of(STATE, parser, "state")
    return lambda ends: (ends.connections.rows["orig_state"] == code) | (ends.connections.rows["resp_state"] == code)


def _opened(parser: Parser) -> Test:
    code = _word_of(OPENED, parser, "opened")
    return lambda ends: ends.connections.rows["opened"] == code


def _closed(parser: Parser) -> Test:
    if parser.peek() == "by":
        parser.take("")
        closer = _known(parser, CLOSERS | {"orig": "orig", "resp": "resp"})
        code = ACTIVE_CLOSER.code(closer)
        return lambda ends: ends.connections.rows["active_closer"] == code
    code = _word_of(CLOSE, parser, "closed", "by")
    return lambda ends: ends.connections.rows["close"] == code


def _word_of(vocabulary: Vocabulary, parser: Parser, after: str, *others: str) -> int:
    """The code of the next word, however it is spelt: ``TIME_WAIT`` is ``TIME-WAIT``."""
    token = parser.take(f"a word is missing after {after}: {', '.join((*vocabulary.words, *others))}")
    said = token.text.upper().replace("_", "-")
    for code, word in enumerate(vocabulary.words):
        if said.replace("-", "") == word.upper().replace("-", ""):
            return code
    return parser.fail(token, hint(token.text, (*vocabulary.words, *others)))


def _known(parser: Parser, words: Mapping[str, str]) -> str:
    token = parser.take(f"a word is missing after by: {', '.join(CLOSERS)}")
    if token.text.lower() not in words:
        parser.fail(token, hint(token.text, CLOSERS))
    return words[token.text.lower()]


def _wanted(parser: Parser) -> Wanted:
    """``finding RU004``, ``finding RU``, ``finding syn-hits-last-ack``, ``finding warning``."""
    token = parser.take("a rule or a severity is missing after finding, as in finding RU004")
    said = token.text
    if said.lower() in SEVERITY.words:
        return Wanted(severity=SEVERITY.code(said.lower()))
    named = [rule.id for rule in RULES if rule.name == said.lower()]
    if named:
        return Wanted(named[0])
    ids = [rule.id for rule in RULES]
    if any(each.startswith(said.upper()) for each in ids):
        return Wanted(said.upper())
    families = list(dict.fromkeys(each[:2] for each in ids))
    near = hint(said, [*ids, *families] if len(said) > 2 else families)
    return parser.fail(token, f"{near}; tcptrace-tw rules lists them")
