"""PE: source ports run out (semantics: 8). EADDRNOTAVAIL itself is never on the wire."""

from typing import Any

from tcptrace_tw.rules.rule import Grade, Mask, Rows, Rule, always
from tcptrace_tw.schema.words import CONFIRMED, ERROR, INFO, LIKELY, NOTICE, WARNING

PINNED_REUSES = 20
"""So many reuses at the earliest moment are no coincidence."""

LASTING_NS = 60_000_000_000
"""TIME-WAIT of a burst keeps ports in use for as long; what lasts longer is kept up."""

FLOOR_REUSES = 5

EVEN_FIRST = 100
"""connect() of Linux takes the parity of the range's lower end first; so many of it before the other are no chance."""


def share(r: Rows) -> Mask:
    """Ports in use at the peak, as a share of the range."""
    return r.most_used / r.range_size


def is_squeezed(r: Rows) -> Mask:
    """Ports were taken again as soon as they were free, and no other was there, or the source became slower."""
    seen = r.highest_port.astype("i8") - r.lowest_port + 1
    return (r.reuses_at_expiry >= PINNED_REUSES) & ((r.most_used * 20 >= seen * 19) | is_slowed(r))


def is_slowed(r: Rows) -> Mask:
    """Connections per second fell to a half and less once the ports were in use, and freed ports set their pace.

    A source that only has less to do than before leaves the level within 2MSL, and does not return to the same ports.
    """
    fell = r.opened_full * 2.0 * r.filling_ns <= r.opened_filling * 1.0 * r.full_ns
    return fell & (r.full_ns >= LASTING_NS) & (r.reuses_at_expiry * 2 >= r.opened_full)


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
    "opened_filling",
    "filling_ns",
    "opened_full",
    "full_ns",
)
_RANGE = "{ip} had {most_used:#} of {range_size:port} in use towards {peer_ip}:{peer_port} at once"
_SQUEEZED = (
    "{ip} had {most_used:port} between {lowest_port} and {highest_port} in use towards {peer_ip}:{peer_port} at once"
    "[; {reuses_at_expiry:time} a port was taken again as soon as it was free]"
    "[; it opened {opened_filling:connection} in {filling_ns}, and {opened_full:#} in the {full_ns} after that]"
)
_REMEDY = (
    "Pool connections, let the server close first, add source or destination addresses, widen ip_local_port_range."
)
_FALSE = "the capture may hold only part of the clients: the number is a lower bound"


def _use_of_ports(rule_id: str, name: str, severity: int, **fields: Any) -> Rule:
    """One of the three rules about the share of the ports that are in use: what they do not have in common is given."""
    common: dict[str, Any] = {
        "id": rule_id,
        "name": name,
        "severity": severity,
        "example": name,
        "table": "ports",
        "grades": (Grade(always, severity, LIKELY),),
        "message": _RANGE,
        "frames": (),
        "values": _VALUES,
        "rfc": ("RFC 6056",),
        "remedy": _REMEDY,
        "rival": "another port range than the known ones",
    }
    return Rule(**(common | fields))


PORT_PRESSURE = _use_of_ports(
    "PE001",
    "port-pressure",
    NOTICE,
    summary="Half of a source's ports towards one service were in use at once.",
    predicate=port_pressure,
    set_when=("open connections and the source's own TIME-WAIT take 50 % of the range",),
    not_set_when=("80 % and more: that is PE002", _FALSE),
)

PORT_NEAR_EXHAUSTION = _use_of_ports(
    "PE002",
    "port-near-exhaustion",
    WARNING,
    summary="Four fifths of a source's ports towards one service were in use at once.",
    predicate=port_near_exhaustion,
    set_when=("open connections and the source's own TIME-WAIT take 80 % of the range",),
    not_set_when=("95 % and more: that is PE003", _FALSE),
)

PORT_EXHAUSTION = _use_of_ports(
    "PE003",
    "port-exhaustion",
    ERROR,
    summary="A source had no port left towards one service: connect() fails with EADDRNOTAVAIL, or waits.",
    predicate=port_exhaustion,
    grades=(
        Grade(lambda r: share(r) >= 0.95, ERROR, LIKELY, "the range is full"),
        Grade(always, WARNING, LIKELY, "fewer ports than the range has; how many the source may use is not known"),
    ),
    message=_SQUEEZED,
    set_when=(
        "open connections and the source's own TIME-WAIT take 95 % of the range",
        "or 20 ports and more were taken again within 1.2 times 2MSL, and 95 % of all ports ever seen were in use at once",
        "or 20 and more were, at least half of what was opened while the ports were in use, for a minute and more, "
        "and connections per second had fallen to a half and less by then",
    ),
    not_set_when=("a source opens less than before, and its ports rest longer than they must", _FALSE),
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
    message="{ip} took its ports towards {peer_ip}:{peer_port} out of TIME-WAIT after 1.0 to 1.2 s, {reuses_at_floor:time}",
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
    message="{ip} opened {even_before_odd:connection} to {peer_ip}:{peer_port} from even ports before the first from an odd one",
    frames=(),
    values=("even_before_odd", "connections", "most_used"),
    set_when=("100 connections and more from even ports, none from odd ones, and then odd ones",),
    not_set_when=("both parities are used from the start: a bound port, or another stack",),
    rfc=("RFC 6056",),
    remedy="Nothing yet; connect() becomes slower from here on.",
    example="even-half-used",
)

RULES = (PORT_PRESSURE, PORT_NEAR_EXHAUSTION, PORT_EXHAUSTION, LIVING_ON_TW_REUSE, EVEN_HALF_USED)
