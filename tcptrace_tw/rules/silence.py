"""SI: silence, where a connect gets no answer, an idle connection dies, and nobody says why (docs/semantics.md: silence).

That something was not answered is told only where an answer would have been captured: the service was heard, or nobody
talked to it at all. A SYN that is sent once says nothing; scans and floods are told as such, and not connect by connect.
"""

from numpy.typing import NDArray

from tcptrace_tw.rules.paws import ENOUGH
from tcptrace_tw.rules.rule import Advice, Case, Derived, Grade, Mask, Rows, Rule, Wording, always, decided
from tcptrace_tw.schema.observed import ACKS
from tcptrace_tw.schema.words import (
    CONFIRMED,
    ERROR,
    ICMP_TOO_BIG,
    INFO,
    LIKELY,
    MOVE_REBINDING,
    MOVE_RETRY,
    NOTICE,
    NULL_WORD,
    ORIG,
    PREDICTED,
    SUSPECT_ACCEPT_QUEUE,
    SUSPECT_FILTERED,
    SUSPECT_NOTHING_HEARD,
    SUSPECT_SOME_ANSWERED,
    SUSPECT_TIMESTAMPS,
    WARNING,
)

RETRIES = 2
"""A SYN that is sent three times has failed, and is no first try."""

PROBE_NS = 10_000_000_000
"""Worms and scanners that repeat their SYN give up sooner."""

SEVERAL = 3
"""So many connects that sent their SYN twice are as telling as one that sent it three times."""

REFUSALS = 10
"""So many refused connects of one client to one service are a storm."""

UNHEARD = 2
"""A SYN+ACK that is lost once is chance."""

SHORT_RUN_NS = 1_000_000_000
LONG_RUN_NS = 5_000_000_000
"""Data that nothing answered for so long: the capture may end in a moment of loss, and in five seconds it does not."""

RACE_NS = 1_000_000_000
"""Data so soon after the end had been sent before their sender's program could know of it."""

CLOSES = 2
"""So many connections that end after the same silence show a timeout."""

LEAST_DROP_NS = 20_000_000_000
"""As in measure/idles: no device forgets a connection sooner."""

SECOND_NS = 1_000_000_000

SUSPECT: tuple[Case, ...] = (
    Case(lambda r: r.service_unread > 0, SUSPECT_ACCEPT_QUEUE, "others were established before and never got data: they wait for accept()", "connect-unanswered-queue", "connect-unanswered"),
    Case(lambda r: r.stale > 0, SUSPECT_TIMESTAMPS, "only SYNs with lower timestamps were ignored (tcp_tw_recycle, or PAWS at a peer that remembers the 4-tuple)", "connect-unanswered-timestamps", "connect-unanswered"),
    Case(lambda r: r.service_answered > 0, SUSPECT_SOME_ANSWERED, "the service answers, but not these", "connect-unanswered", "connect-unanswered-dead-host"),
    Case(lambda r: r.address_heard > 0, SUSPECT_FILTERED, "the host answers on other ports", "connect-unanswered-port", "connect-unanswered-dead-host"),
    Case(always, SUSPECT_NOTHING_HEARD, "nothing came from that address at all", "connect-unanswered-dead-host", "connect-unanswered"),
)  # fmt: skip


def suspect(connects: Rows) -> NDArray:  # type: ignore[type-arg]
    """The likeliest cause."""
    return decided(SUSPECT, connects)


def is_clock_told(connects: Rows) -> Mask:
    """Whether PA008 tells it: enough SYNs of each kind, and TIME-WAIT at the server."""
    is_clear = (connects.clocks >= 2) | (connects.stale >= ENOUGH)
    is_known = is_clear & (connects.stale > 0) & (connects.clock_answered >= ENOUGH) & (connects.is_waiting != 0)
    return is_known & (connects.suspect == SUSPECT_TIMESTAMPS)


def connect_unanswered(connects: Rows) -> Mask:
    """SI001."""
    is_told = (connects.is_scan != 0) | (connects.has_icmp_error != 0) | is_clock_told(connects)
    return ~is_told & ((connects.failed > 0) | (connects.unanswered >= SEVERAL))


