"""A process that lives long: what a run has used is gone when the run is over."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import tcptrace_tw as tw
from tcptrace_tw import pipeline
from tcptrace_tw.errors import CaptureError
from tcptrace_tw.stages import read_ahead
from tests.scenario.play import engine

CAPTURES = sorted((Path(__file__).parent.parent / "fixtures").glob("kernel-*/capture.pcap"))
SMALL = [path for path in CAPTURES if path.stat().st_size < 4000][:6]

RUNS, MOST_MB = 12, 12
"""After ``RUNS`` passes no more than ``MOST_MB`` may be in use than before. On 9d5eec7 it was 60 MB a file."""

on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def resident_mb() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) >> 10 for line in lines if line.startswith("VmRSS"))


def unreadable(folder: Path) -> list[Path]:
    """Files that fail early and late."""
    bad = {"text": b"hello there, not a capture", "cut": b"\xd4\xc3\xb2\xa1\x02\0\x04\0" + bytes(30), "empty": b""}
    for name, data in bad.items():
        (folder / name).write_bytes(data)
    return [folder / name for name in bad]


def through_python(path: Path) -> None:
    tw.analyze(path).table("findings")


def through_the_pipeline(path: Path) -> None:
    pipeline.analyze([str(path)], pipeline.Settings(), [])


WAYS: dict[str, tuple[Callable[[Path], None], bool]] = {
    "python": (through_python, False),
    "compiled": (through_the_pipeline, True),
}


@on_linux
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["readable", "unreadable"])
def test_many_files_take_no_more_memory_than_a_few(way: str, kind: str, tmp_path: Path) -> None:
    """Without the help of the garbage collector, which comes late where few large things are dropped."""
    analyse, compiled = WAYS[way]
    paths = SMALL if kind == "readable" else unreadable(tmp_path)

    def pass_over() -> None:
        for path in paths:
            try:
                analyse(path)
            except CaptureError:
                assert kind == "unreadable"

    with engine(compiled):
        pass_over()
        pass_over()
        gc.collect()
        before = resident_mb()
        gc.disable()
        try:
            for _ in range(RUNS):
                pass_over()
            after = resident_mb()
        finally:
            gc.enable()

    assert after - before < MOST_MB


@pytest.mark.parametrize("compiled", [False, True])
def test_a_run_leaves_no_garbage(compiled: bool, tmp_path: Path) -> None:
    """No circle of references: its arrays are dropped at once, also where the capture cannot be read."""
    with engine(compiled):
        for path in (SMALL[0], *unreadable(tmp_path)):
            for look in (gc.collect, gc.disable):
                with pytest.raises(CaptureError) if path != SMALL[0] else contextlib.nullcontext():
                    through_the_pipeline(path)
                look()
            left = gc.collect()
            gc.enable()

            assert left == 0, path


def test_an_error_of_the_python_interface_holds_no_array(tmp_path: Path) -> None:
    """Who collects the errors of many files would keep the memory of all their runs."""
    with pytest.raises(CaptureError) as caught:
        tw.analyze(unreadable(tmp_path)[0])

    frames = [entry.name for entry in caught.traceback]
    assert frames[1:] == ["analyze", "_analyzed", "wrapper"]
    assert caught.value.__context__ is None


def test_an_error_of_another_lane_holds_no_lane() -> None:
    """The lane that raised it is gone when its items are."""

    def source() -> object:
        raise OSError("the disk is gone")
        yield

    gc.collect()
    gc.disable()
    try:
        with pytest.raises(OSError, match="gone"):
            next(read_ahead(source()))  # type: ignore[arg-type]
        lanes = [each for each in gc.get_objects() if type(each).__name__ == "_Stage"]
    finally:
        gc.enable()

    assert lanes == []
