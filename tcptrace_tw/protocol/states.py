"""The TCP connection state diagram as data (RFC 9293 3.3.2, figure 5, and the text of 3.10.7).

``TRANSITIONS`` is the only place where a state change is written down. The kernel's lookup table, the
diagram in the docs and the tests are made from it.
"""

from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class State(IntEnum):
    """The states of RFC 9293 3.3.2, in the order of the text."""

    CLOSED = 0
    LISTEN = 1
    SYN_SENT = 2
    SYN_RECEIVED = 3
    ESTABLISHED = 4
    FIN_WAIT_1 = 5
    FIN_WAIT_2 = 6
    CLOSE_WAIT = 7
    CLOSING = 8
    LAST_ACK = 9
    TIME_WAIT = 10


class Event(IntEnum):
    """What moves an endpoint: a segment it sent, a segment it received, or a timer.

    The names follow figure 5. ``RCV_ACK_OF_SYN`` and ``RCV_ACK_OF_FIN`` are acknowledgments of the endpoint's own SYN
    and FIN; ``RCV_RST`` is an acceptable reset (RFC 9293 3.10.7.4, second check); ``RCV_RST_PASSIVE`` is the same for
    an endpoint that came from LISTEN and goes back there.
    """

    SND_SYN = 0
    SND_SYN_ACK = 1
    RCV_SYN = 2
    RCV_SYN_ACK = 3
    RCV_ACK_OF_SYN = 4
    SND_FIN = 5
    RCV_FIN = 6
    RCV_ACK_OF_FIN = 7
    RCV_FIN_AND_ACK = 8
    SND_RST = 9
    RCV_RST = 10
    TIMEOUT = 11
    SUPERSEDED = 12
    RCV_RST_PASSIVE = 13


# The kernels use plain integers: numba freezes them as constants and the interpreted run stays fast.
(
    CLOSED,
    LISTEN,
    SYN_SENT,
    SYN_RECEIVED,
    ESTABLISHED,
    FIN_WAIT_1,
    FIN_WAIT_2,
    CLOSE_WAIT,
    CLOSING,
    LAST_ACK,
    TIME_WAIT,
) = (int(s) for s in State)
UNKNOWN_STATE = 255

(
    SND_SYN,
    SND_SYN_ACK,
    RCV_SYN,
    RCV_SYN_ACK,
    RCV_ACK_OF_SYN,
    SND_FIN,
    RCV_FIN,
    RCV_ACK_OF_FIN,
    RCV_FIN_AND_ACK,
    SND_RST,
    RCV_RST,
    TIMEOUT,
    SUPERSEDED,
    RCV_RST_PASSIVE,
) = (int(e) for e in Event)


class T(NamedTuple):
    """One arrow of the diagram: from a state, on an event, to a state, and where the RFC says so."""

    start: State
    event: Event
    end: State
    source: str


S, E = State, Event

# Not here is what no segment shows: a LISTEN that SEND turns into SYN-SENT, CLOSE in LISTEN and SYN-SENT, the timeouts
# of SYN-SENT and FIN-WAIT-2. A FIN in SYN-RECEIVED passes through ESTABLISHED: its ACK comes first (3.10.7.4).
TRANSITIONS: tuple[T, ...] = (
    # Opening.
    T(S.CLOSED, E.SND_SYN, S.SYN_SENT, "fig. 5"),
    T(S.LISTEN, E.SND_SYN_ACK, S.SYN_RECEIVED, "fig. 5"),
    T(S.SYN_SENT, E.RCV_SYN, S.SYN_RECEIVED, "fig. 5"),
    T(S.SYN_SENT, E.SND_SYN_ACK, S.SYN_RECEIVED, "3.10.7.3"),
    T(S.SYN_SENT, E.RCV_SYN_ACK, S.ESTABLISHED, "fig. 5"),
    T(S.SYN_RECEIVED, E.RCV_ACK_OF_SYN, S.ESTABLISHED, "fig. 5"),
    # Closing.
    T(S.SYN_RECEIVED, E.SND_FIN, S.FIN_WAIT_1, "fig. 5"),
    T(S.ESTABLISHED, E.SND_FIN, S.FIN_WAIT_1, "fig. 5"),
    T(S.CLOSE_WAIT, E.SND_FIN, S.LAST_ACK, "fig. 5"),
    T(S.ESTABLISHED, E.RCV_FIN, S.CLOSE_WAIT, "fig. 5"),
    T(S.FIN_WAIT_1, E.RCV_FIN, S.CLOSING, "fig. 5"),
    T(S.FIN_WAIT_1, E.RCV_ACK_OF_FIN, S.FIN_WAIT_2, "fig. 5"),
    T(S.FIN_WAIT_1, E.RCV_FIN_AND_ACK, S.TIME_WAIT, "fig. 5, note 2"),
    T(S.FIN_WAIT_2, E.RCV_FIN, S.TIME_WAIT, "fig. 5"),
    T(S.CLOSING, E.RCV_ACK_OF_FIN, S.TIME_WAIT, "fig. 5"),
    T(S.LAST_ACK, E.RCV_ACK_OF_FIN, S.CLOSED, "fig. 5"),
    T(S.TIME_WAIT, E.TIMEOUT, S.CLOSED, "fig. 5"),
    # Reset: whoever sends one has let the connection go; whoever accepts one lets it go.
    *(T(s, E.SND_RST, S.CLOSED, "3.10.5") for s in State if s not in (S.CLOSED, S.LISTEN)),
    *(T(s, E.RCV_RST, S.CLOSED, "3.10.7.4") for s in State if s not in (S.CLOSED, S.LISTEN)),
    T(S.SYN_RECEIVED, E.RCV_RST_PASSIVE, S.LISTEN, "3.10.7.4"),
    # A later incarnation proves that the earlier one is gone.
    *(T(s, E.SUPERSEDED, S.CLOSED, "3.4.3") for s in State if s not in (S.CLOSED, S.LISTEN)),
)


def next_state_table() -> NDArray[np.uint8]:
    """``TRANSITIONS`` as a lookup ``[state, event]``; a state without an arrow for an event stays as it is."""
    table = np.repeat(np.arange(len(State), dtype=np.uint8)[:, None], len(Event), axis=1)
    for t in TRANSITIONS:
        table[t.start, t.event] = t.end
    return table


def state_name(state: int) -> str:
    """The RFC's spelling, as in ``FIN-WAIT-1``."""
    return State(state).name.replace("_", "-")
