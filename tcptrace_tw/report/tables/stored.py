"""Reading back a folder that ``analyze`` wrote: the report from its manifest, and the tables."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import unquote_to_bytes

from tcptrace_tw.capture.name import Name, raw
from tcptrace_tw.errors import CaptureError, TcptraceError
from tcptrace_tw.report.summary.digest import Digest
from tcptrace_tw.report.summary.sink import SummarySink
from tcptrace_tw.report.tables.folder import ENCODED, read_manifest
from tcptrace_tw.report.tables.read_columns import opened, parts_of
from tcptrace_tw.schema.columns import SCHEMA_VERSION
from tcptrace_tw.schema.words import SEVERITY
from tcptrace_tw.settings import Settings
from tcptrace_tw.storage import Place

Names = tuple[str, ...]

_SHOWN_OF_AN_ERROR = 120


def damaged_folder(folder: str, error: Exception) -> CaptureError | None:
    """What an error means that was met while a written folder was read; None where it says itself what is wrong."""
    if isinstance(error, (TcptraceError, BrokenPipeError, MemoryError)):
        return None
    what = str(error).partition("\n")[0][:_SHOWN_OF_AN_ERROR]
    return CaptureError(
        f"{folder}: a file in it is damaged, or not one that analyze has written ({type(error).__name__}: {what}); "
        "run analyze again"
    )


@contextmanager
def reading(folder: Place) -> Iterator[None]:
    """Within it, what is not as ``analyze`` writes it is a ``CaptureError``: a folder may come from a stranger."""
    try:
        yield
    except Exception as error:
        told = damaged_folder(str(folder), error)
        if told is None:
            raise
        raise told from error


def manifest_of(folder: Place) -> dict[str, Any]:
    """The manifest; ``CaptureError`` where there is none or where another version wrote it."""
    manifest = read_manifest(folder)
    if manifest is None:
        raise CaptureError(f"{folder}: was not written by tcptrace-tw analyze")
    found = manifest.get("schema_version")
    if found != SCHEMA_VERSION:
        raise CaptureError(
            f"{folder}: has schema version {found}, but this program needs {SCHEMA_VERSION}; run analyze again"
        )
    return manifest


def captures_of(folder: Place) -> tuple[list[str], dict[str, Any]]:
    """The captures that were analysed, as they were given, and the settings: fields of ``pipeline.Settings``.

    No captures where one of them is now a pipe or a device, which nobody has named who reads the folder.
    """
    with reading(folder):
        manifest = manifest_of(folder)
        settings: dict[str, Any] = {
            name: tuple(v) if isinstance(v, list) else v for name, v in manifest["settings"].items()
        }
        Settings(**settings)
        captures = [raw(name) for name in names_of(manifest, "captures")]
        is_safe = all(os.path.isfile(each) or os.path.isdir(each) or not os.path.exists(each) for each in captures)
        return captures if is_safe else [], settings


def names_of(manifest: dict[str, Any], key: str) -> list[Name]:
    """The names of files that a manifest holds under ``captures`` or ``inputs``."""
    encoded = manifest.get(f"{key}{ENCODED}")
    if encoded is not None:
        return [Name(os.fsdecode(unquote_to_bytes(name))) for name in encoded]
    return [Name(each if isinstance(each, str) else each["name"]) for each in manifest[key]]


def stored_digest(folder: Place, select: Names = (), ignore: Names = (), findings: str = "") -> Digest:
    """The report that was written, without the rules that are not selected.

    Where ``findings`` is another severity than it was written with, it is made of the tables once more.
    """
    with reading(folder):
        manifest = manifest_of(folder)
        digest = Digest.from_json(manifest["report"])
        if not digest.settings:
            raise ValueError("its report is empty")
        if findings and findings != manifest["settings"]["findings"]:
            digest = _with_findings(digest, folder, manifest["settings"], findings)
    kept = tuple(rule for rule in digest.findings if is_wanted(rule.rule, select, ignore))
    incidents = tuple(each for each in digest.incidents if is_wanted(each.rule, select, ignore))
    return replace(digest, findings=kept, incidents=incidents)


def _with_findings(digest: Digest, folder: Place, settings: dict[str, Any], findings: str) -> Digest:
    """The report with findings of this severity and higher."""
    from tcptrace_tw.report.tables.replay import replay_folder
    from tcptrace_tw.report.tables.written_rows import has_several_files  # most reports of a folder need no Arrow

    sink = SummarySink(has_several_files(folder), SEVERITY.code(findings))
    replay_folder(folder, settings, [sink])
    return replace(
        digest,
        settings={**digest.settings, "findings": findings},
        incidents=sink.told_incidents(),
        findings=sink.told_rules(),
    )


def read_table(folder: Place, name: str) -> Any:
    """A table that was written (``pyarrow.Table``)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = []
    with reading(folder):
        for path in parts_of(folder, name):
            with opened(path) as file:
                tables.append(pq.read_table(file))
        return tables[0] if len(tables) == 1 else pa.concat_tables(tables).unify_dictionaries()


def is_wanted(rule: str, select: Names, ignore: Names) -> bool:
    """Whether a rule is selected and not ignored; names may be prefixes."""
    return (not select or rule.startswith(select)) and not (ignore and rule.startswith(ignore))
