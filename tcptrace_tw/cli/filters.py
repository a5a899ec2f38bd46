"""Captures and a filter on one command line, as tcpdump takes them: what is no file and reads like a filter is one."""

import ipaddress
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from tcptrace_tw.cli.parameters import looks_like_capture
from tcptrace_tw.errors import UsageError, nearest

if TYPE_CHECKING:
    from tcptrace_tw.selection import Selection


def split(words: Sequence[str] | None, option: str = "", *, has_list: bool = False) -> tuple[list[str], str]:
    """The captures among the arguments, and the filter: what follows them, in one argument or in many.

    ``option`` is what ``--filter`` says. ``has_list`` says that the captures may all come from ``--files-from``.
    """
    named = list(words or ())
    for at in range(0 if has_list else 1, len(named)):
        if _is_filter(named[at]):
            said = " ".join(named[at:])
            if option:
                raise UsageError(f"--filter {option}: the filter {said} is given as well; give one of them")
            return named[:at], said
    return named, option


def selection(text: str) -> "Selection | None":
    """The filter, if there is one, with the word ``finding``."""
    from tcptrace_tw.selection import Selection

    text = " ".join(text.split())
    return Selection(text, "filter", with_findings=True) if text else None


def _is_filter(word: str) -> bool:
    """Whether an argument is meant as a filter: no file, and its first word is one of a filter, or nearly."""
    if looks_like_capture(word):
        return False
    first = next(iter(word.lower().replace("!", " ").replace("(", " ").split()), "")
    with suppress(ValueError):
        ipaddress.ip_network(first, strict=False)
        return True
    from tcptrace_tw.selection import FIRST_WORDS

    return first in FIRST_WORDS or first.isdecimal() or bool(nearest(first, FIRST_WORDS))
