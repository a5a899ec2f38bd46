"""The closed vocabularies of the tables: each word once; its place in the tuple is its code in the kernels."""

from tcptrace_tw.protocol.profiles import ACCEPT as ACCEPT
from tcptrace_tw.protocol.profiles import ACCEPT_CHALLENGE as ACCEPT_CHALLENGE
from tcptrace_tw.protocol.profiles import ACCEPT_DROP as ACCEPT_DROP
from tcptrace_tw.protocol.profiles import ACCEPT_PAWS_REJECT as ACCEPT_PAWS_REJECT
from tcptrace_tw.protocol.states import State
from tcptrace_tw.protocol.timeouts import prose, words


class Vocabulary:
    """An ordered set of words. Code 255 stands for null."""

    def __init__(self, name: str, *words: str, prose: tuple[str, ...] = ()) -> None:
        self.name = name
        self.words = words
        self.prose = prose or words
        """How a sentence puts it, word by word."""

    def code(self, word: str) -> int:
        """The code of ``word``; ``ValueError`` if there is no such word."""
        return self.words.index(word)

    def __repr__(self) -> str:
        return f"Vocabulary({self.name!r}: {', '.join(self.words)})"


NULL_WORD = 255

STATE = Vocabulary("state", *(s.name.replace("_", "-") for s in State))
ENDPOINT = Vocabulary("endpoint", "orig", "resp")
BASIS = Vocabulary("basis", "sent", "confirmed", "assumed", "inferred", "midstream", "timer")
OPENED = Vocabulary("opened", "handshake", "simultaneous", "midstream")
ACTIVE_CLOSER = Vocabulary("active_closer", "orig", "resp", "both", "none", "unknown")
CLOSE = Vocabulary("close", "normal", "simultaneous", "abort", "half-closed", "refused", "unanswered", "open")
START_BASIS = Vocabulary("start_basis", "ack", "fin", "inferred")
END_REASON = Vocabulary(
    "end_reason", "expired", "reopened-by-peer", "reused-by-holder", "assassinated", "capture-end", "unknown",
    prose=(
        "it expired", "a SYN from the peer reopened the connection", "this side reused the port",
        "a RST ended it", "the capture ended before it did", "its end is not known",
    ),
)  # fmt: skip
ANSWER = Vocabulary("answer", "none", "syn-ack", "challenge-ack", "rst", "refused")
OUTCOME = Vocabulary(
    "outcome", "unknown", "accepted", "accepted-after-challenge", "accepted-after-retry", "refused", "ignored", "gave-up",
    prose=(
        "neither accepted nor refused", "accepted", "accepted after a challenge ACK", "accepted after a retry", "refused",
        "never answered", "given up",
    ),
)  # fmt: skip
MEANWHILE = Vocabulary("meanwhile", "unknown", "others-answered", "nobody-answered")
SILENCE_END = Vocabulary(
    "silence_end", "fin", "reset", "answered-by-reset", "unanswered",
    prose=("a FIN", "a RST", "a segment that a RST answered", "segments that nothing answered"),
)  # fmt: skip
FIRST_DATA = Vocabulary(
    "first_data", "none", "taken", "taken-late", "lost", "refused",
    prose=(
        "it sent no data", "its data were taken", "its data were taken late", "its data were never taken",
        "its first data came late, and got a RST",
    ),
)  # fmt: skip
SUSPECT = Vocabulary(
    "suspect", "accept-queue", "timestamps", "some-answered", "port-filtered", "nothing-heard", "wrong-rst", "remembered",
    prose=(
        "the server's accept queue is full: it has connections that it never read from",
        "the server takes them for old (tcp_tw_recycle, or PAWS): their timestamps are below those of other SYNs from this address",
        "a queue that is full at times, loss, or a limit or filter that stops some",
        "a filter stops this port: that host answers on others",
        "a filter, or a host that is down: nothing else came from that address either",
        "a stack that refuses SYNs wrongly, or a device that sends RSTs in its name",
        "the server (TIME-WAIT) or a device on the path still remembers the connections that these ports had before",
    ),
)  # fmt: skip
TIMEOUT = Vocabulary("timeout", *words(), prose=prose())
ICMP_ERROR = Vocabulary(
    "icmp_error", "no-route", "host-unreachable", "port-unreachable", "too-big", "prohibited", "time-exceeded", "other",
    prose=(
        "there is no route to it", "the host is not reachable", "the port is closed, or rejected by a filter",
        "the packet is too big", "a filter prohibits it", "the packet went in a circle, or too far", "it is not deliverable",
    ),
)  # fmt: skip
MOVE = Vocabulary("move", "retry", "rebinding", "other-address", "untranslated", "untranslated-answer")
ACCEPTANCE = Vocabulary("acceptance", "accept", "challenge", "paws-reject", "drop", "not-in-time-wait")
SEVERITY = Vocabulary("severity", "info", "notice", "warning", "error")
CONFIDENCE = Vocabulary("confidence", "refuted", "predicted", "likely", "confirmed")
EVENT = Vocabulary(
    "event",
    "SYN sent",
    "SYN+ACK sent",
    "SYN received",
    "SYN+ACK received",
    "ACK of SYN received",
    "FIN sent",
    "FIN received",
    "ACK of FIN received",
    "FIN and ACK of FIN received",
    "RST sent",
    "RST received",
    "timeout",
    "superseded",
    "RST received in passive open",
    "first seen",
    "retraction",
)


