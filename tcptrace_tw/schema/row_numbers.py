"""Numbers of connections and findings as a user gives them, which may be of any size."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

LARGEST = (1 << 63) - 1
"""No row has a greater number."""


def row_numbers(numbers: Iterable[int]) -> NDArray[np.int64]:
    """Those that a row can have, in order, each once.

    >>> row_numbers([7, 2, 10**20, 7]).tolist()
    [2, 7]
    """
    return np.array(sorted({each for each in numbers if -LARGEST <= each <= LARGEST}), np.int64)
