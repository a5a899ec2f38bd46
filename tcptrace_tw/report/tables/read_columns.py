"""Written tables, and their columns as the numbers that kernels write: ids, codes of words, halves of addresses."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.errors import CaptureError
from tcptrace_tw.report.tables.folder import FILES, read_manifest
from tcptrace_tw.report.words.text import ip_halves
from tcptrace_tw.schema.columns import Column
from tcptrace_tw.schema.words import NULL_WORD, Vocabulary
from tcptrace_tw.storage import Object, Place

Ints = NDArray[np.int64]


def parts_of(folder: Place, name: str) -> Sequence[Place]:
    """The files of a written table: one, or those of a folder of that name, where several processes have written it.

    In a store they are those that the manifest names: others may be of a run that was stopped.
    """
    if isinstance(folder, Object):
        files = (read_manifest(folder) or {}).get(FILES, {}).get(name, [])
        return [folder / f"{name}.parquet" / file for file in files]
    path = folder / f"{name}.parquet"
    return sorted(path.glob("part-*.parquet")) if path.is_dir() else [path]


def opened(path: Place) -> Any:
    """A file of a written table (``pyarrow.OSFile``), to be closed.

    Arrow gets an open file, because it would take a name such as ``s3:x`` for an address. The file is Arrow's own, not
    Python's: a thread of Arrow that still lets go of a Python object while the process ends is aborted.
    """
    import pyarrow as pa

    if isinstance(path, Object):
        return pa.BufferReader(path.read_bytes())
    if path.exists() and not path.is_file():
        raise CaptureError(f"{path}: is no file; run analyze again")
    return pa.OSFile(os.fsencode(path))


def fill(rows: NDArray[Any], column: Column, values: Any) -> None:
    """Write the values of a column into the fields of kernel rows; null is what it is in kernel rows."""
    if column.kind == "ip":
        rows[f"{column.name}_hi"], rows[f"{column.name}_lo"] = addresses(values)
    elif column.words is not None:
        rows[column.name] = codes(values, column.words)
    else:
        rows[column.name] = numbers(values)


def numbers(column: Any) -> Ints:
    """A column of numbers or times; null is -1."""
    values: Ints = column.cast("int64").fill_null(-1).to_numpy()
    return values


def codes(column: Any, vocabulary: Vocabulary) -> NDArray[np.uint8]:
    """A column of words; null is 255."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found = pc.index_in(column.cast("string"), value_set=pa.array(vocabulary.words))
    filled: NDArray[np.uint8] = found.fill_null(NULL_WORD).to_numpy().astype(np.uint8)
    return filled


def addresses(column: Any) -> tuple[Ints, Ints]:
    """A column of addresses as two halves, 0 for null; each distinct one is read once."""
    import pyarrow as pa

    text = column.cast("string")
    encoded = (text.combine_chunks() if isinstance(text, pa.ChunkedArray) else text).dictionary_encode()
    halves = [ip_halves(text) for text in encoded.dictionary.to_pylist()]
    pairs = np.array([*halves, (0, 0)], np.int64)
    chosen = pairs[encoded.indices.fill_null(len(halves)).to_numpy()]
    return chosen[:, 0], chosen[:, 1]
