"""HS: the opening of a connection, and the ACKs that challenge a SYN or a RST (RFC 9293 3.5, RFC 5961)."""

from tcptrace_tw.rules.rule import Advice, Grade, Mask, Rows, Rule, Wording, always
from tcptrace_tw.schema.observed import ACKS, BOTH_DIRECTIONS
from tcptrace_tw.schema.words import (
    CONFIRMED,
    DATA_LOST,
    DATA_REFUSED,
    DATA_TAKEN,
    DATA_TAKEN_LATE,
    ERROR,
    INFO,
    LIKELY,
    NOTICE,
    OPENED_SIMULTANEOUS,
    WARNING,
)


def simultaneous_open(connections: Rows) -> Mask:
    """HS001."""
    return connections.opened == OPENED_SIMULTANEOUS


SIMULTANEOUS_OPEN = Rule(
    id="HS001",
    name="simultaneous-open",
    severity=INFO,
    summary="Both sides sent a SYN before they received the other's SYN.",
    table="connections",
    predicate=simultaneous_open,
    grades=(Grade(always, INFO, CONFIRMED),),
    message="{orig_ip}:{orig_port} and {resp_ip}:{resp_port} opened the connection at the same time",
    frames=("orig_syn_frame", "resp_syn_frame"),
    values=("orig_state", "resp_state"),
    set_when=("each side sends a SYN without ACK while the other is in SYN-SENT",),
    not_set_when=("the second SYN has other ports: these are two connections",),
    rfc=("RFC 9293 3.5",),
    remedy="Nothing to do.",
    example="simultaneous-open",
    time="first_time",
)

FIRST_RTO_NS = 1_000_000_000
"""The first retransmission timeout of a SYN (RFC 6298 2.1)."""

ROUNDING_NS = 20_000_000
"""Stacks count the timeout in coarse ticks."""


def syn_retry_cost(anomalies: Rows) -> Mask:
    """HS002."""
    return (anomalies.syn_retry_frame >= 0) & (anomalies.handshake_ns >= FIRST_RTO_NS - ROUNDING_NS)


REMEMBERED_NS = 240_000_000_000
"""Devices on the path remember a closed connection for up to four minutes (RFC 5382 REQ-5); IPVS and conntrack for two."""


def is_on_reused_port(anomalies: Rows) -> Mask:
    """The 4-tuple had been in use not long before, and both ends were done with it: something between may not be."""
    return (anomalies.reuse_gap_ns >= 0) & (anomalies.reuse_gap_ns <= REMEMBERED_NS)


SYN_RETRY_COST = Rule(
    id="HS002",
    name="syn-retry-cost",
    severity=NOTICE,
    summary="The handshake took 1 s or longer because the SYN was retransmitted.",
    table="anomalies",
    predicate=syn_retry_cost,
    grades=(Grade(always, NOTICE, CONFIRMED),),
    message="the connect from {ip}:{port} to {peer_ip}:{peer_port} took {handshake_ns}: its SYN was retransmitted[ {syn_retries:time}]",
    wordings=(
        Wording(is_on_reused_port, "the port had been in use shortly before", "the connect from {ip}:{port} to {peer_ip}:{peer_port} took {handshake_ns}: its SYN was retransmitted[ {syn_retries:time}]; the same port had been in use until {reuse_gap_ns} before"),
    ),
    frames=("syn_frame", "syn_retry_frame", "synack_frame"),
    values=("syn_retries", "handshake_ns", "reuse_gap_ns"),
    set_when=("the SYN is retransmitted before the SYN+ACK arrives", "the handshake takes 1 s or longer"),
    not_set_when=("the path is slow and no SYN is retransmitted", "the connection never opens"),
    rfc=("RFC 6298 2.1",),
    remedy="Capture at the server. Where the SYN arrives there: ss -ltn and nstat TcpExtListenOverflows, TcpExtListenDrops show a full accept queue. Where it does not: look for loss on the path, and, if the first SYN carries data and the next one does not (Fast Open), for a device that drops such SYNs.",
    advice=(
        Advice(is_on_reused_port, "the port had been in use shortly before", "Where connects from fresh ports are fast, a device on the path still remembers the connection before, and drops the first SYN of the next: IPVS (kube-proxy) before Linux 5.9 with net.ipv4.vs.conn_reuse_mode=1 and conntrack=1 does so for 1 s; or a firewall or NAT. Reuse ports later (wider ip_local_port_range, keep-alive), or change that device. Otherwise capture at the server: a full accept queue (nstat TcpExtListenOverflows), or loss."),
    ),
    example="syn-retry-cost",
    counter="TcpRetransSegs",
)  # fmt: skip


