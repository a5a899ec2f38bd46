"""CP: frames that come twice, late, or out of order, and clocks that are wrong."""

import numpy as np

from tcptrace_tw.rules.caveats import SWAPS, are_files_joined, is_clock_set
from tcptrace_tw.rules.predicates import are_many_damaged
from tcptrace_tw.rules.rule import Grade, Mask, Rows, Rule, Wording, always
from tcptrace_tw.schema.words import CONFIRMED, INFO, LIKELY, NOTICE, WARNING


def duplicate_frames(r: Rows) -> Mask:
    """CP001: not those of a capture that holds its frames a second time."""
    return r.duplicates > r.repeated_frames


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


def tap_reordering(r: Rows) -> Mask:
    """CP004."""
    return r.swaps >= SWAPS


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


def clock_step(r: Rows) -> Mask:
    """CP009."""
    return np.asarray(is_clock_set(r.steps_back, r.steps_passed, r.forward_ns))


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


def time_out_of_range(r: Rows) -> Mask:
    """CP012."""
    return r.unfit_times > 0


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


def time_goes_back(r: Rows) -> Mask:
    """CP014: not by a clock that was set, or because files were joined."""
    return ((r.late_frames > 0) | (r.absurd_times > 0)) & ~clock_step(r) & ~are_many_damaged(r)


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


def joined_captures(r: Rows) -> Mask:
    """CP016."""
    joined = are_files_joined(r.steps_back, r.steps_passed)
    return np.asarray((r.repeated_frames > 0) | (joined & ~are_many_damaged(r))) & ~clock_step(r)


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

RULES = (
    DUPLICATE_FRAMES,
    TAP_REORDERING,
    CLOCK_STEP,
    TIME_OUT_OF_RANGE,
    TIME_GOES_BACK,
    JOINED_CAPTURES,
)
