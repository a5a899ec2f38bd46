"""Records in whole cache lines."""

from __future__ import annotations

from typing import Any

import numpy as np


def in_lines(fields: list[tuple[Any, ...]]) -> np.dtype[Any]:
    """A record that fills whole cache lines of 64 bytes."""
    plain = np.dtype(fields, align=True)
    names = list(plain.names or ())
    places = [plain.fields[name] for name in names] if plain.fields else []
    lines = -(-plain.itemsize // 64)
    return np.dtype(
        {"names": names, "formats": [p[0] for p in places], "offsets": [p[1] for p in places], "itemsize": 64 * lines}
    )
