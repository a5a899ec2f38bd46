"""Kernel rows as columns: each address is written as text once, however often it is asked for."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tcptrace_tw.report.tables.arrow import Columns, ips, taken_apart


class Fields:
    """Columns that stand where ``rows`` of ``Findings`` stand."""

    def __init__(self, dtype: np.dtype[Any], columns: Columns) -> None:
        self.dtype = dtype
        self.columns = columns
        self.size = next(iter(columns.values())).size
        self._ips: dict[str, pa.DictionaryArray] = {}

    @staticmethod
    def of(*chunks: NDArray[Any]) -> "Fields":
        """The columns of records of one kind."""
        return Fields(chunks[0].dtype, taken_apart(chunks))

    def __getattr__(self, name: str) -> NDArray[Any]:
        """A column as predicates of rules name it."""
        try:
            return self.__dict__["columns"][name]  # type: ignore[no-any-return]
        except KeyError:
            raise AttributeError(name) from None

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.columns[name]

    def ips(self, name: str) -> pa.DictionaryArray:
        """An address column as Arrow writes it."""
        if name not in self._ips:
            self._ips[name] = ips(self[f"{name}_hi"], self[f"{name}_lo"])
        return self._ips[name]

    def numbers(self, name: str) -> list[NDArray[Any]]:
        """The numbers of a column: two for an address."""
        return [self[name]] if name in self.columns else [self[f"{name}_hi"], self[f"{name}_lo"]]

    def take(self, places: NDArray[np.int64]) -> "Fields":
        """Some of the rows."""
        return Fields(self.dtype, {name: column[places] for name, column in self.columns.items()})
