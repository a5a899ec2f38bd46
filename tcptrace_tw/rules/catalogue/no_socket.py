"""RS: a host without a socket for the segment answered it (RFC 9293 3.5.2).

``decisions/reset_causes.py`` has the decision table.
"""

import numpy as np

from tcptrace_tw.protocol.states import CLOSED, LISTEN
from tcptrace_tw.rules.decisions.reset_causes import NO_SOCKET, PORT_CLOSED, UNTRANSLATED
from tcptrace_tw.rules.reset_signs import (
    FORGETS_NS,
    HOPS,
    RESET_VALUES,
    fin_wait_2_timeout_reset,
    is_echo,
    is_past_the_stack,
    tw_cut_short,
    tw_missing,
)
from tcptrace_tw.rules.rule import Advice, Grade, Mask, Rows, Rule, Wording, always
from tcptrace_tw.schema.columns import FIN, SYN
from tcptrace_tw.schema.words import CONFIRMED, INFO, LIKELY, NOTICE, NULL_WORD, RESP, WARNING


def port_closed(r: Rows) -> Mask:
    """RS004: other rules cover a SYN that was refused by an endpoint which still had the previous connection."""
    state = r.earlier_state
    forgotten = (state == NULL_WORD) | (state == CLOSED) | (state == LISTEN)
    return (r.verdict == PORT_CLOSED) & forgotten


PORT_CLOSED_RULE = Rule(
    id="RS004",
    name="port-closed",
    severity=INFO,
    summary="A SYN was refused: no process listens on that port.",
    table="resets",
    predicate=port_closed,
    grades=(Grade(always, INFO, CONFIRMED),),
    message="{ip}:{port} refused the SYN from {peer_ip}:{peer_port}",
    frames=("trigger_frame", "frame"),
    values=("trigger_gap_ns", "ttl_delta"),
    set_when=("RST+ACK with ack = ISN + 1, sent to an endpoint in SYN-SENT",),
    not_set_when=(
        "a SYN+ACK had arrived",
        "the server still had the previous connection, and the RST is the first answer: LA003, RU006, RU011",
    ),
    rfc=("RFC 9293 3.10.7.1",),
    remedy="Start the listener, or look for a firewall that rejects the SYN.",
    example="port-closed",
    counter="TcpOutRsts",
)


def looks_like_a_hosts(r: Rows) -> Mask:
    """It answers a known segment with the TTL of the host, and like a host without a socket: no window, and no more."""
    known = is_echo(r) & (r.trigger_frame >= 0)
    return known & (np.abs(r.ttl_delta) < HOPS) & (r.window == 0) & (r.continued_frame < 0)


def is_unasked(r: Rows) -> Mask:
    """It answers a SYN+ACK, and no SYN of its sender was captured."""
    return ((r.trigger_flags & SYN) != 0) & (r.sender_segments == 0)


def is_silent_for_long(r: Rows) -> Mask:
    """For so long that devices forget a connection."""
    return r.silence_ns >= FORGETS_NS


def have_both_closed(r: Rows) -> Mask:
    """Both FINs had been sent."""
    return (r.fin_frame >= 0) & (r.peer_fin_frame >= 0)


def has_program_behind(r: Rows) -> Mask:
    """Segments with its address follow, in sequence."""
    return r.continued_frame >= 0


def is_after_handshake(r: Rows) -> Mask:
    """A server that had sent its SYN+ACK, and nothing else, answers the ACK of the handshake; nobody had sent payload."""
    is_answer = (
        (r.endpoint == RESP) & (r.sender_segments == 1) & (r.trigger_len == 0) & ((r.trigger_flags & (SYN | FIN)) == 0)
    )
    return is_echo(r) & is_answer & (r.received_bytes == 0) & (r.sent_bytes == 0) & ~has_program_behind(r)


def is_time_wait_gone(resets: Rows) -> Mask:
    """Either of the two."""
    return tw_cut_short(resets) | tw_missing(resets)


def rst_no_socket(r: Rows) -> Mask:
    """RS005."""
    named = fin_wait_2_timeout_reset(r) | is_time_wait_gone(r) | (r.is_repeat != 0)
    return (r.verdict == NO_SOCKET) & ~named


