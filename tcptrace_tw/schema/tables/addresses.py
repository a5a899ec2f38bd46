"""Rows of addresses: TIME-WAIT that they hold, ports that they use, clocks behind them."""

from tcptrace_tw.schema.column import Column, Table, duration, flag, frame, identifier, moment

CENSUS = Table(
    "census",
    "address with TIME-WAIT sockets, and second in which something changed",
    (
        moment("time", "Start of the second; in a long capture of many addresses steps are 2, 4, ... s wide."),
        Column("ip", "ip", "The address."),
        Column("peer_ip", "ip", "The peer's address."),
        Column("peer_port", "u2", "The peer's port, if this address opened the connections; else 0."),
        Column("time_wait", "u4", "Its TIME-WAIT sockets at the end of this second."),
        Column("active", "u4", "Its open connections at the end of this second, without those in TIME-WAIT."),
        Column("new", "u4", "Connections that began in this second."),
    ),
)

HOLDERS = Table(
    "holders",
    "address with TIME-WAIT sockets",
    (
        identifier("connection_id", "The first connection in which it was in TIME-WAIT."),
        Column("ip", "ip", "The address."),
        moment("time", "The second of its peak."),
        Column("most_time_wait", "u4", "Peak number of TIME-WAIT sockets, counted once per second."),
        Column("spans", "u4", "TIME-WAIT periods in total."),
        duration(
            "least_two_msl_ns",
            "Its 2MSL is at least this: so long after the start or restart of a TIME-WAIT it answered out of it.",
        ),
    ),
)

PORTS = Table(
    "ports",
    "client address towards one service",
    (
        identifier("connection_id", "Its first connection."),
        Column("ip", "ip", "The client's address."),
        Column("peer_ip", "ip", "The address that it connects to."),
        Column("peer_port", "u2", "The port that it connects to."),
        moment("time", "The second with the most ports in use."),
        Column(
            "most_used",
            "u4",
            "Most ports in use at once, by open connections and the client's own TIME-WAIT sockets, counted at the end of each second; 1 at least.",
        ),
        Column("range_size", "u4", "Ports of the first known ephemeral range that holds all ports seen."),
        Column("lowest_port", "u4", "Lowest source port seen."),
        Column("highest_port", "u4", "Highest source port seen."),
        Column("connections", "u4", "Connections opened."),
        duration(
            "fastest_reuse_ns",
            "Shortest time from the start of its TIME-WAIT to the SYN that reused the port; null if there was none.",
        ),
        Column(
            "reuses_at_floor", "u4", "Reuses by Linux after 1.0 to 1.2 s: the shortest time that tcp_tw_reuse allows."
        ),
        Column("reuses_inside", "u4", "Reuses by this address inside its own TIME-WAIT."),
        Column("reuses_at_expiry", "u4", "Reuses between 2MSL and 1.2 times 2MSL: as soon as the port was free."),
        Column(
            "opened_filling", "u4", "Connections opened until 95 % of ``most_used`` were in use, including that second."
        ),
        duration("filling_ns", "From the first connection to the end of that second."),
        Column("opened_full", "u4", "Connections opened from then on, until the last second with as many in use."),
        duration("full_ns", "Duration of that time; 0 if it was one second only."),
        Column(
            "even_before_odd", "u4", "Connections from even ports before the first odd one; 0 if there was no odd one."
        ),
    ),
)

CLOCKS = Table(
    "clocks",
    "client address towards a server address, with comparable timestamps",
    (
        identifier("connection_id", "An example connection."),
        Column("ip", "ip", "The client's address."),
        Column("peer_ip", "ip", "The server's address."),
        moment("time", "First SYN."),
        moment("end_time", "Last SYN."),
        frame("syn_frame", "First SYN."),
        Column("syns", "u4", "SYNs with timestamps whose clocks were compared."),
        Column("clocks", "u4", "Number of clocks that they come from; 0 if each connection has its own offset."),
        Column("rate_hz", "u4", "Ticks of the clocks per second."),
        Column("offset_ms", "i8", "Difference between the lowest and the highest clock."),
        Column("answered", "u4", "SYNs that were answered."),
        Column("ignored", "u4", "SYNs that were retransmitted and never answered."),
        Column("ignored_stale", "u4", "Ignored ones below a timestamp that had been answered in the 60 s before."),
        Column(
            "answered_stale",
            "u4",
            "Answered ones below such a timestamp, a lower bound; counted only if some were ignored.",
        ),
        flag(
            "has_shared_clock", "Whether SYNs from two ports come from one clock; looked at only if some were ignored."
        ),
        flag(
            "has_server_time_wait",
            "Whether the server had entered TIME-WAIT towards that address in the minute before the ignored SYNs.",
        ),
        frame("first_ignored_frame", "The first of the ignored SYNs."),
        frame("last_ignored_frame", "The last of them."),
    ),
)
