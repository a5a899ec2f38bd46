"""The ports of a client towards one service: how many were in use, how many are left, and when they would run out."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.measure.census import KNOWN_RANGES
from tcptrace_tw.report.summary.occupancy import Pool
from tcptrace_tw.report.words.text import endpoint_text, ip_halves, ip_text

_LEAST_SPANS, _LEAST_SECONDS = 20, 1.0
"""With fewer TIME-WAIT periods, or in less time, no rate is given."""

_EVERY_PORT = (0, 65535)


@dataclass
class PortUse:
    """The source ports of one client towards one service.

    The range is the first known one that holds all ports seen.
    """

    ip: str
    service: str
    used: int = 0
    """Most in use at once: open connections and TIME-WAIT of its own."""
    lowest: int = 0
    highest: int = 0
    range_first: int = 0
    range_last: int = 65535
    per_second: float | None = None
    """TIME-WAIT periods that began per second; null if there were too few."""
    levels_off_at: int | None = None
    """Ports that are always in TIME-WAIT at this rate, when each waits for 2MSL."""
    full_after_s: float | None = None
    """Time after which the range is used up at this rate; null if it levels off before."""

    @property
    def size(self) -> int:
        """Ports in the range."""
        return self.range_last - self.range_first + 1

    @property
    def left(self) -> int:
        """Ports of the range that were free when most were in use."""
        return max(0, self.size - self.used)

    @property
    def is_every_port_seen(self) -> bool:
        """Whether all ports that it was ever seen to use were in use at once."""
        return self.used >= self.highest - self.lowest + 1


def uses(rows: NDArray[Any], pools: Iterable[Pool], two_msl_s: float, most: int) -> tuple[PortUse, ...]:
    """Those of the clients in ``pools``, the fullest range first; ``rows`` are rows of ``ports``."""
    found = {(pool.ip, pool.service): pool for pool in pools if pool.role == "client"}
    if not found:
        return ()
    rows = rows[np.isin(rows["ip_lo"], [ip_halves(ip)[1] for ip, _ in found])]  # there may be very many others
    best = rows[np.argsort(-rows["most_used"].astype(np.int64), kind="stable")]
    taken = []
    for row in best:
        service = endpoint_text(ip_text(int(row["peer_ip_hi"]), int(row["peer_ip_lo"])), int(row["peer_port"]))
        pool = found.get((ip_text(int(row["ip_hi"]), int(row["ip_lo"])), service))
        if pool is not None:
            taken.append(_use(row, pool, two_msl_s))
        if len(taken) == most:
            break
    return tuple(taken)


def _use(row: Any, pool: Pool, two_msl_s: float) -> PortUse:
    lowest, highest = int(row["lowest_port"]), int(row["highest_port"])
    first, last = next((r for r in KNOWN_RANGES if r[0] <= lowest and highest <= r[1]), _EVERY_PORT)
    most = max(int(row["most_used"]), pool.peak)  # the first is counted at the end of each second
    used = min(most, highest - lowest + 1)  # within a second one port counts for each of its lives
    use = PortUse(pool.ip, pool.service, used, lowest, highest, first, last)
    if pool.spans >= _LEAST_SPANS and pool.seconds >= _LEAST_SECONDS:
        use.per_second = (pool.spans - 1) / pool.seconds
        use.levels_off_at = round(use.per_second * two_msl_s)
        if use.levels_off_at >= use.size:
            use.full_after_s = use.size / use.per_second
    return use
