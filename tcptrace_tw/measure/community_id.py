"""Community ID v1 (seed 0) of TCP tuples: SHA-1 and base64 as a kernel, 16 tuples side by side.

The text is ``1:`` and the base64 of SHA-1 over seed, first address, second address, protocol, a zero byte, first
port, second port, where the lower endpoint comes first. All of it fits into one block of SHA-1 (FIPS 180-4 6.1.2).
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.kernels.kinds import Array, bundle
from tcptrace_tw.kernels.marks import entry, kernel

LENGTH = 30
"""Letters of an id: ``1:`` and 28 more."""

LANES = 16

MASK = 0xFFFFFFFF
MAPPED = 0xFFFF
TCP = 6
LOWEST = -(1 << 63)


class Tuples(NamedTuple):
    """The columns of ``connections`` that ids are made of."""

    orig_hi: NDArray[np.int64]
    orig_lo: NDArray[np.int64]
    orig_port: NDArray[np.uint16]
    resp_hi: NDArray[np.int64]
    resp_lo: NDArray[np.int64]
    resp_port: NDArray[np.uint16]


_NUMBERS, _PORTS = Array(np.int64), Array(np.uint16)
TUPLES_KIND = bundle(
    Tuples, orig_hi=_NUMBERS, orig_lo=_NUMBERS, orig_port=_PORTS, resp_hi=_NUMBERS, resp_lo=_NUMBERS, resp_port=_PORTS
)  # fmt: skip


class Scratch(NamedTuple):
    """Where ids are worked out: words and rounds of ``LANES`` blocks, and the letters of base64."""

    words: NDArray[np.uint32]
    rounds: NDArray[np.uint32]
    letters: NDArray[np.uint8]


SCRATCH_KIND = bundle(
    Scratch, words=Array(np.uint32, ndim=2), rounds=Array(np.uint32, ndim=2), letters=Array(np.uint8)
)  # fmt: skip


def scratch() -> Scratch:
    """A scratch for one call after the other."""
    letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    words, rounds = np.zeros((80, LANES), np.uint32), np.zeros((85, LANES), np.uint32)
    return Scratch(words, rounds, np.frombuffer(letters, np.uint8).copy())


@entry(TUPLES_KIND, SCRATCH_KIND, Array(np.uint8, ndim=2))
def write_ids(tuples: Any, scratch: Any, text: Any) -> None:
    """Fill the rows of ``text`` with the ids of the tuples."""
    size = text.shape[0]
    for start in range(0, size, LANES):
        count = min(LANES, size - start)
        for lane in range(count):
            put_tuple(tuples, start + lane, scratch.words, lane)
        hash_blocks(scratch.words, scratch.rounds)
        for lane in range(count):
            write_text(scratch.rounds, lane, scratch.letters, text, start + lane)


@kernel
def put_tuple(tuples: Any, i: Any, words: Any, lane: Any) -> None:
    """Write one tuple as the block of one lane."""
    hi, lo, port = tuples.orig_hi[i], tuples.orig_lo[i], np.int64(tuples.orig_port[i])
    peer_hi, peer_lo, peer_port = tuples.resp_hi[i], tuples.resp_lo[i], np.int64(tuples.resp_port[i])
    if is_below(peer_hi, peer_lo, peer_port, hi, lo, port):
        hi, lo, port, peer_hi, peer_lo, peer_port = peer_hi, peer_lo, peer_port, hi, lo, port
    if hi == 0 and (lo >> 32) == MAPPED and peer_hi == 0 and (peer_lo >> 32) == MAPPED:
        before = put_word(words, lane, 0, 0, lo)
        before = put_word(words, lane, 1, before, peer_lo)
        used = 2
    else:
        before = put_word(words, lane, 0, 0, hi >> 32)
        before = put_word(words, lane, 1, before, hi)
        before = put_word(words, lane, 2, before, lo >> 32)
        before = put_word(words, lane, 3, before, lo)
        before = put_word(words, lane, 4, before, peer_hi >> 32)
        before = put_word(words, lane, 5, before, peer_hi)
        before = put_word(words, lane, 6, before, peer_lo >> 32)
        before = put_word(words, lane, 7, before, peer_lo)
        used = 8
    before = put_word(words, lane, used, before, TCP << 24 | port)
    words[used + 1, lane] = (before << 16 | peer_port) & MASK
    words[used + 2, lane] = 0x80000000
    for t in range(used + 3, 15):
        words[t, lane] = 0
    words[15, lane] = (used + 2) * 32


@kernel
def is_below(hi: Any, lo: Any, port: Any, peer_hi: Any, peer_lo: Any, peer_port: Any) -> Any:
    """Whether an endpoint comes before the other; addresses are compared as numbers without a sign."""
    if hi != peer_hi:
        return (hi ^ LOWEST) < (peer_hi ^ LOWEST)
    if lo != peer_lo:
        return (lo ^ LOWEST) < (peer_lo ^ LOWEST)
    return port < peer_port


@kernel
def put_word(words: Any, lane: Any, t: Any, before: Any, word: Any) -> Any:
    """Write 32 bits behind the two bytes of the seed: 16 of the word before, and 16 of this one, which is returned."""
    word = word & MASK
    words[t, lane] = (before << 16 | word >> 16) & MASK
    return word


@kernel
def rotated(word: Any, bits: Any) -> Any:
    """The 32-bit word turned to the left."""
    return (word << bits | word >> (32 - bits)) & MASK


@kernel
def hash_blocks(words: Any, rounds: Any) -> None:
    """SHA-1 of the blocks of all lanes: ``rounds[80:]`` become e, d, c, b and a, the first three of them turned by 2.

    ``rounds[t + 4]`` is what the standard calls a before round t; b, c, d and e are those of the rounds before.
    """
    for t in range(16, 80):
        for lane in range(LANES):
            one, two = np.int64(words[t - 3, lane]), np.int64(words[t - 8, lane])
            three, four = np.int64(words[t - 14, lane]), np.int64(words[t - 16, lane])
            words[t, lane] = rotated(one ^ two ^ three ^ four, 1)
    for lane in range(LANES):
        rounds[0, lane] = rotated(0xC3D2E1F0, 2)
        rounds[1, lane] = rotated(0x10325476, 2)
        rounds[2, lane] = rotated(0x98BADCFE, 2)
        rounds[3, lane] = 0xEFCDAB89
        rounds[4, lane] = 0x67452301
    for t in range(80):
        for lane in range(LANES):
            a, b = np.int64(rounds[t + 4, lane]), np.int64(rounds[t + 3, lane])
            c, d = rotated(np.int64(rounds[t + 2, lane]), 30), rotated(np.int64(rounds[t + 1, lane]), 30)
            e = rotated(np.int64(rounds[t, lane]), 30)
            if t < 20:
                mixed = (d ^ (b & (c ^ d))) + 0x5A827999
            elif t < 40:
                mixed = (b ^ c ^ d) + 0x6ED9EBA1
            elif t < 60:
                mixed = ((b & c) | (d & (b | c))) + 0x8F1BBCDC
            else:
                mixed = (b ^ c ^ d) + 0xCA62C1D6
            rounds[t + 5, lane] = (rotated(a, 5) + mixed + e + np.int64(words[t, lane])) & MASK


@kernel
def write_text(rounds: Any, lane: Any, letters: Any, text: Any, i: Any) -> None:
    """Write the hash of one lane as ``1:`` and base64."""
    text[i, 0], text[i, 1] = 49, 58
    a = (np.int64(rounds[84, lane]) + 0x67452301) & MASK
    b = (np.int64(rounds[83, lane]) + 0xEFCDAB89) & MASK
    c = (rotated(np.int64(rounds[82, lane]), 30) + 0x98BADCFE) & MASK
    d = (rotated(np.int64(rounds[81, lane]), 30) + 0x10325476) & MASK
    e = (rotated(np.int64(rounds[80, lane]), 30) + 0xC3D2E1F0) & MASK
    write_letters(a << 16 | b >> 16, letters, text, i, 2)
    write_letters((b & 0xFFFF) << 32 | c, letters, text, i, 10)
    write_letters(d << 16 | e >> 16, letters, text, i, 18)
    last = (e & 0xFFFF) << 2
    text[i, 26] = letters[last >> 12]
    text[i, 27] = letters[last >> 6 & 63]
    text[i, 28] = letters[last & 63]
    text[i, 29] = 61


@kernel
def write_letters(bits: Any, letters: Any, text: Any, i: Any, start: Any) -> None:
    """Write 48 bits as 8 letters."""
    for place in range(8):
        text[i, start + place] = letters[bits >> (42 - 6 * place) & 63]
