"""PE: source ports run out (docs/semantics.md: ports). EADDRNOTAVAIL itself is never on the wire."""

from typing import Any

from tcptrace_tw.rules.rule import Grade, Mask, Rows, Rule, always
from tcptrace_tw.schema.words import CONFIRMED, ERROR, INFO, LIKELY, NOTICE, WARNING


def share(r: Rows) -> Mask:
    """Ports in use at the peak, as a share of the range."""
    return r.most_used / r.range_size


PINNED_REUSES = 20
"""This many reuses at the earliest moment are not a coincidence."""

LASTING_NS = 60_000_000_000
"""A burst keeps ports in TIME-WAIT for this long; a longer time needs a steady load."""


def is_slowed(r: Rows) -> Mask:
    """Connections per second fell to half or less once the ports were in use, at the rate at which ports became free.

    A client that only has less to do uses fewer ports within 2MSL, and does not return to the same ports.
    """
    fell = r.opened_full * 2.0 * r.filling_ns <= r.opened_filling * 1.0 * r.full_ns
    return fell & (r.full_ns >= LASTING_NS) & (r.reuses_at_expiry * 2 >= r.opened_full)


def works_by_reuse(r: Rows) -> Mask:
    """Ports are used again inside TIME-WAIT, again and again: connect() finds one, however many are taken."""
    return (r.reuses_inside >= PINNED_REUSES) & (r.reuses_inside * 10 >= r.connections) & ~is_slowed(r)


def is_squeezed(r: Rows) -> Mask:
    """Ports were reused as soon as they were free, and no other was left, or the client became slower."""
    seen = r.highest_port.astype("i8") - r.lowest_port + 1
    return (r.reuses_at_expiry >= PINNED_REUSES) & ((r.most_used * 20 >= seen * 19) | is_slowed(r))


def is_full(r: Rows) -> Mask:
    """Hardly one port of a thousand was left; connections that are open and stay open may fill a range to less."""
    return r.most_used * 1000.0 >= r.range_size * 999.0


def is_exhausted(r: Rows) -> Mask:
    """No port was left, or ports had to wait until they were free; and reuse inside TIME-WAIT did not help."""
    return (is_full(r) | is_squeezed(r)) & ~works_by_reuse(r)


def port_pressure(r: Rows) -> Mask:
    """PE001."""
    return (share(r) >= 0.5) & ((share(r) < 0.8) | works_by_reuse(r)) & ~is_exhausted(r)


_FALSE = "the capture may miss some clients: the number is a lower bound"

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

_RANGE = "{ip} used {most_used:#} of {range_size:port} towards {peer_ip}:{peer_port} at once"

_REMEDY = (
    "Pool connections, let the server close first, add source or destination addresses, or widen ip_local_port_range."
)


def _use_of_ports(rule_id: str, name: str, severity: int, **fields: Any) -> Rule:
    """One of the three rules about the share of ports in use; ``fields`` are those in which they differ."""
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
        "rival": "a port range other than the known ones",
    }
    return Rule(**(common | fields))


PORT_PRESSURE = _use_of_ports(
    "PE001",
    "port-pressure",
    NOTICE,
    summary="A client used half of its source ports towards one service at once.",
    predicate=port_pressure,
    set_when=("open connections and the client's own TIME-WAIT sockets take 50 % of the range",),
    not_set_when=("80 % or more: that is PE002", _FALSE),
)


def port_near_exhaustion(r: Rows) -> Mask:
    """PE002."""
    return (share(r) >= 0.8) & ~works_by_reuse(r) & ~is_exhausted(r)


PORT_NEAR_EXHAUSTION = _use_of_ports(
    "PE002",
    "port-near-exhaustion",
    WARNING,
    summary="A client used 80 % of its source ports towards one service at once.",
    predicate=port_near_exhaustion,
    set_when=("open connections and the client's own TIME-WAIT sockets take 80 % of the range",),
    not_set_when=(
        "none is left, or ports wait until they are free: that is PE003",
        "ports are reused inside TIME-WAIT",
        _FALSE,
    ),
)


