"""SI: connects that got no answer, or none that helped (docs/semantics.md: silence).

A SYN that is sent once says nothing; scans and floods are told as such, and not connect by connect.
"""

from tcptrace_tw.rules.predicates import ENOUGH, SEVERAL
from tcptrace_tw.rules.rule import Advice, Grade, Mask, Rows, Rule, Wording, always
from tcptrace_tw.schema.observed import BOTH_DIRECTIONS
from tcptrace_tw.schema.words import (
    CONFIRMED,
    ERROR,
    INFO,
    LIKELY,
    NOTICE,
    ORIG,
    PREDICTED,
    SUSPECT_ACCEPT_QUEUE,
    SUSPECT_FILTERED,
    SUSPECT_NOTHING_HEARD,
    SUSPECT_REMEMBERED,
    SUSPECT_TIMESTAMPS,
    SUSPECT_WRONG_RST,
    WARNING,
)


def is_clock_told(connects: Rows) -> Mask:
    """Whether PA008 tells it: enough SYNs of each kind, and TIME-WAIT at the server."""
    is_clear = (connects.clocks >= 2) | (connects.stale >= ENOUGH)
    is_known = is_clear & (connects.stale > 0) & (connects.clock_answered >= ENOUGH) & (connects.is_waiting != 0)
    return is_known & (connects.suspect == SUSPECT_TIMESTAMPS)


def connect_unanswered(connects: Rows) -> Mask:
    """SI001."""
    is_told = (connects.is_scan != 0) | (connects.has_icmp_error != 0) | is_clock_told(connects)
    return ~is_told & ((connects.failed > 0) | (connects.unanswered >= SEVERAL))


PROBE_NS = 10_000_000_000
"""Worms and scanners that repeat their SYN give up sooner."""


def is_probe(connects: Rows) -> Mask:
    """Whether it is one short connect to a port that answers nobody, of a host that answers on others."""
    return (connects.suspect == SUSPECT_FILTERED) & (connects.failed <= 1) & (connects.longest_wait_ns < PROBE_NS)


def is_queue_full(connects: Rows) -> Mask:
    """Others wait in the accept queue."""
    return connects.suspect == SUSPECT_ACCEPT_QUEUE


def are_timestamps_old(connects: Rows) -> Mask:
    """Only SYNs with lower timestamps were ignored."""
    return connects.suspect == SUSPECT_TIMESTAMPS


def is_nobody_heard(connects: Rows) -> Mask:
    """Nothing came from that port, or from that host, at all."""
    return (connects.suspect == SUSPECT_FILTERED) | (connects.suspect == SUSPECT_NOTHING_HEARD)


def are_ports_remembered(connects: Rows) -> Mask:
    """Only connects from ports that had been in use shortly before were ignored."""
    return connects.suspect == SUSPECT_REMEMBERED


def is_reset_in_vain(connects: Rows) -> Mask:
    """RSTs came, and the client must ignore them: they do not acknowledge its SYN."""
    return connects.suspect == SUSPECT_WRONG_RST


