"""Case ``i`` of a run: always the same bytes for the same seeds, so that a number is a reproducer."""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
from collections.abc import Callable, Sequence
from random import Random

NUMBERS = (0, 1, 2, 3, 4, 7, 8, 11, 12, 15, 16, 19, 20, 23, 27, 28, 31, 32, 40, 60, 64, 127, 128, 255, 256, 65535,
           65536, 262144, 262145, 1 << 24, (1 << 24) + 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)  # fmt: skip

Mutation = Callable[[Random, bytearray, Sequence[bytes]], None]


def case(number: int, seeds: Sequence[bytes], run: int = 0) -> bytes:
    """The bytes of a case: a seed, mutated one to eight times, now and then packed and mutated once more."""
    random = Random(f"{run}/{number}")
    data = bytearray(random.choice(seeds))
    for _ in range(1 + int(random.expovariate(0.5)) % 8):
        random.choice(MUTATIONS)(random, data, seeds)
    if random.random() < 0.15:
        data = bytearray(pack(random, bytes(data)))
        if random.random() < 0.7:
            random.choice(MUTATIONS)(random, data, seeds)
    return bytes(data)


def pack(random: Random, data: bytes) -> bytes:
    """The bytes as a packed file of some kind."""
    kind = random.choice(("gzip", "xz", "bzip2", "zstd", "lz4"))
    if kind == "gzip":
        return gzip.compress(data, 1)
    if kind == "xz":
        return lzma.compress(data, preset=0)
    if kind == "bzip2":
        return bz2.compress(data, 1)
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, kind) as stream:
        stream.write(data)
    return bytes(sink.getvalue())


def _place(random: Random, data: bytearray) -> int:
    """Somewhere; headers are at the begin, so there more often."""
    end = len(data) if random.random() < 0.7 else min(len(data), 200)
    return random.randrange(max(1, end))


def flip_bit(random: Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    if data:
        data[_place(random, data)] ^= 1 << random.randrange(8)


def set_byte(random: Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    if data:
        data[_place(random, data)] = random.choice((0, 1, 4, 5, 6, 8, 0x45, 0x4F, 0x60, 0x7F, 0x80, 0xF0, 0xFF))


def set_number(random: Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    code = random.choice(("<H", ">H", "<I", ">I"))
    size = struct.calcsize(code)
    at = _place(random, data)
    if random.random() < 0.7:
        at &= ~3
    if at + size <= len(data):
        struct.pack_into(code, data, at, random.choice(NUMBERS) & ((1 << 8 * size) - 1))


def add_to_number(random: Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    code = random.choice(("<H", ">H", "<I", ">I"))
    size = struct.calcsize(code)
    at = _place(random, data) & ~1
    if at + size <= len(data):
        value = struct.unpack_from(code, data, at)[0] + random.randint(-16, 16)
        struct.pack_into(code, data, at, value & ((1 << 8 * size) - 1))


def cut(random: Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    del data[_place(random, data) :]


def delete(random: Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    at = _place(random, data)
    del data[at : at + random.choice((1, 2, 4, 8, 14, 16, 20, 28, random.randrange(1, 200)))]


def insert(random: Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    at = _place(random, data)
    data[at:at] = random.randbytes(random.choice((1, 2, 4, 8, 16, random.randrange(1, 64))))


def repeat(random: Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    at = _place(random, data)
    piece = data[at : at + random.randrange(1, 400)]
    data[at:at] = piece * random.choice((1, 1, 2, 8))


def splice(random: Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    other = random.choice(seeds)
    data[_place(random, data) :] = other[random.randrange(len(other)) :]


def swap(random: Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    a, b = _place(random, data), _place(random, data)
    size = random.randrange(1, 64)
    data[a : a + size], data[b : b + size] = data[b : b + size], data[a : a + size]


def change_record(random: Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    """Walk to a record or block, as far as they are sound, and change a field of its header."""
    if len(data) < 28:
        return
    is_pcapng = data[:4] == b"\x0a\x0d\x0d\x0a"
    order = "<" if data[0] in (0xD4, 0x4D) or data[8:9] == b"\x4d" else ">"
    at = 0 if is_pcapng else 24
    for _ in range(random.randrange(30)):
        if at + 16 > len(data):
            break
        length = struct.unpack_from(f"{order}I", data, at + (4 if is_pcapng else 8))[0]
        step = (length + 3) & ~3 if is_pcapng else length + 16
        if step < 12 or at + step + 28 > len(data):
            break
        at += step
    field = at + random.choice((0, 4, 8, 12, 16, 20, 24))
    if field + 4 <= len(data):
        struct.pack_into(f"{order}I", data, field, random.choice((*NUMBERS, random.getrandbits(32))))


MUTATIONS: tuple[Mutation, ...] = (
    flip_bit, flip_bit, set_byte, set_byte, set_number, set_number, add_to_number, cut, delete, insert, repeat, splice,
    swap, change_record, change_record,
)  # fmt: skip