def is_probe(connects: Rows) -> Mask:
    """Whether it is one short connect to a port that answers nobody, of a host that answers on others."""
    return (connects.suspect == SUSPECT_FILTERED) & (connects.failed <= 1) & (connects.longest_wait_ns < PROBE_NS)


def syn_ack_not_received(anomalies: Rows) -> Mask:
    """SI002."""
    return (anomalies.is_deaf != 0) & (anomalies.unheard_syns >= UNHEARD)


def syn_ack_unacknowledged(connects: Rows) -> Mask:
    """SI003."""
    return (connects.half_open > 0) & (connects.is_scan == 0)


def data_unanswered(anomalies: Rows) -> Mask:
    """SI004."""
    is_idle = anomalies.unanswered_silence_ns >= LEAST_DROP_NS
    return (anomalies.unanswered > 0) & (anomalies.unanswered_ns >= SHORT_RUN_NS) & ~is_idle


def connects_refused(connects: Rows) -> Mask:
    """SI005."""
    return (connects.is_scan == 0) & (connects.refused >= REFUSALS)


def idle_connection_dropped(idles: Rows) -> Mask:
    """SI006."""
    return idles.drops > 0


def idle_connection_reset(idles: Rows) -> Mask:
    """SI007."""
    return idles.resets > 0


def keep_alive_race(anomalies: Rows) -> Mask:
    """SI008."""
    return (anomalies.is_race_lost != 0) & (anomalies.race_gap_ns <= RACE_NS) & (anomalies.endpoint == ORIG)


def idle_connections_closed(idles: Rows) -> Mask:
    """SI009."""
    apart = idles.longest_close_ns - idles.shortest_close_ns
    return (idles.closes >= CLOSES) & (apart <= idles.shortest_close_ns // 20 + SECOND_NS // 2)


def nat_rebinding(moves: Rows) -> Mask:
    """SI010."""
    return moves.move == MOVE_REBINDING


def many_services_tried(scans: Rows) -> Mask:
    """SI011."""
    return scans.vain > 0


def syn_flood(floods: Rows) -> Mask:
    """SI012."""
    return floods.vain > 0


def syn_from_other_port(moves: Rows) -> Mask:
    """SI013."""
    return moves.move == MOVE_RETRY


def silent_after_handshake(services: Rows) -> Mask:
    """SI017."""
    return services.silent_after_handshake >= SEVERAL


def one_reset(idles: Rows) -> Mask:
    """One connection, and a RST answered what broke the silence."""
    return (idles.drops == 1) & (idles.is_answered_by_reset != 0)


def one_lost(idles: Rows) -> Mask:
    """One connection, and nothing answered."""
    return (idles.drops == 1) & (idles.is_answered_by_reset == 0)


def is_queue_full(connects: Rows) -> Mask:
    """Others wait in the accept queue."""
    return connects.suspect == SUSPECT_ACCEPT_QUEUE


def are_timestamps_old(connects: Rows) -> Mask:
    """Only SYNs with lower timestamps were ignored."""
    return connects.suspect == SUSPECT_TIMESTAMPS


def is_nobody_heard(connects: Rows) -> Mask:
    """Nothing came from that port, or from that host, at all."""
    return (connects.suspect == SUSPECT_FILTERED) | (connects.suspect == SUSPECT_NOTHING_HEARD)


def connect_undeliverable(icmp_errors: Rows) -> Mask:
    """SI014."""
    return (icmp_errors.is_connect != 0) & (icmp_errors.is_scan == 0) & (icmp_errors.error != ICMP_TOO_BIG)


def data_undeliverable(icmp_errors: Rows) -> Mask:
    """SI015."""
    return (icmp_errors.is_connect == 0) & (icmp_errors.error != ICMP_TOO_BIG)


def packet_too_big(icmp_errors: Rows) -> Mask:
    """SI016."""
    return icmp_errors.error == ICMP_TOO_BIG


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
        Grade(is_probe, NOTICE, LIKELY, "one short connect to a port that answers nobody: a stranger's probe looks the same"),
        Grade(always, WARNING, LIKELY),
    ),
    message="{unanswered:connect} from {ip} to {peer_ip}:{peer_port} got no answer, {syns:SYN}, the longest for "
    "{longest_wait_ns}[, while {answered:other connect was|other connects were} answered]; {suspect}",
    wordings=(
        Wording(
            lambda r: r.unanswered == 1,
            "one connect",
            "a connect from {ip} to {peer_ip}:{peer_port} got no answer to {syns:SYN} in {longest_wait_ns}"
            "[, while {answered:other was|others were} answered]; {suspect}",
        ),
    ),
    frames=("syn_frame", "last_frame"),
    values=("connects", "answered", "unanswered", "failed", "syns", "longest_wait_ns", "suspect", "service_answered",
            "service_unread", "address_heard", "stale"),
    set_when=(
        "a SYN is sent three times or more, for 2 s or longer, and nothing comes back",
        "or three connects of one client to one service sent theirs twice",
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
        Advice(is_queue_full, "the accept queue is full", "On the server: find out why the program does not call accept() (ss -ltn: Recv-Q above Send-Q; nstat TcpExtListenOverflows), then raise the backlog (listen(), net.core.somaxconn) if bursts are the cause."),
        Advice(are_timestamps_old, "the timestamps are below those of others", "On the server: sysctl net.ipv4.tcp_tw_recycle must be 0 (Linux before 4.12; nstat TcpExtPAWSPassive counts what it drops). Behind a NAT with a server that cannot be changed: sysctl net.ipv4.tcp_timestamps=0 on the clients."),
        Advice(is_nobody_heard, "nothing came from there", "Look if the host is up (ping, arping) and if the service listens; then for a filter on the way: traceroute -T -p PORT shows where the SYNs end."),
    ),
    example="connect-unanswered",
    counter="TcpExtListenDrops",
    rival="loss, a full accept queue, a filter or a host that is down: all of them are silent",
    end_time="end_time",
)  # fmt: skip

