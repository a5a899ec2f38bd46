"""Reading back a folder that ``analyze`` wrote: the report from its manifest, findings from their table."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes

import numpy as np

from tcptrace_tw.capture.name import Name, raw
from tcptrace_tw.errors import CaptureError
from tcptrace_tw.report.summary.digest import Digest
from tcptrace_tw.report.tables.folder import ENCODED, read_manifest
from tcptrace_tw.report.words.findings import stored_values
from tcptrace_tw.schema.columns import SCHEMA_VERSION

Names = tuple[str, ...]


def manifest_of(folder: Path) -> dict[str, Any]:
    """The manifest; ``CaptureError`` where there is none or where another version wrote it."""
    manifest = read_manifest(folder)
    if manifest is None:
        raise CaptureError(f"{folder}: was not written by tcptrace-tw analyze")
    if manifest["schema_version"] != SCHEMA_VERSION:
        found = manifest["schema_version"]
        raise CaptureError(
            f"{folder}: has schema version {found}, but this program needs {SCHEMA_VERSION}; run analyze again"
        )
    return manifest


def captures_of(folder: Path) -> tuple[list[str], dict[str, Any]]:
    """The captures that were analysed, as they were given, and the settings: fields of ``pipeline.Settings``."""
    manifest = manifest_of(folder)
    settings = {name: tuple(v) if isinstance(v, list) else v for name, v in manifest["settings"].items()}
    return [raw(name) for name in names_of(manifest, "captures")], settings


def names_of(manifest: dict[str, Any], key: str) -> list[Name]:
    """The names of files that a manifest holds under ``captures`` or ``inputs``."""
    encoded = manifest.get(f"{key}{ENCODED}")
    if encoded is not None:
        return [Name(os.fsdecode(unquote_to_bytes(name))) for name in encoded]
    return [Name(each if isinstance(each, str) else each["name"]) for each in manifest[key]]


def stored_digest(folder: Path, select: Names = (), ignore: Names = ()) -> Digest:
    """The report that was written, without the rules that are not selected."""
    digest = Digest.from_json(manifest_of(folder)["report"])
    kept = tuple(rule for rule in digest.findings if is_wanted(rule.rule, select, ignore))
    incidents = tuple(each for each in digest.incidents if is_wanted(each.rule, select, ignore))
    return replace(digest, findings=kept, incidents=incidents)


class Selection(Protocol):
    """What ``pipeline.Settings`` says about findings."""

    @property
    def select(self) -> Names:
        """Only these rules."""

    @property
    def ignore(self) -> Names:
        """Not these."""

    @property
    def thresholds(self) -> tuple[tuple[str, str, int | None, int | None], ...]:
        """Rule, number, least and most."""


def read_table(folder: Path, name: str) -> Any:
    """A table that was written (``pyarrow.Table``).

    Arrow gets an open file, because it would take a name such as ``s3:x`` for an address. The file is Arrow's own, not
    Python's: a thread of Arrow that still lets go of a Python object while the process ends is aborted.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pa.OSFile(os.fsencode(folder / f"{name}.parquet")) as file:
        return pq.read_table(file)


def stored_findings(folder: Path, selection: Selection) -> Any:
    """The findings that were written (``pyarrow.Table``), of the rules that are selected, within the thresholds."""
    manifest_of(folder)
    table = read_table(folder, "findings")
    rules = table["rule"].to_pylist()
    wanted = {rule: is_wanted(rule, selection.select, selection.ignore) for rule in set(rules)}
    table = table.filter(np.array([wanted[rule] for rule in rules], bool))
    bounded = {threshold[0] for threshold in selection.thresholds}
    if bounded:
        rows = table.select(["rule", "delay_ns", "silence_ns", "count", "details"]).to_pylist()
        keep = [row["rule"] not in bounded or _is_within(row, selection) for row in rows]
        table = table.filter(np.array(keep, bool))
    return table


def _is_within(row: dict[str, Any], selection: Selection) -> bool:
    values = stored_values(row)
    for name, column, least, most in selection.thresholds:
        if name == row["rule"] and column in values:
            number = int(values[column])
            if (least is not None and number < least) or (most is not None and number > most):
                return False
    return True


def is_wanted(rule: str, select: Names, ignore: Names) -> bool:
    """Whether a rule is selected and not ignored; names may be prefixes."""
    return (not select or rule.startswith(select)) and not (ignore and rule.startswith(ignore))
