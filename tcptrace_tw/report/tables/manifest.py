"""What lies beside the tables: ``manifest.json``, and the same facts in the key-value metadata of each file."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tcptrace_tw.capture.address import without_password
from tcptrace_tw.capture.name import octets, raw
from tcptrace_tw.errors import printable
from tcptrace_tw.report.summary.digest import Digest
from tcptrace_tw.report.tables.folder import ENCODED, MANIFEST


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

    Where a name cannot be shown as it is, the bytes of all names stand percent-encoded beside them. The password in an
    address is not written.
    """
    files = [file.name for file in digest.capture.files]
    manifest = {
        **metadata(digest),
        **_encoded("inputs", files),
        "captures": [printable(without_password(capture)) for capture in captures],
        **_encoded("captures", captures),
        "tables": rows,
        "report": digest.to_json(),
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")


def _encoded(key: str, names: Iterable[str]) -> dict[str, list[str]]:
    if all(raw(name).isprintable() for name in names):
        return {}
    return {f"{key}{ENCODED}": [quote(octets(without_password(raw(name)))) for name in names]}