SYN_ACK_NOT_RECEIVED = Rule(
    id="SI002",
    name="syn-ack-not-received",
    severity=ERROR,
    summary="A client sent its SYN again and again although the capture shows the SYN+ACK: the connect failed.",
    table="anomalies",
    predicate=syn_ack_not_received,
    grades=(Grade(always, ERROR, LIKELY),),
    message="{ip}:{port} sent its SYN to {peer_ip}:{peer_port} again {unheard_syns:time} in {lasted_ns} although the SYN+ACK had "
    "passed the capture point: the SYN+ACK was dropped on the client's side, and the connect failed",
    frames=("syn_frame", "unheard_frame", "last_frame"),
    values=("unheard_syns", "syn_retries", "lasted_ns"),
    set_when=(
        "the SYN is retransmitted twice or more after the SYN+ACK was captured",
        "the client acknowledges nothing",
    ),
    not_set_when=("the client acknowledges the SYN+ACK later", "the SYN is retransmitted once: loss"),
    rfc=("RFC 9293 3.10.7.3",),
    remedy="Look between the capture point and the client, and on the client: a filter or conntrack (nstat, iptables -vL, "
    "conntrack -S: INVALID), a wrong route back, a SYN+ACK that does not fit the mapping of a NAT.",
    example="syn-ack-not-received",
    rival="loss of each SYN+ACK between the capture point and the client",
    end_time="end_time",
)  # fmt: skip

