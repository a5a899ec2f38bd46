"""GitLab code quality: an array of objects, each with a fingerprint of its own; of equal ones GitLab shows one."""

import json
from collections.abc import Iterator
from typing import Any

from tcptrace_tw.report.checks.checked import Checked
from tcptrace_tw.report.checks.formats.folding import Item, folded
from tcptrace_tw.report.checks.formats.paths import relative

SEVERITIES = {"info": "info", "notice": "minor", "warning": "major", "error": "critical"}
MOST = 5000


def write(checked: Checked) -> Iterator[str]:
    """One object a group; known findings are left out, as GitLab compares with the target branch by itself."""
    items = folded([group for group in checked.groups if not group.is_known], MOST)
    yield json.dumps([_issue(item) for item in items], indent=1) + "\n"


def _issue(item: Item) -> dict[str, Any]:
    return {
        "check_name": f"{item.rule} {item.name}",
        "description": item.text,
        "fingerprint": item.fingerprint,
        "severity": SEVERITIES[item.worst.severity],
        "location": {"path": relative(item.worst.path), "lines": {"begin": max(1, item.worst.frame)}},
    }