def port_exhaustion(r: Rows) -> Mask:
    """PE003."""
    return is_exhausted(r)


_SQUEEZED = (
    "{ip} used {most_used:port} between {lowest_port} and {highest_port} towards {peer_ip}:{peer_port} at once"
    "[; it reused a port as soon as it was free, {reuses_at_expiry:time}]"
    "[; it opened {opened_filling:connection} in {filling_ns}, and {opened_full:#} in the {full_ns} after that]"
)

PORT_EXHAUSTION = _use_of_ports(
    "PE003",
    "port-exhaustion",
    ERROR,
    summary="A client ran out of source ports towards one service: connect() fails with EADDRNOTAVAIL, or waits.",
    predicate=port_exhaustion,
    grades=(
        Grade(is_full, ERROR, LIKELY, "the range is full"),
        Grade(always, WARNING, LIKELY, "fewer ports than the range has; how many the client may use is not known"),
    ),
    message=_SQUEEZED,
    set_when=(
        "open connections and the client's own TIME-WAIT sockets take 99.9 % of the range",
        "or at least 20 ports were reused within 1.2 times 2MSL, and 95 % of all ports ever seen were in use at once",
        "or at least 20 were, and at least half of the connections opened while the ports were in use, for 60 s or longer, "
        "and connections per second had fallen to half or less by then",
    ),
    not_set_when=(
        "a client opens fewer connections than before, and its ports stay unused longer than they must",
        "ports are left, however few, and nothing waits for them: that is PE002",
        "20 ports or more, and a tenth of the connections, are reused inside TIME-WAIT, and the rate does not fall: reuse works",
        _FALSE,
    ),
    rival="a client that uses only a few ports on purpose",
)

FLOOR_REUSES = 5


def living_on_tw_reuse(r: Rows) -> Mask:
    """PE004."""
    return r.reuses_at_floor >= FLOOR_REUSES


LIVING_ON_TW_REUSE = Rule(
    id="PE004",
    name="living-on-tw-reuse",
    severity=NOTICE,
    summary="A client depends on tcp_tw_reuse: it reuses ports 1 s after closing.",
    table="ports",
    predicate=living_on_tw_reuse,
    grades=(Grade(always, NOTICE, CONFIRMED),),
    message="{ip} reused its ports towards {peer_ip}:{peer_port} 1.0 to 1.2 s after closing them, {reuses_at_floor:time}",
    frames=(),
    values=("reuses_at_floor", "connections", "fastest_reuse_ns", "lowest_port", "highest_port"),
    set_when=("at least five reuses by Linux (RU001), 1.0 to 1.2 s after TIME-WAIT began",),
    not_set_when=("ports stay unused longer",),
    rfc=("RFC 6191",),
    remedy=_REMEDY,
    example="living-on-tw-reuse",
    counter="TcpExtTWRecycled",
)

EVEN_FIRST = 100
"""connect() of Linux first takes ports with the parity of the range's lower end; this many in a row are not by chance."""


def even_half_used(r: Rows) -> Mask:
    """PE005."""
    return r.even_before_odd >= EVEN_FIRST


EVEN_HALF_USED = Rule(
    id="PE005",
    name="even-half-used",
    severity=INFO,
    summary="A client began to use odd source ports: connect() takes the even ones first, and they were used up.",
    table="ports",
    predicate=even_half_used,
    grades=(Grade(always, INFO, LIKELY),),
    message="{ip} opened {even_before_odd:connection} to {peer_ip}:{peer_port} from even ports before the first one from an odd port",
    frames=(),
    values=("even_before_odd", "connections", "most_used"),
    set_when=("at least 100 connections from even ports and none from odd ones, and then some from odd ones",),
    not_set_when=("even and odd ports are used from the start: a bound port, or another stack",),
    rfc=("RFC 6056",),
    remedy="Nothing to do yet; connect() becomes slower from now on.",
    example="even-half-used",
)

RULES = (
    PORT_PRESSURE,
    PORT_NEAR_EXHAUSTION,
    PORT_EXHAUSTION,
    LIVING_ON_TW_REUSE,
    EVEN_HALF_USED,
)
