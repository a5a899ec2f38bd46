"""CP: what the capture itself does not show, or shows wrongly; said once for the whole capture."""

import numpy as np

from tcptrace_tw.rules.caveats import SWAPS, is_clock_stepped, is_control_only, is_one_way
from tcptrace_tw.rules.rule import Grade, Mask, Rows, Rule, always
from tcptrace_tw.schema.words import CONFIRMED, INFO, LIKELY, NOTICE, WARNING


def duplicate_frames(r: Rows) -> Mask:
    """CP001."""
    return r.duplicates > 0


def control_only_capture(r: Rows) -> Mask:
    """CP002."""
    return np.asarray(is_control_only(r.connections, r.plain_connections, r.vain_connections))


def one_way_capture(r: Rows) -> Mask:
    """CP003."""
    return np.asarray(is_one_way(r.long_connections, r.one_way_connections))


def tap_reordering(r: Rows) -> Mask:
    """CP004."""
    return r.swaps >= SWAPS


def mid_stream(r: Rows) -> Mask:
    """CP005."""
    return r.midstream_connections > 0


def options_truncated(r: Rows) -> Mask:
    """CP006."""
    return r.truncated_options > 0


def offload_merged(r: Rows) -> Mask:
    """CP007."""
    return r.merged > 0


def capture_loss(r: Rows) -> Mask:
    """CP008: a one-way or filtered capture lacks bytes for another reason."""
    whole = ~one_way_capture(r) & ~control_only_capture(r)
    return (whole & (r.unseen_bytes > 0)) | (r.lost_frames > 0) | (r.damaged_files > 0)


def clock_step(r: Rows) -> Mask:
    """CP009."""
    return np.asarray(is_clock_stepped(r.backward_ns, r.forward_ns))


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
    summary="Frames were captured twice; the copies have been left out.",
    table="capture",
    predicate=duplicate_frames,
    grades=(
        Grade(lambda r: r.duplicates * 100 >= r.segments, NOTICE, CONFIRMED),
        Grade(always, INFO, CONFIRMED, "less than one in a hundred"),
    ),
    message="{duplicates:frame} of {segments} left out: the same segment had been captured already",
    frames=("duplicate_frame",),
    values=("duplicates", "segments"),
    set_when=("same tuple, numbers, flags, checksum, timestamps and identification within 20 ms",),
    not_set_when=("pure ACKs with identification 0: duplicate ACKs are legitimate",),
    rfc=(),
    remedy="Capture one interface, or one direction of the mirror port.",
    example="duplicated-frames",
)

CONTROL_ONLY_CAPTURE = Rule(
    id="CP002",
    name="control-only-capture",
    severity=NOTICE,
    summary="Only SYN, FIN and RST were captured: what needs an ACK is not concluded.",
    table="capture",
    predicate=control_only_capture,
    grades=(Grade(always, NOTICE, CONFIRMED),),
    message="{connections:connection}, and not one segment without SYN, FIN or RST: the capture was filtered",
    frames=(),
    values=("connections", "plain_connections"),
    set_when=("20 connections and more, and no pure ACK and no payload in any",),
    not_set_when=(
        "a single data segment was captured",
        "the connections were refused, reset without a FIN, or never answered: a scan has nothing else",
    ),
    rfc=(),
    remedy="Widen the filter: the last ACK of a close is a segment without SYN, FIN and RST.",
    example="control-only-capture",
)

ONE_WAY_CAPTURE = Rule(
    id="CP003",
    name="one-way-capture",
    severity=NOTICE,
    summary="Only one direction was captured: the other end's states are assumed.",
    table="capture",
    predicate=one_way_capture,
    grades=(Grade(always, NOTICE, CONFIRMED),),
    message="only one direction was captured in {one_way_connections} of {long_connections:longer connection}",
    frames=(),
    values=("one_way_connections", "long_connections"),
    set_when=("more than ten segments of one end and none of the other, in over four fifths of such connections",),
    not_set_when=("the other end sends nothing but ACKs",),
    rfc=(),
    remedy="Capture at the host, or add the second tap.",
    example="one-way-capture",
)

TAP_REORDERING = Rule(
    id="CP004",
    name="tap-reordering",
    severity=NOTICE,
    summary="The tap swaps frames: data stands after the ACK of it.",
    table="capture",
    predicate=tap_reordering,
    grades=(Grade(always, NOTICE, CONFIRMED),),
    message="data stands after its own ACK {swaps:time}, by up to {swap_lag_ns}",
    frames=("swap_frame",),
    values=("swaps", "swap_lag_ns"),
    set_when=("data arrives within a second after an ACK of it, three times and more",),
    not_set_when=("the receiver's duplicate ACKs show the same order: the network did it",),
    rfc=(),
    remedy="Use hardware time stamps, one queue, or one interface.",
    example="tap-reordering",
)

MID_STREAM = Rule(
    id="CP005",
    name="mid-stream",
    severity=INFO,
    summary="Connections were open when the capture began: nothing is known of their windows and options.",
    table="capture",
    predicate=mid_stream,
    grades=(Grade(always, INFO, CONFIRMED),),
    message="the opening of {midstream_connections:connection} was not captured",
    frames=("midstream_frame",),
    values=("midstream_connections", "connections"),
    set_when=("the first segment of a connection is no SYN",),
    not_set_when=("the SYN is captured late",),
    rfc=(),
    remedy="Begin the capture before the connections.",
    example="mid-stream",
)

