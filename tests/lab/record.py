"""Record situations: `python -m tests.lab.record [NAME...]`, as root on Linux.

Without names all are recorded. Each runs in a process of its own, several side
by side; a recording that fails a sanity check is not written.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import traceback

from tests.lab import check, fixture, software
from tests.lab.history import Historian
from tests.lab.lab import Lab
from tests.lab.situations import SITUATIONS

FIXTURES = pathlib.Path(__file__).resolve().parents[2] / "fixtures"


def record_one(name, fixtures):
    """Play one situation and write its fixture; returns the sentences of failed checks."""
    situation = SITUATIONS[name]
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(situation, 1 + list(SITUATIONS).index(name), pathlib.Path(folder))
        try:
            lab.record()
            lab.relay_lost = lab.relay.dropped_frames()
            historian = Historian(lab.kernel.events, is_polled=not situation.is_bulk)
            failures = check.failures(lab, historian)
            if not failures:
                print("wrote", fixture.write(lab, historian, fixtures).name)
            return failures
        finally:
            lab.remove()


def record_many(names, fixtures, jobs):
    """Record situations side by side in child processes; returns the names that failed."""
    waiting, running, failed = list(names), {}, []
    while waiting or running:
        while waiting and len(running) < jobs:
            name = waiting.pop(0)
            words = [sys.executable, "-m", "tests.lab.record", "--here", "--fixtures", str(fixtures), name]
            running[name] = subprocess.Popen(words)
        for name, process in list(running.items()):
            if process.poll() is not None:
                del running[name]
                failed += [name] if process.returncode else []
        time.sleep(0.1)
    return failed


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="situations (default: all)")
    parser.add_argument("--list", action="store_true", help="list the situations")
    parser.add_argument("--jobs", type=int, default=6, help="situations side by side (default: 6)")
    parser.add_argument("--fixtures", type=pathlib.Path, default=FIXTURES, help="where the folders go")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.list:
        for name, situation in SITUATIONS.items():
            print(f"{name:40} {situation.description}")
        return 0
    unknown = set(options.names) - set(SITUATIONS)
    if unknown:
        parser.error(f"no such situation: {', '.join(sorted(unknown))} (--list shows them)")
    if sys.platform != "linux" or os.geteuid() != 0:
        parser.error("recording needs Linux and root: network namespaces, raw sockets, tracing")
    if options.here:
        return _here(options.names[0], options.fixtures)
    names = options.names or list(SITUATIONS)
    names = [name for name in names if not _is_left_out(name)]
    bulk = [name for name in names if SITUATIONS[name].is_bulk]  # these need the machine for themselves
    failed = record_many([name for name in names if name not in bulk], options.fixtures, options.jobs)
    failed += record_many(bulk, options.fixtures, jobs=1)
    print("not written:", ", ".join(failed) or "none")
    return 1 if failed else 0


def _is_left_out(name):
    """Whether a program is missing that the situation needs; says so."""
    absent = software.missing(SITUATIONS[name].needs)
    if absent:
        print(f"left out: {name} ({', '.join(absent)} not installed)")
    return bool(absent)


def _here(name, fixtures):
    try:
        failures = record_one(name, fixtures)
    except Exception:
        traceback.print_exc()
        failures = ["the situation could not be played"]
    for sentence in failures:
        print(f"{name}: {sentence}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
