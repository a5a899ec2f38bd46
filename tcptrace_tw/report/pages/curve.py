"""A small curve of block characters: levels over time, a few lines high."""

from collections.abc import Sequence
from itertools import pairwise

_BLOCKS = " ▁▂▃▄▅▆▇█"
_ASCII = " ..::##"


def draw(
    levels: Sequence[int], width: int, height: int = 3, ascii_only: bool = False, most: int | None = None
) -> list[str]:
    """The lines of the curve, top first; as wide as ``width`` or as there are levels, whichever is less.

    The top is ``most``, or the highest level. A level above zero is never drawn as nothing.
    """
    blocks = _ASCII if ascii_only else _BLOCKS
    steps = len(blocks) - 1
    columns = squeeze(levels, width)
    top = max(columns, default=0) if most is None else most
    fills = [-(-level * steps * height // top) if top else 0 for level in columns]
    lines = []
    for row in range(height - 1, -1, -1):
        lines.append("".join(blocks[min(max(fill - row * steps, 0), steps)] for fill in fills))
    return lines


def squeeze(levels: Sequence[int], width: int) -> list[int]:
    """At most ``width`` levels: the highest of each group of neighbours."""
    if len(levels) <= width:
        return list(levels)
    bounds = [i * len(levels) // width for i in range(width + 1)]
    return [max(levels[a:b]) for a, b in pairwise(bounds)]


def stretch(levels: Sequence[int], width: int) -> list[int]:
    """Exactly ``width`` levels; each is repeated where there are fewer."""
    if not levels or len(levels) > width:
        return squeeze(levels, width)
    return [levels[i * len(levels) // width] for i in range(width)]
