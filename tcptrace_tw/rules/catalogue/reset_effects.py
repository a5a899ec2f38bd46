"""RS: what a RST did at its receiver, whoever sent it (RFC 9293 3.5.3; RFC 5961 3.2)."""

from tcptrace_tw.protocol.states import CLOSED, SYN_SENT
from tcptrace_tw.rules.decisions.reset_causes import INJECTED, UNCLASSIFIED
from tcptrace_tw.rules.reset_signs import RESET_VALUES, SECOND_NS, is_challenged, is_damaged
from tcptrace_tw.rules.rule import Advice, Grade, Mask, Rows, Rule, Wording, always
from tcptrace_tw.schema.observed import ACKS
from tcptrace_tw.schema.words import CONFIRMED, INFO, LIKELY, NOTICE, PREDICTED, WARNING


def rst_not_exact(r: Rows) -> Mask:
    """RS009: whoever sent it, and whatever other rule applies."""
    return is_challenged(r) & (r.is_syn_pending == 0) & (r.is_stale_ack_answer == 0) & ~is_damaged(r)


RST_NOT_EXACT = Rule(
    id="RS009",
    name="rst-not-exact",
    severity=NOTICE,
    summary="A RST was inside the window, but not at RCV.NXT: the receiver must send a challenge ACK and keep the connection.",
    table="resets",
    predicate=rst_not_exact,
    grades=(
        Grade(lambda r: r.challenge_frame >= 0, NOTICE, CONFIRMED, "the challenge ACK was captured"),
        Grade(always, NOTICE, PREDICTED),
    ),
    message="a RST from {ip}:{port} was {seq_delta:byte} above RCV.NXT of {peer_ip}:{peer_port}, inside its window of {receive_window:byte}[; it was answered with a challenge ACK{challenge_frame:?}][; {silence_ns} of silence before it]",
    frames=("frame", "challenge_frame"),
    values=("seq_delta", "ttl_delta", "receive_window"),
    set_when=("the receiver is in a synchronised state", "RCV.NXT < SEG.SEQ < RCV.NXT + RCV.WND"),
    not_set_when=(
        "SEG.SEQ = RCV.NXT",
        "SEG.SEQ is outside of the window: the receiver drops it in silence",
        "SEG.SEQ follows the sender's last segment, as far as the capture shows",
    ),
    rfc=("RFC 5961 3.2", "RFC 9293 3.5.3"),
    remedy="Look for a blind attack, or a device that guesses sequence numbers: see RS006.",
    example="rst-not-exact",
    counter="TcpExtTCPChallengeACK",
)


def rst_unclassified(r: Rows) -> Mask:
    """RS010: a RST that had an effect on its receiver."""
    first = (r.verdict == UNCLASSIFIED) & (r.is_repeat == 0) & (r.sender_state != SYN_SENT) & ~is_damaged(r)
    first &= r.is_syn_pending == 0
    return first & (r.receiver_state != CLOSED) & (r.is_accepted != 0)


RST_UNCLASSIFIED = Rule(
    id="RS010",
    name="rst-unclassified",
    severity=INFO,
    summary="The packets do not show why a RST was sent.",
    table="resets",
    predicate=rst_unclassified,
    grades=(Grade(always, INFO, CONFIRMED),),
    message="{ip}:{port} reset its connection with {peer_ip}:{peer_port}[ after {silence_ns} of silence]; the packets do not show why",
    frames=("trigger_frame", "frame"),
    values=(*RESET_VALUES, "seq_delta", "ack_delta", "is_bare", "bytes_in_flight"),
    set_when=("no other rule of this family applies",),
    not_set_when=(
        "the sender had already sent a RST",
        "the receiver does not take it",
        "SYN, FIN or URG stand beside RST",
    ),
    rfc=("RFC 9293 3.5.2",),
    remedy="Look at the segments before it.",
    example="rst-unclassified",
)


def lay_beyond(r: Rows) -> Mask:
    """The receiver refused it: it lay outside of the window."""
    return (r.is_accepted == 0) & (r.seq_delta >= r.receive_window) & (r.receive_window > 0)


def lay_below(r: Rows) -> Mask:
    """The receiver refused it: it has the ACK field of an older segment."""
    return (r.is_accepted == 0) & (r.seq_delta < 0)


SENDS_ON = 3
"""The number of segments with payload after a RST, all unanswered, from which on the receiver is gone."""


def peer_gone_after_rst(r: Rows) -> Mask:
    """RS015: the RST was lost behind the tap, or its receiver refused it."""
    first = (r.is_repeat == 0) & (r.is_stale_ack_answer == 0) & (r.is_syn_answer == 0) & ~is_damaged(r)
    first &= r.verdict != INJECTED
    return first & (r.vain_segments >= SENDS_ON) & (r.vain_ns >= SECOND_NS) & (r.continued_frame < 0)


PEER_GONE_AFTER_RST = Rule(
    id="RS015",
    name="peer-gone-after-rst",
    severity=WARNING,
    summary="An endpoint was gone after its RST, but the other side did not take the RST and sent on into nothing.",
    table="resets",
    predicate=peer_gone_after_rst,
    grades=(Grade(always, WARNING, LIKELY),),
    message="{peer_ip}:{peer_port} sent {vain_segments:more segment} in {vain_ns} to {ip}:{port}, which had sent RST and was {?}gone: the RST was lost, or refused",
    wordings=(
        Wording(lay_beyond, "the RST lay outside of the window", "{peer_ip}:{peer_port} refused the RST of {ip}:{port}, which lay {seq_delta:byte} above RCV.NXT, outside of the window of {receive_window:byte}, and sent {vain_segments:more segment} in {vain_ns} into nothing: that endpoint was {?}gone"),
        Wording(lay_below, "the RST lay below RCV.NXT", "{peer_ip}:{peer_port} refused the RST of {ip}:{port}, which answers an older segment and lies {seq_delta:#} bytes below RCV.NXT, and sent {vain_segments:more segment} in {vain_ns} into nothing: that endpoint was {?}gone"),
    ),
    frames=("fin_frame", "frame"),
    values=("vain_segments", "vain_ns", "seq_delta", "is_accepted"),
    set_when=("after a RST the other side sends payload three times or more, for 1 s or longer", "the endpoint that sent the RST sends nothing more"),
    not_set_when=("the endpoint answers, or goes on",),
    rfc=("RFC 9293 3.5.3", "RFC 5961 3.2"),
    remedy="The application that sends is not to blame: find out why the other one left, and where its RST is lost (a firewall that drops it). TCP_USER_TIMEOUT ends such a connection sooner.",
    advice=(
        Advice(lambda r: lay_beyond(r) | lay_below(r), "the receiver refused the RST", "The application that sends is not to blame, and nothing was lost on the path: a RST that is not at RCV.NXT is refused (RFC 5961). Find out why the other endpoint left with a RST; TCP_USER_TIMEOUT ends such a connection sooner."),
    ),
    example="peer-gone-after-rst",
    rival="a capture that misses the answers",
    needs=(ACKS,),
)  # fmt: skip

RULES = (
    RST_NOT_EXACT,
    RST_UNCLASSIFIED,
    PEER_GONE_AFTER_RST,
)
