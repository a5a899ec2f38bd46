"""What of a connection can be seen at the capture point: the bits of the columns ``observed``, and the words for them.

A filter, a snap length or a tap hides things. What was hidden is not absent: a rule that rests on it names it in its
``needs``, and says nothing of a connection where it was hidden.
"""

from typing import NamedTuple


class Thing(NamedTuple):
    """One thing that a capture may show or hide."""

    name: str
    meaning: str


THINGS = (
    Thing("opening", "the first SYN or the SYN+ACK was captured"),
    Thing("both-directions", "both endpoints were captured"),
    Thing("acks", "ACKs without payload, SYN, FIN and RST are captured"),
    Thing("payload", "no payload is missing, as far as sequence numbers show"),
    Thing("options", "no TCP options were cut off"),
)

OPENING, BOTH_DIRECTIONS, ACKS, PAYLOAD, OPTIONS = (1 << i for i in range(len(THINGS)))

BITS = ", ".join(f"{thing.name} {1 << i}" for i, thing in enumerate(THINGS))


def names_of(bits: int) -> tuple[str, ...]:
    """The words for some bits."""
    return tuple(thing.name for i, thing in enumerate(THINGS) if bits >> i & 1)
