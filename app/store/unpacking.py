"""Reads packed rows of the table `log`; `packing.py` writes them, and says how a body is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from app.domain.prediction_id import RAW_LENGTH, texts_of_ids
from app.store.forms import Form, StoredRow
from app.store.packing import KEY_LENGTH, NO_SHARES, NUMBER, REQUEST_BYTES, TIME_LENGTH, Bytes, as_bytes, decoded

_ENCODER = msgspec.json.Encoder()


class RawRow(NamedTuple):
    """The columns of a packed row."""

    seq: int
    key: bytes
    form: int
    own_key: str | None
    body: bytes


def unpacked(rows: Sequence[Any], forms: Mapping[int, Form]) -> list[StoredRow]:
    """Rows with the columns of `RawRow`, as they were given to `Packer`, in order."""
    groups: dict[int, list[int]] = {}
    for place, row in enumerate(rows):
        groups.setdefault(row.form, []).append(place)
    found: list[tuple[int, StoredRow]] = []
    for form, places in groups.items():
        found += zip(places, _unpacked(forms[form], [rows[place] for place in places]), strict=True)
    found.sort(key=lambda each: each[0])
    return [row for _, row in found]


class _Reader:
    """Takes the parts of packed bodies, one behind the other."""

    def __init__(self, bodies: Bytes) -> None:
        self._bodies = bodies
        self._at = 0

    def take(self, width: int) -> Bytes:
        """The next bytes of each body."""
        self._at += width
        return self._bodies[:, self._at - width : self._at]

    def numbers(self, dtype: str, columns: int) -> np.ndarray:
        """The next numbers of each body, one row for each."""
        part = np.ascontiguousarray(self.take(columns * np.dtype(dtype).itemsize))
        return part.view(dtype).reshape(len(self._bodies), columns)


def _unpacked(form: Form, rows: Sequence[Any]) -> Iterator[StoredRow]:
    width = _fixed_width(form)
    bodies = [row.body for row in rows]
    behind: list[list[Any]] = [[]] * len(rows)
    if form.texts or form.request == "text":
        behind = decoded([body[width:].decode() for body in bodies])
        bodies = [body[:width] for body in bodies]
    reader = _Reader(np.frombuffer(b"".join(bodies), np.uint8).reshape(len(rows), width))
    requests = _requests(form, reader, behind)
    rest = reader.take(12 if form.marks else RAW_LENGTH - KEY_LENGTH)
    users = np.zeros((len(rows), 8), np.uint8)
    if form.user:
        users[:, 2:] = reader.take(6)
    latencies = reader.numbers("<u4", 1)[:, 0].tolist()
    features = _features(form, reader, behind)
    answers, served = _answers(form, reader, len(rows))
    keys = np.frombuffer(b"".join([row.key for row in rows]), np.uint8).reshape(-1, KEY_LENGTH)
    ids = _ids(form, keys, rest, users, served)
    hashes = users.view(">u8")[:, 0].tolist()
    for row, prediction_id, request, user, cells, given, latency in zip(
        rows, ids, requests, hashes, features, answers, latencies, strict=True
    ):
        yield StoredRow(
            row.seq,
            prediction_id,
            int.from_bytes(row.key[:TIME_LENGTH]),
            form.epoch,
            form.version,
            form.chosen,
            form.assignment,
            form.propensity,
            form.counts,
            form.synthetic,
            user,
            cells,
            given,
            latency,
            row.own_key,
            form.failed,
            form.layout,
            form.lacking,
            request,
        )


def _fixed_width(form: Form) -> int:
    """The bytes before what has no fixed length."""
    width = (0 if form.request == "text" else REQUEST_BYTES) + (12 if form.marks else RAW_LENGTH - KEY_LENGTH)
    width += (6 if form.user else 0) + 4 + (form.columns - len(form.texts)) * np.dtype(form.numbers).itemsize
    for _, dtype, kind in form.answers:
        width += (0 if kind == NUMBER else 2) + (abs(kind) * np.dtype(dtype).itemsize)
    return width


def _requests(form: Form, reader: _Reader, behind: Sequence[list[Any]]) -> list[str]:
    if form.request == "text":
        return [rest[-1] for rest in behind]
    digits = [each.tobytes().hex() for each in reader.take(REQUEST_BYTES)]
    if form.request == "hex":
        return digits
    return [f"{each[:8]}-{each[8:12]}-{each[12:16]}-{each[16:20]}-{each[20:]}" for each in digits]


def _features(form: Form, reader: _Reader, behind: Sequence[list[Any]]) -> list[str]:
    numbers = reader.numbers(form.numbers, form.columns - len(form.texts)).astype(np.float64)
    if form.digits:
        numbers /= 10**form.digits
    cells = numbers.tolist()
    if form.texts:
        texts = frozenset(form.texts)
        for own, rest in zip(cells, behind, strict=True):
            # In ascending order, so that each finds its place.
            for at, value in zip(sorted(texts), rest, strict=False):
                own.insert(at, value)
    return _lines(cells)


def _answers(form: Form, reader: _Reader, rows: int) -> tuple[list[str], np.ndarray | None]:
    """The answers' JSON, and what the version of the form answered."""
    found: list[dict[str, Any]] = [{} for _ in range(rows)]
    served = None
    for version, dtype, kind in form.answers:
        names = () if kind == NUMBER else ("c",)
        columns: list[list[Any]] = []
        if kind != NUMBER:
            classes = reader.numbers("<i2", 1)[:, 0]
            served = classes.astype(np.float64) if version == form.version else served
            columns.append(classes.tolist())
        if kind != NO_SHARES:
            values = reader.numbers(dtype, abs(kind)).astype(np.float64)
            served = values[:, 0] if kind == NUMBER and version == form.version else served
            columns.append(values[:, 0].tolist() if kind == NUMBER else values.tolist())
            names = (*names, "v" if kind == NUMBER else "p")
        for own, values_of_row in zip(found, zip(*columns, strict=True), strict=True):
            own[version] = dict(zip(names, values_of_row, strict=True))
    return _lines(found), served


def _ids(form: Form, keys: Bytes, rest: Bytes, users: Bytes, served: np.ndarray | None) -> list[str]:
    if not form.marks:
        return texts_of_ids(np.concatenate([keys, rest], axis=1).tobytes())
    assert served is not None
    marks = np.tile(np.frombuffer(bytes.fromhex(form.marks), np.uint8), (len(keys), 1))
    return texts_of_ids(
        np.concatenate([keys, marks, users[:, 2:], as_bytes(served.astype(">f8")), rest], axis=1).tobytes()
    )


def _lines(values: list[Any]) -> list[str]:
    # Not splitlines(): it also cuts at characters, such as U+2028, that JSON does not escape.
    return _ENCODER.encode_lines(values).decode().split("\n")[:-1]
