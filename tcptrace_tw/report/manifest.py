"""What lies beside the tables: ``manifest.json``, and the same facts in the key-value metadata of each file."""

import json
from pathlib import Path
from typing import Any

from tcptrace_tw.capture.address import shown
from tcptrace_tw.report.digest import Digest
from tcptrace_tw.report.folder import MANIFEST


def metadata(digest: Digest) -> dict[str, Any]:
    """What a table must say about itself: schema version, tool version, settings and input files."""
    data = digest.to_json()
    return {
        "tool": data["tool"],
        "tool_version": data["tool_version"],
        "schema_version": data["schema_version"],
        "settings": data["settings"],
        "inputs": data["capture"]["files"],
    }


def write_manifest(folder: Path, digest: Digest, captures: list[str], rows: dict[str, int]) -> None:
    """Write ``manifest.json``: the metadata, the paths as given, the rows of each table, and the whole report.

    The password in an address is not written.
    """
    manifest = {
        **metadata(digest),
        "captures": [shown(name) for name in captures],
        "tables": rows,
        "report": digest.to_json(),
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
