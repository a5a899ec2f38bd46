"""``python -m tcptrace_tw.kernels build``: compile the kernels of these sources, after a change of one.

python -m tcptrace_tw.kernels          whether the compiled kernels fit the sources
python -m tcptrace_tw.kernels build    build them
python -m tcptrace_tw.kernels build --unless-fit
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from tcptrace_tw.errors import UsageError
from tcptrace_tw.kernels import library
from tcptrace_tw.kernels.build import BuildError, build, compile_share, end_with_parent


def main(words: list[str]) -> int:
    """Do what the words say; 0 when it is done, 1 when the kernels do not fit or cannot be built, 2 for other words."""
    match words:
        case []:
            return _tell_fit()
        case ["build"] | ["build", "--unless-fit"]:
            return 0 if len(words) == 2 and _fits() is None else _build()
        case ["compile", place, jobs, job]:  # what ``build`` starts
            end_with_parent()
            compile_share(Path(place), int(jobs), int(job))
            return 0
    print(__doc__, file=sys.stderr)
    return 2


def _fits() -> library.Unfit | None:
    try:
        library.Library(library.FOLDER)
    except library.Unfit as unfit:
        return unfit
    return None


def _tell_fit() -> int:
    unfit = _fits()
    if unfit is None:
        print("the compiled kernels fit")
        return 0
    print(f"the compiled kernels do not fit: {unfit}; build them: python {library.BUILD}")
    return 1


def _build() -> int:
    try:
        build()
    except (BuildError, UsageError, OSError) as error:
        print(f"tcptrace-tw: {error}", file=sys.stderr)
        return 1
    return 0


def _ended(number: int, frame: object) -> None:
    """SIGTERM and SIGHUP end a build like Ctrl-C: its folder is removed, and its workers end."""
    raise KeyboardInterrupt


signal.signal(signal.SIGTERM, _ended)
signal.signal(signal.SIGHUP, _ended)
try:
    sys.exit(main(sys.argv[1:]))
except KeyboardInterrupt:
    sys.exit(130)