SYN_ACK_UNACKNOWLEDGED = Rule(
    id="SI003",
    name="syn-ack-unacknowledged",
    severity=NOTICE,
    summary="A server repeated its SYN+ACK, and the client was silent after one SYN.",
    table="connects",
    predicate=syn_ack_unacknowledged,
    grades=(Grade(always, NOTICE, LIKELY),),
    message="{peer_ip}:{peer_port} repeated its SYN+ACK to {ip} in {half_open:connect}, and nothing came back",
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
    "[, after a silence of {unanswered_silence_ns}], and nothing came back[; the peer had reset the connection before{is_peer_gone:?}]: the peer or the path is gone",
    frames=("unanswered_frame", "last_frame"),
    values=("unanswered", "unanswered_ns", "unanswered_silence_ns"),
    set_when=("data is retransmitted three times or more, for 1 s or longer", "the peer, which had spoken before, sends nothing more"),
    not_set_when=("its sender gave up with a RST: RS007", "the peer was never captured", "only a FIN or keep-alive probes are unanswered", "a silence of 20 s or longer came before: SI006"),
    rfc=("RFC 9293 3.8.3", "RFC 1122 4.2.3.5"),
    remedy="Look if the peer is alive, and what on the path drops its segments; TCP_USER_TIMEOUT or keep-alives end such a "
    "connection sooner (Linux retransmits for about 15 minutes).",
    example="data-unanswered",
    counter="TcpExtTCPTimeouts",
    rival="a path on which only the answers are lost",
    end_time="end_time",
    needs=(ACKS,),
)  # fmt: skip

CONNECTS_REFUSED = Rule(
    id="SI005",
    name="connects-refused",
    severity=WARNING,
    summary="A client was refused by the same service ten times or more.",
    table="connects",
    predicate=connects_refused,
    grades=(Grade(always, WARNING, CONFIRMED),),
    message="{peer_ip}:{peer_port} refused {refused:connect} of {ip}[, and answered {answered}]",
    frames=("syn_frame", "last_frame"),
    values=("refused", "answered", "connects"),
    set_when=("RST answers ten or more SYNs of one client to one service",),
    not_set_when=("the client tries many services: SI011", "a connect is refused now and then: RS004"),
    rfc=("RFC 9293 3.10.7.1",),
    remedy="Start the server, or correct the address; let the client wait longer after each refusal.",
    example="connects-refused",
    end_time="end_time",
)

IDLE_CONNECTION_DROPPED = Rule(
    id="SI006",
    name="idle-connection-dropped",
    severity=WARNING,
    summary="After a long silence a connection was gone: what broke the silence got a RST or no answer.",
    table="idles",
    predicate=idle_connection_dropped,
    grades=(
        Grade(
            lambda r: r.survived_ns >= r.shortest_drop_ns,
            NOTICE,
            PREDICTED,
            "others survived a longer silence: no single timeout explains it",
        ),
        Grade(
            lambda r: (r.drops >= 2) | (r.drop_timeout != NULL_WORD) | (r.is_answered_by_reset == 0), WARNING, LIKELY
        ),
        Grade(always, NOTICE, LIKELY, "one connection, and no known timeout fits"),
    ),
    message="{drops:connection} to {ip}:{port} were gone when they spoke again after {shortest_drop_ns} of silence or more[; those "
    "that paused for up to {survived_ns} lived][; this fits {drop_timeout}]",
    wordings=(
        Wording(
            one_reset,
            "one, and a RST came",
            "a connection to {ip}:{port} was reset when it spoke again after {shortest_drop_ns} of silence[; silences of up to "
            "{survived_ns} were survived]: a device had dropped the idle connection, or the peer was started anew[; the time fits {drop_timeout}]",
        ),
        Wording(
            one_lost,
            "one, and nothing came",
            "a connection to {ip}:{port} got no answer when it spoke again after {shortest_drop_ns} of silence[; silences of up to "
            "{survived_ns} were survived]: a device had dropped the idle connection, or the peer is gone[; the time fits {drop_timeout}]",
        ),
    ),
    frames=("frame",),
    values=("drops", "shortest_drop_ns", "longest_drop_ns", "survived_ns", "drop_timeout"),
    set_when=(
        "nobody sends for 20 s or longer",
        "the next segment is answered by RST, or is repeated three times in vain",
    ),
    not_set_when=("the RST acknowledges that segment: the program had read it", "a FIN ends the silence: SI009"),
    rfc=("RFC 1122 4.2.3.6", "RFC 5382 REQ-5"),
    remedy="Send keep-alives (TCP_KEEPIDLE, or those of the protocol) at least twice in the shortest silence that was not "
    "survived; or raise the idle timeout of the NAT, firewall or load balancer on the path.",
    example="idle-connection-dropped",
    rival="the peer was started anew, or its program ended, within the silence",
    end_time="end_time",
)  # fmt: skip

