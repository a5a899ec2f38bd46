"""The situations, by family; importing this package registers them all."""

import dataclasses
from collections.abc import Callable

SITUATIONS = {}


@dataclasses.dataclass
class Situation:
    """A recipe: what to set, what to do, and where to look from."""

    name: str
    description: str
    play: Callable
    prepare: Callable
    capture: str = "client"
    filter: str = "tcp"
    snaplen: int = 0
    interface: str = ""
    is_late: bool = False
    has_relay: bool = True
    is_bulk: bool = False
    is_wire_checked: bool = True
    needs: tuple[str, ...] = ()
    """Programs that must be installed."""


def situation(name, prepare=lambda lab: None, **options):
    """Register a function `play(lab)`; its docstring is the description."""

    def register(play):
        description = " ".join(play.__doc__.split())
        SITUATIONS[name] = Situation(name, description, play, prepare, **options)
        return play

    return register


from tests.lab.situations import (  # noqa: E402, F401  # noqa: E402, F401, I001  (after the others: its place gives a situation its addresses)
    closing,
    copies,
    habits,
    last_ack,
    nat,
    ports,
    queues,
    refusals,
    resets,
    reuse,
    runtimes,
    scanners,
    servers,
    stale,
    strangers,
    time_wait,
    traffic,
    unread,
    vantage,
)
