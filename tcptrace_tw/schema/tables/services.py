"""Rows of services and of those who connect to them: what was answered, and what was not."""

from tcptrace_tw.schema import words as w
from tcptrace_tw.schema.column import PEERS, Column, Table, duration, flag, frame, identifier, moment, word

SERVICES = Table(
    "services",
    "server and port",
    (
        identifier(
            "connection_id",
            "An example: a connection that the server closed, left in CLOSE-WAIT, or was silent on.",
            null=True,
        ),
        Column("ip", "ip", "The server's address."),
        Column("port", "u2", "The server's port."),
        moment("time", "First connection."),
        moment("end_time", "Last segment."),
        Column("connections", "u4", "Connections with a complete handshake in the capture."),
        Column("closed", "u4", "Those closed by FIN."),
        Column("closed_by_server", "u4", "Those that the server closed first."),
        Column(
            "left_in_close_wait", "u4", "Those that the client closed 60 s ago or earlier, and the server never did."
        ),
        frame("fin_frame", "The client's FIN of one of those."),
        Column(
            "silent_after_handshake",
            "u4",
            "Connections on which it sent nothing after its SYN+ACK for 1 s or longer, not even an ACK of the client's data.",
        ),
        identifier("silent_connection_id", "The first of those.", null=True),
        frame("silent_frame", "Its SYN+ACK."),
    ),
)

CONNECTS = Table(
    "connects",
    "client address towards one service, where connects came to nothing",
    (
        identifier("connection_id", "The first connect that got no answer, or was refused."),
        Column("ip", "ip", "The client's address."),
        Column("peer_ip", "ip", "The address that it connects to."),
        Column("peer_port", "u2", "The port that it connects to."),
        moment("time", "The first SYN of these connects."),
        moment("end_time", "The last of them."),
        frame("syn_frame", "The frame of the first."),
        frame("last_frame", "The frame of the last."),
        Column("connects", "u4", "Its connects whose outcome is known: answered, refused, or repeated in vain."),
        Column("answered", "u4", "Those that were answered by SYN+ACK."),
        Column("refused", "u4", "Those that were refused by RST."),
        Column("unanswered", "u4", "Those whose SYN was repeated and never answered."),
        Column("failed", "u4", "Those of them that repeated it twice or more, and for 2 s or longer."),
        Column("syns", "u4", "SYNs of the unanswered ones."),
        duration("longest_wait_ns", "The longest time from the first SYN of a connect to its last."),
        Column("half_open", "u4", "Connects of one SYN whose SYN+ACK was repeated, and never acknowledged."),
        Column(
            "stale", "u4", "Ignored SYNs to that address, if all of them had a timestamp below that of an answered one."
        ),
        Column("clock_answered", "u4", "Answered SYNs to that address that these were compared with."),
        Column("clocks", "u4", "Timestamp clocks behind the client's address (see clocks); 0 if they are not known."),
        flag("is_waiting", "Whether that address held TIME-WAIT for the client."),
        Column("service_answered", "u4", "Connects of all clients that this service answered."),
        Column("service_unread", "u4", "Connections from before, which the service never sent data on."),
        Column("address_heard", "u4", "Connections on which that address sent anything."),
        flag("is_scan", "Whether the client tried many services in vain (see scans)."),
        flag("has_icmp_error", "Whether an ICMP error tells why (see icmp_errors)."),
        word(
            "suspect",
            w.SUSPECT,
            "The likeliest cause by the decision table (rules/decisions/connect_suspects).",
            null=True,
        ),
        Column(
            "misreset", "u4", "Connects whose SYNs only got RSTs that do not acknowledge them: a client ignores those."
        ),
        Column(
            "reused",
            "u4",
            "Unanswered connects on ports of connections that the server had closed at most four minutes before.",
        ),
        Column("reused_answered", "u4", "Answered ones on such ports."),
    ),
)

SCANS = Table(
    "scans",
    "client address that tried many services in vain",
    (
        identifier("connection_id", "One of these connects."),
        Column("ip", "ip", "The client's address."),
        moment("time", "The first of them."),
        moment("end_time", "The last of them."),
        frame("syn_frame", "The frame of one of them."),
        Column("vain", "u4", "Connects that were refused or not answered."),
        Column("retried", "u4", "Those that repeated their SYN twice or more."),
        Column("answered", "u4", "Connects that were answered."),
        Column("services", "u4", "About how many different services they went to, at most 256."),
    ),
)

