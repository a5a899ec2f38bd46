"""CP: limits and faults of the capture itself; reported once for the whole capture."""

import numpy as np

from tcptrace_tw.rules.caveats import SWAPS, are_files_joined, is_clock_set, is_control_only, is_one_way
from tcptrace_tw.rules.rule import Advice, Grade, Mask, Rows, Rule, Wording, always
from tcptrace_tw.schema.words import CONFIRMED, INFO, LIKELY, NOTICE, WARNING


def duplicate_frames(r: Rows) -> Mask:
    """CP001: not those of a capture that holds its frames a second time."""
    return r.duplicates > r.repeated_frames


def control_only_capture(r: Rows) -> Mask:
    """CP002: so many connections, or one whose numbers show that it had text."""
    many = is_control_only(r.connections, r.plain_connections, r.vain_connections)
    return np.asarray(many | ((r.plain_connections == 0) & (r.hidden_connections > 0)))


def one_way_capture(r: Rows) -> Mask:
    """CP003: halves of connections in two VLANs are CP011."""
    return np.asarray(is_one_way(r.long_connections, r.one_way_connections) & (r.split_connections == 0))


def tap_reordering(r: Rows) -> Mask:
    """CP004."""
    return r.swaps >= SWAPS


def mid_stream(r: Rows) -> Mask:
    """CP005."""
    return r.midstream_connections > 0


def options_truncated(r: Rows) -> Mask:
    """CP006: in damaged segments the length of the header is wrong, too."""
    return (r.truncated_options > 0) & ~are_many_damaged(r)


def are_many_damaged(r: Rows) -> Mask:
    """Two or more, one in a hundred at least, some by their flags: the numbers of the others may be damaged as well."""
    many = (r.damaged_segments > 1) & (r.damaged_segments * 100 >= r.segments)
    return np.asarray(many & (r.impossible_flags > 0))


def damaged_segments(r: Rows) -> Mask:
    """CP015."""
    return np.asarray(r.damaged_segments > 0)


def offload_merged(r: Rows) -> Mask:
    """CP007."""
    return r.merged > 0


def capture_loss(r: Rows) -> Mask:
    """CP008: in a one-way or filtered capture bytes are missing for another reason, and damaged numbers show nothing."""
    whole = ~one_way_capture(r) & ~control_only_capture(r) & ~are_many_damaged(r)
    return (whole & (r.unseen_bytes > 0)) | (r.lost_frames > 0) | (r.damaged_files > 0)


def clock_step(r: Rows) -> Mask:
    """CP009."""
    return np.asarray(is_clock_set(r.steps_back, r.steps_passed, r.forward_ns))


def time_goes_back(r: Rows) -> Mask:
    """CP014: not by a clock that was set, or because files were joined."""
    return ((r.late_frames > 0) | (r.absurd_times > 0)) & ~clock_step(r) & ~are_many_damaged(r)


def joined_captures(r: Rows) -> Mask:
    """CP016."""
    joined = are_files_joined(r.steps_back, r.steps_passed)
    return np.asarray((r.repeated_frames > 0) | (joined & ~are_many_damaged(r))) & ~clock_step(r)


def censored_span(r: Rows) -> Mask:
    """CP010."""
    return r.censored_spans > 0


def split_by_vlan(r: Rows) -> Mask:
    """CP011."""
    return r.split_connections > 0


def time_out_of_range(r: Rows) -> Mask:
    """CP012."""
    return r.unfit_times > 0


def memory_bound(r: Rows) -> Mask:
    """CP013."""
    return (r.forgotten_attempts > 0) | (r.forgotten_connections > 0)


DUPLICATE_FRAMES = Rule(
    id="CP001",
    name="duplicate-frames",
    severity=NOTICE,
    summary="Some frames were captured twice; the copies were ignored.",
    table="capture",
    predicate=duplicate_frames,
    grades=(
        Grade(lambda r: r.duplicates * 100 >= r.segments, NOTICE, CONFIRMED),
        Grade(always, INFO, CONFIRMED, "less than 1 %"),
    ),
    message="{duplicates:frame} of {segments} ignored: the same segment had already been captured",
    frames=("duplicate_frame",),
    values=("duplicates", "segments"),
    set_when=(
        "same 4-tuple, sequence numbers, flags, length, timestamps and IP ID (if that is 0, the same checksum) within 20 ms",
    ),
    not_set_when=("pure ACKs with IP ID 0: duplicate ACKs are legitimate",),
    rfc=(),
    remedy="Capture on one interface only, or one direction of the mirror port.",
    example="duplicated-frames",
)

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

TAP_REORDERING = Rule(
    id="CP004",
    name="tap-reordering",
    severity=NOTICE,
    summary="The tap reorders frames: data appears after its own ACK.",
    table="capture",
    predicate=tap_reordering,
    grades=(Grade(always, NOTICE, CONFIRMED),),
    message="data appears after its own ACK {swaps:time}, by up to {swap_lag_ns}",
    frames=("swap_frame",),
    values=("swaps", "swap_lag_ns"),
    set_when=("data appears within 1 s after its own ACK, at least three times",),
    not_set_when=("the receiver's duplicate ACKs show the same order: the network reordered the segments",),
    rfc=(),
    remedy="Use hardware timestamps, one queue, or one interface.",
    example="tap-reordering",
)

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

