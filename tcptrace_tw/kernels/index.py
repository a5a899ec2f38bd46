"""The index beside the library, as a file; the wheel build writes one without numpy, too."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

INDEX = "_kernels.json"

FORMAT = 1
"""Another number is the index of another version of this file."""


def digest_of_index(index: dict[str, Any]) -> str:
    """Of everything that the index says."""
    return hashlib.sha256(json.dumps(index, sort_keys=True).encode()).hexdigest()


def index_file(index: dict[str, Any]) -> bytes:
    """The bytes of an index, with its digest."""
    return f"{json.dumps({**index, 'digest': digest_of_index(index)}, indent=1)}\n".encode()


def write_choice(folder: Path) -> None:
    """Note that an installation has no library because its builder wanted none."""
    (folder / INDEX).write_bytes(index_file({"format": FORMAT, "is_unwanted": True}))
