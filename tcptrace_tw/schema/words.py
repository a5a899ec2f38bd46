"""The closed vocabularies of the tables: each word once; its place in the tuple is its code in the kernels."""

from tcptrace_tw.protocol.profiles import ACCEPT as ACCEPT
from tcptrace_tw.protocol.profiles import ACCEPT_CHALLENGE as ACCEPT_CHALLENGE
from tcptrace_tw.protocol.profiles import ACCEPT_DROP as ACCEPT_DROP
from tcptrace_tw.protocol.profiles import ACCEPT_PAWS_REJECT as ACCEPT_PAWS_REJECT
from tcptrace_tw.protocol.states import State


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
ANSWER = Vocabulary("answer", "none", "syn-ack", "challenge-ack", "rst")
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
ANSWER_NONE, ANSWER_SYN_ACK, ANSWER_CHALLENGE, ANSWER_RST = range(4)
ACCEPT_NOT_TIME_WAIT = 4  # behind the four of protocol.profiles
INFO, NOTICE, WARNING, ERROR = range(4)
REFUTED, PREDICTED, LIKELY, CONFIRMED = range(4)
EVENT_FIRST_SEEN, EVENT_RETRACTION = 14, 15
