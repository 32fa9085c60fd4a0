"""Tensors of the Open Inference Protocol: from JSON and raw bytes to columns, and from answers to either.

Raw tensors follow the JSON in the order of the inputs, little-endian and row-major; a BYTES element is 4 bytes with its
length and then its bytes (Triton's extension `binary_tensor_data`).
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from functools import lru_cache
from math import prod
from typing import Any, NoReturn

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from app.domain.layouts import Column
from app.domain.prediction_id import ID_LENGTH, SignedIds
from app.errors import InvalidRequest

# The upper half of an FP32, for which NumPy has no type.
_HALF = "BF16"
# By datatype: the layout of a raw element, and the types that an element may have in JSON.
_RAW = {
    "BOOL": np.dtype("?"),
    **{
        f"{sign}INT{bits}": np.dtype(f"<{'u' if sign else 'i'}{bits // 8}")
        for sign in ("", "U")
        for bits in (8, 16, 32, 64)
    },
    **{f"FP{bits}": np.dtype(f"<f{bits // 8}") for bits in (16, 32, 64)},
    _HALF: np.dtype("<u2"),
}
_MISSING = type(None)
_JSON: dict[str, frozenset[type]] = {
    **{name: frozenset((int, _MISSING) if raw.kind in "iu" else (int, float, _MISSING)) for name, raw in _RAW.items()},
    _HALF: frozenset((int, float, _MISSING)),
    "BOOL": frozenset((bool, int, _MISSING)),
    "BYTES": frozenset((str, _MISSING)),
}
# The least and the largest value of those that are whole numbers, or flags.
_RANGES = {"BOOL": (0, 1)} | {
    name: (int(np.iinfo(raw).min), int(np.iinfo(raw).max))
    for name, raw in _RAW.items()
    if raw.kind in "iu" and name != _HALF
}
_LONG_TEXT = 60
_LENGTH_BYTES = 4
_LARGEST_DIMENSION = 2**63 - 1
Parameters = dict[str, str | int | float | bool | None]


class InputTensor(msgspec.Struct, frozen=True):
    """An input as a request has it: with `data`, or with `binary_data_size` raw bytes behind the JSON."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any] | None = None
    parameters: Parameters | None = None


