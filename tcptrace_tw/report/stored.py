"""Reading back a folder that ``analyze`` wrote: the report from its manifest, findings from their table."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tcptrace_tw.errors import CaptureError
from tcptrace_tw.report.digest import Digest
from tcptrace_tw.report.folder import read_manifest
from tcptrace_tw.report.lines import Line, Tally
from tcptrace_tw.spec.columns import SCHEMA_VERSION
from tcptrace_tw.spec.words import CONFIDENCE, SEVERITY

Names = tuple[str, ...]


def manifest_of(folder: Path) -> dict[str, Any]:
    """The manifest; ``CaptureError`` where there is none or where another version wrote it."""
    manifest = read_manifest(folder)
    if manifest is None:
        raise CaptureError(f"{folder}: was not written by tcptrace-tw analyze")
    if manifest["schema_version"] != SCHEMA_VERSION:
        found = manifest["schema_version"]
        raise CaptureError(f"{folder}: has schema version {found}, this is version {SCHEMA_VERSION}; analyze again")
    return manifest


def captures_of(folder: Path) -> tuple[list[str], dict[str, Any]]:
    """The captures that were analysed, as they were given, and the settings: fields of ``pipeline.Settings``."""
    manifest = manifest_of(folder)
    settings = {name: tuple(v) if isinstance(v, list) else v for name, v in manifest["settings"].items()}
    return list(manifest["captures"]), settings


def stored_digest(folder: Path, select: Names = (), ignore: Names = ()) -> Digest:
    """The report that was written, without the rules that are not selected."""
    digest = Digest.from_json(manifest_of(folder)["report"])
    kept = tuple(rule for rule in digest.findings if is_wanted(rule.rule, select, ignore))
    return replace(digest, findings=kept)


def stored_lines(
    folder: Path, tally: Tally, least: int, select: Names = (), ignore: Names = ()
) -> tuple[Iterator[Line], list[str]]:
    """The findings that were written, as ``check`` prints them, and the names of the files."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    files = [file["name"] for file in manifest_of(folder)["inputs"]]
    table = pq.read_table(folder / "findings.parquet")
    rules = table["rule"].to_pylist()
    wanted = {rule: is_wanted(rule, select, ignore) for rule in set(rules)}
    table = table.filter(np.array([wanted[rule] for rule in rules], bool))
    severity, confidence = (
        pc.index_in(table[name].cast("string"), value_set=_array(words)).to_numpy().astype(np.uint8)
        for name, words in (("severity", SEVERITY.words), ("confidence", CONFIDENCE.words))
    )
    tally.add(severity, confidence)
    return iter(_lines(table.filter(severity >= least))), files


def is_wanted(rule: str, select: Names, ignore: Names) -> bool:
    """Whether a rule is selected and not ignored; names may be prefixes."""
    return (not select or rule.startswith(select)) and not (ignore and rule.startswith(ignore))


def _array(words: Names) -> Any:
    import pyarrow as pa

    return pa.array(words)


def _lines(table: Any) -> list[Line]:
    lines = []
    for row in table.to_pylist():
        words = (row[name] for name in ("rule", "name", "severity", "confidence", "message"))
        lines.append((row["finding_id"], Line(row.get("file") or 0, row["frame"] or 0, *words)))
    return [line for _, line in sorted(lines, key=lambda pair: (pair[1].file, pair[1].frame, pair[0]))]
