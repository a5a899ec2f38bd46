"""``python -m tests.mutate --count 500``: change the code in one place, and see if the quick tests notice.

Each mutant is one change (a comparison, a constant by 1, ``and`` or ``or``, a ``not``, the branches of an ``if``) in
rules/, tcp/, measure/ or flow.py. A child process puts it in, and plays the random conversations and the fixtures that
run the changed line by interpreted kernels, until one of them says something else than before; then it runs the quick
tests of the room. Those that nothing notices are listed at the end.
"""

from __future__ import annotations

import argparse
import gc
import os
import pickle
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from importlib import import_module
from pathlib import Path
from types import FunctionType

import hypothesis

from tests.mutate.ground import PACKAGE, ROOMS, ROOT, Ground
from tests.mutate.judge import functions, play_interpreted, verdict
from tests.mutate.operators import Mutant, mutants

SURVIVES = "[SURVIVES]"

MOST_SECONDS = 60
"""A mutant that takes more processor time loops for ever."""


def main() -> int:
    """Judge a sample, always the same one for a seed, and say how many were noticed."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutate", description=__doc__)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--first", type=int, default=0, help="leave out so many of the sample")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="a part of the path, as in rules/catalogue")
    parser.add_argument("--ground", type=Path, help="where the fixtures' rows are kept for the next run")
    parser.add_argument("--least", type=float, default=0.0, help="exit with 1 if fewer percent are noticed")
    parser.add_argument("--again", type=Path, help="what an earlier run printed: only what survived it")
    options = parser.parse_args()
    chosen = list(enumerate(sample(options.count, options.seed, options.only)))[options.first :]
    if options.again:
        survived = {int(line.split()[0]) for line in options.again.read_text().splitlines() if line.endswith(SURVIVES)}
        chosen = [each for each in chosen if each[0] in survived]
    ground = kept_ground(options.ground)
    known = imported()
    begun, survivors = time.monotonic(), list[Mutant]()
    total, noticed = Counter[str](), Counter[str]()
    for number, mutant in chosen:
        by = judged(mutant, ground, known)
        room = mutant.path.split("/")[1]
        total[room] += 1
        noticed[room] += bool(by)
        if not by:
            survivors.append(mutant)
        said = f"[{by.splitlines()[0][:60]}]" if by else SURVIVES
        print(f"{number:4} {mutant.path}:{mutant.line} {mutant.function}: {mutant.text}  {said}", flush=True)
    print("\n" + ", ".join(f"{room} {noticed[room]} of {total[room]}" for room in sorted(total)))
    return tell(len(chosen), survivors, time.monotonic() - begun, options.least)


def sample(count: int, seed: int, only: str = "") -> list[Mutant]:
    """So many of all mutants, in the order of the sample."""
    paths = [path for path in sources() if only in path.as_posix()]
    everything = [mutant for path in paths for mutant in mutants(path, ROOT)]
    random.Random(seed).shuffle(everything)
    return everything[:count]


def sources() -> list[Path]:
    """The files of the rooms."""
    return sorted(
        path for room in ROOMS for path in ((PACKAGE / room).rglob("*.py") if "." not in room else [PACKAGE / room])
    )


def kept_ground(path: Path | None) -> Ground:
    """What mutants are judged by; prepared by a process of its own, because it changes the runner of the rules."""
    path = path or Path(tempfile.mkdtemp()) / "ground"
    environment = {**os.environ, "TCPTRACE_TW_KERNELS": "interpreted"}
    subprocess.run([sys.executable, "-m", "tests.mutate.ground", str(path)], check=True, cwd=ROOT, env=environment)
    return Ground(**pickle.loads(path.read_bytes()))


def imported() -> dict[str, list[FunctionType]]:
    """Import all that a child needs, once, and find the functions that may be changed."""
    os.environ["TCPTRACE_TW_KERNELS"] = "interpreted"
    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)  # nobody reads the shortest example that fails
    hypothesis.settings.register_profile("mutants", deadline=None, phases=phases, database=None)
    import_module("tests.said")
    conversations = import_module("tests.conversations")
    for name in conversations.kept():
        conversations.named(name)
    play_interpreted()
    fixtures = import_module("tests.test_fixtures")
    for name in fixtures.NAMES:
        fixtures.expectation(name)
    fixtures.play_pcap(fixtures.rendered(fixtures.RULES[0].example), compiled=False)
    for path in sources():
        import_module(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))
    known = functions()
    gc.freeze()  # children do not copy what they only look at
    return known


def judged(mutant: Mutant, ground: Ground, known: dict[str, list[FunctionType]]) -> str:
    """What a child of this process noticed; empty where nothing did."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS, MOST_SECONDS))
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(1, 2)
        os.write(writing, verdict(mutant, ground, known).encode()[:1000] or b"-")
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read().decode()
    return "" if said == "-" else said or "crash"


def tell(count: int, survivors: list[Mutant], seconds: float, least: float) -> int:
    """The figures, and the exit code."""
    share = 100 * (1 - len(survivors) / max(count, 1))
    print(f"{count - len(survivors)} of {count} mutants are noticed: {share:.1f} %, in {seconds:.0f} s; survivors:")
    for mutant in sorted(survivors):
        print(f"  {mutant.path}:{mutant.line} {mutant.function}: {mutant.text}")
    return 1 if share < least else 0


if __name__ == "__main__":
    sys.exit(main())
