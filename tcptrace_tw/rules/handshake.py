"""HS: the opening of a connection, and the ACKs that challenge a SYN or a RST (RFC 9293 3.5, RFC 5961)."""

from tcptrace_tw.rules.rule import Grade, Mask, Rows, Rule, always
from tcptrace_tw.schema.observed import ACKS, BOTH_DIRECTIONS
from tcptrace_tw.schema.words import (
    CONFIRMED,
    DATA_LOST,
    DATA_TAKEN,
    DATA_TAKEN_LATE,
    ERROR,
    INFO,
    LIKELY,
    NOTICE,
    OPENED_SIMULTANEOUS,
    WARNING,
)

FIRST_RTO_NS = 1_000_000_000
"""The first retransmission timeout of a SYN (RFC 6298 2.1)."""

LOST = 3
"""Data that were sent again so often, and never taken, are lost."""

ROUNDING_NS = 20_000_000
"""Stacks count the timeout in coarse ticks."""


def simultaneous_open(connections: Rows) -> Mask:
    """HS001."""
    return connections.opened == OPENED_SIMULTANEOUS


def syn_retry_cost(anomalies: Rows) -> Mask:
    """HS002."""
    return (anomalies.syn_retry_frame >= 0) & (anomalies.handshake_ns >= FIRST_RTO_NS - ROUNDING_NS)


def synack_repeated(anomalies: Rows) -> Mask:
    """HS003."""
    return (anomalies.synack_repeat_frame >= 0) & ~accept_queue_full(anomalies)


def accept_queue_full(anomalies: Rows) -> Mask:
    """HS005."""
    return (anomalies.first_data == DATA_LOST) | (anomalies.first_data == DATA_TAKEN_LATE)


def challenge_ack_seen(anomalies: Rows) -> Mask:
    """HS004."""
    return anomalies.challenge_frame >= 0


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

SYN_RETRY_COST = Rule(
    id="HS002",
    name="syn-retry-cost",
    severity=NOTICE,
    summary="The handshake took 1 s or longer because the SYN was retransmitted.",
    table="anomalies",
    predicate=syn_retry_cost,
    grades=(Grade(always, NOTICE, CONFIRMED),),
    message="{ip}:{port} retransmitted its SYN to {peer_ip}:{peer_port}[ {syn_retries:time}]; the handshake took {handshake_ns}",
    frames=("syn_frame", "syn_retry_frame", "synack_frame"),
    values=("syn_retries", "handshake_ns"),
    set_when=("the SYN is retransmitted before the SYN+ACK arrives", "the handshake takes 1 s or longer"),
    not_set_when=("the path is slow and no SYN is retransmitted", "the connection never opens"),
    rfc=("RFC 6298 2.1",),
    remedy="Look for the cause: loss, a full accept queue, or RU004, LA001 or PA008 on the same 4-tuple.",
    example="syn-retry-cost",
    counter="TcpRetransSegs",
)

SYNACK_REPEATED = Rule(
    id="HS003",
    name="synack-repeated",
    severity=NOTICE,
    summary="The server retransmitted its SYN+ACK although the capture shows the client's ACK.",
    table="anomalies",
    predicate=synack_repeated,
    grades=(
        Grade(lambda r: r.first_data == DATA_TAKEN, NOTICE, LIKELY, "the client's first data were taken at once"),
        Grade(always, NOTICE, LIKELY),
    ),
    message="{ip}:{port} retransmitted its SYN+ACK to {peer_ip}:{peer_port} {synack_repeats:time} after the client's ACK"
    "[; the client had sent no data before: TCP_DEFER_ACCEPT waits for these, a full accept queue looks the same{first_data:=none}]"
    "[; the client's first data were taken at once: TCP_DEFER_ACCEPT, a full accept queue would have dropped them{first_data:=taken}]",
    frames=("syn_frame", "synack_repeat_frame"),
    values=("synack_repeats", "first_data"),
    set_when=("the SYN+ACK is retransmitted more than one round trip after the client's ACK",),
    not_set_when=("no ACK had arrived: the first SYN+ACK was lost", "data of the client were dropped meanwhile: HS005"),
    rfc=("RFC 9293 3.10.7.4",),
    remedy="Nothing, if the listener sets TCP_DEFER_ACCEPT. Otherwise raise the backlog (somaxconn, listen()); call accept() faster.",
    example="synack-repeated",
    counter="TcpExtListenOverflows",
    rival="loss of the ACK between the capture point and the server",
    needs=(BOTH_DIRECTIONS, ACKS),
)

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
    "which the client sent again {peer_retransmits:time}: the accept queue was full[; the connect failed and the data were lost"
    "{first_data:=lost}][; the data were taken late{first_data:=taken-late}]",
    frames=("syn_frame", "synack_repeat_frame", "last_frame"),
    values=("synack_repeats", "peer_retransmits", "first_data"),
    set_when=(
        "the SYN+ACK is retransmitted more than one round trip after the client's ACK",
        "data of the client had crossed the capture point before, and were not acknowledged",
    ),
    not_set_when=(
        "the client's first data are taken at once: TCP_DEFER_ACCEPT, HS003",
        "the client had sent no data: HS003",
    ),
    rfc=("RFC 9293 3.10.7.4",),
    remedy="Raise the backlog (somaxconn, listen()); call accept() faster. ss -ltn shows the queue.",
    example="accept-queue-full",
    counter="TcpExtListenOverflows",
    rival="loss of the ACK and the data between the capture point and the server",
    end_time="end_time",
    needs=(ACKS,),
)

RULES = (SIMULTANEOUS_OPEN, SYN_RETRY_COST, SYNACK_REPEATED, CHALLENGE_ACK_SEEN, ACCEPT_QUEUE_FULL)
