"""Reading ahead: the same batches in the same order, errors in their turn, and nobody left behind."""

from __future__ import annotations

import threading
from collections.abc import Generator

import pytest

from tcptrace_tw.stages import BUFFERS, read_ahead


def test_items_come_in_order() -> None:
    assert list(read_ahead(n for n in range(1000))) == list(range(1000))


def test_an_error_comes_in_its_turn() -> None:
    """What was made before it is not lost."""

    def source() -> Generator[int]:
        yield from range(3)
        raise OSError("the disk is gone")

    got = []
    with pytest.raises(OSError, match="gone"):
        got.extend(read_ahead(source()))  # extend keeps what came before
    assert got == [0, 1, 2]


def test_never_more_items_than_buffers() -> None:
    """The source may use the place of an item again when as many more have been asked for as there are buffers."""
    made = 0

    def source() -> Generator[int]:
        nonlocal made
        while made < 49:
            made += 1
            yield made

    taken = 0
    for taken in read_ahead(source()):
        assert made - taken < BUFFERS
    assert taken == 49


def test_nobody_reads_on_when_nobody_wants_more() -> None:
    ended = threading.Event()

    def source() -> Generator[int]:
        try:
            while True:
                yield 1
        finally:
            ended.set()

    items = read_ahead(source())
    assert next(items) == 1
    items.close()

    assert ended.wait(5)
    assert not [thread for thread in threading.enumerate() if thread.name == "read ahead"]
