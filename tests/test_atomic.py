"""Partial files and folders: who makes them, who sweeps them away, and what takes their place."""

import fcntl
import os

import pytest

from tcptrace_tw import atomic
from tcptrace_tw.atomic import AtomicFile, Partial, identity, is_partial, make_folder, open_descriptor, sweep
from tcptrace_tw.errors import UsageError
from tcptrace_tw.report.tables.folder import Folder


def test_without_commit_nothing_changes(tmp_path):
    (tmp_path / "out").write_text("old")
    with AtomicFile(tmp_path / "out") as file:
        file.write("new")
    kept = (tmp_path / "out").read_text()
    with AtomicFile(tmp_path / "out") as file:
        file.write(b"new")
        file.commit()

    assert (kept, (tmp_path / "out").read_text()) == ("old", "new")
    assert os.listdir(tmp_path) == ["out"]


def test_a_name_that_is_no_utf_8_is_no_bug(tmp_path):
    with AtomicFile(tmp_path / "out") as file:
        file.writelines(["a\udcff", "b"])
        file.commit()

    assert (tmp_path / "out").read_bytes() == b"a?b"


def test_a_partial_is_swept_once_its_maker_is_gone(tmp_path):
    names = [".out.tw-0123456789abcdef.partial", ".dir.tw-0123456789abcdef.partial"]
    (tmp_path / names[0]).write_text("half")
    (tmp_path / names[1] / "inside").mkdir(parents=True)
    (tmp_path / ".mine.partial").write_text("not ours")
    os.symlink(tmp_path / ".mine.partial", tmp_path / ".link.tw-0123456789abcdef.partial")
    held = os.open(tmp_path / names[0], os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    sweep(str(tmp_path))
    while_held = sorted(os.listdir(tmp_path))
    os.close(held)
    sweep(str(tmp_path))

    assert while_held == [".link.tw-0123456789abcdef.partial", ".mine.partial", names[0]]
    assert sorted(os.listdir(tmp_path)) == [".link.tw-0123456789abcdef.partial", ".mine.partial"]


def test_a_folder_that_is_swept_before_it_is_locked_is_made_again(tmp_path):
    made = []

    def make(path):
        made.append(path)
        descriptor = make_folder(path)
        if len(made) < 3:
            os.rmdir(path)
        return descriptor if len(made) != 1 else os.close(descriptor)

    partial = Partial(str(tmp_path), "out", make)

    assert (len(made), partial.path) == (3, made[2])
    assert all(is_partial(os.path.basename(path)) for path in made)
    partial.discard()
    assert os.listdir(tmp_path) == []


def test_an_end_that_comes_before_a_with_removes_what_was_begun(tmp_path):
    file = AtomicFile(tmp_path / "out")
    begun = os.listdir(tmp_path)
    atomic.discard_pending()

    assert (len(begun), os.listdir(tmp_path)) == (1, [])
    with file:
        pass


def test_a_planted_file_is_not_written(monkeypatch, tmp_path):
    """Where even the random name is known: a link of that name is not followed."""
    (tmp_path / "precious").write_text("precious")
    monkeypatch.setattr(os, "urandom", bytes)
    os.symlink("precious", tmp_path / f".out.tw-{'00' * 8}.partial")

    with pytest.raises(UsageError, match="File exists"):
        AtomicFile(tmp_path / "out")

    assert (tmp_path / "precious").read_text() == "precious"
    assert sorted(os.listdir(tmp_path)) == [f".out.tw-{'00' * 8}.partial", "precious"]


def test_paths_of_one_file_are_identical(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkdir("d")
    (tmp_path / "a").write_text("")
    os.link("a", "d/hard")
    os.symlink("../a", "d/link")
    os.symlink("d/new", "dangling")
    os.symlink("d", "e")

    assert len({identity(path) for path in ("a", "./a", "d/../a", "d/hard", "d/link", str(tmp_path / "e/link"))}) == 1
    assert len({identity(path) for path in ("dangling", "d/new", "e/new", str(tmp_path / "d/new"))}) == 1
    assert len({identity(path) for path in ("no/way/out", "no/./way/out", "e/../no/way/out")}) == 1
    assert len({identity(path) for path in ("a", "nowhere/../a", "d/nowhere/../hard")}) == 1
    assert len({identity(path) for path in ("a", "d", "d/new", "new", "no/way", "no/way/out")}) == 6


def test_a_way_through_a_folder_that_is_not_there_is_no_way(tmp_path, monkeypatch):
    """The system takes no such path, so it must not be shortened to one of a file that is there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "precious").write_text("precious")
    os.symlink("nowhere/../precious", "link")

    for target in ("nowhere/../precious", "link", "nowhere/..", str(tmp_path / "nowhere/../new")):
        with pytest.raises(UsageError, match="cannot be written"):
            AtomicFile(target)

    assert (tmp_path / "precious").read_text() == "precious"
    assert sorted(os.listdir(tmp_path)) == ["link", "precious"]


@pytest.mark.parametrize("number", ["9" * 20, "2147483648", "9" * 5000, "٣", "²", "007", "-1"])
def test_what_is_no_number_of_a_descriptor_is_no_open_file(number):
    assert open_descriptor(f"/dev/fd/{number}") is None
    with pytest.raises(UsageError, match="cannot be written"):
        AtomicFile(f"/dev/fd/{number}")


def test_a_folder_whose_name_has_a_null_byte_cannot_be_written():
    with pytest.raises(UsageError, match="null byte"):
        Folder("a\0b")
