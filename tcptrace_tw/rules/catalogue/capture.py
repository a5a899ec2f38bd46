"""CP: what the capture does not show."""

import numpy as np

from tcptrace_tw.rules.caveats import is_control_only, is_one_way
from tcptrace_tw.rules.predicates import are_many_damaged
from tcptrace_tw.rules.rule import Advice, Grade, Mask, Rows, Rule, always
from tcptrace_tw.schema.words import CONFIRMED, INFO, NOTICE


def control_only_capture(r: Rows) -> Mask:
    """CP002: so many connections, or one whose numbers show that it had text."""
    many = is_control_only(r.connections, r.plain_connections, r.vain_connections)
    return np.asarray(many | ((r.plain_connections == 0) & (r.hidden_connections > 0)))


CONTROL_ONLY_CAPTURE = Rule(
    id="CP002",
    name="control-only-capture",
    severity=NOTICE,
    summary="Only SYN, FIN and RST were captured: nothing is concluded from ACKs or payload that did not come.",
    table="capture",
    predicate=control_only_capture,
    grades=(Grade(always, NOTICE, CONFIRMED),),
    message="only SYN, FIN and RST of {connections:connection} were captured: what rests on ACKs and data is not known",
    frames=(),
    values=("connections", "plain_connections"),
    set_when=(
        "at least 20 connections, and no pure ACK and no payload in any of them",
        "or fewer, and the sequence numbers of one show payload that was not captured",
    ),
    not_set_when=(
        "at least one data segment was captured",
        "the connections were refused, reset without a FIN, or never answered: a scan looks like this",
    ),
    rfc=(),
    remedy="Widen the capture filter: the final ACK of a close has no SYN, FIN or RST.",
    example="control-only-capture",
)


def one_way_capture(r: Rows) -> Mask:
    """CP003: halves of connections in two VLANs are CP011."""
    return np.asarray(is_one_way(r.long_connections, r.one_way_connections) & (r.split_connections == 0))


ONE_WAY_CAPTURE = Rule(
    id="CP003",
    name="one-way-capture",
    severity=NOTICE,
    summary="Only one direction was captured: the states of the other side are assumed.",
    table="capture",
    predicate=one_way_capture,
    grades=(Grade(always, NOTICE, CONFIRMED),),
    message="only one direction was captured in {one_way_connections} of {long_connections:connection}",
    frames=(),
    values=("one_way_connections", "long_connections"),
    set_when=(
        "more than ten segments from one side and none from the other, or a SYN and an ACK of what was never captured, "
        "in more than 80 % of such connections",
    ),
    not_set_when=("the other side sends only ACKs",),
    rfc=(),
    remedy="Capture on the host, or add the second tap.",
    example="one-way-capture",
)


def mid_stream(r: Rows) -> Mask:
    """CP005."""
    return r.midstream_connections > 0


MID_STREAM = Rule(
    id="CP005",
    name="mid-stream",
    severity=INFO,
    summary="Connections were already open when the capture began: their windows and options are not known.",
    table="capture",
    predicate=mid_stream,
    grades=(Grade(always, INFO, CONFIRMED),),
    message="the handshake of {midstream_connections:connection} was not captured",
    frames=("midstream_frame",),
    values=("midstream_connections", "connections"),
    set_when=("the first segment of a connection is not a SYN",),
    not_set_when=("the SYN was captured late",),
    rfc=(),
    remedy="Start the capture before the connections open.",
    example="mid-stream",
)


def options_truncated(r: Rows) -> Mask:
    """CP006: in damaged segments the length of the header is wrong, too."""
    return (r.truncated_options > 0) & ~are_many_damaged(r)


OPTIONS_TRUNCATED = Rule(
    id="CP006",
    name="options-truncated",
    severity=NOTICE,
    summary="The snap length cuts off TCP options: timestamps are not known there.",
    table="capture",
    predicate=options_truncated,
    grades=(Grade(always, NOTICE, CONFIRMED),),
    message="the snap length cuts off TCP options of {truncated_options:segment}",
    frames=(),
    values=("truncated_options", "segments"),
    set_when=("the captured bytes end inside the TCP header",),
    not_set_when=("only payload is cut off",),
    rfc=(),
    remedy="Use tcpdump -s 128 or more.",
    example="options-truncated",
)


def offload_merged(r: Rows) -> Mask:
    """CP007."""
    return r.merged > 0


OFFLOAD_MERGED = Rule(
    id="CP007",
    name="offload-merged",
    severity=INFO,
    summary="Segments are larger than the peer's MSS: the capturing host had merged them, or not yet split them.",
    table="capture",
    predicate=offload_merged,
    grades=(Grade(always, INFO, CONFIRMED),),
    message="{merged:segment was|segments were} larger than the peer's MSS",
    frames=("merged_frame",),
    values=("merged", "segments"),
    set_when=("payload above the MSS option of the receiver's SYN",),
    not_set_when=("the SYN was not captured",),
    rfc=("RFC 9293 3.7.1",),
    remedy="Use ethtool -K <interface> gro off tso off if you need single segments.",
    example="offload-merged",
)


def capture_loss(r: Rows) -> Mask:
    """CP008: in a one-way or filtered capture bytes are missing for another reason, and damaged numbers show nothing."""
    whole = ~one_way_capture(r) & ~control_only_capture(r) & ~are_many_damaged(r)
    return (whole & (r.unseen_bytes > 0)) | (r.lost_frames > 0) | (r.damaged_files > 0)


