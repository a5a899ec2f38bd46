"""SI: data that nothing answered (docs/semantics.md: silence).

That something was not answered is told only where an answer would have been captured: the service was heard, or nobody
talked to it at all.
"""

import numpy as np

from tcptrace_tw.rules.predicates import SEVERAL
from tcptrace_tw.rules.rule import Advice, Grade, Mask, Rows, Rule, Wording, always
from tcptrace_tw.schema.observed import ACKS
from tcptrace_tw.schema.words import CONFIRMED, LIKELY, NOTICE, ORIG, WARNING

LONG_RUN_NS = 5_000_000_000
"""Data that nothing answered for so long: the capture may end in a moment of loss, and in five seconds it does not."""

SHORT_RUN_NS = 1_000_000_000

LEAST_DROP_NS = 20_000_000_000
"""As in measure/idles: no device forgets a connection sooner."""


def data_unanswered(anomalies: Rows) -> Mask:
    """SI004."""
    is_idle = anomalies.unanswered_silence_ns >= LEAST_DROP_NS
    return (
        (anomalies.unanswered > 0) & (anomalies.unanswered_ns >= SHORT_RUN_NS) & (~is_idle | are_large_lost(anomalies))
    )


def is_after_syn_ack(r: Rows) -> Mask:
    """A client's first data are unanswered: the last segment of its peer is not later than the handshake."""
    spoken_ns = r.lasted_ns - r.unanswered_ns - np.maximum(r.unanswered_silence_ns, 0)
    return (r.endpoint == ORIG) & (r.handshake_ns >= 0) & (spoken_ns <= r.handshake_ns) & (r.is_peer_gone == 0)


LARGE = 1000
"""Every path takes packets of 576 bytes (RFC 9293 3.7.1), and hardly any does not take this much payload."""


def are_large_lost(r: Rows) -> Mask:
    """The peer has what was sent behind them, and they are large: these alone do not pass."""
    return (r.is_sacked_beyond != 0) & (r.unanswered_bytes >= LARGE)


DATA_UNANSWERED = Rule(
    id="SI004",
    name="data-unanswered",
    severity=WARNING,
    summary="Data were sent again and again, and nothing came back until the capture ended.",
    table="anomalies",
    predicate=data_unanswered,
    grades=(
        Grade(lambda r: (r.is_peer_gone != 0) & (r.unanswered_ns >= LONG_RUN_NS), WARNING, CONFIRMED, "the peer's RST shows that it is gone"),
        Grade(lambda r: r.unanswered_ns >= LONG_RUN_NS, WARNING, LIKELY),
        Grade(always, NOTICE, LIKELY, "the run is short: the capture may have ended in a moment of loss"),
    ),
    message="{ip}:{port} sent data to {peer_ip}:{peer_port} again {unanswered:time} in {unanswered_ns}"
    "[, after a silence of {unanswered_silence_ns}], and nothing came back[; the peer had reset the connection before{is_peer_gone:?}]: {?}the peer or the path is gone",
    wordings=(
        Wording(are_large_lost, "what was sent behind them arrived, and they are large", "{ip}:{port} sent the same {unanswered_bytes:byte} to {peer_ip}:{peer_port} again {unanswered:time} in vain, although what it sent behind them had arrived (SACK): {?}segments of that size are too large for the path, and nobody says so (path MTU)"),
        Wording(is_after_syn_ack, "nothing came after the SYN+ACK", "{ip}:{port} sent its first data to {peer_ip}:{peer_port} again {unanswered:time} in {unanswered_ns}, and nothing came after the SYN+ACK, not even an ACK: {?}a full accept queue that keeps no trace of the client (SYN cookies), a device that answered for the server, or the path"),
    ),
    frames=("unanswered_frame", "last_frame"),
    values=("unanswered", "unanswered_ns", "unanswered_silence_ns", "unanswered_bytes", "is_sacked_beyond"),
    set_when=("data is retransmitted three times or more, for 1 s or longer", "the peer, which had spoken before, sends nothing more", "or it has the few bytes that were sent behind them, and never these"),
    not_set_when=("its sender gave up with a RST: RS007", "the peer was never captured", "only a FIN or keep-alive probes are unanswered", "a silence of 20 s or longer came before: SI006", "the peer has spoken meanwhile"),
    rfc=("RFC 9293 3.8.3", "RFC 1122 4.2.3.5"),
    remedy="Look if the peer is alive, and what on the path drops its segments; TCP_USER_TIMEOUT or keep-alives end such a "
    "connection sooner (Linux retransmits for about 15 minutes).",
    advice=(
        Advice(are_large_lost, "what was sent behind them arrived, and they are large", "Find the largest packet that passes (ping -M do -s SIZE, or tracepath), and a tunnel, VPN or PPPoE link with a smaller MTU. Let ICMP packet-too-big through, clamp the MSS there (iptables -j TCPMSS --clamp-mss-to-pmtu), or set a smaller MTU; sysctl net.ipv4.tcp_mtu_probing=1 on the sender helps meanwhile."),
        Advice(is_after_syn_ack, "nothing came after the SYN+ACK", "On the server, ss -ltn and nstat TcpExtListenOverflows show a full accept queue: raise the backlog (somaxconn, listen()), call accept() faster. If the data never arrive there: look for a SYN proxy or firewall that answers SYNs itself, and for large segments that are lost (path MTU)."),
    ),
    example="data-unanswered",
    counter="TcpExtTCPTimeouts",
    rival="a path on which only the answers are lost",
    end_time="end_time",
    needs=(ACKS,),
)  # fmt: skip


def silent_after_handshake(services: Rows) -> Mask:
    """SI017."""
    return services.silent_after_handshake >= SEVERAL


SILENT_AFTER_HANDSHAKE = Rule(
    id="SI017",
    name="silent-after-handshake",
    severity=NOTICE,
    summary="A server sent nothing more after its SYN+ACKs, not even ACKs of the clients' data.",
    table="services",
    predicate=silent_after_handshake,
    grades=(Grade(always, NOTICE, LIKELY),),
    message="{ip}:{port} sent nothing more after its SYN+ACK on {silent_after_handshake:connection}, not even an ACK of the clients' "
    "data: {?}the answers took another way and were not captured, or the server hangs",
    frames=("silent_frame",),
    values=("silent_after_handshake", "connections"),
    set_when=(
        "the handshakes of three connections or more were captured, and the clients sent data",
        "nothing but the SYN+ACK came from the server, for 1 s or longer, until the end",
    ),
    not_set_when=("a RST ended the connection", "the data or the SYN+ACK are sent again and again: SI004, HS005", "the capture shows no ACKs"),
    rfc=("RFC 9293 3.8.6.3",),
    remedy="Capture on the server: if answers leave it there, they take another way than past this capture point. If not, look at the server's program (does it still run, does it read), and at nstat TcpExtTCPBacklogDrop.",
    example="silent-after-handshake",
    rival="a server that is gone, or an accept queue that is full",
    key="silent_connection_id",
    end_time="end_time",
)  # fmt: skip

RULES = (
    DATA_UNANSWERED,
    SILENT_AFTER_HANDSHAKE,
)
