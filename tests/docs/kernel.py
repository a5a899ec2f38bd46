"""The page that holds the tool against the kernel's own record."""

import json
from collections import Counter
from typing import TYPE_CHECKING

from tests.docs.markdown import table

if TYPE_CHECKING:
    from tests.lab.explain import Counted


def page() -> str:
    """One row per recording."""
    from tests.test_kernel_truth import FIXTURES, NAMES, comparison

    rows, totals = [], [0, 0, 0]
    for name in NAMES:
        compared = comparison(name)
        truth = json.loads((FIXTURES / name / "truth.json").read_text())
        counts = (compared.endpoints, compared.transitions, compared.spans)
        totals = [total + count for total, count in zip(totals, counts, strict=True)]
        is_equal = f"no: {len(compared.differences)} differ" if compared.differences else "yes"
        rows.append((f"`{name.removeprefix('kernel-')}`", truth["description"], *counts, is_equal))
    text = "# The tool against the kernel's record\n\n"
    text += (
        "Each recording in `fixtures/kernel-*` was made between two Linux network namespaces.\n"
        "Beside the capture lies what the kernel itself recorded: every state change of every socket, and every "
        "TIME-WAIT entry with its restarts and its end.\n"
        "The tool sees only the capture.\n"
        "A test compares the histories of both endpoints change by change, and the holder, start (within a round "
        "trip), end reason and restarts of each span.\n"
        "What no capture can show is left out by rule: changes after the last captured segment, lives whose opening "
        "came before the capture, directions and segments that the filter hid, addresses behind a NAT, and hand-made "
        "peers that no kernel recorded.\n"
        "A 0 means that nothing was left to compare.\n\n"
    )
    text += (
        f"{totals[0]} histories with {totals[1]} changes of state, and {totals[2]} spans: {len(NAMES)} recordings.\n\n"
    )
    text += table(("recording", "what happens", "histories", "changes", "spans", "equal"), rows)
    return text + _counters()


COUNTERS = """
## The kernel's counters

The kernel counts what its TCP does (`nstat`, without `TcpExt`), for each host of a recording.
`tests/lab/explain.py` says which rows of the tool stand for which counter, and which rules must state them.
A test compares them, recording by recording and host by host; this is the sum.

"""

REASONS_TEXT = """
Where a counter moved and no finding speaks of it, the kernel's own record must have an event of a kind that the capture
cannot show; every kind has a name.

"""

EACH_TEXT = """
By recording, timewait entries and RSTs left out where nothing else moved:

"""


def _counters() -> str:
    from tests.lab.explain import COUNTED, REASONS
    from tests.test_kernel_counters import NAMES, explained

    every = [each for name in NAMES for each in explained(name)]
    sums = []
    for line in COUNTED:
        mine = [each for each in every if each.line is line]
        stated = sum((each.stated for each in mine), Counter())
        reasons = sum((each.reasons for each in mine), Counter())
        kernel = sum(each.kernel for each in mine)
        sums.append((_names(line), line.means, kernel, stated.total(), _by(stated), _by(reasons)))
    why = [(name, function.__doc__) for name, function in REASONS.items()]
    told = [row for row in every if row.line.counters[0] not in ("TW", "OutRsts") or row.reasons]
    each = [
        (row.recording[7:], row.side, _names(row.line), row.kernel, _by(row.stated), _by(row.reasons)) for row in told
    ]
    return (
        COUNTERS
        + table(("counter", "what it counts", "kernel", "stated", "by", "not in the capture"), sums)
        + REASONS_TEXT
        + table(("reason", "what happened"), why)
        + EACH_TEXT
        + table(("recording", "host", "counter", "kernel", "by", "not in the capture"), each)
    )


def _names(line: "Counted") -> str:
    return " + ".join(f"`{name}`" for name in line.counters)


def _by(counts: "Counter[str]") -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
