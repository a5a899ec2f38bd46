"""Every index of a kernel is compared with its room: interpreted always, compiled on request."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any, NamedTuple

import numpy as np
import pytest

from tcptrace_tw.kernels import compiler
from tcptrace_tw.kernels.bounds import OutOfRoom
from tcptrace_tw.schema.segments import allocate, segment_at
from tcptrace_tw.tcp.store import access
from tests.compiled import needs_compiler

ROOM = 6


class Arrays(NamedTuple):
    """What the accessors of ``places`` look into."""

    newest: Any = np.zeros(ROOM, np.int32)
    released: Any = np.zeros(ROOM, np.int32)
    archive: Any = np.zeros(ROOM, np.uint16)
    conns: Any = np.zeros(ROOM, access.CONNECTION).view(np.recarray)
    out_stale: Any = np.zeros(ROOM, access.POOLS["out_stale"]).view(np.recarray)


READ = {
    "newest": access.newest_incarnation,
    "archive": access.word_at,
    "conns": access.conn_at,
    "out_stale": access.out_stale_at,
}
WRITTEN = {"newest": access.set_newest_incarnation, "released": access.set_released, "archive": access.set_word}
LAST = {"archive": ROOM - 4}
"""The last place of each: a word of the archive has four units."""

ACCESSORS = [*(f"read {name}" for name in READ), *(f"write {name}" for name in WRITTEN)]


def touch(accessor: str, index: int) -> None:
    way, name = accessor.split()
    if way == "read":
        READ[name](Arrays(), index)
    else:
        WRITTEN[name](Arrays(), index, 1)


@pytest.mark.parametrize("accessor", ACCESSORS)
def test_interpreted_kernels_stay_in_their_room(accessor: str) -> None:
    """Numpy alone would count -1 from the end."""
    name = accessor.split()[1]
    last = LAST.get(name, ROOM - 1)
    touch(accessor, 0)
    touch(accessor, last)
    for index in (-1, last + 1, -1 << 40):
        with pytest.raises(OutOfRoom, match=rf"{name}\[{index}\] is out of its room of {ROOM}"):
            touch(accessor, index)


def test_a_unit_of_the_graves_has_its_place() -> None:
    """It needs no more room than itself."""
    access.set_unit(Arrays(), ROOM - 1, 1)
    with pytest.raises(OutOfRoom):
        access.set_unit(Arrays(), ROOM, 1)


@pytest.mark.parametrize("index", [-1, 3])
def test_a_batch_has_no_segment_behind_its_last(index: int) -> None:
    with pytest.raises(OutOfRoom, match="batch"):
        segment_at(allocate(3), index)


CHECKED = """
import numpy as np
from tcptrace_tw.kernels.kinds import INTEGER, Array
from tcptrace_tw.kernels.marks import kernel
from tcptrace_tw.kernels.arrays import address_of
from tcptrace_tw.schema.segments import BATCH_KIND, allocate, segment_at
from tcptrace_tw.tcp.store import access as places
from tests.compiled import compiled
from tcptrace_tw.tcp.store.access import (
    conn_at, newest_incarnation, set_newest_incarnation, set_released, set_word, word_at,
)

@kernel
def conn(st, i): return np.int64(conn_at(st, i).id)
@kernel
def head(st, i): return newest_incarnation(st, i)
@kernel
def word(st, i): return word_at(st, i)
@kernel
def put_head(st, i): set_newest_incarnation(st, i, 7)
@kernel
def put_released(st, i): set_released(st, i, 7)
@kernel
def put_word(st, i): set_word(st, i, 7)
@kernel
def plain(values, i): values[i] = 7
@kernel
def table(values, i): return values[i, 1]
@kernel
def segment(batch, i): return np.int64(segment_at(batch, i).seq)

arrays = {name: np.zeros(6, places.POOLS.get(name, "i4")) for name in places.ADDRESSES}
arrays["archive"] = np.zeros(6, "u2")
kernel_state = np.zeros(1, places.STATE).view(np.recarray)
for name, array in arrays.items():
    kernel_state[f"{name}_at"] = address_of(array)
if places.IS_CHECKED:
    places.note_rooms(kernel_state[0], arrays)
others = {plain: np.zeros(6, np.int64), table: np.zeros((6, 2)), segment: allocate(6)}
kinds = {plain: Array(np.int64), table: Array(np.float64, ndim=2), segment: BATCH_KIND}
for function in (conn, head, word, put_head, put_released, put_word, plain, table, segment):
    call = compiled(function, kinds.get(function, places.STATE_KIND), INTEGER)
    told = []
    for index in (-1, 0, 2, 5, 6):
        try:
            call(others.get(function, kernel_state[0]), index)
            told.append("fine")
        except RuntimeError as error:
            told.append("left")
    print(function.__name__, *told)
"""

RIGHT = """\
conn left fine fine fine left
head left fine fine fine left
word left fine fine left left
put_head left fine fine fine left
put_released left fine fine fine left
put_word left fine fine left left
plain left fine fine fine left
table left fine fine fine left
segment left fine fine fine left
"""


@needs_compiler
def test_checked_machine_code_stays_in_its_room() -> None:
    """It prints which array a kernel has left, and where, and ends with an error before it writes."""
    done = subprocess.run(
        [sys.executable, "-c", CHECKED],
        env={**os.environ, "TCPTRACE_TW_KERNELS": "checked"}, capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert done.stdout == RIGHT
    for line in ("conns[-1] is out of its room of 6, in ", "released[6] is out", "archive[5] is out"):
        assert line in done.stderr
    assert "axis 0 of an array[6] is out of its room of 6" in done.stderr


def test_ordinary_machine_code_knows_no_rooms() -> None:
    """The kernel_state has no word more, and numba checks nothing: it costs nothing."""
    assert not any(name.endswith("_room") for name in access.STATE.names or ())
    assert compiler._options()["boundscheck"] is False