CONNECT_UNANSWERED = Rule(
    id="SI001",
    name="connect-unanswered",
    severity=WARNING,
    summary="A client sent its SYN again and again, and nothing answered.",
    table="connects",
    predicate=connect_unanswered,
    grades=(
        Grade(lambda r: r.suspect == SUSPECT_ACCEPT_QUEUE, ERROR, LIKELY, "others wait in the accept queue"),
        Grade(lambda r: r.suspect == SUSPECT_TIMESTAMPS, WARNING, PREDICTED, "too few SYNs to tell clocks apart"),
        Grade(are_ports_remembered, WARNING, PREDICTED, "what the service did with SYNs from fresh ports then is not known"),
        Grade(is_probe, NOTICE, LIKELY, "one short connect to a port that answers nobody: a stranger's probe looks the same"),
        Grade(always, WARNING, LIKELY),
    ),
    message="{unanswered:connect} from {ip} to {peer_ip}:{peer_port} got no answer ({syns:SYN}, the longest for "
    "{longest_wait_ns})[, while {answered:other connect was|other connects were} answered]; {?}{suspect}",
    wordings=(
        Wording(
            lambda r: is_reset_in_vain(r) & (r.unanswered == 1),
            "one connect, and RSTs came that do not acknowledge its SYN",
            "a connect from {ip} to {peer_ip}:{peer_port} got only RSTs that do not acknowledge its SYN: a client ignores them, and this "
            "one sent {syns:SYN} in {longest_wait_ns}; {?}{suspect}",
        ),
        Wording(
            is_reset_in_vain,
            "RSTs came that do not acknowledge the SYNs",
            "{unanswered:connect} from {ip} to {peer_ip}:{peer_port} got only RSTs that do not acknowledge their SYNs: a client ignores "
            "them ({syns:SYN}, the longest for {longest_wait_ns}); {?}{suspect}",
        ),
        Wording(
            lambda r: r.unanswered == 1,
            "one connect",
            "a connect from {ip} to {peer_ip}:{peer_port} got no answer to {syns:SYN} in {longest_wait_ns}"
            "[, while {answered:other was|others were} answered]; {?}{suspect}",
        ),
    ),
    frames=("syn_frame", "last_frame"),
    values=("connects", "answered", "unanswered", "failed", "syns", "longest_wait_ns", "suspect", "service_answered",
            "service_unread", "address_heard", "stale", "reused"),
    set_when=(
        "a SYN is sent three times or more, for 2 s or longer, and nothing comes back",
        "or three connects of one client to one service sent theirs twice",
        "RSTs that do not acknowledge the SYN are no answer: the client must ignore them",
        "the client may end its vain connect by a RST",
    ),
    not_set_when=(
        "the SYN was sent once: a scan, a flood, two addresses tried at once, or the end of the capture",
        "the capture shows only one direction of what is said to that service",
        "the client tried many services in vain: SI011",
        "an ICMP error tells why: SI014",
        "the SYN met an earlier connection that its receiver still holds: RU004, RU005, RU011, LA002",
        "the timestamps of enough SYNs explain it: PA008",
    ),
    rfc=("RFC 9293 3.8.3", "RFC 6298 2.1"),
    remedy="Capture at the server to see if the SYNs arrive. If so: ss -ltn (a full Recv-Q: call accept() faster, raise the backlog) "
    "and nstat TcpExtListenDrops there. If not: look for loss, or a limit in a firewall (iptables -vL, conntrack -S).",
    advice=(
        Advice(is_reset_in_vain, "RSTs came that do not acknowledge the SYN", "Find out who sends the RSTs (TTL and link-layer address, tcpdump -ve). A RST that refuses a SYN must have ACK, and ISN + 1 as its number: a stack that sends another one is faulty, and a device that forges RSTs guesses. Until then the connect times out instead of failing at once."),
        Advice(is_queue_full, "the accept queue is full", "On the server: find out why the program does not call accept() (ss -ltn: Recv-Q above Send-Q; nstat TcpExtListenOverflows), then raise the backlog (listen(), net.core.somaxconn) if bursts are the cause."),
        Advice(are_timestamps_old, "the timestamps are below those of others", "On the server: sysctl net.ipv4.tcp_tw_recycle must be 0 (Linux before 4.12; nstat TcpExtPAWSPassive counts what it drops). Behind a NAT with a server that cannot be changed: sysctl net.ipv4.tcp_timestamps=0 on the clients."),
        Advice(are_ports_remembered, "the ports had been in use shortly before", "Connect from a fresh port. If that is answered, the port's earlier connection is to blame: TIME-WAIT on the server, where the stack keeps it longer than 2MSL of the profile and drops such a SYN in silence, or a firewall, NAT or load balancer (IPVS) that keeps a closed connection for up to four minutes. Then reuse ports later (a wider ip_local_port_range, more addresses or ports on the NAT), or switch TCP timestamps on. If it is not: look if the server was down then."),
        Advice(is_nobody_heard, "nothing came from there", "Look if the host is up (ping, arping) and if the service listens; then for a filter on the way: traceroute -T -p PORT shows where the SYNs end."),
    ),
    example="connect-unanswered",
    counter="TcpExtListenDrops",
    rival="another silent cause: loss, a full accept queue, a filter and a host that is down look the same",
    end_time="end_time",
)  # fmt: skip

UNHEARD = 2
"""A SYN+ACK that is lost once is chance."""


def syn_ack_not_received(anomalies: Rows) -> Mask:
    """SI002."""
    return (anomalies.is_deaf != 0) & (anomalies.unheard_syns >= UNHEARD)


