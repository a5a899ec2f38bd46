"""Rows of what rules state, and of what belongs together."""

from tcptrace_tw.schema import words as w
from tcptrace_tw.schema.column import PEERS, Column, Table, duration, frame, identifier, moment, word

FINDINGS = Table(
    "findings",
    "rule statement about one connection",
    (
        identifier("finding_id", "The connection, then three digits for the rule: 17202 is RU002 on connection 17."),
        identifier("incident_id", "The incident that it belongs to; null for info.", null=True),
        Column("rule", "text", "Rule id, as in RU002."),
        Column("name", "text", "Rule name, as in reuse-inside-2msl."),
        word("severity", w.SEVERITY, "How serious it is."),
        word("confidence", w.CONFIDENCE, "How certain it is."),
        identifier("connection_id", "The connection; null for findings about the capture.", null=True),
        identifier("previous_connection_id", "The previous connection on the 4-tuple of the SYN.", null=True),
        word("endpoint", w.ENDPOINT, "The side of the connection that ``ip`` is; null if it is neither.", null=True),
        *(c._replace(is_nullable=True) for c in PEERS),
        moment("time", "When it began."),
        moment("end_time", "When it ended.", null=True),
        frame("frame", "The frame to look at first: the SYN, the RST, the stale segment."),
        Column("frames", "list", "Evidence: frame numbers."),
        Column("message", "text", "One sentence."),
        duration("delay_ns", "How long somebody had to wait for it."),
        duration("silence_ns", "The silence before it; the shortest of several."),
        Column("count", "i8", "Rows of the rule's table that it stands for, as the stale segments of one connection."),
        Column("details", "text", "The other numbers and words behind the sentence, as a JSON object."),
        Column("rival", "text", "Another possible explanation.", is_nullable=True),
        Column("caveats", "list", "Properties of the capture that lower the confidence."),
        Column("display_filter", "text", "Display filter for Wireshark."),
    ),
)

INCIDENTS = Table(
    "incidents",
    "incident: findings that have one cause",
    (
        identifier("incident_id", "1 is the worst."),
        Column("cause", "text", "Id of the rule that found the cause, as in RU004."),
        Column("name", "text", "Its name, as in tw-syn-challenged."),
        Column("title", "text", "The mechanism and the parties."),
        Column("sentence", "text", "What happened, to whom, and how often."),
        word("severity", w.SEVERITY, "How serious it is."),
        word("confidence", w.CONFIDENCE, "How certain it is."),
        Column("client", "text", "Address of the client, or ``several clients``; null if it is about none.", is_nullable=True),
        Column("service", "text", "Address and port of the service, or ``several services``; null if it is about none.",
               is_nullable=True),
        moment("first_time", "When its first finding began.", null=True),
        moment("last_time", "When its last finding began.", null=True),
        duration("delay_ns", "How long somebody had to wait, in total, as far as it is known."),
        Column("connections", "i8", "Connections that it concerns: those of the rule that found the most."),
        Column("findings", "i8", "Findings that belong to it."),
        Column("remedy", "text", "What to do about it."),
    ),
)  # fmt: skip
