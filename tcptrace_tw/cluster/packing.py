"""Packs rows into blocks in which a row takes fewer bytes, and makes rows of any of them again, in any order.

A row is taken as words of eight bytes. A word is stored as what it is above the least of its block, in as few bytes as
that takes: one that is the same in all rows takes none. Every block but the last has ``BLOCK`` rows, so a row is found
by its number.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tcptrace_tw.kernels.kinds import INTEGER, Array, bundle
from tcptrace_tw.kernels.marks import entry, inlined, kernel
from tcptrace_tw.schema.segments import prefetch

BLOCK_BITS = 12
BLOCK = 1 << BLOCK_BITS
"""Rows of a block: they fit into the second-level cache with what is made of them."""

PIECE = 256
"""Rows that are gone through together, word by word: they stay in the first-level cache."""

BASE, WIDTH, PLACE = range(3)
"""What is written of each word of a block: its least value, the bytes that it takes, and where in a packed row."""

LEAST, MOST = BASE, PLACE
"""What stands there before that is decided."""

LOWEST, SHIFT, MASK, ITEM, LIMITS = range(5)
"""By what the words of a block are read: the least value, where in an item of the packed row the rest of it is, by how
many bits and which ones, and which item that is. Of the whole block: its first item, and the items of a packed row.
"""

AHEAD = 12
"""So many rows before it is read a packed row is fetched: rows of one connection are far from each other."""

_MASKS = np.array([(1 << 8 * width) - 1 for width in range(8)] + [-1])
"""By the width of a word: its bits."""

LEAST_NUMBER, MOST_NUMBER = -(1 << 63), (1 << 63) - 1
FAR = 1 << 33
"""Half a distance from which on words are stored as they are: the distance itself may be none of 64 bits."""


class Memory(NamedTuple):
    """The same bytes as items of each width."""

    eight: Any
    four: Any
    two: Any
    one: Any


MEMORY_KIND = bundle(
    Memory, eight=Array(np.int64), four=Array(np.uint32), two=Array(np.uint16), one=Array(np.uint8)
)  # fmt: skip
_WORDS = Array(np.int64)


def memory_of(data: Any) -> Memory:
    """Words as memory."""
    return Memory(*(data.view(dtype) for dtype in (np.int64, np.uint32, np.uint16, np.uint8)))


def how_to_read(blocks: Any, limits: Any) -> Any:
    """What ``unpack`` wants to know of blocks; ``limits`` of each: its first item, and the items of a packed row."""
    how = np.zeros((blocks.shape[0], 5, blocks.shape[2]), np.int64)
    places = blocks[:, PLACE]
    how[:, LOWEST], how[:, SHIFT], how[:, ITEM] = blocks[:, BASE], places % 8 * 8, places // 8
    how[:, MASK] = _MASKS[blocks[:, WIDTH]]
    how[:, LIMITS, :2] = limits
    return how


@entry(_WORDS, INTEGER, _WORDS, Array(np.int64, ndim=2), MEMORY_KIND)
def pack(rows: Any, count: int, masks: Any, block: Any, out: Memory) -> int:
    """Pack ``count`` rows, of as many words as there are masks; returns how many items of ``out`` each takes.

    ``masks``: the bits of a word that belong to fields. ``block``: how each word is stored.
    """
    size = masks.size
    note_range(rows, count, masks, block)
    for word in range(size):
        choose_width(block, word)
    stride = place_words(block, size)
    for i in range(count):
        out.eight[(i + 1) * stride - 1] = 0  # what no word fills
    for begin in range(0, count, PIECE):
        for word in range(size):
            pack_word(
                rows, begin * size + word, size, min(PIECE, count - begin), masks[word], block, word, out,
                8 * begin * stride, 8 * stride,
            )  # fmt: skip
    return stride


@kernel
def note_range(rows: Any, count: int, masks: Any, block: Any) -> None:
    """Find the least and the most of each word."""
    size = masks.size
    least, most = block[LEAST], block[MOST]
    for word in range(size):
        least[word] = MOST_NUMBER
        most[word] = LEAST_NUMBER
    for i in range(count):
        for word in range(size):
            value = rows[i * size + word] & masks[word]
            least[word] = min(least[word], value)
            most[word] = max(most[word], value)


@kernel
def choose_width(block: Any, word: int) -> None:
    """Choose how a word is stored, from its least and its most."""
    least, most = block[LEAST, word], block[MOST, word]
    block[WIDTH, word] = 8
    if (most >> 1) - (least >> 1) < FAR:
        distance = most - least
        some = int(distance > 0) + int(distance > 0xFF)
        block[WIDTH, word] = some + 2 * int(distance > 0xFFFF) + 4 * int(distance > 0xFFFFFFFF)
    block[BASE, word] = 0 if block[WIDTH, word] == 8 else least


@kernel
def place_words(block: Any, size: int) -> int:
    """Place the words of a packed row, the widest first; returns how many items it has, one at the least."""
    at = 0
    for width in (8, 4, 2, 1, 0):
        for word in range(size):
            if block[WIDTH, word] == width:
                block[PLACE, word] = at if width else 0
                at += width
    return max(1, at + 7 >> 3)


@kernel
def pack_word(
    rows: Any, at: int, step: int, count: int, mask: int, block: Any, word: int, out: Memory, to: int, stride: int
) -> None:
    """Write one word of some rows."""
    base, width = block[BASE, word], block[WIDTH, word]
    to += block[PLACE, word]
    if width == 8:
        write_items(rows, at, step, count, mask, base, out.eight, to >> 3, stride >> 3)
    elif width == 4:
        write_items(rows, at, step, count, mask, base, out.four, to >> 2, stride >> 2)
    elif width == 2:
        write_items(rows, at, step, count, mask, base, out.two, to >> 1, stride >> 1)
    elif width == 1:
        write_items(rows, at, step, count, mask, base, out.one, to, stride)


@kernel
def write_items(
    rows: Any, at: int, step: int, count: int, mask: int, base: int, out: Any, to: int, stride: int
) -> None:
    """The same where the width is known."""
    for i in range(count):
        out[to + i * stride] = (rows[at + i * step] & mask) - base


@entry(_WORDS, Array(np.int64, ndim=3), _WORDS, INTEGER, INTEGER, _WORDS)
def unpack(packed: Any, how: Any, order: Any, first: int, count: int, rows: Any) -> None:
    """Make rows of those that ``order`` names, from its place ``first`` on; ``how``: to read each block."""
    size = how.shape[2]
    at = 0
    for i in range(first, first + count):
        soon = order[min(i + AHEAD, first + count - 1)]
        start = start_of(how, soon)
        prefetch(packed, start)
        prefetch(packed, start + how[soon >> BLOCK_BITS, LIMITS, 1] - 1)
        block = order[i] >> BLOCK_BITS
        start = start_of(how, order[i])
        lowest, shift, mask, item = how[block, LOWEST], how[block, SHIFT], how[block, MASK], how[block, ITEM]
        for word in range(size):
            rows[at + word] = (packed[start + item[word]] >> shift[word] & mask[word]) + lowest[word]
        at += size


@inlined
def start_of(how: Any, row: int) -> int:
    """The first item of a packed row."""
    block = row >> BLOCK_BITS
    return how[block, LIMITS, 0] + (row & (BLOCK - 1)) * how[block, LIMITS, 1]


@entry(_WORDS, Array(np.int64, ndim=3), INTEGER, _WORDS)
def unpack_word(packed: Any, how: Any, word: int, column: Any) -> None:
    """One word of all rows, in their order."""
    for begin in range(0, column.size, BLOCK):
        block = begin >> BLOCK_BITS
        at, stride = how[block, LIMITS, 0] + how[block, ITEM, word], how[block, LIMITS, 1]
        lowest, shift, mask = how[block, LOWEST, word], how[block, SHIFT, word], how[block, MASK, word]
        for i in range(begin, min(begin + BLOCK, column.size)):
            column[i] = (packed[at] >> shift & mask) + lowest
            at += stride
