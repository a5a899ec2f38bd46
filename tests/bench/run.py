"""Times whole processes on the workloads, in turn, and prints medians: ours beside what people use today.

``python -m tests.bench.run short-100k bulk --rounds 5 --dir /var/tmp/bench``
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from tests.bench.workloads import Written, generate, workloads

CONTROL = "tcp[tcpflags] & (tcp-syn|tcp-fin|tcp-rst) != 0"
DPKT = """
import dpkt, sys
for time, frame in dpkt.pcap.Reader(open(sys.argv[1], "rb")):
    tcp = dpkt.ethernet.Ethernet(frame).data.data
    tcp.seq, dpkt.tcp.parse_opts(tcp.opts)
"""
UNPACK = """
import sys
from tcptrace_tw.capture.source import open_stream
room = memoryview(bytearray(1 << 20))
with open_stream(sys.argv[1]) as stream:
    while stream.readinto(room):
        pass
"""
READ = """
import sys
from tcptrace_tw.capture.reader import Reader
from tcptrace_tw.capture.source import open_stream
for batch in Reader(open_stream(sys.argv[1]), compiled=True).batches():
    pass
"""


class Cost(NamedTuple):
    """One run of one tool."""

    seconds: float
    cpu_seconds: float
    """User and system: less moved by what else the machine does."""
    peak_mb: float
    is_good: bool


def commands(capture: str, folder: str) -> dict[str, list[str]]:
    """The tools, each as a command line over one capture."""
    ours = [sys.executable, "-m", "tcptrace_tw"]
    return {
        "unpack alone": [sys.executable, "-c", UNPACK, capture],
        "tcpdump filter": ["tcpdump", "-r", capture, "-w", "/dev/null", CONTROL],
        "ours: capture only": [sys.executable, "-c", READ, capture],
        "ours: report": [*ours, "report", capture],
        "ours: analyze": [*ours, "analyze", capture, "-o", f"{folder}/tables"],
        "tcptrace -n": ["tcptrace", "-n", capture],
        "tshark": ["tshark", "-n", "-q", "-z", "conv,tcp", "-r", capture],
        "dpkt loop": [sys.executable, "-c", DPKT, capture],
    }


def packed(written: Written, codec: str) -> Written:
    """The capture, packed with ``gzip`` or ``zstd`` beside it."""
    suffix = {"gzip": ".gz", "zstd": ".zst"}[codec]
    path = written.path + suffix
    if not os.path.exists(path):
        with open(f"{path}.part", "wb") as out:
            subprocess.run([codec, "-c", "-3", written.path], stdout=out, check=True)
        os.replace(f"{path}.part", path)
    return replace(written, path=path)


def measure(command: Sequence[str], limit_s: float) -> Cost:
    """Run a command with its output thrown away; wall time and peak memory of the process."""
    if command[-1].endswith("/tables"):
        shutil.rmtree(command[-1], ignore_errors=True)
    begin = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = begin + limit_s
    pid, status, usage = os.wait4(child.pid, os.WNOHANG)
    while pid == 0:
        if time.perf_counter() > deadline:
            child.kill()
            _, status, usage = os.wait4(child.pid, 0)
            break
        time.sleep(0.001)
        pid, status, usage = os.wait4(child.pid, os.WNOHANG)
    seconds = time.perf_counter() - begin
    child.returncode = status
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, status == 0)


def compare(written: Written, tools: Sequence[str], rounds: int, limit_s: float, folder: str) -> None:
    """Run the tools in turn, one round after the other, and print one line for each."""
    is_packed = not written.path.endswith(".pcap")
    chosen = {
        name: line
        for name, line in commands(written.path, folder).items()
        if name in tools and (is_packed or name != "unpack alone")
    }
    costs: dict[str, list[Cost]] = {name: [] for name in chosen}
    for number in range(rounds + 1):  # the first round warms the caches and is not counted
        for name, line in chosen.items():
            is_out = bool(costs[name]) and not costs[name][-1].is_good
            if shutil.which(line[0]) is None or is_out:
                continue
            cost = measure(line, limit_s)
            if number or not cost.is_good:
                costs[name].append(cost)
    report(written, costs)


def report(written: Written, costs: dict[str, list[Cost]]) -> None:
    """Print medians; the ratio is to the first tool that works, the median of the ratios of each round."""
    size = os.path.getsize(written.path)
    what = f"{written.segments:,} segments, {written.connections:,} connections, {size:,} bytes"
    print(f"\n{Path(written.path).name}: {what}")
    newest = f"{'tool':20} {'seconds':>8} {'spread':>13} {'ratio':>6} {'cpu s':>7} {'ratio':>6}"
    print(f"{newest} {'M seg/s':>8} {'peak MB':>8}")
    base = next((runs for runs in costs.values() if runs and runs[-1].is_good), [])
    for name, runs in costs.items():
        if not runs or not runs[-1].is_good:
            print(f"{name:20} {'not here' if not runs else 'failed or took too long'}")
            continue
        seconds = [run.seconds for run in runs]
        ratio = _ratio([run.seconds for run in runs], [run.seconds for run in base])
        cpu = [run.cpu_seconds for run in runs]
        cpu_ratio = _ratio(cpu, [run.cpu_seconds for run in base])
        spread = f"{min(seconds):.2f}-{max(seconds):.2f}"
        middle = statistics.median(seconds)
        peak = max(run.peak_mb for run in runs)
        line = f"{name:20} {middle:8.3f} {spread:>13} {ratio:6.2f} {statistics.median(cpu):7.3f} {cpu_ratio:6.2f}"
        print(f"{line} {written.segments / middle / 1e6:8.2f} {peak:8.0f}", flush=True)


def _ratio(ours: list[float], base: list[float]) -> float:
    pairs = list(zip(ours, base, strict=False))
    return statistics.median(a / b for a, b in pairs) if pairs else float("nan")


def main() -> None:
    """Read the command line, write what is missing, and compare."""
    names = list(workloads())
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workloads", nargs="*", default=["short-100k", "bulk", "mixed"], help=", ".join(names))
    parser.add_argument("--dir", type=Path, help="where the captures are kept; default: a folder that is removed again")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="0.01 makes every workload a hundred times smaller")
    parser.add_argument("--limit", type=float, default=120.0, help="seconds that one run may take")
    parser.add_argument("--packed", choices=["gzip", "zstd"], action="append", default=[], help="also packed so")
    parser.add_argument("--tools", nargs="+", default=list(commands("", ""))[:6], help="default: all but the slow ones")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.dir or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        for name in options.workloads:
            written = generate(name, folder, options.scale)
            for capture in (written, *(packed(written, codec) for codec in options.packed)):
                compare(capture, options.tools, options.rounds, options.limit, scratch)


if __name__ == "__main__":
    main()