def is_one_server(anomalies: Rows) -> Mask:
    """All SYN+ACKs have one ISN."""
    return anomalies.other_synacks == 0


def accept_queue_full(anomalies: Rows) -> Mask:
    """HS005: where several servers answer one SYN, the one that the client did not choose repeats its SYN+ACK."""
    return ((anomalies.first_data == DATA_LOST) | (anomalies.first_data == DATA_TAKEN_LATE)) & is_one_server(anomalies)


def synack_repeated(anomalies: Rows) -> Mask:
    """HS003."""
    return (anomalies.synack_repeat_frame >= 0) & is_one_server(anomalies) & ~accept_queue_full(anomalies)


DEFERRED_NS = 5_000_000_000
"""A full accept queue sends its SYN+ACK again after 1 s, in old kernels 3 s (RFC 6298 2.1, RFC 1122 4.2.3.1)."""


def is_deferred(anomalies: Rows) -> Mask:
    """One SYN+ACK, much later than a full queue would have sent it again: TCP_DEFER_ACCEPT had waited for data."""
    return (anomalies.synack_repeats == 1) & (anomalies.synack_repeat_ns >= DEFERRED_NS)


SYNACK_REPEATED = Rule(
    id="HS003",
    name="synack-repeated",
    severity=NOTICE,
    summary="The server retransmitted its SYN+ACK although the capture shows the client's ACK.",
    table="anomalies",
    predicate=synack_repeated,
    grades=(
        Grade(is_deferred, NOTICE, LIKELY, "once, 5 s after the ACK or later: a full queue sends it again after 1 s, in old kernels 3 s"),
        Grade(lambda r: r.first_data == DATA_TAKEN, NOTICE, LIKELY, "the client's first data were taken at once"),
        Grade(always, NOTICE, LIKELY),
    ),
    message="{ip}:{port} retransmitted its SYN+ACK to {peer_ip}:{peer_port} {synack_repeats:time} after the client's ACK"
    "[; the client had sent no data before: {?}TCP_DEFER_ACCEPT, which waits for them (a full accept queue looks the same){first_data:=none}]"
    "[; the client's first data were taken at once: {?}TCP_DEFER_ACCEPT (a full accept queue would have dropped them){first_data:=taken}]"
    "[; the client's first data came late, and got a RST: the server had {?}given up waiting for them (TCP_DEFER_ACCEPT; a full accept queue looks the same){first_data:=refused}]",
    wordings=(
        Wording(is_deferred, "once, and late", "{ip}:{port} completed the handshake with {peer_ip}:{peer_port} only after {synack_repeat_ns}, when it sent its SYN+ACK again: {?}TCP_DEFER_ACCEPT, which waits so long for the client's first data[, which were then taken at once{first_data:=taken}][, which came late and got a RST{first_data:=refused}]"),
    ),
    frames=("syn_frame", "synack_repeat_frame"),
    values=("synack_repeats", "synack_repeat_ns", "first_data"),
    set_when=("the SYN+ACK is retransmitted more than one round trip after the client's ACK",),
    not_set_when=("no ACK had arrived: the first SYN+ACK was lost", "data of the client were dropped meanwhile: HS005", "SYN+ACKs of several ISNs came: HS007"),
    rfc=("RFC 9293 3.10.7.4",),
    remedy="On the server: ss -ltn shows a full accept queue (Recv-Q above Send-Q): raise the backlog (net.core.somaxconn, listen()), call accept() faster. Nothing to do where the listener sets TCP_DEFER_ACCEPT.",
    advice=(
        Advice(is_deferred, "once, and late", "Nothing to do if the client means to be silent so long: the listener sets TCP_DEFER_ACCEPT (nginx: listen ... deferred; Apache: AcceptFilter). Let the client send its request at once, or set a shorter time."),
        Advice(lambda r: r.first_data == DATA_REFUSED, "the client's first data came late, and got a RST", "Let the client send its request at once, or set a longer time (TCP_DEFER_ACCEPT; nginx: listen ... deferred; Apache: AcceptFilter), or switch that off. If the listener does not set it: ss -ltn shows a full accept queue (Recv-Q above Send-Q)."),
        Advice(lambda r: r.first_data == DATA_TAKEN, "the client's first data were taken at once", "Nothing to do: the listener sets TCP_DEFER_ACCEPT (nginx: listen ... deferred; Apache: AcceptFilter), and waits for the client's first data."),
    ),
    example="synack-repeated",
    counter="TcpExtListenOverflows",
    rival="loss of the ACK between the capture point and the server",
    needs=(BOTH_DIRECTIONS, ACKS),
)  # fmt: skip