FLOODS = Table(
    "floods",
    "service with many SYNs that came to nothing",
    (
        identifier("connection_id", "One of these connects."),
        Column("ip", "ip", "The server's address."),
        Column("port", "u2", "The server's port."),
        moment("time", "The first of them."),
        moment("end_time", "The last of them."),
        frame("syn_frame", "The frame of one of them."),
        Column("vain", "u4", "Connects of one SYN that were not answered, or did not acknowledge the answer."),
        Column("answered", "u4", "Connects that were established."),
        Column("clients", "u4", "About how many different addresses they came from, at most 256."),
    ),
)

IDLES = Table(
    "idles",
    "service with connections that were silent for 1 s or longer",
    (
        identifier("connection_id", "The connection that ended after the shortest silence."),
        Column("ip", "ip", "The server's address."),
        Column("port", "u2", "The server's port."),
        moment("time", "The first connection."),
        moment("end_time", "The last segment."),
        frame("frame", "The last segment of that connection."),
        duration("survived_ns", "The longest silence after which a connection went on."),
        Column("drops", "u4", "Connections that were gone after a silence: what broke it got a RST, or no answer."),
        duration("shortest_drop_ns", "The shortest silence of those."),
        duration("longest_drop_ns", "The longest silence of those."),
        flag("is_answered_by_reset", "Whether a RST answered what broke the shortest of them."),
        Column(
            "resets",
            "u4",
            "Connections that a RST ended in a silence: from the server's side, or after a known timeout.",
        ),
        duration("shortest_reset_ns", "The shortest silence of those."),
        duration("longest_reset_ns", "The longest silence of those."),
        Column("closes", "u4", "Connections that the server closed by FIN after a silence."),
        duration("shortest_close_ns", "The shortest silence of those."),
        duration("longest_close_ns", "The longest silence of those."),
        word("drop_timeout", w.TIMEOUT, "A known timeout that fits the drops.", null=True),
        word("reset_timeout", w.TIMEOUT, "A known timeout that fits the resets.", null=True),
        word("close_timeout", w.TIMEOUT, "A known timeout that fits the closes.", null=True),
    ),
)

MOVES = Table(
    "moves",
    "connection or connect that went on under another 4-tuple, or SYN that met one",
    (
        identifier("connection_id", "The connection that goes on, or whose SYN was challenged."),
        identifier("previous_connection_id", "The one that it continues, or that its SYN met."),
        *PEERS,
        moment("time", "Its first segment."),
        frame("frame", "Its first segment.", null=False),
        frame("previous_frame", "The last segment of the one before; the first one, where a SYN met it.", null=False),
        Column("previous_port", "u2", "The client's port in the one before."),
        Column("previous_peer_ip", "ip", "The server's address in the one before."),
        Column("previous_peer_port", "u2", "Its port."),
        duration("gap_ns", "The time between the two."),
        duration("cost_ns", "Of a SYN: from the first one to the end of the handshake; null if there was none."),
        word(
            "move",
            w.MOVE,
            "What went on: a SYN that was sent again, or an open connection; or what a SYN met under another address.",
        ),
        flag("is_reset", "Whether it was answered by RST."),
    ),
)

ICMP_ERRORS = Table(
    "icmp_errors",
    "ICMP errors of one router and kind, about segments of one address towards one service",
    (
        identifier("connection_id", "The first connection that they are about."),
        word("endpoint", w.ENDPOINT, "The side that sent the quoted segments."),
        *PEERS,
        moment("time", "The first of them."),
        moment("end_time", "The last of them."),
        frame("frame", "The frame of the first.", null=False),
        Column("router_ip", "ip", "Who sent them."),
        word("error", w.ICMP_ERROR, "What they say."),
        flag("is_connect", "Whether they quote the SYN of connects that were never established."),
        Column("errors", "u4", "Number of errors."),
        Column("connections", "u4", "Number of connections that they are about."),
        Column("most_retries", "u4", "The most retransmissions of a SYN among these."),
        Column("mtu", "u2", "The least MTU that they tell; 0 if they tell none."),
        flag("is_scan", "Whether the address tried many services in vain (see scans)."),
    ),
)