IDLE_CONNECTION_RESET = Rule(
    id="SI007",
    name="idle-connection-reset",
    severity=NOTICE,
    summary="A RST ended a long silence, and answered nothing: the timer of a program or of a device.",
    table="idles",
    predicate=idle_connection_reset,
    grades=(Grade(always, NOTICE, LIKELY),),
    message="{resets:connection} with {ip}:{port} were ended by RSTs that answer nothing, after {shortest_reset_ns} of silence or "
    "more: the timer of the server or of a device[; silences of up to {survived_ns} were survived][; the time fits {reset_timeout}]",
    wordings=(
        Wording(
            lambda r: r.resets == 1,
            "one connection",
            "a RST that answers nothing ended a connection with {ip}:{port} after {shortest_reset_ns} of silence: the timer of the "
            "server or of a device[; silences of up to {survived_ns} were survived][; the time fits {reset_timeout}]",
        ),
    ),
    frames=("frame",),
    values=("resets", "shortest_reset_ns", "longest_reset_ns", "survived_ns", "reset_timeout"),
    set_when=(
        "nobody sends for 20 s or longer, and then a RST comes from the server's side",
        "or from the client's side, after a known timeout: a device resets both",
    ),
    not_set_when=("the RST answers a segment: SI006",),
    rfc=("RFC 9293 3.10.5",),
    remedy="Send keep-alives more often than that, or raise the idle timeout of the server or of the device that sends the RST.",
    example="idle-connection-reset",
    rival="the program was ended just then",
    end_time="end_time",
)  # fmt: skip

KEEP_ALIVE_RACE = Rule(
    id="SI008",
    name="keep-alive-race",
    severity=WARNING,
    summary="The server closed an idle connection at the moment when the client used it again: the request is lost.",
    table="anomalies",
    predicate=keep_alive_race,
    grades=(Grade(always, WARNING, CONFIRMED),),
    message="{peer_ip}:{peer_port} closed the connection after {race_idle_ns} of silence, and {ip}:{port} sent data "
    "{race_gap_ns} later, which a RST answered",
    frames=("peer_fin_frame", "race_frame"),
    values=("race_idle_ns", "race_gap_ns"),
    set_when=(
        "the server sends FIN or RST after a silence of 1 s or longer",
        "the client sends new data within 1 s, and gets a RST",
    ),
    not_set_when=(
        "the data come later than that: their sender could have known",
        "they acknowledge the FIN and are no longer than a close_notify of TLS: an answer to the FIN",
        "the FIN had been repeated before, in vain: nothing crosses",
        "no payload had passed in the connection: nothing was kept alive",
    ),
    rfc=("RFC 9112 9.6", "RFC 9110 9.2.2"),
    remedy="Let the client (or the load balancer) close idle connections sooner than the server does: its idle timeout must be "
    "below the server's keep-alive timeout; and let it retry requests that are idempotent.",
    example="keep-alive-race",
    end_time="end_time",
)

IDLE_CONNECTIONS_CLOSED = Rule(
    id="SI009",
    name="idle-connections-closed",
    severity=INFO,
    summary="A server closes its connections after the same silence: its idle timeout.",
    table="idles",
    predicate=idle_connections_closed,
    grades=(Grade(always, INFO, LIKELY),),
    message="{ip}:{port} closed {closes:connection} after a silence of {shortest_close_ns} to {longest_close_ns}"
    "[; this fits {close_timeout}]",
    frames=("frame",),
    values=("closes", "shortest_close_ns", "longest_close_ns", "survived_ns", "close_timeout"),
    set_when=("two connections or more end by a FIN of the server after a silence of the same length",),
    not_set_when=("the lengths differ by more than a twentieth",),
    rfc=("RFC 9112 9.8",),
    remedy="Nothing to do for this alone; clients must use a shorter timeout (SI008).",
    example="idle-connections-closed",
    end_time="end_time",
)

