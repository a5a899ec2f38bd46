"""A hash that senders cannot aim at: its numbers are drawn for every run.

Senders choose addresses and ports, and the hash of these decides how long the tables of a run look for them. A fixed
hash can be inverted. A secret beginning alone does not help a chain of steps ``h = (h ^ x) * F; h ^= h >> 32``: the
highest bit of ``x`` always turns the same two bits of the result, and the same two bits of the next word turn them
back, whatever the secret is.

Here every 32-bit half ``x[i]`` of the input has a factor of its own, drawn from all 64-bit numbers:

    total = f[0] + f[1] * x[1] + f[2] * x[2] + ...   modulo 2**64

Two inputs differ in some half by ``d``, which is no multiple of 2**32. Whatever the other factors are, ``f[i] * d``
takes each multiple of the power of 2 in ``d`` equally often. So the upper 32 bits of the two totals are uniform and
independent of each other: they agree by a chance of 2**-32, whichever two inputs these are. (Strongly universal:
M. Dietzfelbinger, "Universal hashing and k-wise independent random variables via integer arithmetic without primes",
STACS 1996; M. Thorup, "High speed hashing for integers and strings", arXiv:1504.06804.)

That alone does not make linear probing fast: evenly spaced inputs, as addresses and ports are, give evenly spaced
totals, which can form long runs. So four tables of 256 random numbers, one for each of the upper bytes, finish the
hash. With this (simple tabulation) linear probing takes a constant number of steps, expected for every set of inputs
(M. Pătraşcu and M. Thorup, "The power of simple tabulation hashing", JACM 59(3), 2012, arXiv:1011.5200).

Of a million inputs 350 pairs at most are expected to share their hash of 31 bits; by Markov's inequality the chance
that a million pairs do is below 1 in 2,800.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.kernels.marks import inlined

HASH_BITS = 31
HASH_MASK = (1 << HASH_BITS) - 1
LOW = 0xFFFFFFFF

FACTORS = 24
"""Words of a seed that are factors; the tables come after them."""

A_LO, B_LO, PORTS, A_HI, B_HI, SCOPE, OTHERS = 1, 3, 5, 6, 8, 10, 12
"""Numbers of the factors of a 4-tuple and its scope, and the first number that is left for others."""

TABLE = 256

SEED_WORDS = FACTORS + 4 * TABLE

Seed = NDArray[np.int64]
"""The random numbers of a run, as kernels take them."""


def new_seed() -> Seed:
    """Random numbers of the operating system; one seed serves all tables of a run."""
    seed = np.frombuffer(os.urandom(8 * SEED_WORDS), np.int64).copy()
    seed[FACTORS:] &= HASH_MASK
    return seed


def as_bytes(rows: NDArray[np.int64]) -> list[bytes]:
    """Each row as a key for a dictionary: Python's hash of bytes has a secret, that of a tuple of numbers has none."""
    flat, width = rows.tobytes(), rows.shape[1] * rows.itemsize
    return [flat[begin : begin + width] for begin in range(0, len(flat), width)]


@inlined
def weighed(seed: Any, factor: Any, word: Any) -> Any:
    """What a word of 64 bits adds to a total, with two factors from number ``factor`` on.

    Compiled products wrap, interpreted ones grow: ``hashed`` looks at bits that are the same in both.
    """
    word = int(word)
    return int(seed[factor]) * (word & LOW) + int(seed[factor + 1]) * (word >> 32)


@inlined
def total_of_tuple(seed: Any, a_lo: int, b_lo: int, ports: int, a_hi: int, b_hi: int, scope: int) -> int:
    """What ``hashed`` makes the hash of a tuple from. ``ports``: that of endpoint a in the upper half."""
    total: int = int(seed[0]) + weighed(seed, A_LO, a_lo) + weighed(seed, B_LO, b_lo) + int(seed[PORTS]) * int(ports)
    if (a_hi | b_hi | scope) != 0:
        total += weighed(seed, A_HI, a_hi) + weighed(seed, B_HI, b_hi) + weighed(seed, SCOPE, scope)
    return total


@inlined
def hashed(seed: Any, total: Any) -> Any:
    """The hash of a total, ``HASH_BITS`` wide; all of its bits are equally good."""
    low = seed[FACTORS + (total >> 32 & 0xFF)] ^ seed[FACTORS + TABLE + (total >> 40 & 0xFF)]
    high = seed[FACTORS + 2 * TABLE + (total >> 48 & 0xFF)] ^ seed[FACTORS + 3 * TABLE + (total >> 56 & 0xFF)]
    return low ^ high
