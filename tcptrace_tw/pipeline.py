"""The only file that knows the order of the rooms: capture, flow, tcp, measure, rules, and whoever wants the rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.capture.facts import CaptureFacts
from tcptrace_tw.rules.rule import Findings


@dataclass(frozen=True)
class Settings:
    """What a run depends on besides the capture; the same settings and capture give the same rows."""

    profile: str = "linux"
    two_msl_s: float | None = None
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()


class Sink(Protocol):
    """Somebody who wants rows. ``tables`` names those that are worth producing for it."""

    tables: frozenset[str]

    def rows(self, table: str, rows: NDArray[Any]) -> None:
        """Take finished rows of one table (records of ``Table.dtype``); the array is the sink's to keep."""

    def findings(self, findings: Findings) -> None:
        """Take what one rule says about a chunk."""


@dataclass
class Summary:
    """What is left of a run when the rows are gone."""

    capture: CaptureFacts
    settings: Settings
    connections: int = 0
    transitions: int = 0
    engine: str = "compiled"
    caveats: list[str] = field(default_factory=list)


Progress = Callable[[int, int | None], None]
"""Called now and then with bytes read so far and bytes in all (None where that is not known)."""


def analyze(
    captures: Sequence[str],
    settings: Settings,
    sinks: Sequence[Sink],
    progress: Progress | None = None,
) -> Summary:
    """Read the captures once and hand every finished row and finding to the sinks.

    Raises ``CaptureError`` where no capture can be read at all, ``UsageError`` for a setting that is not known.
    """
    raise NotImplementedError
