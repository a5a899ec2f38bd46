"""The page that holds the tool against the kernel's own record."""

import json

from tests.docs.markdown import table


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
    return text + table(("recording", "what happens", "histories", "changes", "spans", "equal"), rows)
