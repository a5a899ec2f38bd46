"""After how long a silence well-known programs and devices end a connection, and how that looks on the wire.

Each row has its source; all of these can be set to something else, so what fits is a candidate, never a proof.
"""

from typing import NamedTuple

SILENT, RST_NEXT, RST_THEN, FIN_THEN = range(4)
"""How it shows: the next segment is not answered; it is answered by RST; a RST or a FIN comes when the time is over."""


class IdleTimeout(NamedTuple):
    """One default: so many seconds, whose, how it shows, and where that is written."""

    word: str
    seconds: int
    who: str
    shows: tuple[int, ...]
    source: str


IDLE_TIMEOUTS = (
    IdleTimeout("http-5", 5, "Node.js up to version 25, Apache httpd, Uvicorn", (FIN_THEN,),
        "https://nodejs.org/docs/latest-v22.x/api/http.html#serverkeepalivetimeout"),
    IdleTimeout("aws-alb", 60, "AWS Application Load Balancer", (FIN_THEN, RST_THEN),
        "https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-load-balancer-attributes.html"),
    IdleTimeout("nodejs-65", 65, "newer Node.js", (FIN_THEN,), "https://github.com/nodejs/node/commit/e470c74a6c"),
    IdleTimeout("nginx", 75, "nginx keepalive_timeout", (FIN_THEN,),
        "https://nginx.org/en/docs/http/ngx_http_core_module.html#keepalive_timeout"),
    IdleTimeout("azure-lb", 240, "Azure Load Balancer", (SILENT, RST_THEN),
        "https://learn.microsoft.com/en-us/azure/load-balancer/load-balancer-tcp-reset"),
    IdleTimeout("aws-nat-nlb", 350, "AWS NAT gateway, Network Load Balancer or VPC endpoint", (RST_NEXT, SILENT),
        "https://aws.amazon.com/blogs/networking-and-content-delivery/implementing-long-running-tcp-connections-within-vpc-networking/"),
    IdleTimeout("google-vpc", 600, "connection tracking of Google VPC", (SILENT,),
        "https://cloud.google.com/compute/docs/troubleshooting/general-tips#communicatewithinternet"),
    IdleTimeout("google-lb", 610, "Google Application Load Balancer", (FIN_THEN,),
        "https://cloud.google.com/load-balancing/docs/https/request-distribution#timeout-keepalive-client"),
    IdleTimeout("ipvs", 900, "IPVS (kube-proxy)", (RST_NEXT, SILENT),
        "https://github.com/kubernetes/kubernetes/issues/84041"),
    IdleTimeout("google-nat", 1200, "Google Cloud NAT", (SILENT,),
        "https://cloud.google.com/nat/docs/tune-nat-configuration"),
)  # fmt: skip

NOT_KNOWN = 255
"""No known timeout fits."""

NS = 1_000_000_000


def words() -> tuple[str, ...]:
    """One word each."""
    return tuple(each.word for each in IDLE_TIMEOUTS)


def prose() -> tuple[str, ...]:
    """How a sentence puts it."""
    return tuple(f"{each.who} ({each.seconds} s)" for each in IDLE_TIMEOUTS)


def largest_between(survived_ns: int, died_ns: int, shows: int) -> int:
    """The place of the longest timeout that a silence of ``survived_ns`` did not reach, and one of ``died_ns`` did.

    A silence of more than twice the time says nothing for it: any other would fit as well.
    """
    fitting = [
        place
        for place, each in enumerate(IDLE_TIMEOUTS)
        if survived_ns < each.seconds * NS <= died_ns <= 2 * each.seconds * NS and shows in each.shows
    ]
    return fitting[-1] if fitting else NOT_KNOWN


def at(silence_ns: int, shows: int) -> int:
    """The place of the timeout after which something happened by itself; clocks are coarse, and sweeps take a moment."""
    for place, each in enumerate(IDLE_TIMEOUTS):
        late = silence_ns - each.seconds * NS
        if shows in each.shows and -NS // 4 <= late <= max(NS, each.seconds * NS // 50):
            return place
    return NOT_KNOWN
