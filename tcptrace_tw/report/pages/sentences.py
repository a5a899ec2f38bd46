"""The sentences that a report has on a terminal and in HTML alike."""

from collections.abc import Sequence
from typing import Any

from tcptrace_tw.protocol.profiles import profile
from tcptrace_tw.report.summary.digest import (
    ConnectionsDigest,
    Digest,
    FileDigest,
    IncidentDigest,
    PolicyDigest,
    RuleDigest,
    TimeWaitDigest,
)
from tcptrace_tw.report.summary.port_usage import PortUse
from tcptrace_tw.report.words.findings import Finding
from tcptrace_tw.report.words.phrases import counted, moment, size, span, tally
from tcptrace_tw.report.words.text import duration_text
from tcptrace_tw.schema import words as w

_MOST_FILES = 8
_MOST_REMARKS = 4
_MOST_PORT_USES = 3
_WORTH_A_LINE = 0.01
_CLOSERS = {
    "orig": "by the client",
    "resp": "by the server",
    "both": "by both",
    "none": "by neither",
    "unknown": "by an unknown side",
}

Facts = list[tuple[str, str]]
"""Labels and what they say, in order."""


def capture_facts(digest: Digest) -> tuple[str, Facts]:
    """What to call the capture, and what it is."""
    capture = digest.capture
    files, facts = capture.files, Facts()
    if len(files) == 1:
        facts.append(("format", _file_text(files[0])))
    elif files:
        facts += _files(files)
    frames, segments = counted(capture.frames, "frame"), counted(capture.tcp_segments, "TCP segment")
    facts.append(("frames", f"{frames}, {segments}, {size(sum(f.wire_bytes for f in files))} on the wire"))
    if capture.first_time is not None:
        facts.append(("time", f"{moment(capture.first_time)}, {span(capture.duration_ns)}"))
    if capture.skipped:
        facts.append(("left out", tally(capture.skipped)))
    facts.append(("profile", _profile_text(digest.settings)))
    if chosen := _choice_text(digest.settings):
        facts.append(("only", chosen))
    if digest.policy is not None and (did := policy_text(digest.policy)):
        facts.append(("policy", did))
    damaged = [file for file in files if file.damage]
    facts += [("damaged", f.damage or "" if len(files) == 1 else f"{f.name}: {f.damage}") for f in damaged]
    facts += _capped("remark", list(capture.remarks), _MOST_REMARKS)
    return files[0].name if len(files) == 1 else counted(len(files), "file"), facts


def policy_text(policy: PolicyDigest) -> str:
    """``3 findings suppressed by tcptrace-tw.toml, which also sets profile``; nothing where it changed nothing."""
    did = []
    if policy.suppressed:
        did.append(f"{counted(policy.suppressed, 'finding')} suppressed")
    if policy.changed:
        did.append(f"{counted(policy.changed, 'finding')} given another severity")
    sets = ", ".join(policy.sets)
    if not did:
        return f"{policy.file} sets {sets}" if sets else ""
    return f"{' and '.join(did)} by {policy.file}{f', which also sets {sets}' if sets else ''}"


def connection_facts(digest: ConnectionsDigest) -> Facts:
    """How connections began and ended, and what they carried."""
    if not digest.total:
        return []
    again = f", {counted(digest.retransmits, 'retransmission')}" if digest.retransmits else ""
    return [
        ("began", tally(digest.opened, w.OPENED.words)),
        ("ended", tally(digest.close, w.CLOSE.words)),
        ("closed first", _closers_text(digest.active_closer)),
        ("carried", f"{counted(digest.segments, 'segment')}, {size(digest.payload_bytes)} of payload{again}"),
    ]


def _closers_text(counts: dict[str, int]) -> str:
    """``18 by the server, 2 by the client``, the most frequent first."""
    names = sorted(counts, key=lambda name: -counts[name])
    return ", ".join(f"{counts[name]:,} {_CLOSERS[name]}" for name in names)


def ended_text(close: str, closer: str) -> str:
    """``normal, first by the client``; without a first side, just how it ended."""
    return f"{close}, first {_CLOSERS[closer]}" if closer in ("orig", "resp") else close


def frames_text(example: Finding, files: list[str]) -> str:
    """The evidence: frames, the file where there are several, and the connection."""
    frames = ", ".join(str(frame) for frame in example.frames) or "none"
    of_file = f" of {files[example.file]}" if files and example.frames else ""
    return frames + of_file + (f" (connection {example.connection_id})" if example.connection_id is not None else "")


def grades_text(rule: RuleDigest) -> str:
    """``7 times: error 5, warning 2; confirmed 6, likely 1``, or just ``confirmed``."""
    if rule.count == 1:
        return rule.confidence
    severities = f": {tally(rule.severities, reversed(w.SEVERITY.words))}" if len(rule.severities) > 1 else ""
    mixed = len(rule.confidences) > 1
    sure = tally(rule.confidences, reversed(w.CONFIDENCE.words)) if mixed else rule.confidence
    return f"{rule.count:,} times{severities}{';' if severities else ','} {sure}"


