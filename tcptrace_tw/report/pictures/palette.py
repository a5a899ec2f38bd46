"""The colours of pictures and pages by name, for light and for dark; a class ``c-<name>`` wears one."""

COLORS = {
    "ink": ("#1d2126", "#e3e6ea"),
    "dim": ("#5c646e", "#9aa3ad"),
    "line": ("#d9dde2", "#3a4048"),
    "soft": ("#f4f6f8", "#22262b"),
    "back": ("#ffffff", "#181b1f"),
    "mark": ("#0f6674", "#5cc9d8"),
    "paste": ("#1e6b2d", "#8fd19e"),
    "error": ("#b3261e", "#ff8a80"),
    "warning": ("#8a2f80", "#e59adb"),
    "notice": ("#0f6674", "#5cc9d8"),
    "info": ("#5c646e", "#9aa3ad"),
    "good": ("#2e7d4f", "#74c693"),
    "held": ("#c2410c", "#fb9a5b"),
    "open": ("#2563a8", "#7ab4f0"),
    "wait": ("#a16207", "#e0b44c"),
    "closing": ("#4f46a5", "#a9a2f0"),
    "passive": ("#8a2f80", "#e59adb"),
    "none": ("#68707a", "#8e969f"),
}
"""By name: on light, on dark. Text in any of them has a contrast of 4.5 to its background at least."""

STATE_COLORS = {
    "CLOSED": "none", "LISTEN": "none", "SYN-SENT": "wait", "SYN-RECEIVED": "wait", "ESTABLISHED": "good",
    "FIN-WAIT-1": "open", "FIN-WAIT-2": "open", "CLOSING": "closing", "CLOSE-WAIT": "passive", "LAST-ACK": "passive",
    "TIME-WAIT": "held",
}  # fmt: skip
"""Before: yellow; open: green; the active closer: blue, then orange in TIME-WAIT; the passive closer: violet."""

CLOSE_COLORS = {
    "normal": "good", "simultaneous": "closing", "abort": "error", "half-closed": "wait", "refused": "passive",
    "unanswered": "held", "open": "none",
}  # fmt: skip
"""How a connection ended."""


def variables(dark: bool) -> str:
    """CSS: the colours as custom properties."""
    return " ".join(f"--{name}: {pair[dark]};" for name, pair in COLORS.items())


def classes(literal: bool = False, dark: bool = False) -> str:
    """CSS: the classes that wear the colours; ``literal`` for programs that know no custom properties."""
    return "".join(f".c-{name}{{color:{pair[dark] if literal else f'var(--{name})'}}}" for name, pair in COLORS.items())
