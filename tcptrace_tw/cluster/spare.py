"""Memory that a task leaves to the next one of its process: fresh memory would have to be cleared by the system."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")


class Spare(Generic[Key, Item]):
    """Items of a kind, which ``key`` names; ``make(key)`` makes one where none is left. Any thread may take one."""

    def __init__(self, make: Callable[[Key], Item]) -> None:
        self._make = make
        self._left: dict[Key, list[Item]] = {}

    def take(self, key: Key) -> Item:
        """An item for the caller alone; what it holds is what the last user left there."""
        try:
            return self._left[key].pop()
        except (KeyError, IndexError):
            return self._make(key)

    def give_back(self, key: Key, item: Item) -> None:
        """Leave an item to the next task."""
        self._left.setdefault(key, []).append(item)

    def clear(self) -> None:
        """Let go of all items: no further task of this process needs them."""
        self._left.clear()