def challenge_ack_seen(anomalies: Rows) -> Mask:
    """HS004."""
    return anomalies.challenge_frame >= 0


CHALLENGE_ACK_SEEN = Rule(
    id="HS004",
    name="challenge-ack-seen",
    severity=INFO,
    summary="An unacceptable SYN or RST was answered with a challenge ACK (RFC 5961).",
    table="anomalies",
    predicate=challenge_ack_seen,
    grades=(Grade(always, INFO, CONFIRMED),),
    message="{ip}:{port} answered a SYN or RST from {peer_ip}:{peer_port} with a challenge ACK",
    frames=("challenge_trigger_frame", "challenge_frame"),
    values=("challenges",),
    set_when=(
        "an endpoint in a synchronised state gets a SYN, or a RST that is not at RCV.NXT",
        "its bare ACK follows within one round trip",
    ),
    not_set_when=("the ACK answers a keep-alive",),
    rfc=("RFC 5961 4.2", "RFC 5961 3.2"),
    remedy="Nothing to do for this alone; see RU011, RS009 and LA001.",
    example="challenge-ack-seen",
    counter="TcpExtTCPChallengeACK",
)

LOST = 3
"""Data that were retransmitted this often, and never acknowledged, are lost."""

ACCEPT_QUEUE_FULL = Rule(
    id="HS005",
    name="accept-queue-full",
    severity=ERROR,
    summary="The server did not complete the handshake and dropped the client's data: its accept queue was full.",
    table="anomalies",
    predicate=accept_queue_full,
    grades=(
        Grade(
            lambda r: (r.first_data == DATA_LOST) & (r.peer_retransmits >= LOST),
            ERROR,
            LIKELY,
            "the data were never taken",
        ),
        Grade(lambda r: r.synack_repeats >= 2, WARNING, LIKELY),
        Grade(always, NOTICE, LIKELY, "one SYN+ACK was repeated: loss of the ACK and of the data is as likely"),
    ),
    message="{ip}:{port} retransmitted its SYN+ACK to {peer_ip}:{peer_port} {synack_repeats:time} after the client's ACK and data, "
    "which the client sent again {peer_retransmits:time}: the accept queue was {?}full[; the data were lost, after {lasted_ns}"
    "{first_data:=lost}][; the data were taken late{first_data:=taken-late}]",
    frames=("syn_frame", "synack_repeat_frame", "last_frame"),
    values=("synack_repeats", "peer_retransmits", "first_data", "lasted_ns"),
    set_when=(
        "the SYN+ACK is retransmitted more than one round trip after the client's ACK",
        "data of the client had crossed the capture point before, and were not acknowledged",
    ),
    not_set_when=(
        "the client's first data are taken at once: TCP_DEFER_ACCEPT, HS003",
        "the client had sent no data: HS003",
        "SYN+ACKs of several ISNs came: the server that the client did not choose repeats its own, HS007",
    ),
    rfc=("RFC 9293 3.10.7.4",),
    remedy="Raise the backlog (somaxconn, listen()); call accept() faster. ss -ltn shows the queue.",
    example="accept-queue-full",
    counter="TcpExtListenOverflows",
    rival="loss of the ACK and the data between the capture point and the server",
    end_time="end_time",
    needs=(ACKS,),
)  # fmt: skip


