"""The row of the capture: what limits the conclusions."""

from tcptrace_tw.schema.column import Column, Table, duration, frame, identifier, moment

CAPTURE = Table(
    "capture",
    "capture, with the properties that limit the conclusions",
    (
        identifier("connection_id", "Null.", null=True),
        moment("time", "First frame."),
        moment("end_time", "Last frame."),
        Column("segments", "i8", "TCP segments."),
        Column("connections", "i8", "Connections."),
        Column(
            "damaged_segments", "i8", "Segments whose flags exclude each other, or whose options do not fit the header."
        ),
        Column("impossible_flags", "i8", "Those of them with such flags."),
        frame("damaged_frame", "The first of them."),
        Column(
            "hidden_connections",
            "i8",
            "Connections of SYN, FIN and RST only, whose numbers show text that was not captured.",
        ),
        Column("plain_connections", "i8", "Connections with a segment that is neither SYN, FIN nor RST."),
        Column(
            "vain_connections", "i8", "Those without one that were refused, reset before any FIN, or never answered."
        ),
        Column(
            "long_connections",
            "i8",
            "Connections with more than ten segments, or with a SYN, three segments and an ACK.",
        ),
        Column("one_way_connections", "i8", "Those with only one direction captured."),
        Column("split_connections", "i8", "Pairs of one-way connections that differ only in VLAN or tunnel."),
        frame("split_frame", "The first segment of one of them."),
        Column("midstream_connections", "i8", "Connections whose handshake was not captured."),
        frame("midstream_frame", "The first segment of one of them."),
        Column("duplicates", "i8", "Frames that are copies of a captured segment."),
        frame("duplicate_frame", "The first of them."),
        Column("swaps", "i8", "How often data appears after its own ACK."),
        frame("swap_frame", "The first of them."),
        duration("swap_lag_ns", "The longest lag."),
        Column("truncated_options", "i8", "Segments whose options the snap length cut off."),
        Column("merged", "i8", "Segments larger than the peer's MSS."),
        frame("merged_frame", "The first of them."),
        Column("unseen_bytes", "i8", "Bytes that were acknowledged but never captured."),
        frame("unseen_frame", "The first ACK of such bytes."),
        Column("lost_frames", "i8", "Frames that the capturing host reports as dropped."),
        Column("unfit_times", "i8", "Frames with a time before 1970 or after 2115, which was replaced."),
        Column("damaged_files", "i8", "Files that are truncated or damaged."),
        Column("forgotten_attempts", "i8", "Unanswered SYNs that were forgotten early to stay within --max-memory."),
        Column("forgotten_connections", "i8", "Other connections that were forgotten early for that reason."),
        duration("backward_ns", "The largest step back of the clock."),
        frame("backward_frame", "Where that was."),
        Column(
            "late_frames", "i8", "Frames, up to three in a row, that are older than one before them by 1 s to 60 s."
        ),
        Column(
            "absurd_times",
            "i8",
            "Frames, up to three in a row, whose time lies an hour or more ahead of all that follow.",
        ),
        Column(
            "steps_back",
            "i8",
            "How often more than three frames in a row are older than one before them by 1 s or more, or some by 60 s or more.",
        ),
        Column("steps_passed", "i8", "Segments with new data of connections that go on while the time is behind."),
        Column("repeated_frames", "i8", "Frames that the capture holds a second time, from its first one on."),
        duration(
            "forward_ns", "The largest step ahead: 1 h or longer while a sender's timestamp clock did not advance."
        ),
        frame("forward_frame", "Where that was."),
        Column("censored_spans", "i8", "TIME-WAIT periods that were open when the capture ended."),
        frame("censored_frame", "The start of one of them."),
    ),
)
