"""Which files are the rotated files of one capture, by their names: those that differ in numbers only.

tcpdump writes ``x.pcap x.pcap1 x.pcap2`` or, by a format of time, ``x-20261121-041600.pcap``; dumpcap writes
``x_00001_20261121041600.pcap``. Files in two folders, pipes and addresses are captures of their own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

_PACKED = (".gz", ".zst", ".xz", ".bz2", ".lz4")
"""Rotated files may be packed one after the other, so that the last one is not packed yet."""

_NUMBERS = re.compile(r"\d+")


def rotations(files: Sequence[str]) -> list[list[str]]:
    """The files of each capture, in the order in which the first of them comes; ``files`` are paths, no folders."""
    captures: dict[str, list[str]] = {}
    for file in files:
        captures.setdefault(_capture(file), []).append(file)
    return list(captures.values())


def _capture(file: str) -> str:
    """The same for all files of one rotation."""
    if file == "-" or "://" in file or not os.path.isfile(file):
        return file
    folder, name = os.path.split(os.path.abspath(file))
    for ending in _PACKED:
        name = name.removesuffix(ending)
    return os.path.join(folder, _NUMBERS.sub("", name))
