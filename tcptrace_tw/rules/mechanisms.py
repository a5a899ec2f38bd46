"""Which findings tell one story: what they have in common, who is concerned, and the sentence for several of them.

Findings above info with the same mechanism and the same parties are one incident. A rule that no mechanism names is one of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from tcptrace_tw.rules.rule import Mask, Rows


class About(Enum):
    """The parties that findings must share."""

    PAIR = "a client address and a service"
    SERVICE = "a service: the server's address and port"
    CLIENT = "a client address"
    CAPTURE = "the capture"


class Mechanism(NamedTuple):
    """Rules that see one event from several sides, the cause first: of equally severe findings it tells the story."""

    name: str
    about: About
    rules: tuple[str, ...]
    is_told_first: bool = False
    """Of equally severe incidents it comes first: what it says puts the numbers of the others in doubt."""
    is_by_side: bool = False
    """What a server does and what its clients do are two stories: another program is to blame."""


MECHANISMS = (
    Mechanism("SYN in TIME-WAIT", About.PAIR, ("RU009", "RU004", "RU005", "RU006", "PA004", "TW006", "RU012", "RU002",
                                                   "PA003", "SI013")),
    Mechanism("LAST-ACK", About.PAIR, ("LA002", "LA003", "LA001", "LA007", "LA006", "LA004")),
    Mechanism("SYN into a connection", About.PAIR, ("RU011", "RU013", "RU014")),
    Mechanism("half-closed", About.SERVICE, ("TW012", "TW008", "LA005", "TW011")),
    Mechanism("TIME-WAIT ended early", About.SERVICE, ("TW005", "TW009", "TW007")),
    Mechanism("source ports", About.PAIR, ("PE003", "PE002", "PE004", "PE001")),
    Mechanism("idle connection", About.SERVICE, ("SI006", "RS013", "SI007", "RS011")),
    Mechanism("keep-alive race", About.SERVICE, ("SI008",)),
    Mechanism("accept queue", About.SERVICE, ("HS005", "HS003")),
    Mechanism("connect unanswered", About.SERVICE, ("PA008", "SI014", "SI019", "SI001", "SI002", "SI003")),
    Mechanism("slow connect", About.PAIR, ("HS002",)),
    Mechanism("peer gone", About.PAIR, ("SI015", "RS015", "SI004", "RS007")),
    Mechanism("silent server", About.SERVICE, ("SI017",)),
    Mechanism("forged data", About.SERVICE, ("RS016",)),
    Mechanism("abort", About.SERVICE, ("RS002", "RS001", "RS003"), is_by_side=True),
    Mechanism("timestamps", About.PAIR, ("PA007", "PA001", "PA010", "PA006")),
    Mechanism("scan", About.CLIENT, ("SI011",)),
    Mechanism("joined captures", About.CAPTURE, ("CP016",), is_told_first=True),
    Mechanism("capture", About.CAPTURE, ("CP012", "CP009", "CP015", "CP014", "CP003", "CP002", "CP011", "CP008", "CP004", "CP001",
                                            "CP006", "CP013")),
)  # fmt: skip

CONSEQUENCES: dict[str, tuple[str, ...]] = {
    "HS002": ("RU004", "RU005", "RU006", "RU011", "RU013", "LA001", "LA002", "LA003", "PA004", "SI002", "SI010", "HS005"),
    "PA001": ("PA007",),
    "LA004": ("TW009",),
    "PA003": ("TW005",),
    "RS001": ("SI008", "SI018", "SI007", "RS016", "RU008"),
    "RS003": ("SI008", "SI018", "TW012", "TW008", "RS015", "RS016"),
    "RS005": ("HS005", "SI010", "SI018", "SI008", "RS012", "RU011", "RU013", "LA001", "LA003", "TW005", "TW008", "HS003", "RU008"),
    "RS007": ("HS005", "SI002"),
    "RS015": ("SI004",),
    "SI002": ("HS005",),
    "SI001": ("SI018",),
    "SI003": ("SI018",),
    "SI019": ("SI018",),
    "SI004": ("SI006", "HS005", "SI010"),
    "SI007": ("RS014",),
    "TW011": ("LA006", "LA007", "TW008", "TW012"),
    "TW005": ("RU004", "RU005", "RU006"),
}  # fmt: skip
"""Rule, and the rules that explain it on the same connection: there it belongs to their incident."""


class Beside(NamedTuple):
    """Findings of severity info that a reader must know all the same: the rows that count, and what they add."""

    when: Callable[[Rows], Mask]
    clause: str
    """Nothing where the sentence of the finding itself says it."""
    is_told_alone: bool
    """Whether it is an incident without another finding, too."""


BESIDE: dict[str, Beside] = {
    "PA003": Beside(
        lambda r: (r.is_before_syn != 0) & (r.tsval != r.ts_recent),  # without timestamps both are 0
        "an old segment of the previous connection arrived in the new one and was dropped: its timestamp was too old",
        is_told_alone=True,
    ),
    "RU014": Beside(lambda r: r.connection_id > 0, "", is_told_alone=False),
    "SI013": Beside(lambda r: r.cost_ns >= 0, "some of the clients tried again from another port", is_told_alone=False),
}
"""By rule. Their delays count with those of the cause."""

SEVERAL: dict[str, str] = {
    "HS002": "{count} connects from {client} to {service} took 1 s or longer, because their SYNs were retransmitted",
    "HS006": "{count} connects to {service} came from the same port and address: each socket was connected to itself",
    "HS007": "{count} SYNs to {service} were answered by SYN+ACKs with different ISNs: several hosts answer for this address",
    "HS003": "{service} retransmitted the SYN+ACK of {count} connections although the client's ACK is in the capture",
    "HS005": "{service} did not complete {count} handshakes and dropped the clients' data: its accept queue was {?}full",
    "LA001": "{count} SYNs from {client} {?}met LAST-ACK on {service} and were challenged, so that the client had to reset and retransmit",
    "LA002": "{count} SYNs from {client} {?}met LAST-ACK on {service} and got no useful answer",
    "LA003": "{count} SYNs from {client} {?}met LAST-ACK on {service} and were answered with RST",
    "LA004": "the final ACKs of {count} connections with {service} were lost after the capture point: their FINs were retransmitted",
    "LA005": "in {count} connections with {service} the last FIN was answered with RST: the other side no longer had them",
    "LA006": "in {count} connections with {service} the passive closer gave up in LAST-ACK and sent RST",
    "LA007": "in {count} connections with {service} the passive closer retransmitted its FIN and got no answer: the other side was {?}gone",
    "PA001": "{actor} sent segments with stale timestamps in {count} connections with {peer}, which {?}dropped them as old duplicates (PAWS)",
    "PA003": "{count} old segments of previous connections arrived in new ones between {client} and {service} and were dropped: their timestamps were too old",
    "PA004": "{count} SYNs from {client} to {service} reused a 4-tuple with a timestamp lower than the previous connection's",
    "PA007": "the timestamp clock of {actor} went backwards in {count} connections with {peer}",
    "RS001": "{actor} ended {count} connections with {peer} by RST instead of FIN ({?}SO_LINGER 0 or unread data: the packets do not tell)",
    "RS002": "{actor} closed {count} connections with {peer} {?}before it had read all data, and reset them",
    "RS003": "{actor} sent RST after its own FIN in {count} connections with {peer}",
    "RS005": "{actor} answered segments of {count} connections with {peer} by RST: it {?}had no socket for them, or no longer",
    "RS006": "{count} RSTs in connections with {service} were {?}not sent by the endpoints whose addresses they carry",
    "RS007": "{actor} gave up {count} connections with {peer}: retransmissions or probes got no answer",
    "RS011": "{count} connections with {service} were reset after silence, by RSTs that answer nothing",
    "RS012": "{actor} reset {count} connections with {peer} that it goes on with: {?}segments reached it past its own NAT",
    "RS013": "{count} connections with {service} were reset when they spoke again after silence: {?}a device had dropped them",
    "RS014": "{actor} reset {count} connections with {peer} before either side had sent payload",
    "RS016": "data with the address of {actor} came after its RST in {count} connections with {peer}, from another host: {?}somebody forged them",
    "RS015": "{actor} was {?}gone after its RST in {count} connections with {peer}, but the other side sent on into nothing",
    "RU002": "{client} reused {count} 4-tuples towards {service} {?}before 2MSL had passed",
    "RU004": "{count} SYNs from {client} to {service} met TIME-WAIT and were challenged, so that the client had to reset and retransmit",
    "RU005": "{count} SYNs from {client} to {service} met TIME-WAIT and got no answer",
    "RU006": "{service} answered {count} SYNs from {client} with RST: they met TIME-WAIT or FIN-WAIT-2",
    "RU009": "in {count} connections between {client} and {service} a segment of the previous connection arrived in the new one",
    "RU011": "{count} SYNs from {client} met connections that {service} still has",
    "RU012": "{service} accepted {count} SYNs from {client} in TIME-WAIT by their timestamps alone: their ISNs are not above the old sequence numbers",
    "RU013": "{count} SYNs from {client} to {service} were challenged: {service} {?}holds earlier connections that are not in the capture",
    "PA006": "{actor} sent segments without timestamps in {count} connections with {peer}, although both SYNs carried them",
    "PA010": "the timestamp clock of {actor} jumped ahead in {count} connections with {peer}",
    "RS009": "{count} RSTs in connections with {service} were inside the window, but not at RCV.NXT",
    "RU008": "the SYNs of {count} connections with {service} were captured again after the handshake",
    "SI001": "connects of {count} clients to {service} got no answer",
    "SI003": "{service} repeated its SYN+ACKs to {count} clients, and nothing came back",
    "SI005": "{service} refused connects of {count} clients, each ten times or more",
    "TW006": "SYNs with old timestamps extended TIME-WAIT after {count} connections with {service}",
    "SI019": "the host of {client} reset the SYN+ACKs of {count} connects to {service}, and sent its SYNs again: {?}its programs had connected to another address, and a NAT did not translate the SYN+ACKs back",
    "SI002": "{count} connects from {client} to {service} failed: the SYN+ACKs {?}did not reach the client",
    "SI004": "in {count} connections with {service} data were sent again and again, and nothing came back",
    "SI008": "{count} requests to {service} are lost: the server closed the idle connections at the moment when they came",
    "SI010": "{count} connections to {service} went on from another port or address: a NAT had {?}forgotten its mappings",
    "SI018": "segments of {count} connections reached {client} from {service}, {?}untranslated: the NAT in between did not know them",
    "TW005": "RSTs reached TIME-WAIT after {count} connections with {service}, and {?}ended it early",
    "TW007": "{actor} answered with RST inside 2MSL after {count} connections with {peer}: its TIME-WAIT had ended early",
    "TW008": "in {count} connections with {service} a FIN or data came {?}after FIN-WAIT-2 had timed out, and got a RST",
    "TW009": "{actor} answered {count} retransmitted FINs of {peer} with RST inside 2MSL: the TIME-WAIT sockets were gone",
    "TW011": "{count} connections with {service} were half-closed for 60 s or longer",
}  # fmt: skip
"""By rule what happened, where it happened more than once; a rule without one is told by its worst example.