class OutputTensor(msgspec.Struct, frozen=True, kw_only=True):
    """An output as an answer has it."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any] | UnsetType = UNSET
    parameters: dict[str, int] | UnsetType = UNSET


class Tensor(msgspec.Struct, frozen=True):
    """An input with its values in one dimension, row-major; `shape` has one or two."""

    name: str
    shape: list[int]
    values: Column

    @property
    def rows(self) -> int:
        """The number of rows, if the first dimension counts them."""
        return self.shape[0]

    @property
    def width(self) -> int:
        """The number of values of a row."""
        return self.shape[1] if len(self.shape) == 2 else 1


def tensors_of(inputs: Sequence[InputTensor], raw: bytes) -> list[Tensor]:
    """The inputs with their values, some of which are in the raw bytes. Raises `InvalidRequest`."""
    if not inputs:
        raise InvalidRequest("inputs is empty: give a tensor", field="inputs")
    tensors, start = [], 0
    for each in inputs:
        size = each.parameters.get("binary_data_size") if each.parameters else None
        count = _count(each)
        if size is None:
            tensors.append(Tensor(each.name, each.shape, _listed(each, count)))
            continue
        if each.data is not None:
            _refuse(each, "has both data and binary_data_size")
        if type(size) is not int or not 0 <= size <= len(raw) - start:
            _refuse(each, f"has binary_data_size {size!r:.60}, and {len(raw) - start} bytes are left behind the JSON")
        tensors.append(Tensor(each.name, each.shape, _unpacked(each, raw[start : start + size], count)))
        start += size
    if start != len(raw):
        raise InvalidRequest(f"{len(raw) - start} bytes behind the JSON belong to no input")
    return tensors


def _refuse(tensor: InputTensor, what: str) -> NoReturn:
    name = tensor.name[:_LONG_TEXT]
    raise InvalidRequest(f"input {name!r} {what}", field=name)


def _count(tensor: InputTensor) -> int:
    """The number of values that the shape says."""
    if tensor.datatype not in _JSON:
        _refuse(tensor, f"has the datatype {tensor.datatype[:_LONG_TEXT]!r}; known are {', '.join(_JSON)}")
    if len(tensor.shape) not in (1, 2) or min(tensor.shape) < 0:
        _refuse(tensor, f"has the shape {str(tensor.shape)[:_LONG_TEXT]}: give one or two dimensions, none negative")
    # Python does not write a number of thousands of digits into a message, and their product would be one.
    if max(tensor.shape) > _LARGEST_DIMENSION:
        _refuse(tensor, f"has the shape {str(tensor.shape)[:_LONG_TEXT]}: a dimension has at most 64 bits")
    return prod(tensor.shape)


def _listed(tensor: InputTensor, count: int) -> list[Any]:
    """The values in JSON, flat or nested in the shape."""
    values = tensor.data
    if values is None:
        _refuse(tensor, "has neither data nor binary_data_size")
    if len(tensor.shape) == 2 and values and type(values[0]) is list:
        width = tensor.shape[1]
        if len(values) != tensor.shape[0] or any(type(row) is not list or len(row) != width for row in values):
            _refuse(tensor, f"has data that is not nested as its shape {tensor.shape} says")
        values = [value for row in values for value in row]
    if len(values) != count:
        _refuse(tensor, f"has {len(values)} values where its shape {tensor.shape} says {count}")
    if not _JSON[tensor.datatype].issuperset(map(type, values)):
        _refuse(tensor, f"has a value that is no {tensor.datatype}")
    limits = _RANGES.get(tensor.datatype)
    if limits is not None and not all(value is None or limits[0] <= value <= limits[1] for value in values):
        _refuse(tensor, f"has a value out of the range of {tensor.datatype}: {limits[0]} to {limits[1]}")
    return values


def _unpacked(tensor: InputTensor, raw: bytes, count: int) -> Column:
    if tensor.datatype == "BYTES":
        return _texts(tensor, raw, count)
    kind = _RAW[tensor.datatype]
    if len(raw) != count * kind.itemsize:
        _refuse(tensor, f"has {len(raw)} raw bytes where its shape {tensor.shape} says {count * kind.itemsize}")
    values = np.frombuffer(raw, kind)
    return (values.astype("<u4") << 16).view("<f4") if tensor.datatype == _HALF else values


def _texts(tensor: InputTensor, raw: bytes, count: int) -> list[Any]:
    if len(raw) < count * _LENGTH_BYTES:
        _refuse(tensor, f"has {len(raw)} raw bytes, too few for {count} values")
    texts: list[str] = []
    at, number = 0, int.from_bytes
    try:
        for _ in range(count):
            start = at + _LENGTH_BYTES
            at = start + number(raw[at:start], "little")
            if at > len(raw):
                _refuse(tensor, f"has a length that goes past its end: value {len(texts)}")
            texts.append(raw[start:at].decode())
    except UnicodeDecodeError:
        _refuse(tensor, f"has a text that is not valid UTF-8: value {len(texts)}")
    if at != len(raw):
        _refuse(tensor, f"has {len(raw) - at} raw bytes behind its {count} values")
    return texts


def rows_of(tensors: Sequence[Tensor], names: Container[str]) -> tuple[int, list[Any] | None]:
    """The number of rows; and the rows, arrays, where one tensor in JSON has them whole. None: they come as columns."""
    first = tensors[0]
    if not is_matrix(tensors, names):
        return first.rows, None
    rows, values, width = (1 if len(first.shape) == 1 else first.rows), first.values, first.shape[-1]
    if not width or not isinstance(values, list):
        return rows, None
    return rows, [values[at : at + width] for at in range(0, len(values), width)]


def is_matrix(tensors: Sequence[Tensor], names: Container[str]) -> bool:
    """Whether a tensor has all columns in it; otherwise each has one, whose name it bears."""
    first = tensors[0]
    return len(tensors) == 1 and (first.width > 1 or first.name not in names)


def columns_of(tensors: Sequence[Tensor], names: Container[str]) -> dict[str, Column] | list[Column]:
    """The columns, by name or, of a matrix, in its order. Raises `InvalidRequest` that names the tensor."""
    first = tensors[0]
    if is_matrix(tensors, names):
        width = first.shape[-1]
        return [first.values[at::width] for at in range(width)]
    columns: dict[str, Column] = {}
    for tensor in tensors:
        name = tensor.name[:_LONG_TEXT]
        if tensor.width != 1:
            raise InvalidRequest(f"input {name!r} must have the shape [n] or [n, 1]: a tensor a feature", field=name)
        if tensor.rows != first.rows:
            raise InvalidRequest(f"input {name!r} has {tensor.rows} rows, and others have {first.rows}", field=name)
        if tensor.name in columns:
            raise InvalidRequest(f"input {name!r} is given twice", field=name)
        columns[tensor.name] = tensor.values
    return columns


def packed_numbers(values: np.ndarray, datatype: str) -> bytes:
    """Numbers as raw bytes."""
    return values.astype(_RAW[datatype]).tobytes()


def packed_ids(ids: Sequence[str]) -> bytes:
    """Prediction ids, which have one length, as raw bytes."""
    joined = ids.joined if isinstance(ids, SignedIds) else "".join(ids).encode()
    packed = np.empty((len(ids), _LENGTH_BYTES + ID_LENGTH), np.uint8)
    packed[:, :_LENGTH_BYTES] = np.frombuffer(ID_LENGTH.to_bytes(_LENGTH_BYTES, "little"), np.uint8)
    packed[:, _LENGTH_BYTES:] = np.frombuffer(joined, np.uint8).reshape(-1, ID_LENGTH)
    return packed.tobytes()


def packed_texts(texts: Iterable[str]) -> bytes:
    """Texts as raw bytes."""
    return b"".join(len(text).to_bytes(_LENGTH_BYTES, "little") + text for text in (each.encode() for each in texts))


def packed_classes(class_ids: np.ndarray, classes: tuple[str, ...]) -> bytes:
    """The names of classes as raw bytes."""
    return b"".join(map(_packed_names(classes).__getitem__, class_ids.tolist()))


@lru_cache(64)
def _packed_names(classes: tuple[str, ...]) -> tuple[bytes, ...]:
    encoded = [name.encode() for name in classes]
    return tuple(len(name).to_bytes(_LENGTH_BYTES, "little") + name for name in encoded)
