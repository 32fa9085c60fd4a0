"""Reads packed rows of the table `log`; `packing.py` writes them, and says how a body is made.

A body is a head, which repeats what the ids of the prediction and of the request say, and a tail with all else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
import numpy as np

from app.domain.log_columns import AnswerColumns, Block, Shared
from app.domain.prediction_id import RAW_LENGTH, texts_of_ids
from app.store.forms import Form, StoredRow
from app.store.packing import KEY_LENGTH, NO_SHARES, NUMBER, TIME_LENGTH, Bytes, as_bytes, decoded
from app.store.request_ids import REQUEST_BYTES

SEQ, KEY, FORM, OWN_KEY, BODY = range(5)  # of `RawRow`: rows of the database find a column by its name ten times slower


class RawRow(NamedTuple):
    """The columns of a packed row."""

    seq: int
    key: bytes
    form: int
    own_key: str | None
    body: bytes


class Heads(NamedTuple):
    """What the keys and bodies of rows of one form begin with, and the tails of the bodies.

    `ids` are the ids of the predictions, `RAW_LENGTH` bytes each, and `requests` those of the requests, `REQUEST_BYTES`
    each; None in a form that has them as texts in the tails. `tails` are of one width, unless the form has texts.
    """

    ids: bytes
    requests: bytes | None
    tails: list[bytes]


class Tails(NamedTuple):
    """What the tails of bodies of one form hold, a row or an element for each.

    `features` are the columns of numbers, NaN where one is missing; `texts` has the columns of text, in the order of
    their places, and behind them the request's id where it is a text. `answers` has for each version that answered
    the classes and the numbers: shares of classes, or one column with the number that was answered.
    """

    users: np.ndarray
    latencies_us: np.ndarray
    features: np.ndarray
    texts: Sequence[list[Any]] | None
    answers: list[tuple[str, np.ndarray | None, np.ndarray | None]]


def unpacked(rows: Sequence[Any], forms: Mapping[int, Form]) -> list[StoredRow]:
    """Rows with the columns of `RawRow`, as they were given to `Packer`, in order."""
    found: list[tuple[int, StoredRow]] = []
    groups: dict[int, list[int]] = {}
    for place, row in enumerate(rows):
        groups.setdefault(row[FORM], []).append(place)
    for number, places in groups.items():
        form, some = forms[number], [rows[place] for place in places]
        heads, tails = parts_of(form, some)
        columns = zip(
            some,
            texts_of_ids(heads.ids),
            request_ids(form, heads.requests, tails.texts),
            tails.users.tolist(),
            features_of(form, tails),
            answers_of(tails),
            tails.latencies_us.tolist(),
            strict=True,
        )
        found += [
            (
                place,
                StoredRow(
                    row[SEQ],
                    prediction_id,
                    int.from_bytes(row[KEY][:TIME_LENGTH]),
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
                    row[OWN_KEY],
                    form.failed,
                    form.layout,
                    form.lacking,
                    request,
                ),
            )
            for place, (row, prediction_id, request, user, cells, given, latency) in zip(places, columns, strict=True)
        ]
    found.sort(key=lambda each: each[0])
    return [row for _, row in found]


def by_form(rows: Iterable[Any]) -> dict[int, list[Any]]:
    """The rows of each form, by its number."""
    groups: dict[int, list[Any]] = {}
    for row in rows:
        groups.setdefault(row[FORM], []).append(row)
    return groups


def blocks_of(rows: Iterable[Any], forms: Mapping[int, Form]) -> list[Block]:
    """Rows with the columns of `RawRow`, those of one form together."""
    return [_block(forms[number], some) for number, some in by_form(rows).items()]


def _block(form: Form, rows: Sequence[Any]) -> Block:
    heads, tails = parts_of(form, rows)
    raw_ids = _matrix([heads.ids], RAW_LENGTH * len(rows)).reshape(len(rows), RAW_LENGTH)
    times = np.zeros((len(rows), 8), np.uint8)
    times[:, 1:] = raw_ids[:, :TIME_LENGTH]
    texts = zip(*(tails.texts or ()), strict=True)  # by column; the request's id may be the last one
    return Block(
        Shared(*(getattr(form, name) for name in Shared._fields)),
        seqs=[row[SEQ] for row in rows],
        raw_ids=raw_ids,
        at_us=times.view(">u8")[:, 0].astype(np.int64),
        users=tails.users.astype(np.int64),
        latencies=tails.latencies_us.tolist(),
        own_keys=[row[OWN_KEY] for row in rows],
        numbers=tails.features,
        texts=tuple((place, list(column)) for place, column in zip(sorted(form.texts), texts, strict=False)),
        answers={version: _columns(classes, values) for version, classes, values in tails.answers},
    )


def _columns(classes: np.ndarray | None, values: np.ndarray | None) -> AnswerColumns:
    if classes is None:
        return AnswerColumns(numbers=None if values is None else values[:, 0])
    return AnswerColumns(classes.astype(np.int64), values)


def parts_of(form: Form, rows: Sequence[Any]) -> tuple[Heads, Tails]:
    """What rows of this form hold; they have the columns of `RawRow`."""
    bodies, width = [row[BODY] for row in rows], _head_width(form)
    tails = [body[width:] for body in bodies]
    fixed = _matrix([body[:width] for body in bodies], width)
    short = 0 if form.request == "text" else REQUEST_BYTES
    keys, rest, read = _matrix([row[KEY] for row in rows], KEY_LENGTH), fixed[:, short:], tails_of(form, tails)
    if form.marks:
        marks = np.tile(np.frombuffer(bytes.fromhex(form.marks), np.uint8), (len(rows), 1))
        served = as_bytes(_served(form, read).astype(">f8"))
        rest = np.concatenate([marks, as_bytes(read.users.astype(">u8"))[:, 2:], served, rest], axis=1)
    ids = np.concatenate([keys, rest], axis=1).tobytes()
    return Heads(ids, fixed[:, :short].tobytes() if short else None, tails), read


def tails_of(form: Form, tails: Sequence[bytes]) -> Tails:
    """What the tails hold."""
    width = _tail_width(form)
    texts = None
    if form.texts or form.request == "text":
        texts = decoded([tail[width:].decode() for tail in tails])
        tails = [tail[:width] for tail in tails]
    reader = _Reader(_matrix(tails, width))
    users = np.zeros((len(tails), 8), np.uint8)
    if form.user:
        users[:, 2:] = reader.take(6)
    latencies = reader.numbers("<u4", 1)[:, 0]
    features = reader.numbers(form.numbers, form.columns - len(form.texts)).astype(np.float64)
    if form.digits:
        features /= 10**form.digits
    answers = []
    for version, dtype, kind in form.answers:
        classes = None if kind == NUMBER else reader.numbers("<i2", 1)[:, 0]
        values = None if kind == NO_SHARES else reader.numbers(dtype, abs(kind)).astype(np.float64)
        answers.append((version, classes, values))
    return Tails(users.view(">u8")[:, 0].astype(np.uint64), latencies, features, texts, answers)


def request_ids(form: Form, requests: bytes | None, texts: Sequence[list[Any]] | None) -> list[str]:
    """The ids of the requests of rows of this form, given as `Heads` and `Tails` have them."""
    if requests is None:
        return [rest[-1] for rest in texts or ()]
    digits, length = requests.hex(), 2 * REQUEST_BYTES
    found = [digits[start : start + length] for start in range(0, len(digits), length)]
    is_hex = form.request == "hex"
    return found if is_hex else [f"{each[:8]}-{each[8:12]}-{each[12:16]}-{each[16:20]}-{each[20:]}" for each in found]


def features_of(form: Form, tails: Tails) -> list[str]:
    """The JSON of the features of each row."""
    cells = tails.features.tolist()
    if form.texts:
        places = sorted(form.texts)
        for own, rest in zip(cells, tails.texts or (), strict=True):
            # In ascending order, so that each finds its place.
            for at, value in zip(places, rest, strict=False):
                own.insert(at, value)
    return _lines(cells)


def answers_of(tails: Tails) -> list[str]:
    """The JSON of the answers to each row."""
    found: list[Iterable[Any]] = []
    for _, classes, values in tails.answers:
        if classes is None:
            assert values is not None
            found.append(map(_Number, values[:, 0].tolist()))
        elif values is None:
            found.append(map(_Class, classes.tolist()))
        else:
            found.append(map(_Shares, classes.tolist(), values.tolist()))
    names = tuple(name for name, _, _ in tails.answers)
    if not names:
        return ["{}"] * len(tails.latencies_us)
    if all(map(_PLAIN.fullmatch, names)):
        return _lines(list(map(_answers_named(names), *found)))
    return _lines([dict(zip(names, each, strict=True)) for each in zip(*found, strict=True)])


class _Number(msgspec.Struct, frozen=True, gc=False):
    v: float


class _Class(msgspec.Struct, frozen=True, gc=False):
    c: int


class _Shares(msgspec.Struct, frozen=True, gc=False):
    c: int
    p: list[float]


_PLAIN = re.compile("[A-Za-z0-9._-]+")


@lru_cache(maxsize=256)
def _answers_named(names: tuple[str, ...]) -> type[msgspec.Struct]:
    """A record with an answer for each of these versions: made and written several times as fast as a dictionary."""
    fields = {f"of_{place}": name for place, name in enumerate(names)}
    return msgspec.defstruct("Answers", list(fields), rename=fields, frozen=True, gc=False)


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


def _matrix(rows: Sequence[bytes], width: int) -> Bytes:
    return np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), width)


def _head_width(form: Form) -> int:
    """The bytes of a body before its tail."""
    return (0 if form.request == "text" else REQUEST_BYTES) + (12 if form.marks else RAW_LENGTH - KEY_LENGTH)


def _tail_width(form: Form) -> int:
    """The bytes of a tail before what has no fixed length."""
    width = (6 if form.user else 0) + 4 + (form.columns - len(form.texts)) * np.dtype(form.numbers).itemsize
    for _, dtype, kind in form.answers:
        width += (0 if kind == NUMBER else 2) + (abs(kind) * np.dtype(dtype).itemsize)
    return width


def _served(form: Form, tails: Tails) -> np.ndarray:
    """What the version of the form answered."""
    for version, classes, values in tails.answers:
        if version == form.version:
            found = values[:, 0] if classes is None and values is not None else classes
            assert found is not None
            return found
    raise AssertionError


def _lines(values: list[Any]) -> list[str]:
    # Not splitlines(): it also cuts at characters, such as U+2028, that JSON does not escape.
    return msgspec.json.Encoder().encode_lines(values).decode().split("\n")[:-1]
