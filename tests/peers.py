"""What tshark says about the connections of a capture, in the words of the tool, and why the two differ.

``python -m tests.peers`` writes the list of differences over fixtures/ into docs/peers.md.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from tests.scenario import Result, count_frames, parse, play_pcap, render
from tests.scenario.play import Row

FIXTURES = Path(__file__).parent.parent / "fixtures"
PAGE = Path(__file__).parent.parent / "docs" / "peers.md"
MANY_FRAMES = 10_000

FIELDS = ("frame.number", "tcp.stream", "tcp.completeness", "tcp.flags", "tcp.len", "tcp.seq_raw", "tcp.ack_raw",
          "ip.src", "ipv6.src", "tcp.srcport")  # fmt: skip
PREFERENCES = ("ip.defragment:FALSE", "ipv6.defragment:FALSE", "tcp.desegment_tcp_streams:FALSE")
FIN, SYN, RST, ACK = 1, 2, 4, 16


@dataclass
class Stream:
    """One of tshark's streams. ``starter`` is the endpoint that the tool would call orig."""

    first_frame: int
    completeness: int = 0
    counted: int = 0
    """Completeness over all its segments; tshark leaves the first one out where a stream begins in mid-stream."""
    segments: int = 0
    is_contradictory: bool = False
    """Whether a segment of it has SYN and RST, or SYN and FIN."""
    fins: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    """Endpoint, and sequence number behind the data and ACK field of its first FIN."""
    ahead: dict[tuple[str, str], set[int]] = field(default_factory=dict)
    """Endpoint, and the sequence numbers of what it sent before its first FIN."""

    def is_acked_beyond(self) -> bool:
        """Whether an endpoint had sent something from behind its FIN before that FIN was captured."""
        return any(end + 1 in self.ahead.get(endpoint, ()) for endpoint, (end, _) in self.fins.items())

    def closes(self) -> str:
        """``one``, ``both`` (neither FIN acknowledges the other) or ``none``; who the one is says ``closer``."""
        if len(self.fins) < 2:
            return "one" if self.fins else "none"
        (one, one_ack), (other, other_ack) = self.fins.values()
        crosses = _before(one_ack, other + 1) and _before(other_ack, one + 1)
        return "both" if crosses else "one"

    def closer(self) -> tuple[str, str] | None:
        """The sender of the FIN that the other one acknowledges; where that is not to be seen, of the first."""
        (first, (_, ack)), *others = self.fins.items() or [(None, (0, 0))]
        for second, (end, _) in others:
            if not _before(ack, end + 1):
                return second
        return first


def _before(a: int, b: int) -> bool:
    return (a - b) & 0xFFFFFFFF >= 0x80000000


