"""The pictures of one connection: its rows and segments, as the pictures take them."""

from collections.abc import Collection, Iterator, Mapping

from tcptrace_tw.report.pages.connection_report import Story, whole_frame, whole_frames
from tcptrace_tw.report.pages.ladder import Ladder, Step
from tcptrace_tw.report.pictures.chart import Chart
from tcptrace_tw.report.pictures.lanes import Sign, Stay, lanes_chart
from tcptrace_tw.report.pictures.sequence import sequence_chart
from tcptrace_tw.schema.columns import ACK, FIN, RST, SYN
from tcptrace_tw.schema.words import ORIG


def states_chart(
    story: Story,
    ladder: Ladder,
    others: Collection[Story] = (),
    links: Mapping[int, str] | None = None,
    hits: Collection[int] = (),
) -> Chart | None:
    """The swim lanes of the connection and of ``others``, incarnations of its 4-tuple."""  # fmt: skip
    head = ladder.head
    told = [*_neighbours(story, others), story]
    stays = [stay for each in told for stay in _stays(each, _is_turned(each, story))]
    drawn = {each.row["connection_id"] for each in told}
    signs = [sign for sign in _signs(ladder, hits) if sign.connection_id in drawn] or [
        sign for each in told for sign in _turn_signs(each, hits)
    ]
    return lanes_chart(f"orig {head.orig}", f"resp {head.resp}", stays, signs, links)


def evidence(story: Story) -> set[int]:
    """The frames that its findings name, without those of ordinary mechanisms."""
    return {frame for finding in story.findings if finding["severity"] != "info" for frame in whole_frames(finding)}


def sequence_of(ladder: Ladder) -> Chart | None:
    """Time and sequence numbers; None where its segments are not at hand."""
    own = [step for step in ladder.steps if step.orig_state != step.resp_state or step.orig_state < 255]
    return sequence_chart(ladder.head.connection_id, ladder.head.orig, ladder.head.resp, own)


def _neighbours(story: Story, others: Collection[Story]) -> list[Story]:
    """The incarnation before it and the one after it, of those that are known."""
    own = story.row
    same = {(own["orig_ip"], own["orig_port"]), (own["resp_ip"], own["resp_port"])}
    number = own["connection_id"]
    of_tuple = {
        other.row["connection_id"]: other
        for other in others
        if {(other.row["orig_ip"], other.row["orig_port"]), (other.row["resp_ip"], other.row["resp_port"])} == same
    }
    before = [each for each in sorted(of_tuple) if each < number][-1:]
    after = [each for each in sorted(of_tuple) if each > number][:1]
    return [of_tuple[each] for each in (*before, *after)]


def _is_turned(other: Story, story: Story) -> bool:
    """Whether the other incarnation was opened from the other side."""
    mine, its = story.row, other.row
    return (mine["orig_ip"], mine["orig_port"]) != (its["orig_ip"], its["orig_port"])


def _stays(story: Story, is_turned: bool) -> Iterator[Stay]:
    """Each state of each endpoint, from its transition to the next one."""
    for side in ("orig", "resp"):
        turns = [turn for turn in story.lasting if turn["endpoint"] == side]
        reached = 0
        times = [reached := max(reached, turn["time"]) for turn in turns]  # what crossed counts behind its own
        for turn, start, end in zip(turns, times, [*times[1:], None], strict=False):
            yield Stay(story.row["connection_id"], (side == "orig") != is_turned, turn["to_state"], start, end)


def _signs(ladder: Ladder, hits: Collection[int]) -> Iterator[Sign]:
    """SYN, FIN and RST of all its segments, and challenge ACKs: the old connection's answer to a SYN."""
    number = ladder.head.connection_id
    first = ladder.steps[0].time if ladder.steps else 0
    for other, steps in ({number: ladder.steps, **ladder.others}).items():
        for step in steps:
            kind = kind_of(step)
            is_answer = other < number and step.flags & ~(1 << 3) == ACK and not step.payload_len and step.time > first
            if kind or is_answer:
                yield Sign(other, step.is_orig, kind or "challenge ACK", step.time, step.frame, step.frame in hits)


def kind_of(step: Step) -> str:
    """``SYN``, ``SYN+ACK``, ``RST``, ``FIN`` or nothing."""
    if step.flags & RST:
        return "RST"
    if step.flags & SYN:
        return "SYN+ACK" if step.flags & ACK else "SYN"
    return "FIN" if step.flags & FIN else ""


def _turn_signs(story: Story, hits: Collection[int]) -> Iterator[Sign]:
    """Without segments: what its transitions say was sent."""
    for turn in story.lasting:
        what, _, verb = turn["event"].partition(" ")
        if verb == "sent" and turn["frame"] is not None:
            is_orig = turn["endpoint"] == ORIG or turn["endpoint"] == "orig"
            frame = whole_frame(turn)
            yield Sign(story.row["connection_id"], is_orig, what, turn["time"], frame, frame in hits)