CAPTURE_LOSS = Rule(
    id="CP008",
    name="capture-loss",
    severity=NOTICE,
    summary="The capture is incomplete: a file is damaged, or segments are missing.",
    table="capture",
    predicate=capture_loss,
    grades=(Grade(always, NOTICE, CONFIRMED),),
    message="the capture is incomplete[, {damaged_files:damaged file}][, {unseen_bytes:byte} acknowledged but never captured][, {lost_frames:frame} lost by the capturing host]",
    frames=("unseen_frame",),
    values=("unseen_bytes", "lost_frames", "damaged_files"),
    set_when=("an ACK is above everything captured, and the bytes never appear", "the capturing host reports drops", "a file is damaged"),
    not_set_when=(
        "the bytes appear within 1 s: CP004", "only one direction was captured: CP003",
        "one in a hundred segments or more is damaged: CP015",
    ),
    rfc=(),
    remedy="Capture again with a larger buffer (tcpdump -B 16384), a shorter snap length (-s 128) or a capture filter; a mirror port that is full loses frames, too.",
    advice=(
        Advice(lambda r: (r.damaged_files > 0) & (r.unseen_bytes == 0) & (r.lost_frames == 0), "a file is damaged", "Copy the file again, and let tcpdump end by itself (Ctrl-C, not kill -9); what was read up to the damage is in this report."),
    ),
    example="capture-loss",
)  # fmt: skip


def censored_span(r: Rows) -> Mask:
    """CP010."""
    return r.censored_spans > 0


CENSORED_SPAN = Rule(
    id="CP010",
    name="censored-span",
    severity=INFO,
    summary="The capture ended before these TIME-WAIT periods did.",
    table="capture",
    predicate=censored_span,
    grades=(Grade(always, INFO, CONFIRMED),),
    message="the capture ended before {censored_spans:TIME-WAIT period} did",
    frames=("censored_frame",),
    values=("censored_spans",),
    set_when=("the capture ends less than 2MSL after a close",),
    not_set_when=("2MSL passes before the capture ends",),
    rfc=("RFC 9293 3.4.2",),
    remedy="Let the capture run for at least 2MSL after the events of interest.",
    example="censored-span",
)


def split_by_vlan(r: Rows) -> Mask:
    """CP011."""
    return r.split_connections > 0


DIRECTIONS_IN_TWO_VLANS = Rule(
    id="CP011",
    name="directions-in-two-vlans",
    severity=NOTICE,
    summary="The two directions of a connection have different VLAN tags: each was counted as a separate connection.",
    table="capture",
    predicate=split_by_vlan,
    grades=(Grade(always, NOTICE, CONFIRMED),),
    message="{split_connections:connection was|connections were} split into one-way halves that differ only in VLAN or tunnel",
    frames=("split_frame",),
    values=("split_connections", "connections"),
    set_when=(
        "one direction was captured in one VLAN or tunnel only, and the other direction of the 4-tuple in another",
    ),
    not_set_when=("one of the two shows both directions: the same addresses in two VLANs are two connections",),
    rfc=(),
    remedy="Add --ignore-vlan, or mirror one VLAN only.",
    example="directions-in-two-vlans",
    rival="two networks with the same addresses, each captured in one direction",
)


def memory_bound(r: Rows) -> Mask:
    """CP013."""
    return (r.forgotten_attempts > 0) | (r.forgotten_connections > 0)


MEMORY_BOUND = Rule(
    id="CP013",
    name="memory-bound",
    severity=NOTICE,
    summary="The capture has more connections at once than --max-memory allows: the least useful ones were forgotten early.",
    table="capture",
    predicate=memory_bound,
    grades=(Grade(always, NOTICE, CONFIRMED),),
    message="forgotten early to stay within --max-memory[: {forgotten_attempts:unanswered SYN}][, {forgotten_connections:other connection}]",
    frames=(),
    values=("forgotten_attempts", "forgotten_connections", "connections"),
    set_when=(
        "memory use reaches the limit: the oldest unanswered SYNs go first, then the connections that were silent longest",
    ),
    not_set_when=("everything fits: then no connection is forgotten early",),
    rfc=(),
    remedy="Raise --max-memory, or read fewer connections with --read-filter.",
    example="memory-bound",
)


def damaged_segments(r: Rows) -> Mask:
    """CP015."""
    return np.asarray(r.damaged_segments > 0)


DAMAGED_SEGMENTS = Rule(
    id="CP015",
    name="damaged-segments",
    severity=NOTICE,
    summary="Some segments have flags or options that no stack sends: they are damaged, or made by a scanner or a fuzzer.",
    table="capture",
    predicate=damaged_segments,
    grades=(
        Grade(are_many_damaged, NOTICE, CONFIRMED, "two or more, and one in a hundred"),
        Grade(always, INFO, CONFIRMED, "fewer, or only by their options"),
    ),
    message="{damaged_segments:segment has|segments have} flags or options that no TCP stack sends, of {segments}: damaged, or made by a scanner or a fuzzer; what their numbers seem to show is not certain",
    frames=("damaged_frame",),
    values=("damaged_segments", "impossible_flags", "segments"),
    set_when=("two of SYN, FIN and RST stand together, or none of SYN, RST and ACK is set; or the options do not fit into the header, or have wrong lengths",),
    not_set_when=("the snap length cuts off options: CP006",),
    rfc=("RFC 9293 3.1",),
    remedy="If the traffic is real: look for a scanner (nmap), or for a link or device that damages frames (tcpdump -vv says which checksums are wrong). A file that a fuzzer has made says nothing about TCP.",
    example="damaged-segments",
)  # fmt: skip

RULES = (
    CONTROL_ONLY_CAPTURE,
    ONE_WAY_CAPTURE,
    MID_STREAM,
    OPTIONS_TRUNCATED,
    OFFLOAD_MERGED,
    CAPTURE_LOSS,
    CENSORED_SPAN,
    DIRECTIONS_IN_TWO_VLANS,
    MEMORY_BOUND,
    DAMAGED_SEGMENTS,
)
