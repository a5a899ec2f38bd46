"""The segment of the passing batch, and the bits of its fields."""

from tcptrace_tw.schema.column import Column, Table

SEGMENTS = Table(
    "segments",
    "TCP segment of the passing batch (never written)",
    (
        Column("time", "i8", "Capture time in ns since 1970 UTC, as in the file."),
        Column("frame", "i8", "Frame number in its file (1-based) plus ``file << 40``."),
        Column("print", "i8", "The same for all copies of the segment (see flow)."),
        Column("seq", "u4", "SEG.SEQ"),
        Column("ack", "u4", "SEG.ACK"),
        Column("tsval", "u4", "TSval, if options has HAS_TS."),
        Column("tsecr", "u4", "TSecr, if options has HAS_TS."),
        Column("payload_len", "i4", "Payload bytes, from the IP length fields, never from the captured bytes."),
        Column("slot", "i4", "Slot of its 4-tuple (see flow)."),
        Column("flags", "u2", "The TCP flags, FIN = 1 ... CWR = 128, AE = 256."),
        Column("window", "u2", "The window field, not scaled."),
        Column("ip_id", "u2", "IPv4 identification; 0 for IPv6."),
        Column(
            "options",
            "u2",
            "Bits HAS_TS, HAS_MSS, HAS_WSCALE, SACK_PERMITTED, HAS_SACK, TRUNCATED, MALFORMED, BEHIND, REPEATED.",
        ),
        Column("mss", "u2", "The MSS option, if options has HAS_MSS."),
        Column("wscale", "u1", "The window scale option, if options has HAS_WSCALE."),
        Column("ttl", "u1", "TTL or hop limit."),
        Column("direction", "u1", "0: sent by endpoint a of the 4-tuple, 1: by b (see flow)."),
        Column("sender_state", "u1", "State of its sender after it (see tcp)."),
        Column("receiver_state", "u1", "State of its receiver after it."),
        Column("side", "u1", "Who sent it: 0 orig, 1 resp."),
        Column("connection_id", "i8", "The connection that it belongs to."),
        Column("src", "ip", "Source address."),
        Column("dst", "ip", "Destination address."),
        Column("scope", "i8", "VLAN ids and tunnel ids that keep equal addresses apart, or 0 (see capture)."),
        Column("sack_start", "u4", "Left edge of the first SACK block, if options has HAS_SACK."),
        Column("sack_end", "u4", "Right edge of the first SACK block."),
        Column("sport", "u2", "Source port."),
        Column("dport", "u2", "Destination port."),
        Column("checksum", "u2", "The TCP checksum field."),
    ),
)

# Bits of SEGMENTS.options.
HAS_TS, HAS_MSS, HAS_WSCALE, SACK_PERMITTED, HAS_SACK, TRUNCATED, MALFORMED = (1 << i for i in range(7))

BEHIND, REPEATED = 1 << 7, 1 << 8
"""Two more, which the clock of the file sets: the time has gone back before it; the file holds itself again."""

# TCP flags (RFC 9293 3.1).
FIN, SYN, RST, PSH, ACK, URG, ECE, CWR, AE = (1 << i for i in range(9))

FRAME_BITS = 40
"""A frame number is ``file << FRAME_BITS | number``; with one file it is the number that Wireshark shows."""