NAT_REBINDING = Rule(
    id="SI010",
    name="nat-rebinding",
    severity=WARNING,
    summary="A connection went on from another port or address: a NAT had forgotten its mapping.",
    table="moves",
    predicate=nat_rebinding,
    grades=(
        Grade(lambda r: r.is_reset != 0, WARNING, LIKELY, "the peer does not know the new port, and reset it"),
        Grade(always, NOTICE, LIKELY),
    ),
    message="the connection of {ip} with {peer_ip}:{peer_port} went on from port {port} instead of {previous_port}, after {gap_ns} of "
    "silence: a NAT had forgotten its mapping[, and the peer reset the connection{is_reset:?}]",
    frames=("previous_frame", "frame"),
    values=("previous_port", "gap_ns"),
    set_when=(
        "the first segment of a connection without SYN has exactly the next numbers of another one",
        "the other one is open, and was silent for 1 s or longer, until the end of the capture",
    ),
    not_set_when=("both are captured at the same time: the same segments before and behind a NAT",),
    rfc=("RFC 5382 REQ-5", "RFC 4787 4.3"),
    remedy="Send keep-alives (TCP_KEEPIDLE) more often than the NAT forgets; on the NAT look if its table was flushed or is full (conntrack -S, net.netfilter.nf_conntrack_tcp_timeout_established).",
    example="nat-rebinding",
    rival="a segment that left without translation, or through another gateway",
)  # fmt: skip

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

SYN_FROM_OTHER_PORT = Rule(
    id="SI013",
    name="syn-from-other-port",
    severity=INFO,
    summary="A SYN was sent again from another port of the same address: a NAT chose a new one for the retry.",
    table="moves",
    predicate=syn_from_other_port,
    grades=(Grade(always, INFO, CONFIRMED),),
    message="the SYN of {ip}:{port} to {peer_ip}:{peer_port} is that of port {previous_port}, {gap_ns} later: one connect",
    frames=("previous_frame", "frame"),
    values=("previous_port", "gap_ns", "cost_ns"),
    set_when=(
        "a SYN has the ISN of an earlier one of the same address, which came to nothing, a later timestamp, and another port",
        "or the same where the snap length has cut off the timestamps",
    ),
    not_set_when=(
        "the port is the same: a retransmission",
        "there are no timestamps, or the earlier SYN was refused: a program that uses one ISN for all",
    ),
    rfc=("RFC 5382 REQ-1",),
    remedy="Nothing to do for this alone; the NAT has few ports for this service, or forgets a refused SYN at once.",
    example="syn-from-other-port",
)

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

SILENT_AFTER_HANDSHAKE = Rule(
    id="SI017",
    name="silent-after-handshake",
    severity=NOTICE,
    summary="A server sent nothing more after its SYN+ACKs, not even ACKs of the clients' data.",
    table="services",
    predicate=silent_after_handshake,
    grades=(Grade(always, NOTICE, LIKELY),),
    message="{ip}:{port} sent nothing more after its SYN+ACK on {silent_after_handshake:connection}, not even an ACK of the clients' "
    "data: the answers took another way and were not captured, or the server hangs",
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
    CONNECT_UNANSWERED,
    SYN_ACK_NOT_RECEIVED,
    SYN_ACK_UNACKNOWLEDGED,
    DATA_UNANSWERED,
    CONNECTS_REFUSED,
    IDLE_CONNECTION_DROPPED,
    IDLE_CONNECTION_RESET,
    KEEP_ALIVE_RACE,
    IDLE_CONNECTIONS_CLOSED,
    NAT_REBINDING,
    MANY_SERVICES_TRIED,
    SYN_FLOOD,
    SYN_FROM_OTHER_PORT,
    CONNECT_UNDELIVERABLE,
    DATA_UNDELIVERABLE,
    PACKET_TOO_BIG,
    SILENT_AFTER_HANDSHAKE,
)

DERIVED = (Derived("connects", "suspect", suspect),)