``{actor}`` is who did it, ``{peer}`` the other end, ``{client}`` and ``{service}`` the parties of the incident,
``{?}`` the hedge where it is not confirmed.
"""

SEVERAL_IF: dict[tuple[str, str], str] = {
    ("SI004", "nothing came after the SYN+ACK"): "the first data of {count} connections were sent to {service} again and again, and nothing came after its SYN+ACKs, not even an ACK",
    ("SI004", "what was sent behind them arrived, and they are large"): "in {count} connections with {service} large segments were sent again and again in vain, while what came behind them arrived: {?}they are too large for the path, and nobody says so (path MTU)",
    ("SI018", "it is the SYN+ACK"): "{count} SYNs of {client} were answered by SYN+ACKs from {service}, to which they had not been sent: {?}a NAT did not translate them back; the connects failed",
    ("SI001", "RSTs came that do not acknowledge the SYNs"): "connects of {count} clients to {service} got only RSTs that do not acknowledge their SYNs, and clients ignore those",
    ("HS002", "the port had been in use shortly before"): "{count} connects from {client} to {service} took 1 s or longer, because their SYNs were retransmitted; the same ports had been in use shortly before",
    ("RS001", "a client got no answer"): "{actor} sent requests to {peer} on {count} connections, got nothing but ACKs, and reset them: {?}it gave up waiting",
    ("RS003", "data drew the RST"): "{actor} had {?}closed {count} sockets when data of {peer} arrived, and answered with RST",
    ("RS003", "data had come just before"): "{actor} had {?}closed {count} sockets when data of {peer} arrived, and answered with RST",
    ("LA003", "the connect failed"): "{count} connects from {client} to {service} failed: RSTs refused them, {?}because the server was still in LAST-ACK",
    ("RU013", "the first answer has the sequence number of the SYN+ACK"): "{service} first answered {count} SYNs from {client} with an ACK field that is not ISN + 1, and later with a SYN+ACK",
    ("RS003", "the FIN never arrived"): "{count} FINs of {actor} never reached {peer}, which went on sending and got RSTs",
    ("RS003", "the RST came right behind the FIN"): "{actor} sent FIN and at once RST in {count} connections with {peer}: {?}aborts in one go",
    ("RS005", "the RST answers the ACK of the handshake"): "{service} answered the ACK of the handshake with RST on {count} connections with {client}: {?}its accept queue was full (net.ipv4.tcp_abort_on_overflow=1), its listener was closed, or a SYN proxy in front of it had answered the SYNs",
    ("RS005", "segments with its address follow"): "the host of {actor} answered segments of {count} connections with {peer} by RST, but segments with its address follow: {?}a program sends them without a socket (a scanner)",
    ("RS014", "it waited for whole seconds"): "{actor} waited for a request on {count} connections with {peer}, got none, and reset them: {?}its timeout for the handshake or the first request",
    ("RS014", "it waited"): "{actor} reset {count} connections with {peer}, on which neither side had sent payload: {?}its listener was closed, or its process ended, before it accepted and read them",
    ("RS015", "the RST lay outside of the window"): "the RSTs of {actor} in {count} connections with {peer} lay outside of the window and were refused, and the other side sent on into nothing",
    ("RS007", "keep-alive probes got no answer"): "{actor} gave up {count} connections with {peer}: keep-alive probes got no answer",
    ("HS003", "once, and late"): "{service} completed {count} handshakes only when it sent its SYN+ACK again, long after the client's ACK: {?}TCP_DEFER_ACCEPT, which waits for the client's first data",
    ("TW005", "an old segment had drawn the RST"): "old segments reached TIME-WAIT after {count} connections with {service}, and the ACKs that answered them drew RSTs, which {?}ended TIME-WAIT early (RFC 1337)",
}  # fmt: skip
"""The same by rule and wording, where the worst examples share one (``Rule.wordings``)."""

REASONS: dict[tuple[str, str], str] = {
    ("RU004", "PA004"): "the timestamps are lower than the previous connections': several hosts behind one address, or another clock",
    ("RU005", "PA004"): "the timestamps are lower than the previous connections': several hosts behind one address, or another clock",
    ("TW012", "TW008"): "the clients gave up in FIN-WAIT-2 and answered with RST",
}  # fmt: skip
"""What a second rule of the same incident adds to the sentence of the first, where there are several of that."""

PROOFS: dict[tuple[str, str], str] = {
    ("SI006", "RS013"): "the RST shows it: it has another TTL than the server, or came too soon for it",
}
"""The same, where there is one alone, too."""
