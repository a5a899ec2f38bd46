"""RS: a device on the path sent the RST, or forged text after it (RFC 9293 3.5.3; RFC 3360).

``decisions/reset_causes.py`` has the decision table.
"""

from tcptrace_tw.rules.decisions.reset_causes import AFTER_SILENCE, FLOW_FORGOTTEN, INJECTED
from tcptrace_tw.rules.reset_signs import FORGETS_NS, goes_on, has_other_ttl
from tcptrace_tw.rules.rule import Advice, Grade, Mask, Rows, Rule, always
from tcptrace_tw.schema.observed import BOTH_DIRECTIONS
from tcptrace_tw.schema.words import CONFIRMED, LIKELY, NOTICE, WARNING


def rst_injected(r: Rows) -> Mask:
    """RS006."""
    return r.verdict == INJECTED


RST_INJECTED = Rule(
    id="RS006",
    name="rst-injected",
    severity=WARNING,
    summary="A RST was not sent by the endpoint whose address it carries.",
    table="resets",
    predicate=rst_injected,
    grades=(
        Grade(lambda r: r.continued_data_frame >= 0, WARNING, CONFIRMED, "the endpoint sends new data after it"),
        Grade(goes_on, WARNING, LIKELY, "the endpoint continues, but sends no new data"),
        Grade(always, WARNING, LIKELY, "signs of a device on the path"),
    ),
    message="a RST from {ip}:{port} to {peer_ip}:{peer_port} was {?}not sent by that endpoint[; the endpoint continued afterwards{continued_frame:?}][; another RST followed, above everything that the endpoint had sent{ladder_frame:?}][; the TTL differs by {ttl_delta:#}][; a RST of the other side passed at the same time{twin_gap_ns:?}][, after {silence_ns} of silence]",
    frames=("trigger_frame", "frame", "ladder_frame", "continued_frame", "continued_data_frame"),
    values=("ttl_delta", "ip_id_delta", "is_ip_id_counter", "trigger_gap_ns", "rtt_ns", "sender_seq_delta"),
    set_when=(
        "the apparent sender continues in sequence",
        "or several RSTs with its address rise above everything that it has sent, with nothing in between",
        "or two of these: its TTL differs by 2 or more; its IP ID jumps although the sender's is a counter; "
        "it arrives earlier than the sender ever answered; it carries the peer's sequence numbers; a RST of the other side passes within 1 ms",
    ),
    not_set_when=(
        "only one sign is present",
        "the IP ID is 0, or the sender's IP IDs are random",
        "the endpoint, or its peer, had already sent a RST: a RST from a device after that changes nothing",
        "it looks like the answer of a host without a socket, and has the host's own TTL: RS005, RS012",
        "the TTL is one that the sender's other segments had",
        "what follows is a copy, or out of sequence",
        "SYN, FIN or URG stand beside RST: the segment is damaged",
        "the connection shows SYN, FIN and RST only",
    ),
    rfc=("RFC 3360", "RFC 5961 3"),
    remedy="Find the device: count the hops to it (its TTL is a start value of 64, 128 or 255 minus the hops; traceroute -T -p PORT names them), and capture on both sides of the firewalls there.",
    example="rst-injected",
    rival="segments that the network reordered around the RST",
    needs=(BOTH_DIRECTIONS,),
)


def rst_after_silence(r: Rows) -> Mask:
    """RS011."""
    return r.verdict == AFTER_SILENCE


RST_AFTER_SILENCE = Rule(
    id="RS011",
    name="rst-after-silence",
    severity=NOTICE,
    summary="A RST came after silence and answers nothing: the timer of a device or of an application, or a forged segment.",
    table="resets",
    predicate=rst_after_silence,
    grades=(
        Grade(lambda r: (r.twin_gap_ns >= 0) & has_other_ttl(r), NOTICE, CONFIRMED, "both directions were reset within 1 ms, and the TTL differs: a device between them"),
        Grade(always, NOTICE, LIKELY),
    ),
    message="a RST from {ip}:{port} to {peer_ip}:{peer_port} answers nothing[ and came after {silence_ns} of silence]: {?}the timer of a device or of an application, or a forged segment[; both sides were reset within 1 ms: a device between them{twin_gap_ns:?}][; the TTL differs by {ttl_delta:#}: a device is the more likely]",
    frames=("trigger_frame", "frame"),
    values=("silence_ns", "twin_gap_ns", "ttl_delta", "ip_id_delta", "is_bare", "rtt_ns"),
    set_when=(
        "nothing was sent for longer than an answer takes: four of the shortest round trips and 500 ms",
        "the RST is bare, or its TTL differs, or the other side was reset within 1 ms",
    ),
    not_set_when=(
        "it comes in time after a segment of the other side: RS005, RS013",
        "it has an ACK, and the host's own TTL: RS001",
        "the sender had closed: RS003",
        "the connection shows SYN, FIN and RST only",
    ),
    rfc=("RFC 9293 3.5.2", "RFC 3360"),
    remedy="Find out who sent it: compare its TTL and IP ID with those of the host's other segments, and look for a program that aborts after such a time, or a tool or filter that forges RSTs (tcpkill, an intrusion prevention system).",
    advice=(
        Advice(lambda r: r.silence_ns >= 2 * FORGETS_NS, "the silence was 20 s or longer", "Compare the silence with the idle timeouts on the path: firewalls, load balancers (Azure: 4 min with TCP reset), applications. Send keep-alives (TCP_KEEPIDLE) more often than that."),
    ),
    example="rst-after-silence",
    rival="a stack that aborts without ACK (Windows)",
)  # fmt: skip


