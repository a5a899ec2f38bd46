"""The errors a user can cause or meet; anything else that is raised is a bug and keeps its traceback."""

import functools
from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class TcptraceError(Exception):
    """Base of the errors that are told to the user in one line."""


class CaptureError(TcptraceError):
    """A capture cannot be read at all: missing, not a capture, or no frame of it can be had.

    A message says where, what, and what to do.
    """


class UsageError(TcptraceError):
    """An option, a rule id or a setting is wrong."""


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


def hint(word: str, known: Iterable[str]) -> str:
    """What to write instead of a word that is not known: ``did you mean sarif? there are json, sarif``."""
    from difflib import SequenceMatcher

    words = list(known)
    alike = [SequenceMatcher(None, word.lower(), each.lower()).ratio() for each in words]
    listed = f"write one of {', '.join(words)}" if len(words) <= _LISTED else ""
    if max(alike, default=0) < _ALIKE:
        return listed or "it is none that is known"
    return f"did you mean {words[alike.index(max(alike))]}? {listed}".rstrip()
