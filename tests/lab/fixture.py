"""A sound recording to a fixture folder: capture.pcap, truth.json, README.md."""

import json
import platform
import shutil

from tests.lab import counters, ftrace, history
from tests.lab import kernel_programs as programs

README = """# {name}

Purpose: {description}

Origin: recorded by `tests/lab` (`python -m tests.lab.record {situation}`) on Linux {kernel}; {capture}.
Beside the capture, `truth.json` holds the kernel's own record: state transitions, timewait entries, counters.
Settings changed from the kernel's defaults: {settings}.
Licence: the same as the project.
"""


def truth(lab, historian):
    """The content of truth.json."""
    lives = historian.lives
    return {
        "situation": lab.situation.name,
        "description": lab.situation.description,
        "kernel": "Linux " + release(),
        "settings_changed": lab.settings,
        **({"translations": lab.translations} if lab.translations else {}),
        "capture": lab.capture.about() | {"namespace": lab.situation.capture, "frames": lab.captured},
        "endpoints": [] if lab.situation.is_bulk else history.endpoints(lives),
        "time_wait": [] if lab.situation.is_bulk else history.time_wait(lives),
        **({"summary": summary(lives)} if lab.situation.is_bulk else {}),
        "counters_delta": {
            side: counters.moved(lab.before[host.name], lab.after[host.name])
            for side, host in (("client", lab.client), ("server", lab.server))
        },
        "resets_and_retransmissions": [] if lab.situation.is_bulk else ftrace.told(lab.trace),
        "drops": [] if lab.situation.is_bulk else drops(historian),
        "relay_actions": [
            {"time": round(time, 6), "action": action, "segment": words}
            for time, action, words in sorted(lab.relay.log)
        ],
        "failed_connects": len(historian.local_failures),
        "notes": lab.notes,
        "checks": {
            "state_changes_by_bpf_and_tracefs": ftrace.state_changes(lab.trace),
            "lost_trace_events": lab.lost,
            "lost_frames": lab.dropped,
            "clock_drift_ns": lab.kernel.clock.drift_ns,
        },
    }


def summary(lives):
    """What thousands of lives have in common: counts instead of lists."""
    spans = history.time_wait(lives)
    return {
        "incarnations": len(lives),
        "tuples": len({life.key for life in lives if life.open == "active"}),
        "histories": _count(
            f"{life.host.rpartition('-')[2]} {life.open}: {' '.join(life.history())}" for life in lives
        ),
        "time_wait_entries": len(spans),
        "time_wait_end_reasons": _count(span["end_reason"] for span in spans),
    }


def _count(words):
    found = {}
    for word in words:
        found[word] = found.get(word, 0) + 1
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def drops(historian):
    """Segments that TCP dropped for a reason that it names."""
    return [
        {"time": round(event.time, 6), "reason": reason, "segment": event.segment.words()}
        for event in historian.drops
        if (reason := programs.drop_reason(event.reason)).startswith(("TCP_", "NO_SOCKET"))
    ]


def write(lab, historian, fixtures):
    """Write the folder in one go; an older one is replaced."""
    folder = fixtures / ("kernel-" + lab.situation.name)
    content = truth(lab, historian)
    (lab.folder / "truth.json").write_text(json.dumps(content, indent=1) + "\n")
    (lab.folder / "README.md").write_text(readme(lab, content))
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("capture.pcap", "truth.json", "README.md"):
        shutil.copyfile(lab.folder / name, folder / name)
    return folder


def readme(lab, content):
    settings = "; ".join(
        f"{side} {name} = {value}" for side, rows in lab.settings.items() for name, value in rows.items()
    )
    about = content["capture"]
    capture = f"tcpdump on the {about['namespace']}'s interface {about['point']}, filter `{about['filter']}`"
    if lab.situation.snaplen:
        capture += f", snap length {about['snaplen']}"
    return README.format(
        name="kernel-" + lab.situation.name,
        situation=lab.situation.name,
        kernel=release(),
        description=content["description"],
        settings=settings or "none",
        capture=capture,
    )


def release():
    """The kernel's version without the local build's suffix."""
    return platform.release().partition("-")[0]
