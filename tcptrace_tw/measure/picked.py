"""Some columns of a chunk of rows, each by itself: rows of a wide table are slow to pick from."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class Picked:
    """Columns as attributes, all of one length."""

    def __init__(self, rows: Any, names: tuple[str, ...]) -> None:
        self._names = names
        for name in names:
            setattr(self, name, rows[name].astype(np.int64))
        self.size = int(getattr(self, names[0]).size)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)

    def where(self, mask: NDArray[np.bool_]) -> Picked:
        """The same columns of the rows that the mask marks."""
        if mask.all():
            return self
        places = np.flatnonzero(mask)
        few = object.__new__(Picked)
        few._names = self._names
        for name in self._names:
            setattr(few, name, getattr(self, name)[places])
        few.size = places.size
        return few
