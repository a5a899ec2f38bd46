"""``python -m tests.fuzz --count N``: run mutated captures and print the count really run."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from tests.fuzz import targets
from tests.fuzz.runner import run


def main() -> int:
    """Run ``--count`` cases, keep those that fail, and say how many were run."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--run", type=int, default=0, help="another run has other cases")
    parser.add_argument("--target", choices=targets.TARGETS, default="read")
    parser.add_argument("--seeds", type=Path, help="a folder of more captures to start from")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seconds", type=int, default=0, help="stop after that time; 0: at the last case")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-failures"), help="where failing cases are written")
    options = parser.parse_args()
    begun = time.monotonic()
    done, failures, most = run(options)
    seconds = time.monotonic() - begun
    for failure in failures:
        print(failure)
    print(f"{done} cases run through {options.target} in {seconds:.0f} s, {len(failures)} failed")
    print("costliest: " + ", ".join(f"case {number} {figure:.1f} {name}" for name, (figure, number) in most.items()))
    if done < options.count and not failures:
        print(
            f"go on with --first {options.first + done // options.jobs * options.jobs} --count {options.count - done}"
        )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
