"""Folders and globs in a store are searched for captures as those of this machine are."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tcptrace_tw as tw
from tcptrace_tw import storage
from tcptrace_tw.capture import object_search, ring
from tcptrace_tw.errors import CaptureError
from tcptrace_tw.storage import Object
from tests.generate import healthy_traffic
from tests.stores import s3_store
from tests.test_cluster_parts import write

NAMES = (
    "2026-11-01/a.pcap", "2026-11-01/b9.pcap", "2026-11-01/b10.pcap", "2026-11-02/deep/c.pcap", "2026-12-01/d.pcap",
    "2026-11-01/.hidden.pcap", "2026-11-02/notes.txt", "one[1].pcap", "other",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same files in a folder."""
    folder = tmp_path_factory.mktemp("archive")
    frames = healthy_traffic(5, 20)
    for n, name in enumerate(NAMES):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("txt"):
            path.write_text("no capture\n" * 9)
        else:
            write(path, frames[n * len(frames) // len(NAMES) : (n + 1) * len(frames) // len(NAMES)])
    return folder


@pytest.fixture(scope="module")
def bucket(folder: Path) -> Iterator[str]:
    with s3_store() as url:
        for name in NAMES:
            storage.bring(folder / name, Object(f"{url}/archive/{name}"))
        object_search.is_search.cache_clear()
        yield f"{url}/archive"
    object_search.is_search.cache_clear()


@pytest.mark.parametrize("pattern", [
    "2026-11-01", "2026-11-01/", "2026-11-*", "2026-11-*/*.pcap", "2026-11-01/b?.pcap", "**/*.pcap", "2026-1[12]-01/*",
    "*/deep", "**/deep/*", "2026-11-02/**", "2026-11-01/.*", "*.pcap", "one[1].pcap", "", "*",
    "*/", "2026-11-02/*/", "**/",
])  # fmt: skip
def test_a_store_is_searched_like_a_folder(pattern: str, bucket: str, folder: Path) -> None:
    here, there = f"{folder}/{pattern}", f"{bucket}/{pattern}"
    wanted, found = ring.find([here]), ring.find([there])

    assert ring.is_search(there) == ring.is_search(here)
    assert [name.removeprefix(f"{bucket}/") for name in found.files] == [
        str(Path(name).relative_to(folder)) for name in wanted.files
    ]
    assert found.first_times == wanted.first_times
    assert [remark.replace(bucket, str(folder)) for remark in found.remarks] == wanted.remarks


def test_an_object_that_is_named_is_not_searched(bucket: str) -> None:
    assert ring.find([f"{bucket}/other"]).files == [f"{bucket}/other"]
    assert not ring.is_search("https://host/a*b.pcap")


@pytest.mark.parametrize(("name", "words"), [
    ("s3://nobucket/*.pcap", "s3://nobucket/*.pcap: cannot be searched: .*no such bucket"),
    ("/2026-10-*/*.pcap", ": no capture found, there is no file"),
    ("/2026-11-02/*.txt", ": no capture found, its only file is not one"),
])  # fmt: skip
def test_what_is_not_found_is_said(name: str, words: str, bucket: str) -> None:
    with pytest.raises(CaptureError, match=words.replace("*", r"\*", 1) if "://" in name else words):
        ring.find([name if "://" in name else bucket + name])


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_captures_of_a_glob_are_analysed(jobs: str, bucket: str, folder: Path, tmp_path: Path) -> None:
    for name, where in (("here", str(folder)), ("there", bucket)):
        words = ["analyze", f"{where}/2026-11-*/**/*.pcap", "-o", str(tmp_path / name), "-q", "--jobs", jobs]
        done = subprocess.run([sys.executable, "-m", "tcptrace_tw", *words], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
    here, there = (tw.load(tmp_path / name) for name in ("here", "there"))

    for table in ("connections", "transitions", "findings"):
        assert sorted(map(repr, there.table(table).to_pylist())) == sorted(map(repr, here.table(table).to_pylist()))