def idle_flow_forgotten(r: Rows) -> Mask:
    """RS013."""
    return r.verdict == FLOW_FORGOTTEN


IDLE_FLOW_FORGOTTEN = Rule(
    id="RS013",
    name="idle-flow-forgotten",
    severity=WARNING,
    summary="After silence the next segment was answered with RST by a device: it had dropped the idle connection.",
    table="resets",
    predicate=idle_flow_forgotten,
    grades=(Grade(always, WARNING, LIKELY),),
    message="after {silence_ns} of silence the next segment from {peer_ip}:{peer_port} to {ip}:{port} got a RST {trigger_gap_ns} later[, with a TTL that differs by {ttl_delta:#}]: {?}a device (NAT, load balancer, firewall) had dropped the idle connection",
    frames=("trigger_frame", "frame"),
    values=("silence_ns", "trigger_gap_ns", "rtt_ns", "ttl_delta"),
    set_when=(
        "both sides were silent for 10 s or longer, and the next segment gets a bare RST with its ACK field, or one that acknowledges it, or any with another TTL at once",
        "the RST has another TTL than the host, or comes in less than half the time in which the host had ever answered",
    ),
    not_set_when=("it looks like the host's own: RS005", "there was no such silence: RS006"),
    rfc=("RFC 9293 3.5.2", "RFC 9293 3.8.4"),
    remedy="Send keep-alives more often than the device's idle timeout. AWS: 350 s for NAT gateway and network load balancer; Azure load balancer: 4 min.",
    example="idle-flow-forgotten",
    rival="a route that changed in the meantime, to a host that had lost the connection",
)  # fmt: skip


def is_forged_after(r: Rows) -> Mask:
    """Text with its sender's address came after it, from another host as TTL and numbers show, and nobody goes on."""
    return (r.alien_frame >= 0) & (r.is_repeat == 0) & ~has_other_ttl(r) & (r.verdict != INJECTED)


DATA_FORGED_AFTER_RST = Rule(
    id="RS016",
    name="data-forged-after-rst",
    severity=WARNING,
    summary="After the RST of an endpoint data came with its address from another host: the RST is genuine, the data are forged.",
    table="resets",
    predicate=is_forged_after,
    grades=(Grade(always, WARNING, LIKELY, "TTL and sequence numbers show another host"),),
    message="data with the address of {ip}:{port} came to {peer_ip}:{peer_port} after its RST, with another TTL and numbers that do not follow: {?}somebody else sent them, and the RST is the endpoint's own",
    frames=("frame", "alien_frame"),
    values=("ttl_delta", "ip_id_delta", "sender_seq_delta"),
    set_when=(
        "a RST has the TTL of its sender's other segments, at least four with one TTL",
        "later a segment with payload and its address has another TTL, and its sequence number lies above all that the endpoint had sent",
    ),
    not_set_when=("the segment follows in sequence: then the RST is the forgery, RS006", "the TTL is one that the endpoint had before: a route changed, or several machines"),
    rfc=("RFC 5961 5", "RFC 9293 3.10.7.4"),
    remedy="Find the host that sends them: its TTL and its link-layer address (tcpdump -e) differ from those of the endpoint. Protect the connection (TLS, IPsec).",
    example="data-forged-after-rst",
    rival="a load balancer or a proxy that answers for a host that is gone",
)  # fmt: skip

RULES = (
    RST_INJECTED,
    RST_AFTER_SILENCE,
    IDLE_FLOW_FORGOTTEN,
    DATA_FORGED_AFTER_RST,
)
