"""The colours of the terminal pages; they read on dark and on light."""

SEVERITY_STYLES = {"error": "bold red", "warning": "yellow", "notice": "cyan", "info": "dim"}
LABEL, PASTE, CURVE, DAMAGE = "dim", "green", "blue", "yellow"
