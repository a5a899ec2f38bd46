"""The spool in an object store gives what one in a folder gives."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tcptrace_tw import storage
from tcptrace_tw.cluster import run, spool
from tcptrace_tw.errors import UsageError
from tcptrace_tw.storage import Object, place
from tests.cluster_runs import Here, assert_same, in_one_pass, in_parts
from tests.generate import healthy_traffic
from tests.stores import s3_store
from tests.test_cluster_parts import write

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_store() as url:
        yield url


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("ring")
    frames = healthy_traffic(5, 30)
    for n in range(4):
        write(folder / f"ring-{n}.pcap", frames[n * len(frames) // 4 : (n + 1) * len(frames) // 4])
    return sorted(map(str, folder.glob("*.pcap")))


def test_an_object_is_what_was_put(bucket: str) -> None:
    data = random.Random(1).randbytes(3 * storage.CHUNK_BYTES // 2)
    there = place(f"{bucket}/some", "deep", "object")
    assert isinstance(there, Object)
    with spool.appearing(there) as file:
        file.write(data)

    assert there.read_bytes() == data
    assert spool.is_whole(there, file.digest)
    assert not spool.is_whole(there, "0")
    assert there.ranges([[5, 10], [len(data) - 3, 3]]) == [data[5:15], data[-3:]]
    assert Object(f"{bucket}/some").inside() == [there]
    there.copy_to(Object(f"{bucket}/other"))
    storage.remove_all(f"{bucket}/some")
    assert not storage.exists(there)
    assert spool.read_note(there) is None
    with pytest.raises(FileNotFoundError, match="there is no such object"):
        there.read_bytes()


def test_what_fails_in_the_middle_leaves_no_object(bucket: str) -> None:
    def write_half() -> None:
        with spool.appearing(place(bucket, "half")) as file:
            file.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()

    assert not storage.exists(place(bucket, "half"))


def test_blocks_are_asked_for_together() -> None:
    sizes = [storage.CHUNK_BYTES // 2, storage.CHUNK_BYTES // 2, 1, storage.CHUNK_BYTES * 2, 3]
    places = [[n, size, 1] for n, size in enumerate(sizes)]

    assert list(spool.together(places)) == [places[:2], places[2:3], places[3:4], places[4:]]


def test_the_spool_may_be_in_a_store(bucket: str, files: list[str]) -> None:
    means = run.Means(executor=Here(), workers=1, spool=f"{bucket}/spool", parts=4)

    assert_same(in_parts(files, 4, means=means), in_one_pass(files))
    assert Object(f"{bucket}/spool").inside() == []


def test_what_is_in_the_store_is_not_done_again(bucket: str, files: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    means = run.Means(executor=Here(), workers=1, spool=f"{bucket}/kept", parts=4, keep_spool=True)
    first = in_parts(files, 4, means=means)
    (note,) = [each for each in Object(f"{bucket}/kept").inside() if each.url.endswith("map/000001.json")]
    note.remove()
    put: list[str] = []
    monkeypatch.setattr(Object, "put", lambda self, data: put.append(self.name) or PUT(self, data))

    assert_same(in_parts(files, 4, means=means), first)
    assert {name for name in put if "task" not in name} == {"plan.json", "000001.json", "000001.segments"}


PUT = Object.put


def test_a_store_that_is_not_there_is_said(bucket: str, files: list[str]) -> None:
    with pytest.raises(UsageError, match=r"--spool s3://nobucket/x/.*: cannot be written: .*no such bucket"):
        in_parts(files, 4, means=run.Means(executor=Here(), workers=1, spool="s3://nobucket/x"))


def test_captures_in_a_store_are_told_apart_by_their_marks(bucket: str, files: list[str], tmp_path: Path) -> None:
    """The same command is another plan when an object has changed."""
    from tcptrace_tw.cluster.plan import _identity

    there = Object(f"{bucket}/capture.pcap")
    storage.bring(Path(files[0]), there)
    before = _identity(there.url)
    storage.bring(Path(files[1]), there)

    assert before != _identity(there.url)
    assert _identity(f"{bucket}/nothing") == [f"{bucket}/nothing"]
