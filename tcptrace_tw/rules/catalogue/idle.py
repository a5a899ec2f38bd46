"""SI: how idle connections end (docs/semantics.md: silence)."""

from tcptrace_tw.rules.rule import Grade, Mask, Rows, Rule, Wording, always
from tcptrace_tw.schema.words import CONFIRMED, INFO, LIKELY, NOTICE, NULL_WORD, ORIG, PREDICTED, WARNING


def idle_connection_dropped(idles: Rows) -> Mask:
    """SI006."""
    return idles.drops > 0


def one_reset(idles: Rows) -> Mask:
    """One connection, and a RST answered what broke the silence."""
    return (idles.drops == 1) & (idles.is_answered_by_reset != 0)


def one_lost(idles: Rows) -> Mask:
    """One connection, and nothing answered."""
    return (idles.drops == 1) & (idles.is_answered_by_reset == 0)


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
    "that paused for up to {survived_ns} lived]: {?}a device had dropped them[; the time fits {drop_timeout}]",
    wordings=(
        Wording(
            one_reset,
            "one, and a RST came",
            "a connection to {ip}:{port} was reset when it spoke again after {shortest_drop_ns} of silence[; silences of up to "
            "{survived_ns} were survived]: {?}a device had dropped the idle connection[; the time fits {drop_timeout}]",
        ),
        Wording(
            one_lost,
            "one, and nothing came",
            "a connection to {ip}:{port} got no answer when it spoke again after {shortest_drop_ns} of silence[; silences of up to "
            "{survived_ns} were survived]: {?}a device had dropped the idle connection, or the peer is gone[; the time fits {drop_timeout}]",
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
    rival="the peer was restarted, or its program ended, within the silence",
    end_time="end_time",
)  # fmt: skip


def idle_connection_reset(idles: Rows) -> Mask:
    """SI007."""
    return idles.resets > 0


IDLE_CONNECTION_RESET = Rule(
    id="SI007",
    name="idle-connection-reset",
    severity=NOTICE,
    summary="A RST ended a long silence, and answered nothing: the timer of a program or of a device.",
    table="idles",
    predicate=idle_connection_reset,
    grades=(Grade(always, NOTICE, LIKELY),),
    message="{resets:connection} with {ip}:{port} were ended by RSTs that answer nothing, after {shortest_reset_ns} of silence or "
    "more: {?}the timer of the server or of a device[; silences of up to {survived_ns} were survived][; the time fits {reset_timeout}]",
    wordings=(
        Wording(
            lambda r: r.resets == 1,
            "one connection",
            "a RST that answers nothing ended a connection with {ip}:{port} after {shortest_reset_ns} of silence: {?}the timer of the "
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

RACE_NS = 1_000_000_000
"""Data so soon after the end had been sent before their sender's program could know of it."""


def keep_alive_race(anomalies: Rows) -> Mask:
    """SI008."""
    return (anomalies.is_race_lost != 0) & (anomalies.race_gap_ns <= RACE_NS) & (anomalies.endpoint == ORIG)


KEEP_ALIVE_RACE = Rule(
    id="SI008",
    name="keep-alive-race",
    severity=WARNING,
    summary="The server closed an idle connection at the moment when the client used it again: the request is lost.",
    table="anomalies",
    predicate=keep_alive_race,
    grades=(
        Grade(
            lambda r: r.is_race_crossed != 0,
            WARNING,
            LIKELY,
            "the data came first, and the FIN within a round trip: a server that closes because of them without an ACK looks the same",
        ),
        Grade(always, WARNING, CONFIRMED),
    ),
    message="a request of {ip}:{port} was lost: {peer_ip}:{peer_port} had closed the idle connection (after {race_idle_ns} of silence) "
    "while the request was on its way, {race_gap_ns} before it, and answered with RST",
    wordings=(
        Wording(
            lambda r: r.is_race_crossed != 0,
            "the FIN crossed the data",
            "a request of {ip}:{port} was lost: {?}it crossed the FIN by which {peer_ip}:{peer_port} closed the idle connection (after {race_idle_ns} of silence), and was answered with RST",
        ),
    ),
    frames=("peer_fin_frame", "race_frame"),
    values=("race_idle_ns", "race_gap_ns"),
    set_when=(
        "the server sends FIN or RST after a silence of 1 s or longer",
        "the client sends new data within 1 s, and gets a RST",
        "or the data are on the way when the FIN comes, which does not acknowledge them",
    ),
    not_set_when=(
        "the data come later than that: their sender could have known",
        "they acknowledge the FIN and are no longer than a close_notify of TLS: an answer to the FIN",
        "they acknowledge the FIN, are shorter than 160 bytes, and the client's FIN follows: a farewell (close_notify, GOAWAY)",
        "the FIN had been repeated before, in vain: nothing crosses",
        "no payload had passed in the connection: nothing was kept alive",
    ),
    rfc=("RFC 9112 9.6", "RFC 9110 9.2.2"),
    remedy="Let the client (or the load balancer) close idle connections sooner than the server does: its idle timeout must be "
    "below the server's keep-alive timeout; and let it retry requests that are idempotent.",
    example="keep-alive-race",
    end_time="end_time",
)

CLOSES = 2
"""The number of connections that end after the same silence and so show a timeout."""

SECOND_NS = 1_000_000_000


def idle_connections_closed(idles: Rows) -> Mask:
    """SI009."""
    apart = idles.longest_close_ns - idles.shortest_close_ns
    return (idles.closes >= CLOSES) & (apart <= idles.shortest_close_ns // 20 + SECOND_NS // 2)


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

RULES = (
    IDLE_CONNECTION_DROPPED,
    IDLE_CONNECTION_RESET,
    KEEP_ALIVE_RACE,
    IDLE_CONNECTIONS_CLOSED,
)
