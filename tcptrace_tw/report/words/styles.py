"""The colours of the terminal pages: those that compilers use, because they read on dark and on light."""

SEVERITY_STYLES = {"error": "bold red", "warning": "bold yellow", "notice": "bold cyan", "info": "dim"}
LABEL, PASTE, CURVE, DAMAGE = "dim", "green", "cyan", "bold yellow"
