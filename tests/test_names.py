"""Names are data: whatever a file is called, and whatever else comes from outside, it is shown and never obeyed."""

import html
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import xml.dom.minidom
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

import tcptrace_tw as tw
from tcptrace_tw.capture.facts import FileFacts
from tcptrace_tw.capture.name import Name, octets, raw
from tcptrace_tw.checking.baseline import Known
from tcptrace_tw.cli import app
from tcptrace_tw.errors import CaptureError, UsageError, at_line_start, printable
from tcptrace_tw.report.checks.formats import FORMATS, writer
from tcptrace_tw.report.checks.formats.paths import uri
from tcptrace_tw.report.words.phrases import command
from tests.check_rows import checked

ROOT = Path(__file__).parent.parent
CAPTURE = ROOT / "fixtures" / "kernel-syn-into-last-ack" / "capture.pcap"

ALL_AT_ONCE = (
    "::error::pwn \x1b[31mR\x1b]0;t\x07\n::error file=a::pwn\x85\x9b1m\u2028\u202eg[bold][link=h:x] `c`|t|*b*"
    "<img src=x>'\";$(id)&amp;\\%0A\x7f\udcff\udcfe.pcap"
)
NAMES = [
    "esc\x1b[31mRED\x1b]0;title\x07.pcap",
    "nl\n::error file=a,line=1::pwn.pcap",
    "cr\r\n::error::pwn.pcap",
    "::error::pwn.pcap",
    "  ::error::pwn.pcap",
    "[bold]x[link=http:evil].pcap",
    "<script>alert(1)</script>.pcap",
    "'\"><img src=x onerror=alert(1)>.pcap",
    "|table|`code`|``two``|.pcap",
    "c1\x9b31m\x85.pcap",
    "\u202egpj\u2066\u200b\ufeff.pcap",
    "line\u2028para\u2029.pcap",
    "bad\udcff\udcfe.pcap",
    "%0A::error::x.pcap",
    "back\\slash;$(touch x)`id`.pcap",
    ALL_AT_ONCE,
]
MARKS = {"h3", "p", "table", "thead", "tbody", "tr", "th", "td", "code", "strong"}
"""The elements that a page of ours has."""

ENCODINGS = ["utf-8", "ascii", "latin-1", "cp1252", "utf-16"]
SHOWS = ["[bold][link=h:x]", "\\x1b[31mR", "\\udcff\\udcfe.pcap"]
"""What a person sees of ``ALL_AT_ONCE``."""


def is_clean(text: str) -> bool:
    """Whether a text is lines that can be printed, none of which is a command to a runner of GitHub."""
    lines = text.split("\n")
    return all(line.isprintable() and not line.lstrip().startswith("::") for line in lines)


class Done:
    """A finished command: its exit code, and what it wrote."""

    def __init__(self, code: int, out: bytes, err: bytes, encoding: str) -> None:
        self.code = code
        self.out, self.err = out.decode(encoding), err.decode(encoding)


def run(monkeypatch, *arguments: str, encoding: str = "utf-8") -> Done:
    """The command line in this process, with standard streams of an encoding."""
    out, err = (io.BytesIO(), io.BytesIO())
    with monkeypatch.context() as patch:
        patch.setattr(signal, "signal", lambda *_: None)
        patch.setattr(sys, "argv", ["tcptrace-tw", *arguments])
        patch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding))
        patch.setattr(sys, "stderr", io.TextIOWrapper(err, encoding, errors="backslashreplace"))
        with pytest.raises(SystemExit) as end:
            app.run()
        sys.stdout.flush()
        sys.stderr.flush()
        return Done(int(end.value.code or 0), out.getvalue(), err.getvalue(), encoding)


