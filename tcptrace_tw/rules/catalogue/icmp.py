"""SI: ICMP errors that quote a segment (RFC 1122 4.2.3.9)."""

from tcptrace_tw.rules.rule import Grade, Mask, Rows, Rule, always
from tcptrace_tw.schema.words import CONFIRMED, ICMP_TOO_BIG, INFO, NOTICE, WARNING

RETRIES = 2
"""A SYN that is sent three times has failed, and is no first try."""


def connect_undeliverable(icmp_errors: Rows) -> Mask:
    """SI014."""
    return (icmp_errors.is_connect != 0) & (icmp_errors.is_scan == 0) & (icmp_errors.error != ICMP_TOO_BIG)


CONNECT_UNDELIVERABLE = Rule(
    id="SI014",
    name="connect-undeliverable",
    severity=WARNING,
    summary="A router or host answered a SYN by an ICMP error: the connect failed, and it says why.",
    table="icmp_errors",
    predicate=connect_undeliverable,
    grades=(
        Grade(lambda r: (r.connections >= 2) | (r.most_retries >= RETRIES), WARNING, CONFIRMED),
        Grade(always, NOTICE, CONFIRMED, "one SYN: a program that tries several addresses goes on to the next"),
    ),
    message="{router_ip} says of {connections:connect} of {ip} to {peer_ip}:{peer_port} that {error}",
    frames=("frame",),
    values=("error", "errors", "connections", "most_retries"),
    set_when=("an ICMP error quotes the SYN of a connect that was never established",),
    not_set_when=(
        "the connect succeeds",
        "the client tries many services in vain: SI011",
        "it asks for smaller packets: SI016",
    ),
    rfc=("RFC 1122 4.2.3.9", "RFC 1812 5.2.7.1", "RFC 4443 3.1"),
    remedy="Prohibited, or a closed port by ICMP: allow it in the filter of that router. No route, or a host that is not "
    "reachable: look at the route there, and if the host is up.",
    example="connect-undeliverable",
    end_time="end_time",
)


def data_undeliverable(icmp_errors: Rows) -> Mask:
    """SI015."""
    return (icmp_errors.is_connect == 0) & (icmp_errors.error != ICMP_TOO_BIG)


DATA_UNDELIVERABLE = Rule(
    id="SI015",
    name="data-undeliverable",
    severity=NOTICE,
    summary="An ICMP error says that a segment of an open connection could not be delivered.",
    table="icmp_errors",
    predicate=data_undeliverable,
    grades=(Grade(always, NOTICE, CONFIRMED),),
    message="{router_ip} says of segments of {ip}:{port} to {peer_ip}:{peer_port}, {errors:time}, that {error}",
    frames=("frame",),
    values=("error", "errors", "connections"),
    set_when=("an ICMP error quotes a segment of a connection, and no SYN of a connect that failed",),
    not_set_when=("it asks for smaller packets: SI016",),
    rfc=("RFC 1122 4.2.3.9", "RFC 5927 4"),
    remedy="Look at the path from that router on: a route that changed, a host that went down, a filter.",
    example="data-undeliverable",
    rival="a forged error (RFC 5927)",
    end_time="end_time",
)


def packet_too_big(icmp_errors: Rows) -> Mask:
    """SI016."""
    return icmp_errors.error == ICMP_TOO_BIG


PACKET_TOO_BIG = Rule(
    id="SI016",
    name="packet-too-big",
    severity=INFO,
    summary="A router asks for smaller packets (path MTU discovery).",
    table="icmp_errors",
    predicate=packet_too_big,
    grades=(Grade(always, INFO, CONFIRMED),),
    message="{router_ip} asks {ip} for packets towards {peer_ip} of at most {mtu} bytes",
    frames=("frame",),
    values=("mtu", "errors", "connections"),
    set_when=("an ICMP error quotes a segment and says that it is too big",),
    not_set_when=("another error quotes it: SI014, SI015",),
    rfc=("RFC 1191 3", "RFC 8201 4"),
    remedy="Nothing to do where the sender obeys; else lower its MTU, or clamp the MSS at the router.",
    example="packet-too-big",
    end_time="end_time",
)

RULES = (
    CONNECT_UNDELIVERABLE,
    DATA_UNDELIVERABLE,
    PACKET_TOO_BIG,
)