RST_NO_SOCKET = Rule(
    id="RS005",
    name="rst-no-socket",
    severity=NOTICE,
    summary="A segment reached a host that does not have the connection, or no longer has it, and was answered with a bare RST.",
    table="resets",
    predicate=rst_no_socket,
    grades=(
        Grade(
            is_unasked,
            INFO,
            LIKELY,
            "a SYN+ACK that nobody asked for: backscatter of a scan or flood with this address, or the SYN was not captured",
        ),
        Grade(lambda r: is_past_the_stack(r) & has_program_behind(r), NOTICE, CONFIRMED, "segments with its address follow"),
        Grade(is_after_handshake, NOTICE, LIKELY, "a full accept queue, a listener that was closed, and a device that had answered the SYN look the same"),
        Grade(looks_like_a_hosts, NOTICE, CONFIRMED),
        Grade(
            always,
            NOTICE,
            LIKELY,
            "the TTL differs: a device may have answered for the host; or it answers an earlier segment, and which one is not known; "
            "or its window is not 0; or segments of the endpoint follow in sequence; or the segment that it answers was not captured",
        ),
    ),
    message="{ip}:{port} {?}has no socket for {peer_ip}:{peer_port}: it answered with a bare RST[ after {silence_ns} of silence]",
    wordings=(
        Wording(is_after_handshake, "the RST answers the ACK of the handshake", "{ip}:{port} answered the ACK of the handshake from {peer_ip}:{peer_port} with RST: {?}its accept queue was full (net.ipv4.tcp_abort_on_overflow=1), its listener was closed, or a SYN proxy in front of it had answered the SYN"),
        Wording(has_program_behind, "segments with its address follow", "the host of {ip}:{port} answered {peer_ip}:{peer_port} with RST, but segments with its address follow: {?}a program (a scanner) sends them without a socket, and its own kernel resets what comes back"),
    ),
    frames=("trigger_frame", "frame"),
    values=RESET_VALUES,
    set_when=(
        "a bare RST whose sequence number is the ACK field of the segment that it answers, or of an earlier one that had got no answer yet",
        "or, in a capture of SYN, FIN and RST only, one behind the passive closer's FIN: an ACK of that FIN drew it",
        "it comes in time: four of the shortest round trips and 500 ms, or 1 s where none is known",
    ),
    not_set_when=(
        "it comes later: that is RS011",
        "the host's other segments show that it still has the connection: RS012",
        "the sender had sent FIN and was still closing: RS003, LA005, TW008, TW009",
        "the sender had already sent a RST",
    ),
    rfc=("RFC 9293 3.5.1", "RFC 9293 3.5.2"),
    remedy="On the host that sent the RST, look if its program or the host was restarted, or closed this connection earlier. If many connections end so at once: look if a load balancer, an anycast route or a service whose pod moved now leads them to another host.",
    advice=(
        Advice(is_after_handshake, "it answers the ACK of the handshake", "On the server: ss -ltn shows a full accept queue (Recv-Q above Send-Q; nstat TcpExtListenOverflows); let the program call accept() faster, or raise the backlog. If it is not full: look if the listener was stopped at that time, or if a SYN proxy stands before it."),
        Advice(has_program_behind, "segments with its address follow", "Nothing to do in the network: scanners and test tools with raw sockets do this. On their host a filter rule can drop the RSTs of the kernel (iptables -A OUTPUT -p tcp --tcp-flags RST RST -j DROP)."),
        Advice(is_unasked, "nobody had asked for the SYN+ACK", "Nothing to do: somebody sends SYNs with this address, or the SYN was not captured."),
        Advice(have_both_closed, "both sides had closed", "Nothing to do: the connection was over, and a late segment found no socket."),
        Advice(is_silent_for_long, "it comes after a long silence", "Send keep-alives (TCP_KEEPIDLE) more often than the silence was long, and look if the program or the host that sent the RST was restarted meanwhile."),
    ),
    example="rst-no-socket",
    counter="TcpOutRsts",
)  # fmt: skip


def rst_untranslated_segment(r: Rows) -> Mask:
    """RS012."""
    return r.verdict == UNTRANSLATED


RST_UNTRANSLATED_SEGMENT = Rule(
    id="RS012",
    name="rst-untranslated-segment",
    severity=WARNING,
    summary="A host reset a segment of a connection that it goes on with: the segment reached it past its own NAT.",
    table="resets",
    predicate=rst_untranslated_segment,
    grades=(Grade(always, WARNING, LIKELY),),
    message="{ip}:{port} reset {trigger_len:byte} from {peer_ip}:{peer_port}, and went on with the connection: {?}its NAT did not translate that segment (conntrack: INVALID), so the host had no socket for it",
    frames=("trigger_frame", "frame", "continued_frame", "continued_data_frame"),
    values=("trigger_gap_ns", "rtt_ns", "ttl_delta", "ip_id_delta", "silence_ns"),
    set_when=(
        "a bare RST answers payload in time, with the host's own TTL",
        "the same endpoint goes on in sequence",
    ),
    not_set_when=(
        "the TTL differs, or it comes earlier than the host can answer: RS006",
        "the endpoint does not go on: RS005",
    ),
    rfc=("RFC 9293 3.5.2", "RFC 3360"),
    remedy="On the host that sends the RST, and on the gateway or node that translates for it: set net.netfilter.nf_conntrack_tcp_be_liberal=1, or drop packets in conntrack state INVALID.",
    example="rst-untranslated-segment",
    rival="a device with the same TTL that forges RSTs",
)  # fmt: skip

RULES = (
    PORT_CLOSED_RULE,
    RST_NO_SOCKET,
    RST_UNTRANSLATED_SEGMENT,
)
