"""Workers may be lost, and an analysis may be begun again: what comes out is the same, and nothing is left behind."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import tcptrace_tw as tw
from tcptrace_tw.capture.source import Stream, open_stream
from tcptrace_tw.cluster import run, tasks, workers
from tcptrace_tw.cluster.plan import Piece, Plan
from tcptrace_tw.errors import CaptureError, UsageError
from tests.cluster_runs import ROOT, Here, assert_same, in_one_pass, in_parts, is_alive, start, wait_for
from tests.generate import healthy_traffic
from tests.test_cluster_parts import write
from tests.test_memory_bound import flood


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    frames = healthy_traffic(5, 30)
    for n in range(4):
        write(tmp_path / f"ring-{n}.pcap", frames[n * len(frames) // 4 : (n + 1) * len(frames) // 4])
    return sorted(map(str, tmp_path.glob("*.pcap")))


def test_a_worker_that_is_killed_costs_its_task_only(files: list[str], tmp_path: Path) -> None:
    pool = workers.Workers(2)

    def kill_one() -> None:
        wait_for(lambda: pool.pids)
        os.kill(pool.pids[0], signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    means = run.Means(executor=pool, workers=2, spool=str(tmp_path / "spool"), parts=4)
    found = in_parts(files, 4, means=means)
    killer.join()
    pool.shutdown()

    assert_same(found, in_one_pass(files))


def test_a_task_whose_workers_die_again_and_again_is_given_up(files: list[str], tmp_path: Path) -> None:
    class Broken(Here):
        def submit(self, *arguments: object, **options: object):  # type: ignore[no-untyped-def]
            from concurrent.futures import BrokenExecutor, Future

            future: Future[object] = Future()
            future.set_exception(BrokenExecutor("killed"))
            return future

    with pytest.raises(UsageError, match=r"worker of one task \(\w+ \d+\) was lost 4 times"):
        in_parts(files, 4, means=run.Means(executor=Broken(), workers=1, spool=str(tmp_path / "spool")))


def test_what_was_done_is_not_done_again(files: list[str], tmp_path: Path) -> None:
    """As after the death of the client: the second run finds all but one note, and makes the same of it."""
    spool = tmp_path / "spool"
    means = run.Means(executor=Here(), workers=1, spool=str(spool), parts=4, keep_spool=True)
    first = in_parts(files, 4, means=means)
    (folder,) = spool.iterdir()
    notes = sorted(folder.glob("*/*.json"))
    before = {path: path.read_bytes() for path in notes}
    made = {path: path.stat().st_mtime_ns for path in folder.glob("map/*.segments")}
    (folder / "map" / "000001.json").unlink()
    (folder / "reduce" / "002.connections").write_bytes(b"spoilt")

    assert_same(in_parts(files, 4, means=means), first)
    again = {path for path, when in made.items() if path.stat().st_mtime_ns != when}
    assert {path.name for path in again} == {"000001.segments"}
    assert {path: path.read_bytes() for path in notes} == before


def test_the_spool_goes_when_all_is_done(files: list[str], tmp_path: Path) -> None:
    in_parts(files, 2, means=run.Means(executor=Here(), workers=1, spool=str(tmp_path / "spool"), parts=2))

    assert list((tmp_path / "spool").iterdir()) == []


def test_workers_end_with_the_process_that_started_them() -> None:
    """However it ends, and in the middle of a task."""
    script = (
        "import os, sys, time\n"
        "from tcptrace_tw.cluster.workers import Workers\n"
        "pool = Workers(2)\n"
        "futures = [pool.submit(time.sleep, 600) for _ in range(2)]\n"
        "while len(pool.pids) < 2: time.sleep(0.02)\n"
        "time.sleep(0.5)\n"
        "print(*pool.pids, flush=True)\n"
        "os._exit(0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    pids = [int(word) for word in done.stdout.split()]

    assert len(pids) == 2
    wait_for(lambda: not any(is_alive(pid) for pid in pids))


@pytest.mark.parametrize("arguments", [
    ["--keep-spool"], ["--cluster", "tcp://127.0.0.1:1"], ["--cluster", "tcp://127.0.0.1:1", "--spool", "s", "-j", "2"],
])  # fmt: skip
def test_options_that_do_not_go_together(arguments: list[str], files: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tcptrace_tw", "analyze", *files, "-o", str(tmp_path / "out"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": ROOT})

    assert done.returncode == 2
    assert done.stderr.startswith("tcptrace-tw: --")
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_tables_that_parts_write_are_those_of_one_pass(files: list[str], tmp_path: Path) -> None:
    """By the command line, with two processes; a second run replaces the folder."""
    from tcptrace_tw import load

    def written(name: str, *more: str) -> dict[str, list[str]]:
        command = [sys.executable, "-m", "tcptrace_tw", "analyze", *files, "-o", str(tmp_path / name), "-q", *more]
        subprocess.run(command, check=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": ROOT})
        trace = load(tmp_path / name)
        tables = ("connections", "transitions", "time_wait", "reuses", "findings", "services", "capture")
        return {table: sorted(map(repr, trace.table(table).to_pylist())) for table in tables}

    whole = written("one")
    assert written("two", "--jobs", "2") == whole
    assert (tmp_path / "two" / "connections.parquet" / "part-000.parquet").is_file()
    assert written("two", "--filter", "port 80", "--jobs", "2") == written("one", "--filter", "port 80")
    assert written("two") == whole


@pytest.mark.slow
def test_a_cluster_of_dask_does_the_same(files: list[str], tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    from tcptrace_tw.cluster.dask_cluster import connected

    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50) as cluster,
        connected(cluster.scheduler_address) as (executor, size),
    ):
        assert size == 2
        means = run.Means(executor=executor, workers=size, spool=str(tmp_path / "spool"), parts=4)
        found = in_parts(files, 4, means=means)

    assert_same(found, in_one_pass(files))


def test_a_worker_imports_nothing_from_the_folder_that_it_is_started_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of captures may come from anybody."""
    for name in ("json", "pickle", "tcptrace_tw"):
        (tmp_path / f"{name}.py").write_text("open('taken', 'w')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    with workers.Workers(1) as pool:
        assert pool.submit(os.getcwd).result() == str(tmp_path)

    assert not (tmp_path / "taken").exists()


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_file_that_does_not_exist_is_told_as_in_one_pass(tmp_path: Path, jobs: str) -> None:
    words = [sys.executable, "-m", "tcptrace_tw", "analyze", "nofile.pcap", "-o", str(tmp_path / "out"), "--jobs", jobs]
    done = subprocess.run(words, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (3, "tcptrace-tw: nofile.pcap: there is no such file; check the path\n")


def begun(files: list[str], spool: Path, parts: int) -> set[str]:
    """What a run leaves that has only dealt the files."""

    class Ends(Here):
        def submit(self, *arguments: Any, **options: Any) -> Any:
            if arguments[1] is tasks.reduce_part:
                raise KeyboardInterrupt
            return super().submit(*arguments, **options)

    with pytest.raises(KeyboardInterrupt):
        in_parts(files, parts, means=run.Means(executor=Ends(), workers=2, spool=str(spool), parts=parts))
    return {path.name for path in spool.iterdir()}


@pytest.mark.parametrize(("workers", "is_taken_up"), [(1, True), (2, True), (3, True), (8, True), (9, False)])
def test_another_number_of_workers_goes_on_with_what_is_there(
    workers: int, is_taken_up: bool, files: list[str], tmp_path: Path
) -> None:
    """If it has a part for each; if not, it is removed when all is done."""
    spool = tmp_path / "spool"
    (left,) = begun(files, spool, 8)
    other = spool / "tcptrace-tw-of-something-else-8"
    other.mkdir()
    made = {path: path.stat().st_mtime_ns for path in (spool / left / "map").iterdir()}
    seen = set[str]()

    class Looks(Here):
        def submit(self, *arguments: Any, **options: Any) -> Any:
            done = super().submit(*arguments, **options)
            seen.update(path.name for path in spool.iterdir() if path != other)
            if is_taken_up:
                assert {path: path.stat().st_mtime_ns for path in (spool / left / "map").iterdir()} == made
            return done

    means = run.Means(executor=Looks(), workers=workers, spool=str(spool))
    assert_same(in_parts(files, 8, means=means), in_one_pass(files))
    assert len(seen) == 2 - is_taken_up
    assert list(spool.iterdir()) == [other]


def test_a_spool_of_a_run_that_forgot_for_want_of_memory_is_not_believed(tmp_path: Path) -> None:
    """With more memory, whoever follows the advice gets what one pass with that memory gives."""
    (tmp_path / "a.pcap").write_bytes(flood(12_000))
    files, means = [str(tmp_path / "a.pcap")], run.Means(
        executor=Here(), workers=1, spool=str(tmp_path / "spool"), parts=2, keep_spool=True
    )  # fmt: skip
    small = in_parts(files, 2, means=means, max_memory="1M")

    assert "CP013" in "".join(small[0]["findings"])
    assert_same(in_parts(files, 2, means=means), in_one_pass(files))


def test_a_spool_is_found_again_by_another_choice_of_rows(files: list[str], tmp_path: Path) -> None:
    spool = str(tmp_path / "spool")

    def counted(out: str, *options: str) -> int:
        done = start("analyze", *files, "-o", str(tmp_path / out), "-q", *options, stderr=subprocess.PIPE)
        assert done.wait() == 0, done.stderr
        return len(tw.load(tmp_path / out).connections)

    everything = counted("all", "--jobs", "2", "--spool", spool, "--keep-spool")
    some = counted("some", "--jobs", "2", "--spool", spool, "--keep-spool", "--filter", "closed by server")

    assert some == counted("one", "--filter", "closed by server")
    assert 0 < some < everything
    assert counted("later", "--jobs", "2", "--spool", spool, "--until", "+2s") == counted("at-once", "--until", "+2s")


@pytest.mark.parametrize("name", ["/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"])
def test_a_file_as_stdin_is_a_file_for_all_workers(name: str, files: list[str]) -> None:
    """In each of them the name means another file."""
    printed = []
    for arguments in ((name, "--jobs", "2"), (name,)):
        with open(files[0], "rb") as capture:
            done = start("report", *arguments, "-q", "--json", stdin=capture, stdout=subprocess.PIPE)
        said, _ = done.communicate(timeout=120)
        assert done.returncode in (0, 3)
        printed.append(json.loads(said)["connections"])

    assert printed[0] == printed[1]


@pytest.mark.parametrize("jobs", [0, -1, 2.0, "2", None])
def test_jobs_are_a_whole_number_or_an_executor(jobs: Any, files: list[str]) -> None:
    with pytest.raises(UsageError, match=r"jobs: .*give a whole number, 1 or more, or an executor"):
        tw.analyze(files, jobs=jobs)


def test_a_spool_without_room_is_named(files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "some/file")

    monkeypatch.setattr(tasks, "write_block", full)

    with pytest.raises(UsageError, match=r"--spool .*/spool/.*: cannot be written: no space left on device; name a"):
        in_parts(files, 2, spool=str(tmp_path / "spool"))


def test_relative_names_are_those_of_the_client(
    files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker of a cluster runs in another folder; and what could not be read there is tried again."""
    (tmp_path / "elsewhere").mkdir()
    names, spool = [Path(name).name for name in files], str(tmp_path / "spool")

    class Elsewhere(Here):
        def submit(self, *arguments: Any, **options: Any) -> Any:
            with contextlib.chdir(tmp_path / "elsewhere"):
                return super().submit(*arguments, **options)

    means = run.Means(executor=Elsewhere(), workers=1, spool=spool, parts=2, keep_spool=True)
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Plan, "place_of", lambda plan, file: plan.files[file])
        with pytest.raises(CaptureError, match="there is no such file"):
            in_parts(names, 2, means=means)

    assert_same(in_parts(names, 2, means=means), in_one_pass(names))


def test_parts_are_tracked_again_when_a_file_can_be_read_at_last(
    files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was tracked without it is whole, but of another task."""
    means = run.Means(executor=Here(), workers=1, spool=str(tmp_path / "spool"), parts=2, keep_spool=True)

    def refuses_one(name: str, piece: Piece) -> Stream:
        if name == files[1]:
            raise CaptureError(f"{name}: cannot be read")
        return open_stream(name)

    with monkeypatch.context() as patch:
        patch.setattr(tasks, "_open", refuses_one)
        without = in_parts(files, 2, means=means)
    whole = in_one_pass(files)

    assert len(without[0]["transitions"]) < len(whole[0]["transitions"])
    assert_same(in_parts(files, 2, means=means), whole)
