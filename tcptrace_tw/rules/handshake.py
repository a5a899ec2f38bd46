"""HS: the opening of a connection, and the ACKs that challenge a SYN or a RST (RFC 9293 3.5, RFC 5961)."""

from tcptrace_tw.rules.rule import Grade, Mask, Rows, Rule, always
from tcptrace_tw.schema.words import CONFIRMED, INFO, LIKELY, NOTICE, OPENED_SIMULTANEOUS

FIRST_RTO_NS = 1_000_000_000
"""The first retransmission timeout of a SYN (RFC 6298 2.1)."""

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
    return anomalies.synack_repeat_frame >= 0


def challenge_ack_seen(anomalies: Rows) -> Mask:
    """HS004."""
    return anomalies.challenge_frame >= 0


SIMULTANEOUS_OPEN = Rule(
    id="HS001",
    name="simultaneous-open",
    severity=INFO,
    summary="Both ends sent a SYN before either had seen the other's.",
    table="connections",
    predicate=simultaneous_open,
    grades=(Grade(always, INFO, CONFIRMED),),
    message="{orig_ip}:{orig_port} and {resp_ip}:{resp_port} opened the connection at the same time",
    frames=("orig_syn_frame", "resp_syn_frame"),
    values=("orig_state", "resp_state"),
    set_when=("each end sends a SYN without ACK in SYN-SENT of the other",),
    not_set_when=("the second SYN has other ports: two connections",),
    rfc=("RFC 9293 3.5",),
    remedy="Nothing.",
    example="simultaneous-open",
    time="first_time",
)

SYN_RETRY_COST = Rule(
    id="HS002",
    name="syn-retry-cost",
    severity=NOTICE,
    summary="The handshake took a second and more, because a SYN had to be sent again.",
    table="anomalies",
    predicate=syn_retry_cost,
    grades=(Grade(always, NOTICE, CONFIRMED),),
    message="{ip}:{port} repeated its SYN to {peer_ip}:{peer_port}[ {syn_retries:time}]; the handshake took {handshake_ns}",
    frames=("syn_frame", "syn_retry_frame", "synack_frame"),
    values=("syn_retries", "handshake_ns"),
    set_when=("a SYN is sent again before the SYN+ACK comes", "the handshake takes a second and more"),
    not_set_when=("the path is slow and no SYN is repeated", "the connection never comes about"),
    rfc=("RFC 6298 2.1",),
    remedy="Look for the cause: loss, a full accept queue, RU004, LA001 or PA008 on the same tuple.",
    example="syn-retry-cost",
    counter="TcpRetransSegs",
    needs_acks=True,
)

SYNACK_REPEATED = Rule(
    id="HS003",
    name="synack-repeated",
    severity=NOTICE,
    summary="A SYN+ACK came again although the client's ACK had crossed the tap.",
    table="anomalies",
    predicate=synack_repeated,
    grades=(Grade(always, NOTICE, LIKELY),),
    message="{ip}:{port} repeated its SYN+ACK to {peer_ip}:{peer_port} {synack_repeats:time} after the ACK of it",
    frames=("syn_frame", "synack_repeat_frame"),
    values=("synack_repeats",),
    set_when=("SYN+ACK again, later than a round trip after the client's ACK",),
    not_set_when=("no ACK had come: the first was lost",),
    rfc=("RFC 9293 3.10.7.4",),
    remedy="Raise the backlog (somaxconn, listen()); accept() faster.",
    example="synack-repeated",
    counter="TcpExtListenOverflows",
    rival="the ACK was lost between the tap and the server",
    needs_acks=True,
)

CHALLENGE_ACK_SEEN = Rule(
    id="HS004",
    name="challenge-ack-seen",
    severity=INFO,
    summary="A SYN or a RST that must not be taken drew a challenge ACK.",
    table="anomalies",
    predicate=challenge_ack_seen,
    grades=(Grade(always, INFO, CONFIRMED),),
    message="{ip}:{port} answered a SYN or RST in the name of {peer_ip}:{peer_port} with a challenge ACK",
    frames=("challenge_trigger_frame", "challenge_frame"),
    values=("challenges",),
    set_when=(
        "a synchronised endpoint gets a SYN, or a RST that is not at RCV.NXT",
        "its bare ACK follows within a round trip",
    ),
    not_set_when=("the ACK answers a keep-alive",),
    rfc=("RFC 5961 4.2", "RFC 5961 3.2"),
    remedy="Nothing by itself; see RU011, RS009 and LA001.",
    example="challenge-ack-seen",
    counter="TcpExtTCPChallengeACK",
)

RULES = (SIMULTANEOUS_OPEN, SYN_RETRY_COST, SYNACK_REPEATED, CHALLENGE_ACK_SEEN)
