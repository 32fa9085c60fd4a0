"""Columns of Arrow from bytes, and back: without an object for each value."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from itertools import chain

import numpy as np
import pyarrow as pa


def digest_of_columns(columns: Iterable[pa.Array]) -> bytes:
    """A digest of all values in the columns."""
    digest = hashlib.sha256()
    for part in chain.from_iterable(map(bytes_of, columns)):
        digest.update(part)
    return digest.digest()


def bytes_of(column: pa.Array) -> Iterator[bytes | memoryview]:
    """Bytes from which the values of a column follow: the same ones for the same values, whoever made the column."""
    yield f"{len(column)} {column.null_count} ".encode()
    whole = column
    if column.null_count:
        yield column.is_valid().to_numpy(zero_copy_only=False).tobytes()
        whole = column.drop_null()
    if pa.types.is_string(whole.type) or pa.types.is_binary(whole.type):
        lengths, joined = joined_in(whole)
        yield lengths.tobytes()
        yield joined
    else:
        yield whole.to_numpy(zero_copy_only=False).tobytes()


def joined_in(column: pa.Array) -> tuple[np.ndarray, memoryview]:
    """The length of each text or each value of bytes in a column without nulls, and all of them in one."""
    if not len(column):
        return np.zeros(0, np.int32), memoryview(b"")
    _, ends, data = column.buffers()
    offsets = np.frombuffer(ends, np.int32)[column.offset : column.offset + len(column) + 1]
    return np.diff(offsets), memoryview(data or b"")[offsets[0] : offsets[-1]]


def texts_of_one_width(joined: bytes, width: int) -> pa.Array:
    """A column of texts of one width, given one behind the other in ASCII."""
    ends = np.arange(0, len(joined) + 1, width, dtype=np.int32)
    return pa.Array.from_buffers(pa.string(), len(ends) - 1, [None, pa.py_buffer(ends), pa.py_buffer(joined)])


def is_ascending(seqs: pa.ChunkedArray) -> bool:
    """Whether these numbers are in order."""
    numbers = seqs.to_numpy()
    return bool((numbers[1:] > numbers[:-1]).all())