OPTIONS_TRUNCATED = Rule(
    id="CP006",
    name="options-truncated",
    severity=NOTICE,
    summary="The snap length cuts TCP options: timestamps are unknown there.",
    table="capture",
    predicate=options_truncated,
    grades=(Grade(always, NOTICE, CONFIRMED),),
    message="the snap length cuts the TCP options of {truncated_options:segment}",
    frames=(),
    values=("truncated_options", "segments"),
    set_when=("the captured bytes end inside the TCP header",),
    not_set_when=("only payload is cut",),
    rfc=(),
    remedy="tcpdump -s 128, or more.",
    example="options-truncated",
)

OFFLOAD_MERGED = Rule(
    id="CP007",
    name="offload-merged",
    severity=INFO,
    summary="Segments are larger than the peer's MSS: the capturing host merged them, or had not cut them yet.",
    table="capture",
    predicate=offload_merged,
    grades=(Grade(always, INFO, CONFIRMED),),
    message="{merged:segment was|segments were} larger than the peer's MSS",
    frames=("merged_frame",),
    values=("merged", "segments"),
    set_when=("payload above the MSS option of the receiver's SYN",),
    not_set_when=("the SYN was not captured",),
    rfc=("RFC 9293 3.7.1",),
    remedy="ethtool -K <interface> gro off tso off, if single segments matter.",
    example="offload-merged",
)

CAPTURE_LOSS = Rule(
    id="CP008",
    name="capture-loss",
    severity=NOTICE,
    summary="The capture is not whole: a file is damaged, or segments that were sent are not in it.",
    table="capture",
    predicate=capture_loss,
    grades=(Grade(always, NOTICE, CONFIRMED),),
    message="the capture is not whole[, {damaged_files:damaged file}][, {unseen_bytes:byte} acknowledged but never captured][, {lost_frames:frame} lost by the capturing host]",
    frames=("unseen_frame",),
    values=("unseen_bytes", "lost_frames", "damaged_files"),
    set_when=("an ACK above everything that was captured, and the bytes never come", "the capturing host reports drops", "a file is damaged"),
    not_set_when=("the bytes come within a second: CP004", "one direction was captured: CP003"),
    rfc=(),
    remedy="tcpdump -B with a larger buffer, a shorter snap length, a filter.",
    example="capture-loss",
)  # fmt: skip

CLOCK_STEP = Rule(
    id="CP009",
    name="clock-step",
    severity=WARNING,
    summary="The capturing clock was set: durations across the step are wrong.",
    table="capture",
    predicate=clock_step,
    grades=(
        Grade(lambda r: r.backward_ns >= 0, WARNING, CONFIRMED, "time goes back"),
        Grade(always, WARNING, LIKELY, "an hour and more passed in which a sender's timestamps did not"),
    ),
    message="the capturing clock was set[, back by {backward_ns}][, ahead by {forward_ns}]",
    frames=("backward_frame", "forward_frame"),
    values=("backward_ns", "forward_ns"),
    set_when=(
        "a frame is a second and more older than one before it",
        "or an hour passes and a sender's clock stands still",
    ),
    not_set_when=("neighbours are swapped by less",),
    rfc=(),
    remedy="Let NTP slew instead of step; do not join captures of different hosts.",
    example="clock-step",
    rival="a sender that was suspended",
)

CENSORED_SPAN = Rule(
    id="CP010",
    name="censored-span",
    severity=INFO,
    summary="The capture ends inside TIME-WAIT: what became of those spans is not known.",
    table="capture",
    predicate=censored_span,
    grades=(Grade(always, INFO, CONFIRMED),),
    message="the capture ended inside {censored_spans:TIME-WAIT span}",
    frames=("censored_frame",),
    values=("censored_spans",),
    set_when=("the capture ends less than 2MSL after a close",),
    not_set_when=("2MSL passes before the end",),
    rfc=("RFC 9293 3.4.2",),
    remedy="Capture for 2MSL and more after what matters.",
    example="censored-span",
)

DIRECTIONS_IN_TWO_VLANS = Rule(
    id="CP011",
    name="directions-in-two-vlans",
    severity=NOTICE,
    summary="Two directions of a connection have different VLAN tags: each was taken for a connection of its own.",
    table="capture",
    predicate=split_by_vlan,
    grades=(Grade(always, NOTICE, CONFIRMED),),
    message="{split_connections:connection} fell into two one-way halves that differ only in VLAN or tunnel",
    frames=("split_frame",),
    values=("split_connections", "connections"),
    set_when=(
        "one direction was captured in one VLAN or tunnel only, and the other direction of the tuple in another",
    ),
    not_set_when=("one of the two shows both directions: equal addresses in two VLANs are two tuples",),
    rfc=(),
    remedy="Add --ignore-vlan, or mirror one VLAN.",
    example="directions-in-two-vlans",
    rival="two networks with equal addresses, each captured in one direction",
)

TIME_OUT_OF_RANGE = Rule(
    id="CP012",
    name="time-out-of-range",
    severity=WARNING,
    summary="Frames have times before 1970 or after 2115; they were replaced, and durations around them may be wrong.",
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
    summary="The capture has more connections at once than --max-memory holds: the least useful were forgotten early.",
    table="capture",
    predicate=memory_bound,
    grades=(Grade(always, NOTICE, CONFIRMED),),
    message="forgotten early to stay within --max-memory[: {forgotten_attempts:unanswered SYN}][, {forgotten_connections:other connection}]",
    frames=(),
    values=("forgotten_attempts", "forgotten_connections", "connections"),
    set_when=(
        "what is remembered reaches the bound; the oldest unanswered SYNs go first, then what was silent longest",
    ),
    not_set_when=("everything fits: then nothing is forgotten before its time",),
    rfc=(),
    remedy="Give --max-memory more, or look at fewer connections with --filter.",
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
)