# Plain integers for the kernels.
ORIG, RESP, BOTH, NONE, UNKNOWN_CLOSER = range(5)
BASIS_SENT, BASIS_CONFIRMED, BASIS_ASSUMED, BASIS_INFERRED, BASIS_MIDSTREAM, BASIS_TIMER = range(6)
OPENED_HANDSHAKE, OPENED_SIMULTANEOUS, OPENED_MIDSTREAM = range(3)
(
    CLOSE_NORMAL,
    CLOSE_SIMULTANEOUS,
    CLOSE_ABORT,
    CLOSE_HALF_CLOSED,
    CLOSE_REFUSED,
    CLOSE_UNANSWERED,
    CLOSE_OPEN,
) = range(7)
START_ACK, START_FIN, START_INFERRED = range(3)
END_EXPIRED, END_REOPENED, END_REUSED, END_ASSASSINATED, END_CAPTURE, END_UNKNOWN = range(6)
ANSWER_NONE, ANSWER_SYN_ACK, ANSWER_CHALLENGE, ANSWER_RST, ANSWER_REFUSED = range(5)
(
    OUTCOME_UNKNOWN,
    OUTCOME_ACCEPTED,
    OUTCOME_AFTER_CHALLENGE,
    OUTCOME_AFTER_RETRY,
    OUTCOME_REFUSED,
    OUTCOME_IGNORED,
    OUTCOME_GAVE_UP,
) = range(7)
MEANWHILE_UNKNOWN, OTHERS_ANSWERED, NOBODY_ANSWERED = range(3)
SILENCE_FIN, SILENCE_RESET, SILENCE_ANSWERED_BY_RESET, SILENCE_UNANSWERED = range(4)
DATA_NONE, DATA_TAKEN, DATA_TAKEN_LATE, DATA_LOST, DATA_REFUSED = range(5)
(
    SUSPECT_ACCEPT_QUEUE,
    SUSPECT_TIMESTAMPS,
    SUSPECT_SOME_ANSWERED,
    SUSPECT_FILTERED,
    SUSPECT_NOTHING_HEARD,
    SUSPECT_WRONG_RST,
    SUSPECT_REMEMBERED,
) = range(7)
(
    ICMP_NO_ROUTE,
    ICMP_HOST_UNREACHABLE,
    ICMP_PORT_UNREACHABLE,
    ICMP_TOO_BIG,
    ICMP_PROHIBITED,
    ICMP_TIME_EXCEEDED,
    ICMP_OTHER,
) = range(7)
MOVE_RETRY, MOVE_REBINDING, MOVE_OTHER_ADDRESS, MOVE_UNTRANSLATED, MOVE_UNTRANSLATED_ANSWER = range(5)
ACCEPT_NOT_TIME_WAIT = 4  # behind the four of protocol.profiles
INFO, NOTICE, WARNING, ERROR = range(4)
REFUTED, PREDICTED, LIKELY, CONFIRMED = range(4)
EVENT_FIRST_SEEN, EVENT_RETRACTION = 14, 15
