"""PE: source ports run out (semantics: 8). EADDRNOTAVAIL itself is never on the wire."""

from tcptrace_tw.rules.rule import Grade, Mask, Rows, Rule, always
from tcptrace_tw.spec.words import CONFIRMED, ERROR, INFO, LIKELY, NOTICE, WARNING

PINNED_REUSES = 20
"""So many reuses at the earliest moment are no coincidence."""

FLOOR_REUSES = 5

EVEN_FIRST = 100
"""connect() of Linux takes the parity of the range's lower end first; so many of it before the other are no chance."""


def share(r: Rows) -> Mask:
    """Ports in use at the peak, as a share of the range."""
    return r.most_used / r.range_size


def is_squeezed(r: Rows) -> Mask:
    """Every port that was ever seen was in use at once, and each was taken again as soon as it was free."""
    seen = r.highest_port.astype("i8") - r.lowest_port + 1
    return (r.reuses_at_expiry >= PINNED_REUSES) & (r.most_used * 20 >= seen * 19)


def port_pressure(r: Rows) -> Mask:
    """PE001."""
    return (share(r) >= 0.5) & (share(r) < 0.8) & ~is_squeezed(r)


def port_near_exhaustion(r: Rows) -> Mask:
    """PE002."""
    return (share(r) >= 0.8) & (share(r) < 0.95) & ~is_squeezed(r)


def port_exhaustion(r: Rows) -> Mask:
    """PE003."""
    return (share(r) >= 0.95) | is_squeezed(r)


def living_on_tw_reuse(r: Rows) -> Mask:
    """PE004."""
    return r.reuses_at_floor >= FLOOR_REUSES


def even_half_used(r: Rows) -> Mask:
    """PE005."""
    return r.even_before_odd >= EVEN_FIRST


_VALUES = (
    "most_used",
    "range_size",
    "lowest_port",
    "highest_port",
    "connections",
    "fastest_reuse_ns",
    "reuses_at_expiry",
)
_MESSAGE = "{ip} had {most_used} of {range_size} ports in use towards {peer_ip}:{peer_port} at once"
_REMEDY = (
    "Pool connections, let the server close first, add source or destination addresses, widen ip_local_port_range."
)
_FALSE = "the capture may hold only part of the clients: the number is a lower bound"

PORT_PRESSURE = Rule(
    id="PE001",
    name="port-pressure",
    severity=NOTICE,
    summary="Half of a source's ports towards one service were in use at once.",
    table="ports",
    predicate=port_pressure,
    grades=(Grade(always, NOTICE, LIKELY),),
    message=_MESSAGE,
    frames=(),
    values=_VALUES,
    set_when=("open connections and the source's own TIME-WAIT take 50 % of the range",),
    not_set_when=("80 % and more: that is PE002", _FALSE),
    rfc=("RFC 6056",),
    remedy=_REMEDY,
    example="port-pressure",
    rival="another port range than the known ones",
)

PORT_NEAR_EXHAUSTION = Rule(
    id="PE002",
    name="port-near-exhaustion",
    severity=WARNING,
    summary="Four fifths of a source's ports towards one service were in use at once.",
    table="ports",
    predicate=port_near_exhaustion,
    grades=(Grade(always, WARNING, LIKELY),),
    message=_MESSAGE,
    frames=(),
    values=_VALUES,
    set_when=("open connections and the source's own TIME-WAIT take 80 % of the range",),
    not_set_when=("95 % and more: that is PE003", _FALSE),
    rfc=("RFC 6056",),
    remedy=_REMEDY,
    example="port-near-exhaustion",
    rival="another port range than the known ones",
)

PORT_EXHAUSTION = Rule(
    id="PE003",
    name="port-exhaustion",
    severity=ERROR,
    summary="A source had no port left towards one service: connect() fails with EADDRNOTAVAIL, or waits.",
    table="ports",
    predicate=port_exhaustion,
    grades=(
        Grade(lambda r: share(r) >= 0.95, ERROR, LIKELY, "the range is full"),
        Grade(always, WARNING, LIKELY, "a narrow range is full; how narrow it is meant to be is not known"),
    ),
    message=_MESSAGE,
    frames=(),
    values=_VALUES,
    set_when=(
        "open connections and the source's own TIME-WAIT take 95 % of the range",
        "or all ports ever seen are in use at once, and 20 and more were taken again within 1.2 times 2MSL",
    ),
    not_set_when=(_FALSE,),
    rfc=("RFC 6056",),
    remedy=_REMEDY,
    example="port-exhaustion",
    rival="a client that is bound to few ports on purpose",
)

LIVING_ON_TW_REUSE = Rule(
    id="PE004",
    name="living-on-tw-reuse",
    severity=NOTICE,
    summary="A source takes its ports out of TIME-WAIT as soon as tcp_tw_reuse lets it.",
    table="ports",
    predicate=living_on_tw_reuse,
    grades=(Grade(always, NOTICE, CONFIRMED),),
    message="{ip} took {reuses_at_floor} ports towards {peer_ip}:{peer_port} out of TIME-WAIT after 1.0 to 1.2 s",
    frames=(),
    values=("reuses_at_floor", "connections", "fastest_reuse_ns", "lowest_port", "highest_port"),
    set_when=("five and more reuses by Linux (RU001) 1.0 to 1.2 s after TIME-WAIT began",),
    not_set_when=("ports rest longer",),
    rfc=("RFC 6191",),
    remedy=_REMEDY,
    example="living-on-tw-reuse",
    counter="TcpExtTWRecycled",
)

EVEN_HALF_USED = Rule(
    id="PE005",
    name="even-half-used",
    severity=INFO,
    summary="A source began to use its odd ports: the even half, which connect() takes first, was used up.",
    table="ports",
    predicate=even_half_used,
    grades=(Grade(always, INFO, LIKELY),),
    message="{ip} used {even_before_odd} even ports towards {peer_ip}:{peer_port} before the first odd one",
    frames=(),
    values=("even_before_odd", "connections", "most_used"),
    set_when=("100 connections and more from even ports, none from odd ones, and then odd ones",),
    not_set_when=("both parities are used from the start: a bound port, or another stack",),
    rfc=("RFC 6056",),
    remedy="Nothing yet; connect() becomes slower from here on.",
    example="even-half-used",
)

RULES = (PORT_PRESSURE, PORT_NEAR_EXHAUSTION, PORT_EXHAUSTION, LIVING_ON_TW_REUSE, EVEN_HALF_USED)
