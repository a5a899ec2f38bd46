"""Incidents to Arrow: what is told of each becomes a row of the ``incidents`` table."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from tcptrace_tw.report.summary.digest import IncidentDigest
from tcptrace_tw.report.tables.arrow import numbers, words
from tcptrace_tw.report.tables.arrow_schema import TIME, schema
from tcptrace_tw.report.tables.buffers import array, coded, strings
from tcptrace_tw.schema.columns import INCIDENTS
from tcptrace_tw.schema.words import CONFIDENCE, SEVERITY


def incidents_batch(incidents: Sequence[IncidentDigest]) -> pa.RecordBatch:
    """All incidents as rows."""

    def integers(values: list[int | None]) -> np.ndarray:
        return np.array([-1 if value is None else value for value in values], np.int64)

    columns = {
        "incident_id": array(integers([each.incident_id for each in incidents])),
        "cause": strings([each.rule for each in incidents]),
        "name": _known([each.name for each in incidents]),
        "title": strings([each.title for each in incidents]),
        "sentence": strings([each.sentence for each in incidents]),
        "severity": words(np.array([SEVERITY.code(each.severity) for each in incidents], np.uint8), SEVERITY),
        "confidence": words(np.array([CONFIDENCE.code(each.confidence) for each in incidents], np.uint8), CONFIDENCE),
        "client": _known([each.client for each in incidents]).dictionary_decode(),
        "service": _known([each.service for each in incidents]).dictionary_decode(),
        "first_time": numbers(integers([each.first_time for each in incidents]), TIME),
        "last_time": numbers(integers([each.last_time for each in incidents]), TIME),
        "delay_ns": numbers(integers([each.delay_ns for each in incidents])),
        "connections": array(integers([each.connections for each in incidents])),
        "findings": array(integers([each.findings for each in incidents])),
        "remedy": strings([each.remedy for each in incidents]),
    }
    wanted = schema(INCIDENTS)
    return pa.RecordBatch.from_arrays([columns[name] for name in wanted.names], schema=wanted)


def _known(texts: list[str]) -> pa.DictionaryArray:
    """Texts, each distinct one once; null where there is none."""
    distinct = list(dict.fromkeys(texts))
    places = {text: place for place, text in enumerate(distinct)}
    codes = np.array([places[text] for text in texts], np.int32)
    return coded(codes, strings(distinct), np.array([not text for text in texts], bool))