CLOCK_STEP = Rule(
    id="CP009",
    name="clock-step",
    severity=WARNING,
    summary="The clock of the capturing host was set: durations across the step are wrong.",
    table="capture",
    predicate=clock_step,
    grades=(Grade(always, WARNING, LIKELY),),
    message="the clock of the capturing host was set[, back by {backward_ns}{steps_passed:?}][, ahead by {forward_ns}]",
    frames=("backward_frame", "forward_frame"),
    values=("backward_ns", "forward_ns"),
    set_when=(
        "more than three frames in a row are older than one before them, by 1 s or more, or some by 60 s or more, "
        "and a connection goes on there",
        "or 1 h passes while a sender's timestamp clock does not advance",
    ),
    not_set_when=(
        "neighbouring frames are swapped by less",
        "a few frames are late, one time is absurd, or no connection goes on: that is CP014",
    ),
    rfc=(),
    remedy="Let NTP slew the clock instead of stepping it; do not join captures of different hosts.",
    example="clock-step",
    rival="a sender that was suspended",
)

TIME_GOES_BACK = Rule(
    id="CP014",
    name="time-goes-back",
    severity=NOTICE,
    summary="Frames are older than frames before them: they were written late.",
    table="capture",
    predicate=time_goes_back,
    grades=(Grade(always, NOTICE, CONFIRMED),),
    message="{late_frames:frame was|frames were} written late, and {absurd_times:frame has|frames have} a time far ahead of all that follow",
    wordings=(
        Wording(lambda r: r.absurd_times == 0, "late frames", "{late_frames:frame was|frames were} written late: the time goes back[ by {backward_ns}] there, and the clock itself goes on"),
        Wording(lambda r: r.late_frames == 0, "absurd times", "{absurd_times:frame has|frames have} a time far ahead of all that follow: that time is wrong"),
    ),
    frames=("backward_frame",),
    values=("backward_ns", "late_frames", "absurd_times"),
    set_when=(
        "up to three frames in a row are older than one before them, by 1 s to 60 s",
        "or the time falls back to where it was before up to three frames that had leapt ahead by 1 h or more",
    ),
    not_set_when=(
        "a connection goes on while the time is behind: that is CP009", "frames are swapped by less than 1 s: CP004",
        "more frames, or by more, and no connection goes on there: CP016",
    ),
    rfc=(),
    remedy="Sort the frames by time before measuring near them: reordercap IN OUT.",
    example="time-goes-back",
)  # fmt: skip

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

JOINED_CAPTURES = Rule(
    id="CP016",
    name="joined-captures",
    severity=NOTICE,
    summary="The capture holds its frames twice, or captures were joined one behind the other.",
    table="capture",
    predicate=joined_captures,
    grades=(Grade(always, NOTICE, CONFIRMED),),
    message="captures were joined here: the time goes back by {backward_ns}, and no connection goes on",
    wordings=(
        Wording(lambda r: r.repeated_frames > 0, "the frames come twice", "the capture holds {repeated_frames:frame} a second time, with the same times: a file was joined with itself, and the copies were ignored"),
    ),
    frames=("backward_frame",),
    values=("backward_ns", "repeated_frames", "steps_back"),
    set_when=(
        "more than three frames in a row are older than one before them by 1 s or more, or some by 60 s or more, and no connection goes on there",
        "or the first frame comes again with its own time",
    ),
    not_set_when=("a connection goes on while the time is behind: CP009", "up to three frames are late: CP014"),
    rfc=(),
    remedy="Join captures by time, and each file once: mergecap -w OUT FILE... (without -a).",
    example="capture-joined-with-itself",
)  # fmt: skip

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

TIME_OUT_OF_RANGE = Rule(
    id="CP012",
    name="time-out-of-range",
    severity=WARNING,
    summary="Some frames have a time before 1970 or after 2115: the time was replaced, and durations near them may be wrong.",
    table="capture",
    predicate=time_out_of_range,
    grades=(Grade(always, WARNING, CONFIRMED),),
    message="{unfit_times:frame has|frames have} a time before 1970 or after 2115, which was replaced",
    frames=(),
    values=("unfit_times",),
    set_when=("the time of a frame, with the offset of its interface, is before 1970 or after 2115",),
    not_set_when=("the clock is wrong, but inside these years",),
    rfc=(),
    remedy="Set the clock of the capturing host, or shift the times with editcap -t.",
    example="time-out-of-range",
)

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

RULES = (
    DUPLICATE_FRAMES,
    CONTROL_ONLY_CAPTURE,
    ONE_WAY_CAPTURE,
    TAP_REORDERING,
    MID_STREAM,
    OPTIONS_TRUNCATED,
    OFFLOAD_MERGED,
    CAPTURE_LOSS,
    CLOCK_STEP,
    CENSORED_SPAN,
    DIRECTIONS_IN_TWO_VLANS,
    TIME_OUT_OF_RANGE,
    MEMORY_BOUND,
    TIME_GOES_BACK,
    DAMAGED_SEGMENTS,
    JOINED_CAPTURES,
)