SYN_ACK_NOT_RECEIVED = Rule(
    id="SI002",
    name="syn-ack-not-received",
    severity=ERROR,
    summary="A client sent its SYN again and again although the capture shows the SYN+ACK: the connect failed.",
    table="anomalies",
    predicate=syn_ack_not_received,
    grades=(Grade(always, ERROR, LIKELY),),
    message="{ip}:{port} sent its SYN to {peer_ip}:{peer_port} again {unheard_syns:time} in {lasted_ns} although the SYN+ACK had "
    "passed the capture point: the SYN+ACK was {?}dropped on the client's side, and the connect failed",
    frames=("syn_frame", "unheard_frame", "last_frame"),
    values=("unheard_syns", "syn_retries", "lasted_ns"),
    set_when=(
        "the SYN is retransmitted twice or more after the SYN+ACK was captured",
        "the client acknowledges nothing",
    ),
    not_set_when=("the client acknowledges the SYN+ACK later", "the SYN is retransmitted once: loss"),
    rfc=("RFC 9293 3.10.7.3",),
    remedy="Look between the capture point and the client, and on the client: a filter or conntrack (nstat, iptables -vL, "
    "conntrack -S: INVALID), a wrong route back, a SYN+ACK that does not fit the mapping of a NAT. On BGP routers (port 179) compare the options (tcpdump -v): "
    "a client that signs its SYN (md5, tcp-ao) drops a SYN+ACK that is not signed.",
    example="syn-ack-not-received",
    rival="loss of each SYN+ACK between the capture point and the client",
    end_time="end_time",
)  # fmt: skip


def syn_ack_reset(anomalies: Rows) -> Mask:
    """SI019: the RST came before the SYN was sent again; handshake_ns is null, so no SYN+ACK was ever taken."""
    is_disowned = (anomalies.rst_frame >= 0) & (anomalies.rst_frame < anomalies.unheard_frame)
    is_vain = (anomalies.unheard_syns >= UNHEARD) & (anomalies.handshake_ns < 0)
    return is_disowned & is_vain & (anomalies.endpoint == ORIG)


SYN_ACK_RESET = Rule(
    id="SI019",
    name="syn-ack-reset",
    severity=ERROR,
    summary="A host reset the SYN+ACK, and sent its SYN again and again: the connect failed.",
    table="anomalies",
    predicate=syn_ack_reset,
    grades=(Grade(always, ERROR, LIKELY),),
    message="the host of {ip}:{port} reset the SYN+ACK of {peer_ip}:{peer_port}, and sent the SYN again {unheard_syns:time} in {lasted_ns}: "
    "{?}its program had connected to another address, and a NAT did not translate the SYN+ACK back; the connect failed",
    frames=("syn_frame", "rst_frame", "unheard_frame"),
    values=("unheard_syns", "lasted_ns"),
    set_when=(
        "the client's host answers the SYN+ACK with RST",
        "the same SYN is sent twice or more after that, and no SYN+ACK is acknowledged",
    ),
    not_set_when=("the SYN is not sent again: a probe, RS008", "nothing answers the SYN+ACK: SI002"),
    rfc=("RFC 9293 3.10.7.1", "RFC 5382 REQ-3"),
    remedy="On the gateway or node that translates the service's address, see that the answers pass it, too: sysctl net.bridge.bridge-nf-call-iptables=1 "
    "where client and server are on one bridge (Kubernetes, Docker), a route back through the NAT elsewhere, or source NAT as well (kube-proxy --masquerade-all).",
    example="syn-ack-reset",
    rival="a program that sends its SYNs through a raw socket, and whose kernel does not know of them",
    end_time="end_time",
    needs=(BOTH_DIRECTIONS,),
)  # fmt: skip


def syn_ack_unacknowledged(connects: Rows) -> Mask:
    """SI003."""
    return (connects.half_open > 0) & (connects.is_scan == 0)


SYN_ACK_UNACKNOWLEDGED = Rule(
    id="SI003",
    name="syn-ack-unacknowledged",
    severity=NOTICE,
    summary="A server repeated its SYN+ACK, and the client was silent after one SYN.",
    table="connects",
    predicate=syn_ack_unacknowledged,
    grades=(Grade(always, NOTICE, LIKELY),),
    message="{peer_ip}:{peer_port} repeated its SYN+ACK to {ip} in {half_open:connect}, and nothing came back: {?}its addresses are forged, or the client is gone",
    frames=("syn_frame", "last_frame"),
    values=("half_open", "answered"),
    set_when=("the SYN was sent once", "the SYN+ACK is retransmitted, and neither an ACK nor a RST follows"),
    not_set_when=("the client sends its SYN again: SI002", "the capture holds no ACKs at all"),
    rfc=("RFC 9293 3.8.3",),
    remedy="Look if the client is still there, and if its address is forged (SYN cookies answer that).",
    example="syn-ack-unacknowledged",
    rival="a forged address, a client that is gone, and a path on which its segments are lost look the same",
    end_time="end_time",
)

