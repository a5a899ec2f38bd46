"""``annotate`` as a user runs it, and what Wireshark's own tools make of it."""

import gzip
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tcptrace_tw import analyze
from tcptrace_tw.report.comments import notes as module
from tcptrace_tw.report.comments.notes import CHANGE, PacketNotes
from tcptrace_tw.report.comments.spill import Spill
from tests import capture_bytes as build

FIXTURES = Path(__file__).parent.parent / "fixtures"
CAPTURE = FIXTURES / "kernel-syn-into-last-ack" / "capture.pcap"
TSHARK = pytest.mark.skipif(
    shutil.which("tshark") is None or shutil.which("capinfos") is None, reason="tshark and capinfos are not installed"
)


def run(*arguments: str, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "tcptrace_tw", "annotate", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=False, **options)


def comments(path: Path, words: str = "frame.comment") -> dict[int, list[str]]:
    """The comments of the frames that a display filter selects, as tshark reads them."""
    command = ["tshark", "-n", "-r", str(path), "-Y", words, "-T", "fields", "-E", "occurrence=a"]
    command += ["-E", "aggregator=|", "-e", "frame.number", "-e", "frame.comment"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "isn't" not in done.stderr and "cut short" not in done.stderr
    return {int(line.split("\t")[0]): line.split("\t")[1].split("|") for line in done.stdout.splitlines()}


@pytest.fixture(scope="module")
def annotated(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("annotated") / "out.pcapng"
    done = run(CAPTURE, "-o", out)
    assert (done.returncode, done.stdout) == (0, b"")
    assert done.stderr.decode() == f"tcptrace-tw: {out}: 31 frames, 19 with comments\n"
    return out


@TSHARK
def test_wireshark_finds_states_and_findings_by_their_words(annotated):
    """The SYN that met LAST-ACK: its sentence at the SYN, and at every other frame of the evidence where that is."""
    found = comments(annotated, 'frame.comment contains "LA001"')

    assert list(found) == [10, 16, 18, 19, 20, 21, 22]
    assert found[18][-1].startswith("LA001 warning: SYN from 198.18.10.10:40000 challenged in LAST-ACK of ")
    assert found[18][-1].endswith("(connection 2)")
    assert found[21] == ["LA001 warning: evidence of finding 2401, see frame 18 (connection 2)"]
    states = comments(annotated, 'frame.comment contains "FIN-WAIT-1 ->" or frame.comment contains "LISTEN ->"')
    assert states[9] == ["client: FIN-WAIT-1 -> FIN-WAIT-2 (connection 1)"]
    assert set(states) == {2, 9, 22, 29}


@TSHARK
def test_the_comments_are_the_transitions_of_the_table(annotated):
    """Each row of transitions that has a frame and was not retracted, and no other."""
    rows = analyze(CAPTURE).transitions
    lasting = rows[rows.frame.notna() & rows.retracts.isna()]
    wanted = sorted(
        (int(r.frame), f"{'client' if r.endpoint == 'orig' else 'server'}: {r.from_state} -> {r.to_state}")
        for r in lasting.itertuples()
    )
    said = [(frame, text) for frame, texts in comments(annotated).items() for text in texts if "->" in text]

    assert sorted((frame, text.partition(" (")[0].partition(",")[0]) for frame, text in said) == wanted


@TSHARK
def test_capinfos_says_the_same_of_both(annotated):
    def about(path: Path) -> list[str]:
        command = ["capinfos", "-M", "-T", "-r", "-c", "-a", "-e", "-d", "-E", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stdout.strip().split("\t")[1:]

    assert about(annotated) == about(CAPTURE)
    assert len(about(annotated)) == 5


def test_the_packets_of_a_copy_of_a_copy_are_the_same(annotated, tmp_path):
    again = tmp_path / "again.pcapng"
    assert run(annotated, "-o", again, "-q").stderr == b""

    first, second = build.read(annotated.read_bytes()), build.read(again.read_bytes())
    assert first.rows == second.rows == build.read(CAPTURE.read_bytes()).rows
    assert again.read_bytes().count(b"FIN-WAIT-1 -> FIN-WAIT-2") == 4


@pytest.mark.parametrize(
    ("options", "has", "has_not"),
    [
        (("--no-states",), (b"LA001", b"LA004"), b" -> "),
        (("--findings", "none"), (b" -> ",), b"LA001"),
        (("--findings", "warning"), (b"LA001", b" -> "), b"LA004"),
        (("--findings", "info", "--no-states"), (b"TW001 info",), b" -> "),
        (("--ignore", "LA001"), (b"LA004",), b"LA001"),
        (("--filter", "port 1"), (), b"connection"),
    ],
)
def test_what_is_said_can_be_chosen(tmp_path, options, has, has_not):
    out = tmp_path / "out.pcapng"
    assert run(CAPTURE, "-o", out, *options).returncode == 0

    data = out.read_bytes()
    assert all(word in data for word in has)
    assert has_not not in data
    assert build.read(data).facts.frames == 31


def test_packed_input_and_stdout(tmp_path, annotated):
    (tmp_path / "in.pcap.gz").write_bytes(gzip.compress(CAPTURE.read_bytes()))
    done = run(tmp_path / "in.pcap.gz", "-o", "-")

    assert done.stdout == annotated.read_bytes()
    assert done.stderr == b"tcptrace-tw: stdout: 31 frames, 19 with comments\n"


@pytest.mark.parametrize("named", ["-", "/dev/stdin"])
def test_a_pipe_is_refused(tmp_path, named):
    done = run(named, "-o", tmp_path / "out.pcapng", input=CAPTURE.read_bytes())

    assert done.returncode == 2
    assert done.stderr == b"tcptrace-tw: annotate: a pipe cannot be read twice; save the capture to a file\n"
    assert not (tmp_path / "out.pcapng").exists()


def test_a_damaged_capture_is_copied_up_to_the_damage(tmp_path):
    (tmp_path / "cut.pcap").write_bytes(CAPTURE.read_bytes()[:-10])
    done = run("cut.pcap", "-o", "out.pcapng", cwd=tmp_path, env={"PYTHONPATH": str(FIXTURES.parent)})

    assert done.returncode == 0
    assert done.stderr.decode().splitlines()[0].endswith("the 30 frames before it were kept")
    assert build.read((tmp_path / "out.pcapng").read_bytes()).facts.frames == 30


def test_files_of_a_ring_become_sections_of_one_file(tmp_path):
    """A finding whose evidence lies in another file says in which one."""
    data = CAPTURE.read_bytes()
    ends = [24]
    while ends[-1] < len(data):
        ends.append(ends[-1] + 16 + int.from_bytes(data[ends[-1] + 8 : ends[-1] + 12], "little"))
    (tmp_path / "a").write_bytes(data[: ends[12]])
    (tmp_path / "b").write_bytes(data[:24] + data[ends[12] :])
    out = tmp_path / "out.pcapng"
    assert run(tmp_path / "a", tmp_path / "b", "-o", out).returncode == 0

    assert build.read(out.read_bytes()).facts.frames == 31
    assert b"LA001 warning: evidence of finding 2401, see frame 6 of file 1 (connection 2)" in out.read_bytes()


def test_a_format_without_blocks_is_refused_before_the_pass(tmp_path):
    (tmp_path / "in.snoop").write_bytes(build.snoop([build.Record(build.ethernet(build.ipv4(build.tcp())), 10**18)]))
    done = run(tmp_path / "in.snoop", "-o", tmp_path / "out.pcapng")

    assert (done.returncode, b"convert it with editcap -F pcapng IN OUT, then annotate" in done.stderr) == (2, True)


def test_an_unknown_severity_is_a_wrong_use(tmp_path):
    done = run(CAPTURE, "-o", tmp_path / "x", "--findings", "warnin")

    assert (done.returncode, b"--findings warnin: did you mean warning?" in done.stderr) == (2, True)


def change(frame: int, number: int, retracts: int = -1) -> tuple[int, ...]:
    return frame, 7, number, retracts, 0, 4, 5, 0


def test_what_a_later_row_takes_back_is_not_said():
    """The retracting row may come in a later chunk, and before or behind the frame of the other."""
    dtype = np.dtype([("frame", "i8"), ("connection_id", "i8"), ("transition_id", "i8"), ("retracts", "i8"),
                      ("endpoint", "u1"), ("from_state", "u1"), ("to_state", "u1"), ("basis", "u1")])  # fmt: skip
    notes = PacketNotes(states=True, least=None)
    notes.rows("transitions", np.array([change(3, 1), change(4, 2), change(-1, 3)], dtype))
    notes.rows("transitions", np.array([change(9, 4, retracts=1), change(9, 5)], dtype))

    assert not notes.of(0, 3)
    assert notes.of(0, 4) == notes.of(0, 9) == [b"client: ESTABLISHED -> FIN-WAIT-1 (connection 7)"]
    assert notes.of(0, 5) == notes.of(1, 4) == ()
    notes.close()


def test_a_packet_gets_a_bounded_number_of_comments():
    rows = np.zeros(500, module.CHANGE.descr + [("retracts", "<i8")])
    rows["frame"], rows["retracts"] = 3, -1
    notes = PacketNotes(states=True, least=None)
    notes.rows("transitions", rows)

    assert len(notes.of(0, 3)) == module.MOST_EACH
    notes.close()


def test_rows_lie_on_disk_and_come_back_by_frame(monkeypatch):
    """Only one page is in memory, whatever order the rows came in."""
    monkeypatch.setattr("tcptrace_tw.report.comments.spill.GATHERED", 1000)
    rng = np.random.default_rng(3)
    rows = np.zeros(50_000, CHANGE)
    rows["frame"] = rng.integers(1, 5 << 16, rows.size) + (rng.integers(0, 2, rows.size) << 40)
    rows["transition_id"] = np.arange(rows.size)
    spill = Spill(CHANGE)
    for begin in range(0, rows.size, 700):
        spill.add(rows[begin : begin + 700])
    assert sum(each.nbytes for each in spill._waiting) < 50_000

    pages = np.unique(rows["frame"] >> 16).tolist()
    found = np.concatenate([spill.page(page) for page in pages])
    assert found.tolist() == rows[np.lexsort((rows["transition_id"], rows["frame"]))].tolist()
    assert spill.page(999).size == 0
    spill.close()
