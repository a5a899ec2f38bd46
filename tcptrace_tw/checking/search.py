"""Where the policy of a folder is; imports nothing, because most folders have none."""

from pathlib import Path

FILE, PYPROJECT, TABLE = "tcptrace-tw.toml", "pyproject.toml", "tcptrace-tw"


def candidates(start: Path) -> list[Path]:
    """Files from ``start`` upwards that may hold the policy, the nearest first.

    In one folder ``tcptrace-tw.toml`` comes before pyproject.toml.
    """
    found = []
    for folder in (start, *start.parents):
        if (folder / FILE).is_file():
            found.append(folder / FILE)
        if _mentions_us(folder / PYPROJECT):
            found.append(folder / PYPROJECT)
    return found


def _mentions_us(path: Path) -> bool:
    try:
        return TABLE.encode() in path.read_bytes()
    except OSError:
        return False
