"""The errors a user can cause or meet; anything else that is raised is a bug and keeps its traceback."""

import functools
from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def printable(text: str) -> str:
    r"""Text from outside, safe to show: each character that cannot be printed becomes an escape, as in ``\x1b``.

    That are control characters, newlines, marks that change the direction of writing, and the bytes of a name that
    is not UTF-8 (``\udcff``). Spaces and letters of all scripts stay. Twice is the same as once.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def at_line_start(text: str) -> str:
    r"""Text from outside where a line begins: a runner of GitHub would take ``::`` there for a command."""
    bare = text.lstrip()
    return f"{text[: -len(bare)]}\\x3a{bare[1:]}" if bare.startswith("::") else text


class TcptraceError(Exception):
    """Base of the errors that the user is told of, nearly always in one line.

    Each argument is a line of the message. It is kept as it is shown, so no name in it can break the line.
    """

    def __init__(self, *lines: str) -> None:
        super().__init__(*map(printable, lines))

    def __str__(self) -> str:
        return "\n".join(self.args)


class CaptureError(TcptraceError):
    """A capture cannot be read at all: missing, not a capture, or no frame of it can be had.

    A message says where, what, and what to do.
    """


class UsageError(TcptraceError, ValueError):
    """An option, a rule id or a setting is wrong."""


def warn(words: str) -> None:
    """Tell whoever calls from Python what the command says on stderr; it is a warning about the caller's line."""
    import sys
    import warnings

    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == "tcptrace_tw":
        frame, level = frame.f_back, level + 1
    warnings.warn(f"tcptrace-tw: {words}", RuntimeWarning, stacklevel=level)


def without_frames(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Errors of this function forget the way to them: who keeps such an error would keep all arrays of a run."""

    @functools.wraps(function)
    def wrapper(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        try:
            return function(*args, **kwargs)
        except TcptraceError as error:
            error.__context__ = None
            raise error.with_traceback(None) from None

    return wrapper


_LISTED = 12
"""More words than these are not listed in an error."""

_ALIKE = 0.6


def nearest(word: str, known: Iterable[str], alike: float = _ALIKE) -> str:
    """The known word that ``word`` was meant to be; empty where none is like it."""
    from difflib import SequenceMatcher

    found, most = "", alike
    matcher = SequenceMatcher(b=word.lower())
    for each in known:
        matcher.set_seq1(each.lower())
        if matcher.real_quick_ratio() < most or matcher.quick_ratio() < most:
            continue
        ratio = matcher.ratio()
        if ratio > most or (ratio == most and not found):
            found, most = each, ratio
    return found


def hint(word: str, known: Iterable[str]) -> str:
    """What to write instead of a word that is not known: ``did you mean sarif? write one of json, sarif``."""
    words = list(known)
    listed = f"write one of {', '.join(words)}" if len(words) <= _LISTED else ""
    near = nearest(word, words)
    if not near:
        return listed or "unknown value"
    return f"did you mean {near}? {listed}".rstrip()
