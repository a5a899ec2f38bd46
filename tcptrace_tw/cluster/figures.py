"""Figures of many trackers, each of which has tracked other 4-tuples, as one tracker would have given them."""

from __future__ import annotations

from collections.abc import Iterable

from tcptrace_tw.keyed_hash import new_seed
from tcptrace_tw.protocol.profiles import Profile
from tcptrace_tw.tcp.tracker import Tracker

_MOST = ("forward_ns", "swap_lag_ns")
"""Figures of which the largest counts; the first frame belongs to ``forward_ns``, and of ``swaps`` the first."""


def merged_figures(several: Iterable[dict[str, int]]) -> dict[str, int]:
    """The figures of trackers that have each tracked other 4-tuples, as one tracker would have given them."""
    found: dict[str, int] = {}
    for figures in several:
        ahead = figures["forward_ns"], -figures["forward_frame"]
        if found and ahead <= (found["forward_ns"], -found["forward_frame"]):
            figures = {**figures, "forward_ns": found["forward_ns"], "forward_frame": found["forward_frame"]}
        for name, value in figures.items():
            before = found.get(name)
            if before is None or name == "forward_frame":
                found[name] = value
            elif name in _MOST:
                found[name] = max(before, value)
            elif name.endswith("_frame"):
                found[name] = min((each for each in (before, value) if each >= 0), default=-1)
            else:
                found[name] = before + value
    return found


def no_figures(profile: Profile) -> dict[str, int]:
    """The figures of a tracker that has seen nothing."""
    return Tracker(profile, compiled=False, transitions=False, seed=new_seed()).figures()
