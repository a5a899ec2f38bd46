"""PA: timestamps of one connection that stop, jump, go back or expire (RFC 7323 3.2, 5.4, 5.5)."""

from tcptrace_tw.rules.rule import Grade, Mask, Rows, Rule, always
from tcptrace_tw.schema.words import CONFIRMED, INFO, LIKELY, NOTICE, PREDICTED, WARNING


def ts_missing(anomalies: Rows) -> Mask:
    """PA006."""
    return anomalies.ts_missing_frame >= 0


TS_MISSING = Rule(
    id="PA006",
    name="ts-missing-after-negotiation",
    severity=NOTICE,
    summary="A segment has no timestamp although both SYNs negotiated timestamps.",
    table="anomalies",
    predicate=ts_missing,
    grades=(Grade(always, NOTICE, CONFIRMED),),
    message="{ip}:{port} sent {ts_missing:segment} without timestamps to {peer_ip}:{peer_port}, although both SYNs carried them",
    frames=("syn_frame", "ts_missing_frame"),
    values=("ts_missing",),
    set_when=("both SYNs carried timestamps", "a segment other than a RST carries none"),
    not_set_when=("the snap length cut off the options",),
    rfc=("RFC 7323 3.2",),
    remedy="Find the device that strips options or answers for the host: compare TTLs, and capture on both sides of it. Where the server answers with SYN cookies (nstat TcpExtSyncookiesSent rises), raise its backlog: a cookie may not keep the options of the SYN.",
    example="ts-missing-after-negotiation",
    rival="a server that answered with a SYN cookie and forgot that timestamps had been offered",
)

STAYS = 3
"""With this many lower segments in a row it is the clock, not a reordered segment."""


def sender_ts_broken(anomalies: Rows) -> Mask:
    """PA007: the clock went backwards and stayed there."""
    return anomalies.ts_back_segments >= STAYS


SENDER_TS_BROKEN = Rule(
    id="PA007",
    name="sender-ts-broken",
    severity=WARNING,
    summary="The timestamp clock of a sender went backwards and stayed there.",
    table="anomalies",
    predicate=sender_ts_broken,
    grades=(Grade(always, WARNING, LIKELY),),
    message="the timestamps of {ip}:{port} towards {peer_ip}:{peer_port} went backwards by {ts_back_ticks:tick} and stayed there",
    frames=("ts_back_frame",),
    values=("ts_back_ticks", "ts_back_segments"),
    set_when=(
        "new data has a TSval lower than the previous one, by 1 s or more",
        "at least two segments after it are lower too",
    ),
    not_set_when=("only retransmissions carry old timestamps", "the next segment is higher again"),
    rfc=("RFC 7323 5.4",),
    remedy="Look for a clock that was set back, or a virtual machine that moved to another host.",
    example="sender-ts-broken",
    rival="two hosts on one 4-tuple (NAT)",
)


def ts_clock_step(anomalies: Rows) -> Mask:
    """PA010."""
    return anomalies.ts_step_frame >= 0


TS_CLOCK_STEP = Rule(
    id="PA010",
    name="ts-clock-step",
    severity=NOTICE,
    summary="A timestamp clock jumped ahead within a connection.",
    table="anomalies",
    predicate=ts_clock_step,
    grades=(Grade(always, NOTICE, LIKELY),),
    message="the timestamps of {ip}:{port} towards {peer_ip}:{peer_port} jumped ahead by {ts_step_ms:ms}",
    frames=("ts_step_frame",),
    values=("ts_step_ms",),
    set_when=("TSval rises by 60 s more than the sender's own rate so far explains",),
    not_set_when=("the sender was silent for that long",),
    rfc=("RFC 7323 5.4",),
    remedy="Look for a live migration, or a clock that was set; the receiver cannot notice it.",
    example="ts-clock-step",
    rival="two hosts on one 4-tuple (NAT)",
)


def ts_wrap_near(anomalies: Rows) -> Mask:
    """PA011."""
    return anomalies.idle_frame >= 0


TS_WRAP_NEAR = Rule(
    id="PA011",
    name="ts-wrap-near",
    severity=INFO,
    summary="A connection was idle for so long that TS.Recent was no longer valid.",
    table="anomalies",
    predicate=ts_wrap_near,
    grades=(Grade(always, INFO, PREDICTED),),
    message="{ip}:{port} was silent towards {peer_ip}:{peer_port} for {idle_ns}: TS.Recent is no longer valid",
    frames=("idle_frame",),
    values=("idle_ns",),
    set_when=("silent for longer than the profile's stack trusts TS.Recent (Linux 2147 s, others 24 days)",),
    not_set_when=("keep-alives with timestamps arrived in between",),
    rfc=("RFC 7323 5.5",),
    remedy="Enable keep-alives.",
    example="ts-wrap-near",
)

RULES = (
    TS_MISSING,
    SENDER_TS_BROKEN,
    TS_CLOCK_STEP,
    TS_WRAP_NEAR,
)
