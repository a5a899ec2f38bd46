"""How much memory a run may take: what the user says, or half of what the machine or its container has."""

from __future__ import annotations

import math
import os
import re
from contextlib import suppress
from pathlib import Path

OWN = 256 << 20
"""What the program takes beside what it remembers of connections: the interpreter, libraries, buffers, sums."""

LEAST = 1 << 20

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)


def parse_size(text: str) -> int | None:
    """The bytes that a size means, as ``2G``, ``512M`` or ``1.5 GiB``; None where it is no size."""
    found = _SIZE.fullmatch(text.strip())
    size = float(found[1]) * _UNITS[found[2].upper()] if found else math.inf
    return int(size) if math.isfinite(size) else None


def for_connections(most: int | None) -> int | None:
    """How many bytes may be remembered of connections where the whole run may take ``most``.

    None for ``most`` is half of what there is, and None as the result: that is not known.
    """
    if most is None:
        there = available()
        most = there // 2 if there is not None else None
    return max(most - OWN, most // 4) if most is not None else None


def available() -> int | None:
    """The memory of the machine, or less where the control group or a resource limit of the process says so."""
    found = [size for size in (_machine(), *_control_groups(), _resource_limit()) if size]
    return min(found) if found else None


def _machine() -> int | None:
    with suppress(ValueError, OSError, AttributeError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _resource_limit() -> int | None:
    with suppress(ImportError, OSError, ValueError):
        import resource

        limits = (resource.getrlimit(resource.RLIMIT_AS)[0], resource.getrlimit(resource.RLIMIT_DATA)[0])
        return min((limit for limit in limits if limit != resource.RLIM_INFINITY), default=None)
    return None


def _control_groups(root: str = "/sys/fs/cgroup", own: str = "/proc/self/cgroup") -> list[int]:
    """The limits of the process's control groups and of those above them (cgroups(7), versions 1 and 2)."""
    found = []
    with suppress(OSError):
        for line in Path(own).read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers in ("", "memory"):
                name = "memory.limit_in_bytes" if controllers else "memory.max"
                group = Path(root, controllers, path.lstrip("/"))
                found += [_limit(folder / name) for folder in (group, *group.parents) if folder.is_relative_to(root)]
    return [limit for limit in found if limit]


def _limit(path: Path) -> int | None:
    with suppress(OSError, ValueError):
        return int(path.read_text())  # "max" is no number
    return None
