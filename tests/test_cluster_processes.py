"""Workers are copies of the process that starts them where that is safe, and have nothing of it then but its memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tcptrace_tw.cluster import processes, workers
from tcptrace_tw.unfinished import LISTENER
from tests.cluster_runs import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no process is copied")

IN_A_PROCESS = {**os.environ, "PYTHONPATH": os.pathsep.join([ROOT, *sys.path])}


def said(script: str) -> list[str]:
    """What a script prints, in a process of its own: this one has threads."""
    done = subprocess.run([sys.executable, "-c", script], env=IN_A_PROCESS, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split()


def test_a_process_with_another_thread_is_not_copied() -> None:
    def state(name: str) -> bool:
        over = threading.Event()
        thread = threading.Thread(target=over.wait, name=name)
        thread.start()
        try:
            return processes.may_fork()
        finally:
            over.set()
            thread.join()

    assert not state("some")
    if threading.active_count() == 1:
        assert state(LISTENER)
        assert processes.may_fork()


def test_a_copy_has_what_was_imported_and_no_file_that_was_open() -> None:
    script = (
        "import os, sys, tempfile\n"
        "from tcptrace_tw.cluster.workers import Workers\n"
        "files = [tempfile.TemporaryFile() for _ in range(3)]\n"
        "sys.made_here = 7\n"
        "def look():\n"
        "    links = {n: os.readlink(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd')[:-1]}\n"
        "    return getattr(sys, 'made_here', 0), sum('deleted' in link for link in links.values()), len(links)\n"
        "with Workers(3) as pool:\n"
        "    print(*[pool.submit(look).result() for _ in range(2)][-1])\n"
    )
    made, files, descriptors = map(int, said(script))

    assert (made, files) == (7, 0)
    assert descriptors <= 5  # stdin, stdout and stderr; two pipes


def test_copies_are_refused_where_something_has_threads_of_its_own() -> None:
    script = (
        "from tcptrace_tw.cluster.workers import Workers\n"
        "with Workers(1, may_be_copies=False) as pool:\n"
        "    print(len(pool.pids))\n"
    )

    assert said(script) == ["0"]  # none is there before there is something to do


def test_a_copy_that_has_ended_is_replaced_by_a_process_that_is_started() -> None:
    script = (
        "import os, signal\n"
        "from concurrent.futures import BrokenExecutor\n"
        "from tcptrace_tw.cluster.workers import Workers\n"
        "with Workers(1) as pool:\n"
        "    first = pool.submit(os.getpid).result()\n"
        "    assert [first] == pool.pids\n"
        "    os.kill(first, signal.SIGKILL)\n"
        "    try:\n"
        "        pool.submit(os.getpid).result()\n"
        "    except BrokenExecutor as error:\n"
        "        print(str(error).replace(' ', '-'))\n"
        "    print(pool.submit(os.getpid).result() not in (first, os.getpid()))\n"
    )

    assert said(script) == ["a-worker-ended-with-status--9", "True"]


def test_how_a_copy_has_ended_is_known(tmp_path: Path) -> None:
    process = processes.forked(lambda: os._exit(5))
    assert process.wait() == process.poll() == process.returncode == 5
    process.kill()  # nothing to do

    process = processes.forked(signal.pause)
    assert process.poll() is None
    process.kill()
    assert process.wait() == -signal.SIGKILL
    for each in (process.stdin, process.stdout):
        each.close()


def test_a_worker_is_not_this_process() -> None:
    with workers.Workers(2) as pool:
        assert pool.submit(os.getpid).result() != os.getpid()
