"""Why connects got no answer: the likeliest cause (docs/semantics.md: silence).

``SUSPECT`` is the decision table; the first row that holds gives ``connects.suspect``, which SI001 reads.
"""

from numpy.typing import NDArray

from tcptrace_tw.rules.rule import Case, Derived, Mask, Rows, always, decided
from tcptrace_tw.schema.words import (
    SUSPECT_ACCEPT_QUEUE,
    SUSPECT_FILTERED,
    SUSPECT_NOTHING_HEARD,
    SUSPECT_REMEMBERED,
    SUSPECT_SOME_ANSWERED,
    SUSPECT_TIMESTAMPS,
    SUSPECT_WRONG_RST,
)


def are_ports_remembered(r: Rows) -> Mask:
    """All unanswered connects came from ports that had been in use shortly before; and from no such port was one taken."""
    return (r.reused > 0) & (r.reused >= r.unanswered) & (r.reused_answered == 0)


SUSPECT: tuple[Case, ...] = (
    Case(lambda r: (r.misreset > 0) & (r.misreset >= r.unanswered), SUSPECT_WRONG_RST, "RSTs came, and none acknowledges its SYN", "connect-reset-in-vain", "connect-unanswered"),
    Case(lambda r: r.service_unread > 0, SUSPECT_ACCEPT_QUEUE, "others were established before and never got data: they wait for accept()", "connect-unanswered-queue", "connect-unanswered"),
    Case(lambda r: r.stale > 0, SUSPECT_TIMESTAMPS, "only SYNs with lower timestamps were ignored (tcp_tw_recycle, or PAWS at a peer that remembers the 4-tuple)", "connect-unanswered-timestamps", "connect-unanswered"),
    Case(are_ports_remembered, SUSPECT_REMEMBERED, "only SYNs from ports that had been in use shortly before were ignored, and none from such a port was taken", "connect-unanswered-reused-port", "connect-unanswered-reused-port-nearly"),
    Case(lambda r: r.service_answered > 0, SUSPECT_SOME_ANSWERED, "the service answers, but not these", "connect-unanswered", "connect-unanswered-dead-host"),
    Case(lambda r: r.address_heard > 0, SUSPECT_FILTERED, "the host answers on other ports", "connect-unanswered-port", "connect-unanswered-dead-host"),
    Case(always, SUSPECT_NOTHING_HEARD, "nothing came from that address at all", "connect-unanswered-dead-host", "connect-unanswered"),
)  # fmt: skip


def suspect(connects: Rows) -> NDArray:  # type: ignore[type-arg]
    """The likeliest cause."""
    return decided(SUSPECT, connects)


DERIVED = (Derived("connects", "suspect", suspect),)