def delay_text(rule: RuleDigest | IncidentDigest) -> str:
    """``2.081 s in total, 1.028 s worst (measured for 5 of 7)``."""
    total, worst = duration_text(rule.delay_ns or 0), duration_text(rule.worst_delay_ns or 0)
    part = f" (measured for {rule.delays_known:,} of {rule.count:,})" if rule.delays_known < rule.count else ""
    return f"{total} in total, {worst} worst{part}"


def port_uses(uses: Sequence[PortUse]) -> Facts:
    """The fullest range, and those of which at least 1 % was in use."""
    shown = [use for i, use in enumerate(uses) if i == 0 or use.used >= use.size * _WORTH_A_LINE]
    return [("ports", port_use_text(use)) for use in shown[:_MOST_PORT_USES]]


def port_use_text(use: PortUse) -> str:
    """The ports in use, the ports left, and whether they suffice at this rate of closes."""
    seen = f"from {use.lowest} to {use.highest}"
    if use.is_every_port_seen:
        used = (
            f"its only port {use.lowest} in use" if use.used == 1 else f"all {use.used:,} ports {seen} in use at once"
        )
    else:
        used = f"at most {counted(use.used, 'port')} {seen} in use at once"
    text = f"{use.ip} to {use.service}: {used}"
    text += f"; {use.left:,} of {use.size:,} left if its range is {use.range_first} to {use.range_last}"
    if use.per_second is None:
        return text
    pace = f"at {use.per_second:{',.0f' if use.per_second >= 10 else '.2g'}} closes/s"
    if use.full_after_s is not None:
        return f"{text}; {pace} it is used up in {span(round(use.full_after_s * 1e9))}"
    return f"{text}; {pace} {_about(use.levels_off_at or 0)} always in TIME-WAIT"


def _about(ports: int) -> str:
    """``1 port is``, ``42 ports are``, and from 100 on two digits: ``about 3,900 ports are``."""
    if ports < 100:
        return f"{counted(ports, 'port')} {'is' if ports == 1 else 'are'}"
    return f"about {round(ports, 2 - len(str(ports))):,} ports are"


def _files(files: Sequence[FileDigest]) -> Facts:
    """The format once where all files have the same, and a line for each of the first files."""
    formats = {_format_text(file) for file in files}
    one = len(formats) == 1
    lines = [f"{f.name}: {counted(f.frames, 'frame')}, {_size_text(f) if one else _file_text(f)}" for f in files]
    return [("format", f) for f in formats if one] + _capped("file", lines, _MOST_FILES)


def _capped(label: str, lines: list[str], most: int) -> Facts:
    """The first lines, and how many more there are."""
    more = [("", f"and {len(lines) - most:,} more")] if len(lines) > most else []
    return [(label, line) for line in lines[:most]] + more


def _file_text(file: FileDigest) -> str:
    return ", ".join(part for part in (_format_text(file), _size_text(file)) if part)


def _format_text(file: FileDigest) -> str:
    snaplen = f"snap length {file.snaplen:,}" if file.snaplen else ""
    return ", ".join(part for part in (file.format, file.compression, " + ".join(file.links), snaplen) if part)


def _size_text(file: FileDigest) -> str:
    return "" if file.size is None else size(file.size)


def _profile_text(settings: dict[str, Any]) -> str:
    assumed = profile(settings["profile"], settings.get("two_msl_s"))
    return f"{assumed.name}, 2MSL is {assumed.two_msl_ns / 1e9:g} s"


def _choice_text(settings: dict[str, Any]) -> str:
    """Which connections were looked at, if not all."""
    words = {
        "filter": "{}",
        "since": "since {}",
        "until": "until {}",
        "read_filter": "segments of {} (--read-filter): connections are numbered among these",
    }
    return ", ".join(text.format(settings[name]) for name, text in words.items() if settings.get(name))


def options(settings: dict[str, Any]) -> list[str]:
    """What another command needs to number the connections and findings as this report does."""
    found = []
    if settings.get("profile", "linux") != "linux":
        found += ["--profile", settings["profile"]]
    if settings.get("two_msl_s") is not None:
        found += ["--two-msl", f"{settings['two_msl_s']:g}"]
    if settings.get("read_filter"):
        found += ["--read-filter", settings["read_filter"]]
    if settings.get("config"):
        found += ["--no-config"] if settings["config"] == "none" else ["--config", settings["config"]]
    return [*found, "--ignore-vlan"] if settings.get("ignore_vlan") else found


def outlived_facts(digest: TimeWaitDigest) -> Facts:
    """What the packets show of a TIME-WAIT that lasts longer than the profile's."""
    longer = digest.outlived.items()
    return [("lasts", f"on {ip} at least {span(ns)}, longer than the profile's 2MSL") for ip, ns in longer]