REFUSALS = 10
"""The number of refused connects of one client to one service that make a storm."""


def is_refused_at_times(connects: Rows) -> Mask:
    """Some connects were refused, and others answered."""
    return (connects.refused < REFUSALS) & (connects.answered > 0)


def connects_refused(connects: Rows) -> Mask:
    """SI005."""
    return (connects.is_scan == 0) & (connects.refused >= SEVERAL)


CONNECTS_REFUSED = Rule(
    id="SI005",
    name="connects-refused",
    severity=WARNING,
    summary="A client was refused by the same service three times or more.",
    table="connects",
    predicate=connects_refused,
    grades=(
        Grade(lambda r: r.refused < REFUSALS, NOTICE, CONFIRMED, "less than ten"),
        Grade(always, WARNING, CONFIRMED),
    ),
    message="{peer_ip}:{peer_port} refused {refused:connect} of {ip}[, and answered {answered}]",
    frames=("syn_frame", "last_frame"),
    values=("refused", "answered", "connects"),
    set_when=("RST answers three or more connects of one client to one service",),
    not_set_when=("the client tries many services: SI011", "a connect is refused now and then: RS004"),
    rfc=("RFC 9293 3.10.7.1",),
    remedy="Start the server, or correct the address; let the client wait longer after each refusal.",
    advice=(
        Advice(
            is_refused_at_times,
            "others were answered",
            "Find out if the server restarted at that time, if one of several servers behind the address does not listen, or if the backlog was full: Windows then refuses connects.",
        ),
    ),
    example="connects-refused",
    end_time="end_time",
)


def many_services_tried(scans: Rows) -> Mask:
    """SI011."""
    return scans.vain > 0


MANY_SERVICES_TRIED = Rule(
    id="SI011",
    name="many-services-tried",
    severity=INFO,
    summary="A client tried many services in vain: a scan, a peer-to-peer program, or a network that is down.",
    table="scans",
    predicate=many_services_tried,
    grades=(
        Grade(lambda r: r.retried * 2 > r.vain, NOTICE, LIKELY, "most of them were retried: no scanner waits so long"),
        Grade(always, INFO, LIKELY),
    ),
    message="{ip} tried about {services:service} in vain, in {vain:connect}[, and was answered {answered:time}]",
    frames=("syn_frame",),
    values=("vain", "services", "retried", "answered"),
    set_when=(
        "20 connects or more to about 12 services or more are refused or not answered",
        "four times as many as are answered",
    ),
    not_set_when=("all of them go to few services: SI001, SI005",),
    rfc=("RFC 9293 3.10.7.1",),
    remedy="Look what that program is. If all of it should work, look at the client's route and filter.",
    example="many-services-tried",
    rival="a scan, a program that looks for its peers, a network that is down",
    end_time="end_time",
)


def syn_flood(floods: Rows) -> Mask:
    """SI012."""
    return floods.vain > 0


SYN_FLOOD = Rule(
    id="SI012",
    name="syn-flood",
    severity=INFO,
    summary="A service got many single SYNs that came to nothing: a flood, or a scan of its port by many.",
    table="floods",
    predicate=syn_flood,
    grades=(Grade(always, INFO, LIKELY),),
    message="{ip}:{port} got {vain:SYN} that came to nothing, from about {clients:address|addresses}[, and {answered} that did not]",
    frames=("syn_frame",),
    values=("vain", "clients", "answered"),
    set_when=(
        "50 SYNs or more are sent once, and are not answered or do not acknowledge the answer",
        "four times as many as are answered",
    ),
    not_set_when=("the SYNs are repeated: SI001",),
    rfc=("RFC 4987 2",),
    remedy="If the addresses are forged: SYN cookies (tcp_syncookies), and a filter before the server.",
    example="syn-flood",
    rival="a load test whose answers were not captured",
    end_time="end_time",
)

RULES = (
    CONNECT_UNANSWERED,
    SYN_ACK_NOT_RECEIVED,
    SYN_ACK_RESET,
    SYN_ACK_UNACKNOWLEDGED,
    CONNECTS_REFUSED,
    MANY_SERVICES_TRIED,
    SYN_FLOOD,
)