def self_connect(connections: Rows) -> Mask:
    """HS006: one socket is both ends."""
    same = (connections.orig_ip_hi == connections.resp_ip_hi) & (connections.orig_ip_lo == connections.resp_ip_lo)
    opened = (connections.orig_syn_frame >= 0) & (connections.established_time >= 0)
    return same & (connections.orig_port == connections.resp_port) & opened


SELF_CONNECT = Rule(
    id="HS006",
    name="self-connect",
    severity=NOTICE,
    summary="A socket connected to itself: its own port was the one that it connected to, and nobody listened there.",
    table="connections",
    predicate=self_connect,
    grades=(Grade(always, NOTICE, CONFIRMED),),
    message="{orig_ip}:{orig_port} connected to itself: the kernel had chosen for it the source port that it connected to, and no server listens there (a simultaneous open of one socket)",
    frames=("orig_syn_frame", "resp_syn_frame"),
    values=("orig_state", "resp_state", "close"),
    set_when=("address and port are the same at both ends", "the connection was established"),
    not_set_when=("only the address is the same: an ordinary local connection",),
    rfc=("RFC 9293 3.5",),
    remedy="Start the server that should listen on that port, and keep its port out of the clients' range: sysctl net.ipv4.ip_local_reserved_ports. A client that retries fast on its own host compares getsockname() with getpeername().",
    example="self-connect",
    time="first_time",
)  # fmt: skip


def several_syn_acks(anomalies: Rows) -> Mask:
    """HS007."""
    return anomalies.other_synacks > 0


SEVERAL_SYN_ACKS = Rule(
    id="HS007",
    name="several-syn-acks",
    severity=NOTICE,
    summary="One SYN was answered by SYN+ACKs with different ISNs: several hosts answer for one address.",
    table="anomalies",
    predicate=several_syn_acks,
    grades=(Grade(always, NOTICE, LIKELY),),
    message="{ip}:{port} answered the SYN from {peer_ip}:{peer_port} with {other_synacks:more SYN+ACK} of another ISN than the first: {?}several servers, a load balancer or a SYN proxy answer for this address",
    frames=("syn_frame", "other_synack_frame"),
    values=("other_synacks",),
    set_when=("a SYN+ACK acknowledges the SYN", "its sequence number is not that of the SYN+ACK before"),
    not_set_when=("the number is the same: a retransmission, HS003", "it acknowledges another SYN: RU013", "a RST of the client had ended the first: SI019"),
    rfc=("RFC 9293 3.10.7.4", "RFC 4987 3.6"),
    remedy="Find out which hosts answer: compare the TTLs and the link-layer addresses of the SYN+ACKs (tcpdump -ve). Look for a duplicate IP address (arping -D), for a load balancer that sends one SYN to several servers, or for a SYN proxy (SYN cookies) in front of the server.",
    example="several-syn-acks",
    rival="a server that was restarted between two of them, or forgot the SYN (SYN cookies)",
    needs=(BOTH_DIRECTIONS,),
)  # fmt: skip

RULES = (
    SIMULTANEOUS_OPEN,
    SYN_RETRY_COST,
    SYNACK_REPEATED,
    CHALLENGE_ACK_SEEN,
    ACCEPT_QUEUE_FULL,
    SELF_CONNECT,
    SEVERAL_SYN_ACKS,
)
