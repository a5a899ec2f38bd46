"""Arrow arrays over memory that numpy or Python has filled: nothing is copied, and pandas is not imported for it.

``pa.array`` and ``pa.scalar`` look whether they are given something of pandas, and import it to find out.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


def array(values: NDArray[Any], kind: pa.DataType | None = None, nulls: Mask | None = None) -> pa.Array:
    """The numbers of a numpy array; null where ``nulls`` says so."""
    values = np.ascontiguousarray(values)
    count = int(np.count_nonzero(nulls)) if nulls is not None else 0
    validity = _bits(~nulls) if nulls is not None and count else None
    kind = pa.from_numpy_dtype(values.dtype) if kind is None else kind
    return pa.Array.from_buffers(kind, values.size, [validity, pa.py_buffer(values)], count)


def flags(values: Mask) -> pa.BooleanArray:
    """Yes and no."""
    return pa.Array.from_buffers(pa.bool_(), values.size, [None, _bits(values)], 0)


def strings(texts: Sequence[str]) -> pa.StringArray:
    """A few texts."""
    encoded = [text.encode() for text in texts]
    offsets = np.zeros(len(encoded) + 1, np.int32)
    np.cumsum([len(each) for each in encoded], out=offsets[1:])
    return pa.StringArray.from_buffers(len(encoded), pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded)))


def scalar(text: str) -> pa.StringScalar:
    """One text, for functions that join it to every row."""
    return strings((text,))[0]


@lru_cache(maxsize=256)
def vocabulary(texts: tuple[str, ...]) -> pa.StringArray:
    """The texts of a dictionary that is used again and again."""
    return strings(texts)


def coded(codes: NDArray[np.int32], texts: pa.Array, nulls: Mask | None = None) -> pa.DictionaryArray:
    """A dictionary and which of its texts each row is; the codes are not looked at again."""
    return pa.DictionaryArray.from_arrays(array(codes, nulls=nulls), texts, safe=False)


def always(text: str, size: int) -> pa.DictionaryArray:
    """The same text in every row; null in every row if it is empty."""
    return coded(np.zeros(size, np.int32), vocabulary((text,)), None if text else np.ones(size, np.bool_))


def numpy_of(values: pa.Array) -> NDArray[Any]:
    """The numbers of an array without nulls, as they lie there."""
    numbers: NDArray[Any] = np.frombuffer(values.buffers()[1], values.type.to_pandas_dtype())
    return numbers[values.offset : values.offset + len(values)]


def _bits(values: Mask) -> pa.Buffer:
    return pa.py_buffer(np.packbits(values, bitorder="little"))
