"""The result of an analysis in Python: tables as Arrow and as pandas, in memory or in a folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tcptrace_tw.report.digest import Digest
from tcptrace_tw.report.findings import RULES_PER_CONNECTION
from tcptrace_tw.report.stored import manifest_of
from tcptrace_tw.spec.columns import BY_NAME

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


class Trace:
    """An analysed capture: ``trace.findings`` is a DataFrame, ``trace.table("findings")`` an Arrow table."""

    def __init__(
        self, summary: Digest, tables: "dict[str, pa.Table] | None" = None, folder: Path | None = None
    ) -> None:
        self.summary = summary
        """The report as data, with ``to_json()``."""
        self._tables = dict(tables or {})
        self._frames: dict[str, pd.DataFrame] = {}
        self._folder = folder

    @staticmethod
    def load(folder: str | Path) -> "Trace":
        """What ``tcptrace-tw analyze`` wrote; a table is read when it is asked for."""
        manifest = manifest_of(Path(folder))
        return Trace(Digest.from_json(manifest["report"]), folder=Path(folder))

    def table(self, name: str) -> "pa.Table":
        """One table of the contract; ``KeyError`` if there is none of that name."""
        if name not in BY_NAME:
            raise KeyError(f"{name}: no such table; there are {', '.join(BY_NAME)}")
        if name not in self._tables:
            import pyarrow.parquet as pq

            assert self._folder is not None
            self._tables[name] = pq.read_table(self._folder / f"{name}.parquet")
        return self._tables[name]

    def frame(self, name: str) -> "pd.DataFrame":
        """One table as a DataFrame: UTC times in ns, words as categories, nullable integers as ``Int64``."""
        if name not in self._frames:
            self._frames[name] = to_pandas(self.table(name))
        return self._frames[name]

    @property
    def connections(self) -> "pd.DataFrame":
        """One row per incarnation of a tuple."""
        return self.frame("connections")

    @property
    def transitions(self) -> "pd.DataFrame":
        """One row per state change of one endpoint."""
        return self.frame("transitions")

    @property
    def time_wait(self) -> "pd.DataFrame":
        """One row per TIME-WAIT span."""
        return self.frame("time_wait")

    @property
    def reuses(self) -> "pd.DataFrame":
        """One row per SYN that met a remembered incarnation."""
        return self.frame("reuses")

    @property
    def stale_segments(self) -> "pd.DataFrame":
        """One row per segment with TSval below TS.Recent."""
        return self.frame("stale_segments")

    @property
    def resets(self) -> "pd.DataFrame":
        """One row per RST."""
        return self.frame("resets")

    @property
    def oddities(self) -> "pd.DataFrame":
        """One row per endpoint of which something rare is known."""
        return self.frame("oddities")

    @property
    def census(self) -> "pd.DataFrame":
        """One row per holder and second."""
        return self.frame("census")

    def __getattr__(self, name: str) -> "pd.DataFrame":
        """Every other table by its name: ``trace.holders``, ``trace.ports``, ``trace.clocks`` ..."""
        if name in BY_NAME:
            return self.frame(name)
        raise AttributeError(f"a trace has no {name!r}; its tables are {', '.join(BY_NAME)}")

    @property
    def findings(self) -> "pd.DataFrame":
        """One row per finding."""
        return self.frame("findings")

    def connection(self, connection_id: int) -> "Connection":
        """Everything about one incarnation; ``KeyError`` if there is none of that number."""
        return connection_of(self, connection_id)

    def __repr__(self) -> str:
        found = sum(rule.count for rule in self.summary.findings)
        return f"<Trace: {self.summary.connections.total} connections, {found} findings>"


@dataclass(frozen=True)
class Connection:
    """Rows of the tables that belong to one incarnation, as dictionaries; times are ns since 1970."""

    row: dict[str, Any]
    transitions: list[dict[str, Any]]
    time_wait: list[dict[str, Any]]
    findings: list[dict[str, Any]]

    @property
    def met(self) -> list[int]:
        """The earlier incarnations that a SYN of this one met."""
        numbers = {finding["previous_connection_id"] for finding in self.findings}
        return sorted(numbers - {None, self.row["connection_id"]})


def connection_of(trace: Trace, connection_id: int) -> Connection:
    """Look one incarnation up."""
    import pyarrow.compute as pc

    def rows(name: str) -> list[dict[str, Any]]:
        table = trace.table(name)
        return _plain_rows(table.filter(pc.equal(table["connection_id"], connection_id)))

    found = rows("connections")
    if not found:
        raise KeyError(f"no connection {connection_id}; there are 1 to {trace.table('connections').num_rows}")
    return Connection(found[0], rows("transitions"), rows("time_wait"), _findings_about(trace, connection_id))


def _findings_about(trace: Trace, connection_id: int) -> list[dict[str, Any]]:
    """Its own findings, and those about a SYN that met it or would have opened it."""
    import pyarrow.compute as pc

    table = trace.table("findings")
    own = pc.equal(pc.divide(table["finding_id"], RULES_PER_CONNECTION), connection_id)
    later = pc.fill_null(pc.equal(table["previous_connection_id"], connection_id), False)
    return _plain_rows(table.filter(pc.or_(own, later)))


def _plain_rows(table: "pa.Table") -> list[dict[str, Any]]:
    """Rows as dictionaries, with times in ns."""
    import pyarrow as pa

    plain = pa.schema([pa.field(f.name, pa.int64()) if pa.types.is_timestamp(f.type) else f for f in table.schema])
    found: list[dict[str, Any]] = table.cast(plain).to_pylist()
    return found


def to_pandas(table: "pa.Table") -> "pd.DataFrame":
    """A written table as a DataFrame; ``values`` become dictionaries, lists stay arrays."""
    import pandas as pd
    import pyarrow as pa

    nullable = {
        pa.int64(): pd.Int64Dtype(), pa.int32(): pd.Int32Dtype(), pa.uint32(): pd.UInt32Dtype(),
        pa.uint16(): pd.UInt16Dtype(), pa.uint8(): pd.UInt8Dtype(),
    }  # fmt: skip
    columns = {}
    for field in table.schema:
        column = table.select([field.name]).to_pandas(types_mapper=nullable.get if field.nullable else None)
        columns[field.name] = column[field.name]
    if "values" in columns:
        columns["values"] = columns["values"].map(dict)
    return pd.DataFrame(columns)
