"""A list of connections for programs: one JSON object a line, or CSV; the names are those of the tables."""

import csv
import json
from collections.abc import Iterator
from typing import Any, TextIO

from tcptrace_tw.report.summary.listing import Listed, duration, longest_silence
from tcptrace_tw.report.words.text import ip_text, time_text
from tcptrace_tw.schema.words import ACTIVE_CLOSER, CLOSE, OPENED, STATE

_AT_ONCE = 1000

_WORDS = {"opened": OPENED, "close": CLOSE, "active_closer": ACTIVE_CLOSER, "orig_state": STATE, "resp_state": STATE}

NAMES = ("connection_id", "first_time", "last_time", "duration_ns", "orig_ip", "orig_port", "resp_ip", "resp_port",
         "opened", "close", "active_closer", "orig_state", "resp_state", "orig_segments", "resp_segments",
         "orig_payload_bytes", "resp_payload_bytes", "longest_silence_ns", "findings")  # fmt: skip
"""The keys of a record, in order. ``longest_silence_ns`` is null where there was none of a second or longer."""

Record = dict[str, Any]


def records(listed: Listed) -> Iterator[Record]:
    """One dictionary a connection, made as it is asked for; times are text in UTC, ``findings`` ids of rules."""
    for begin in range(0, len(listed.rows), _AT_ONCE):
        rows = listed.rows[begin : begin + _AT_ONCE]
        columns = {name: rows[name].tolist() for name in rows.dtype.names or ()}
        columns |= {"duration_ns": duration(rows).tolist(), "longest_silence_ns": longest_silence(rows).tolist()}
        columns |= {name: [words.words[code] for code in columns[name]] for name, words in _WORDS.items()}
        columns |= {name: [time_text(time) for time in columns[name]] for name in ("first_time", "last_time")}
        for name in ("orig_ip", "resp_ip"):
            columns[name] = list(map(ip_text, columns[f"{name}_hi"], columns[f"{name}_lo"]))
        columns["longest_silence_ns"] = [None if ns < 0 else ns for ns in columns["longest_silence_ns"]]
        columns["findings"] = listed.hits.of(rows["connection_id"])
        for values in zip(*(columns[name] for name in NAMES), strict=True):
            yield dict(zip(NAMES, values, strict=True))


def write_json(listed: Listed, file: TextIO) -> None:
    """NDJSON: an object a line."""
    for record in records(listed):
        file.write(json.dumps(record) + "\n")


def write_csv(listed: Listed, file: TextIO) -> None:
    """A head and a line for each connection; findings are separated by blanks, null is empty."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(NAMES)
    for record in records(listed):
        writer.writerow([*list(record.values())[:-1], " ".join(record["findings"])])