def streams(path: Path) -> list[Stream] | None:
    """All streams in the order of their first frames; None where tshark cannot read the file."""
    command = ["tshark", "-2", "-n", "-r", str(path), "-Y", "tcp", "-T", "fields", "-E", "occurrence=l"]
    command += [part for preference in PREFERENCES for part in ("-o", preference)]
    command += [part for name in FIELDS for part in ("-e", name)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode and not done.stdout:
        return None
    found: dict[int, Stream] = {}
    for line in done.stdout.splitlines():
        frame, stream, completeness, flags, length, seq, ack, ip, ip6, port = line.split("\t")
        if not stream or not flags:
            continue
        each = found.setdefault(int(stream), Stream(int(frame)))
        each.completeness = int(completeness or 0)
        each.segments += 1
        bits, size = int(flags, 16), int(length or 0)
        each.counted |= done_bits(bits, size)
        each.is_contradictory |= bool(bits & SYN and bits & (FIN | RST))
        if (ip or ip6, port) not in each.fins:
            each.ahead.setdefault((ip or ip6, port), set()).add(int(seq))
        if bits & FIN and bits & ACK:  # RFC 9293 3.10.7.4: without ACK it is dropped
            each.fins.setdefault((ip or ip6, port), ((int(seq) + size) & 0xFFFFFFFF, int(ack)))
    return list(found.values())


def done_bits(flags: int, length: int) -> int:
    """Wireshark's bits for one segment: SYN 1, SYN+ACK 2, ACK without text 4, text 8, FIN with ACK 16, RST 32."""
    bits = 8 if length else 0
    if flags & SYN:
        bits |= 2 if flags & ACK else 1
    elif flags & ACK and not length:
        bits |= 4
    if flags & FIN and flags & ACK:
        bits |= 16
    return bits | (32 if flags & RST else 0)


@dataclass(frozen=True)
class Difference:
    """One connection of a capture that the two see differently. ``reason`` is an id of docs/peers.md, or empty."""

    first_frame: int
    what: str
    ours: str
    theirs: str
    reason: str


def differences(got: Result, theirs: list[Stream]) -> list[Difference]:
    """Connections that only one of them has, and those that both have with another closer or completeness."""
    ours = {row.first_frame: row for row in got.connections}
    streams = {stream.first_frame: stream for stream in theirs}
    found = []
    for frame in sorted(ours.keys() | streams.keys()):
        row, stream = ours.get(frame), streams.get(frame)
        if row is None or stream is None:
            reason = _why_alone(got, row) if row else "contradictory-flags" if _is_spoilt(stream) else ""
            found.append(Difference(frame, "connection", _there(row), _there(stream), reason))
            continue
        for what, one, other in (
            ("completeness", str(row.completeness), str(stream.completeness)),
            ("active closer", row.active_closer, _closer(stream, row)),
        ):
            if one != other:
                is_first = what == "completeness" and row.completeness == stream.counted
                is_again = what == "active closer" and row.active_closer == "both" and stream.is_acked_beyond()
                is_stray = what == "active closer" and row.active_closer == "none" and row.orig_state == "SYN-SENT"
                is_hidden = what == "active closer" and row.active_closer == "unknown"
                reason = (
                    "first-segment" if is_first
                    else "fin-sent-again" if is_again
                    else "self-connect" if row.orig_ip == row.resp_ip and row.orig_port == row.resp_port
                    else "contradictory-flags" if any(_is_spoilt(each) for each in theirs)
                    else "old-numbers" if is_stray
                    else _why_other(got, row) or ("closer-not-captured" if is_hidden else "")
                )  # fmt: skip
                found.append(Difference(frame, what, one, other, reason))
    return found


def _is_spoilt(stream: Stream | None) -> bool:
    return stream is not None and stream.is_contradictory


def _why_alone(got: Result, row: Row) -> str:
    """Why only the tool begins a connection here."""
    if len(_scopes(got, row)) > 1:
        return "scopes"
    if row.opened == "midstream" and row.resp_syn_frame == row.first_frame:
        return "syn-not-captured"
    if any(other is not row and other.orig_isn == row.orig_isn for other in _lives(got, row)):
        return "same-isn"
    return "forgotten" if len(_lives(got, row)) > 1 else ""


def _why_other(got: Result, row: Row) -> str:
    """Why segments are counted for another connection."""
    if len(_scopes(got, row)) > 1:
        return "scopes"
    lives = _lives(got, row)
    if any(other.resp_syn_frame == other.first_frame for other in lives):
        return "syn-not-captured"
    if any(other.opened == "midstream" and other.first_frame > row.first_frame for other in lives):
        return "forgotten"
    return "old-numbers" if len(lives) > 1 else ""


def _tuple(row: Row) -> frozenset[tuple[str, int]]:
    return frozenset(((row.orig_ip, row.orig_port), (row.resp_ip, row.resp_port)))


def _lives(got: Result, row: Row) -> list[Row]:
    return [other for other in got.connections if _tuple(other) == _tuple(row)]


def _scopes(got: Result, row: Row) -> set[int]:
    return {other.scope for other in got.connections if _tuple(other) == _tuple(row)}


def _there(each: object) -> str:
    return "-" if each is None else "begins"


def _closer(stream: Stream, row: Row) -> str:
    if stream.closes() != "one":
        return stream.closes()
    ip, port = stream.closer() or ("", "")
    if row.orig_port != row.resp_port:  # in a tunnel the address may be the outer one
        return "orig" if port == str(row.orig_port) else "resp"
    return "orig" if ip == row.orig_ip else "resp"


def fixture_names() -> list[str]:
    """The fixtures that tshark is asked about: all but the few that are very long."""
    names = []
    for path in sorted(FIXTURES.iterdir()):
        scenario = path / "scenario.pkt"
        is_short = scenario.exists() and count_frames(scenario.read_text()) <= MANY_FRAMES
        if is_short or (path / "capture.pcap").exists():
            names.append(path.name)
    return names


def fixture_differences(name: str) -> list[Difference]:
    """The differences of one fixture."""
    path = FIXTURES / name / "capture.pcap"
    if path.exists():
        return differences(play_pcap(path), streams(path) or [])
    scenario = parse((FIXTURES / name / "scenario.pkt").read_text())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scenario.pcap"
        path.write_bytes(render(scenario.frames, scenario.link))
        return differences(play_pcap(path), streams(path) or [])


ROW = re.compile(r"^\| `([^`]+)` \| (\d+) \| ([a-z ]+) \| (\S+) \| (\S+) \| \[([a-z-]+)\]", re.MULTILINE)


def listed() -> dict[str, list[Difference]]:
    """The differences that docs/peers.md lists, by fixture."""
    found: dict[str, list[Difference]] = {}
    for name, frame, what, ours, theirs, reason in ROW.findall(PAGE.read_text()):
        found.setdefault(name, []).append(Difference(int(frame), what, ours, theirs, reason))
    return found


def reasons() -> set[str]:
    """The ids of the reasons that docs/peers.md explains."""
    return set(re.findall(r'^<a id="([a-z-]+)"></a>', PAGE.read_text(), re.MULTILINE))


def allowed() -> dict[str, str]:
    """Captures of public test suites that docs/peers.md names, and the reason."""
    return dict(re.findall(r"^\| `([^`]+)` \| ([^|]+) \|$", PAGE.read_text(), re.MULTILINE))


def counted() -> dict[str, tuple[int, int]]:
    """Captures of public test suites whose TCP frames differ: how many the tool sees, and tshark."""
    rows = re.findall(r"^\| `([^`]+)` \| (\d+) \| (\d+) \| [^|]+ \|$", PAGE.read_text(), re.MULTILINE)
    return {name: (int(ours), int(theirs)) for name, ours, theirs in rows}


def rewrite() -> None:
    """Write the list anew."""
    rows = []
    for name in fixture_names():
        for each in fixture_differences(name):
            rows.append(
                f"| `{name}` | {each.first_frame} | {each.what} | {each.ours} | {each.theirs} | "
                f"[{each.reason}](#{each.reason}) |\n"
            )
    head = "| fixture | first frame | what | tcptrace-tw | tshark | reason |\n|---|---|---|---|---|---|\n"
    text = re.sub(
        r"(<!-- differences:begin -->\n).*(<!-- differences:end -->)",
        lambda match: match[1] + head + "".join(rows) + match[2],
        PAGE.read_text(),
        flags=re.DOTALL,
    )
    PAGE.write_text(text)


if __name__ == "__main__":
    rewrite()