@pytest.fixture
def evil(tmp_path, monkeypatch):
    """The name of a capture in the current folder that has it all."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    shutil.copy(CAPTURE, ALL_AT_ONCE)
    return ALL_AT_ONCE


@given(st.text(st.characters(codec=None)))
def test_what_is_shown_can_be_printed_and_written_in_any_encoding(text):
    shown = printable(text)

    assert shown.isprintable()
    assert shown.encode().decode() == shown
    assert printable(shown) == shown
    assert (shown == text) == text.isprintable()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31m", "\\x1b[31m"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\udcff", "\\udcff"),
        ("\u202e\U000e0001", "\\u202e\\U000e0001"),
        ("Zürich 漢字 ok", "Zürich 漢字 ok"),
    ],
)
def test_an_escape_names_the_character(text, shown):
    assert printable(text) == shown


@pytest.mark.parametrize("error", [CaptureError, UsageError])
def test_no_name_breaks_the_line_of_an_error(error):
    assert str(error("a\nb\x1b: is empty")) == "a\\nb\\x1b: is empty"
    assert str(error("two", "  lin\nes")) == "two\n  lin\\nes"


@given(st.text(st.characters(codec=None, exclude_characters="\0"), min_size=1).filter(lambda text: text != "-"))
def test_a_name_is_shown_in_escapes_and_opens_as_it_is(text):
    name = Name(text)

    assert (str(name), raw(name), raw(Name(name))) == (printable(text), text, text)
    assert FileFacts(text).name.raw == text
    assert unquote_to_bytes(uri(name).removeprefix("file://")).endswith(octets(os.path.basename(text)))


def test_facts_keep_what_a_server_says_in_escapes():
    facts = FileFacts("x")
    facts.damage = "byte 5: \x1b[31m\nno; the 2 frames before it were kept"

    assert facts.damage == "byte 5: \\x1b[31m\\nno; the 2 frames before it were kept"


@pytest.mark.parametrize("name", NAMES, ids=ascii)
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("several", [False, True])
def test_every_format_shows_every_name(form, name, several):
    found = "".join(writer(form)(checked(files=(name, "lab.pcap")[: 1 + several])))

    if form == "github":
        lines = found.splitlines()
        assert lines
        assert all(re.match(r"::(error|notice) file=[^:,]*,line=\d+,title=[^:,]*::", line) for line in lines)
        assert all(line.isprintable() for line in found.split("\n"))
    else:
        assert is_clean(found)
    if form in ("json", "sarif", "gitlab"):
        json.loads(found)
    if form == "ndjson":
        assert {json.loads(line)["path"] for line in found.splitlines()} <= {printable(name), "lab.pcap"}
    if form == "junit":
        xml.dom.minidom.parseString(found.encode())
    if form == "sarif":
        place = json.loads(found)["runs"][0]["artifacts"][0]["location"]["uri"]
        assert re.fullmatch(r"[A-Za-z0-9_.~/%-]*", place)
        assert unquote_to_bytes(place) == os.fsencode(name)


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_cell_of_markdown_is_never_markup(name):
    """Read by a parser: the table keeps its cells, and the name is code in the last one."""
    found = "".join(writer("markdown")(checked(files=(name,))))
    page = MarkdownIt("commonmark", {"html": True}).enable("table").render(found)
    rows = [re.findall("<td[^>]*>(.*?)</td>", row) for row in re.findall("<tr>(.*?)</tr>", page, re.DOTALL)[1:]]

    assert [len(row) for row in rows] == [5, 5]
    for row in rows:
        assert html.unescape(re.match("<code>(.*?)</code>", row[-1])[1]).strip() == f"{printable(name)}:9".strip()
    assert set(re.findall("</?([a-z0-9]+)", page)) <= {
        *["h3", "p", "table", "thead", "tbody", "tr", "th", "td", "code", "strong"]
    }


def test_prose_in_markdown_is_never_markup():
    found = replace(checked(), ignored=1, policy=printable(ALL_AT_ONCE))
    page = MarkdownIt("commonmark", {"html": True}).render("".join(writer("markdown")(found)).split("\n|")[0])

    assert html.unescape(re.search("ignored by (.*)</p>", page)[1]) == printable(ALL_AT_ONCE)


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_command_to_paste_names_the_file_whatever_it_is_called(name):
    line = command("show", [name], "--finding", "12")
    said = subprocess.run(["bash", "-c", line.replace("tcptrace-tw show", "printf '%s\\n'")], capture_output=True)

    assert is_clean(line)
    assert said.stdout == os.fsencode(name) + b"\n--finding\n12\n"


COMMANDS = [
    ("report",),
    ("report", "--json"),
    ("report", "--html", "-"),
    ("report", "--color", "always", "--until", "+1s"),
    ("show", "--connection", "1"),
    *(("check", "--show", "info", "--format", form) for form in FORMATS),
]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_every_command_takes_such_a_name_in_every_encoding(evil, monkeypatch, arguments, encoding):
    done = run(monkeypatch, arguments[0], evil, *arguments[1:], encoding=encoding)

    assert done.code == 0, done.err
    out = re.sub(r"\x1b\[[0-9;]*m(?!R)", "", done.out) if "always" in arguments else done.out
    if "github" in arguments:
        assert all(line.isprintable() and "::error" not in line[2:] for line in out.split("\n"))
    else:
        assert is_clean(out)
    assert is_clean(done.err)
    if "--json" in arguments or arguments[-1] in ("json", "sarif", "gitlab"):
        json.loads(done.out)
    elif arguments[-1] == "junit":
        xml.dom.minidom.parseString(done.out.encode(encoding))
    elif "--html" in arguments:
        assert "<img" not in out
        assert "[bold][link=h:x]" in out
    elif arguments[0] == "report":
        assert all(text in out.replace("\n", "") for text in SHOWS)
    elif "text" in arguments:
        assert out.startswith("\\x3a:error::pwn")


@pytest.mark.parametrize("variables", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "LANG": "C"}], ids=str)
def test_the_real_command_takes_the_bytes_of_a_name(evil, variables):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    words = [sys.executable, "-m", "tcptrace_tw", "check", os.fsencode(evil), "--show", "info", "--format", "text"]
    done = subprocess.run(words, capture_output=True, env=environment, check=False)

    assert done.returncode == 0, done.stderr
    assert is_clean(done.stdout.decode("ascii"))
    assert is_clean(done.stderr.decode("ascii"))


def test_letters_of_any_script_stay_letters(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = "Zürich 漢字.pcap"
    shutil.copy(CAPTURE, name)

    assert name in run(monkeypatch, "report", name).out
    assert json.loads(run(monkeypatch, "report", name, "--json").out)["capture"]["files"][0]["name"] == name
    page = run(monkeypatch, "report", name, "--html", "-", encoding="latin-1").out
    assert page.isascii()
    assert "Z&#252;rich &#28450;&#23383;.pcap" in page


def test_a_damaged_file_and_what_was_left_out_are_told_in_one_line_each(evil, monkeypatch):
    Path("d").mkdir()
    for name in ("\x1b[31m\n::error::b", "c\udcff"):
        Path("d", name).write_text("no capture")
    Path("d", evil).write_bytes(CAPTURE.read_bytes()[:-3])
    Path("d", "whole.pcap").write_bytes(CAPTURE.read_bytes())
    done = run(monkeypatch, "report", "d")

    assert done.code == 0
    assert is_clean(done.out)
    assert is_clean(done.err)
    assert "2 files left out" in done.out
    assert all(line.startswith("tcptrace-tw: ") for line in done.err.splitlines())


WRONG = "\x1b]0;t\x07\n::error::pwn\u202e[bold]"


@pytest.mark.parametrize(
    "arguments",
    [
        ("report", WRONG),
        ("report", "CAPTURE", WRONG),
        ("report", "CAPTURE", "--profile", WRONG),
        ("report", "CAPTURE", "--select", WRONG),
        ("report", "CAPTURE", "--since", WRONG),
        ("report", "CAPTURE", "--until", WRONG),
        ("report", "CAPTURE", "--filter", f"port {WRONG}"),
        ("report", "CAPTURE", "--filter", "::error::pwn"),
        ("report", "CAPTURE", "--two-msl", WRONG),
        ("report", "CAPTURE", "--color", WRONG),
        ("report", "CAPTURE", "--html", f"{WRONG}/x"),
        ("report", "CAPTURE", f"--{WRONG}"),
        ("report", "--files-from", WRONG),
        ("report", f"{WRONG}://x"),
        (WRONG,),
        (f"--{WRONG}",),
        ("rules", WRONG),
        ("show", "CAPTURE", "-c", "1", "--time-format", WRONG),
        ("show", "CAPTURE", "-c", WRONG),
        ("check", "CAPTURE", "--fail-on", WRONG),
        ("check", "CAPTURE", "--fail-on", f"error:{WRONG}"),
        ("check", "CAPTURE", "--show", WRONG),
        ("check", "CAPTURE", "--format", WRONG),
        ("check", "CAPTURE", "--output", WRONG),
        ("check", "CAPTURE", "--output", f"sarif={WRONG}/x"),
        ("check", "CAPTURE", "--config", WRONG),
        ("check", "CAPTURE", "--baseline", WRONG),
        ("export", "CAPTURE", "-c", "1", "-o", f"{WRONG}/x.pcap"),
        ("annotate", "CAPTURE", "-o", f"{WRONG}/x.pcapng"),
        ("annotate", "CAPTURE", "-o", "x.pcapng", "--findings", WRONG),
        ("watch", WRONG),
        ("watch", "-", "--for", WRONG),
        ("watch", "-", "--until-finding", WRONG),
        ("watch", "-", "--findings", WRONG),
        ("watch", "-", "--time-format", WRONG),
        ("analyze", "CAPTURE", "-o", "EMPTY"),
    ],
    ids=ascii,
)
def test_an_error_repeats_what_was_typed_in_escapes(tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    empty = tmp_path / "e\x1b\n::error"
    empty.write_bytes(b"")
    places = {"CAPTURE": str(CAPTURE), "EMPTY": str(empty)}
    done = run(monkeypatch, *(places.get(word, word) for word in arguments))

    assert done.code in (2, 3), done.err
    assert done.out == ""
    assert is_clean(done.err)


def test_a_server_cannot_write_on_the_terminal(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def refuse():
            peer, _ = server.accept()
            with peer:
                peer.recv(65536)
                peer.sendall(b"HTTP/1.1 404 No\x1b[31m\x07 ::error::pwn\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=refuse, daemon=True)
        thread.start()
        address = f"http://127.0.0.1:{server.getsockname()[1]}/x.pcap"
        done = run(monkeypatch, "report", address)
        thread.join(timeout=60)

    assert done.code == 3
    assert is_clean(done.err)
    assert done.err.startswith(f"tcptrace-tw: {address}: the server answers 404 No\\x1b[31m\\x07 ::error::pwn")


def test_a_policy_is_repeated_in_escapes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    policy = Path("p\x1b\n.toml")
    policy.write_text('baseline = "k\\u001b\\n::error.json"\n"\\u001b\\n::error" = 1\nshow = "\\u009b"\n')
    done = run(monkeypatch, "check", str(CAPTURE), "--config", str(policy))
    assert (done.code, done.out) == (2, "")
    assert is_clean(done.err)

    policy.write_text('[[ignore_for]]\nrules = ["RU"]\nreason = "\\u001b[31m\\n::error::\\u202e"\n')
    done = run(monkeypatch, "check", str(CAPTURE), "--config", str(policy), "--show-policy")
    assert done.code == 0
    assert is_clean(done.out)
    assert 'reason = "\\u001b[31m\\u000a::error::\\u202e"' in done.out
    for form in FORMATS:
        done = run(monkeypatch, "check", str(CAPTURE), "--config", str(policy), "--format", form)
        assert "\x1b" not in done.out + done.err


def test_a_baseline_is_repeated_in_escapes():
    assert Known("LA001", "x", "\x1b\n::error", "0").text == "LA001 \\x1b\\n::error"


@pytest.fixture
def folder(evil, monkeypatch):
    """What analyze wrote about such a capture."""
    done = run(monkeypatch, "analyze", evil, "-o", "o\x1b\n::error")
    assert done.code == 0, done.err
    assert is_clean(done.out)
    os.rename("o\x1b\n::error", "out")
    return Path("out")


def test_manifest_and_tables_hold_names_as_they_are_shown(folder, evil):
    manifest = json.loads((folder / "manifest.json").read_text())
    stored = json.loads(pq.read_metadata(folder / "findings.parquet").metadata[b"tcptrace_tw"])

    assert manifest["captures"] == [printable(evil)]
    assert [each["name"] for each in (*manifest["inputs"], *stored["inputs"])] == [printable(evil)] * 2
    assert [unquote_to_bytes(name) for name in manifest["captures_percent_encoded"]] == [os.fsencode(evil)]


def test_a_written_folder_still_finds_its_capture(folder, evil, monkeypatch):
    assert tw.load(folder).connection(1).ladder.ladder.steps

    log = json.loads(run(monkeypatch, "check", "out", "--show", "info", "--format", "sarif").out)
    assert unquote_to_bytes(log["runs"][0]["artifacts"][0]["location"]["uri"]) == os.fsencode(evil)


def test_an_ordinary_name_is_in_the_manifest_once(tmp_path, monkeypatch):
    assert run(monkeypatch, "analyze", str(CAPTURE), "-o", str(tmp_path / "out"), "-q").code == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())

    assert manifest["captures"] == [str(CAPTURE)]
    assert not [key for key in manifest if key.endswith("_percent_encoded")]


def test_a_manifest_from_outside_is_no_page(folder, monkeypatch):
    """Whoever writes a folder writes its sentences too."""
    path = folder / "manifest.json"
    text = path.read_text().replace("LAST-ACK", "\\u001b[31m<img src=x>\\n::error::pwn \\u202e")
    path.write_text(text)
    for arguments in COMMANDS[:4]:
        done = run(monkeypatch, arguments[0], "out", *arguments[1:])
        assert done.code == 0, done.err
        assert is_clean(re.sub(r"\x1b\[[0-9;]*m(?!<)", "", done.out) if "always" in arguments else done.out)
        assert "<img" not in done.out or "--html" not in arguments


def test_a_trace_shows_itself_without_obeying(evil):
    trace = tw.analyze(evil)

    assert trace.summary.capture.files[0].name == printable(evil)
    assert trace.summary.capture.files[0].name.raw == evil
    assert is_clean(str(trace))
    page = trace._repr_html_()
    assert is_clean(page)
    assert "<img" not in page
    assert "\x1b" not in trace.table("findings").schema.metadata[b"tcptrace_tw"].decode()


@pytest.mark.parametrize(
    ("text", "shown"), [("::error::x", "\\x3a:error::x"), ("  ::", "  \\x3a:"), ("x::y", "x::y"), (" ", " "), ("", "")]
)
def test_no_line_begins_with_a_command(text, shown):
    assert at_line_start(text) == shown


@pytest.mark.parametrize("name", ["s3:x", "file:x", "hdfs:x", "mock:x", b"not-\xff-utf-8"])
def test_a_folder_is_a_folder_whatever_its_name(name, tmp_path, monkeypatch):
    """Arrow would take some names for addresses, and refuse those that are not UTF-8."""
    monkeypatch.chdir(tmp_path)
    folder = os.fsdecode(name)
    shutil.copy(CAPTURE, "c.pcap")
    assert run(monkeypatch, "analyze", "c.pcap", "-o", folder, "-q").code == 0

    done = run(monkeypatch, "check", f"./{folder}", "--fail-on", "never", "-q")
    assert done.code == 0, done.err
    assert "LA001" in done.out
    assert run(monkeypatch, "report", f"./{folder}", "--html", "-").code == 0
    assert run(monkeypatch, "show", f"./{folder}", "-c", "1").code == 0
