"""Packed rows of the log as columns of an archive's files, form by form rather than row by row.

A file has the form of each packed row (`log.form`), and the tail of its body (`log.packed`); the head follows from the
ids. So what is read from a file (`unarchived.py`) is what the log had, byte by byte.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import compress
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa

from app.domain.columns import LoggedLayout
from app.domain.prediction_id import ID_LENGTH, RAW_LENGTH, SignedIds
from app.services.archive.columns import with_replay
from app.services.export.batches import Unmatched, column_of, label
from app.services.export.rows import RowForm
from app.services.export.schema import ExportSchema, VersionColumns, type_of
from app.store.archive.arrays import bytes_of, texts_of_one_width
from app.store.forms import Form, StoredRow
from app.store.log_rows import Known
from app.store.packing import TIME_LENGTH, as_bytes
from app.store.request_ids import REQUEST_BYTES
from app.store.unpacking import OWN_KEY, SEQ, Tails, parts_of, request_ids

# The fields of `Known`, and the columns that have them.
_OUTCOMES = {
    "actual": "actual",
    "actual_at_us": "actual_time",
    "reward": "reward",
    "reward_at_us": "reward_time",
    "actual_corrected_at_us": "actual_corrected_time",
    "reward_corrected_at_us": "reward_corrected_time",
}


class PackedRows(NamedTuple):
    """Rows of one form, in the order of their seqs; `times` are those of serving (µs since 1970).

    `requests` and `tails` are those of `Heads`.
    """

    form: Form
    seqs: np.ndarray
    times: np.ndarray
    ids: SignedIds
    requests: bytes | None
    own_keys: pa.Array
    tails: pa.Array


def packed_rows(rows: Sequence[Any], form: Form) -> tuple[PackedRows, Tails]:
    """Rows of one form, given with the columns of `RawRow`, and what they hold."""
    heads, tails = parts_of(form, rows)
    seqs, own_keys = np.array([row[SEQ] for row in rows]), pa.array([row[OWN_KEY] for row in rows], pa.string())
    ids, bodies = SignedIds(heads.ids), pa.array(heads.tails, pa.binary())
    return PackedRows(form, seqs, _times_in(heads.ids), ids, heads.requests, own_keys, bodies), tails


def digest_of(packed: Iterable[PackedRows], others: Sequence[StoredRow], follow_outcome: Iterable[int]) -> bytes:
    """A digest of all values of the rows, and of the seqs of those which an outcome came before."""
    digest = hashlib.sha256()
    for rows in sorted(packed, key=lambda each: text_of(each.form)):
        digest.update(f"{text_of(rows.form)} {len(rows.seqs)}".encode())
        fixed = rows.seqs.tobytes(), rows.times.tobytes(), rows.ids.raw, rows.requests or b""
        for part in (*fixed, *bytes_of(rows.own_keys), *bytes_of(rows.tails)):
            digest.update(part)
    digest.update(msgspec.msgpack.encode([others, sorted(follow_outcome)]))
    return digest.digest()


def text_of(form: Form) -> str:
    """The form as a file has it."""
    return msgspec.json.encode(form).decode()


def batch_of_packed(
    rows: PackedRows,
    tails: Tails,
    schema: ExportSchema,
    known: Known,
    follow_outcome: Collection[int],
    experiment: str | None,
    layout: LoggedLayout | None,
) -> pa.RecordBatch | None:
    """The rows with the columns of a file; None where not all they hold has columns of its own in `schema`.

    `known` are outcomes of these and other rows; `experiment` and `layout` are those of the form.
    """
    form, number = rows.form, len(rows.seqs)
    answers = _answers(form, tails, schema)
    unmatched: Unmatched = {}
    features = None if answers is None else _features(form, tails, schema, layout, unmatched)
    if answers is None or features is None:
        return None
    facts = [
        rows.seqs,
        texts_of_one_width(rows.ids.joined, ID_LENGTH),
        rows.times,
        requests_of(form, rows.requests, tails.texts),
        rows.own_keys,
        _in_hex(as_bytes(tails.users.astype(">u8"))[:, 2:].tobytes(), 6) if form.user else None,
        _Same(experiment),
        _Same(form.epoch),
        _Same(form.version),
        _Same(form.chosen),
        _Same(form.assignment),
        _Same(form.propensity),
        _Same(form.counts),
        _Same(form.synthetic),
        tails.latencies_us / 1000,
    ]
    columns = [*facts, *_outcomes(rows, schema, known), *features, *answers, _odd(unmatched, number)]
    columns += _replayed(rows, follow_outcome)
    whole = with_replay(schema.arrow)
    arrays = [_array(column, field.type, number) for column, field in zip(columns, whole, strict=True)]
    return pa.record_batch(arrays, schema=whole)


def _odd(unmatched: Unmatched, number: int) -> list[str | None] | None:
    places = range(number) if unmatched else ()
    return [msgspec.json.encode(unmatched[at]).decode() if at in unmatched else None for at in places] or None


class _Same(NamedTuple):
    """A column with one value in all rows."""

    value: Any


def _array(column: Any, kind: pa.DataType, number: int) -> pa.Array:
    if isinstance(column, pa.Array):
        return column
    if column is None:
        return pa.nulls(number, kind)
    if isinstance(column, _Same):
        return pa.nulls(number, kind) if column.value is None else pa.repeat(pa.scalar(column.value, kind), number)
    return pa.array(column, kind)


def _times_in(ids: bytes) -> np.ndarray:
    bytes_of = np.zeros((len(ids) // RAW_LENGTH, 8), np.uint8)
    bytes_of[:, 1:] = np.frombuffer(ids, np.uint8).reshape(-1, RAW_LENGTH)[:, :TIME_LENGTH]
    return bytes_of.view(">i8")[:, 0].astype(np.int64)


def requests_of(form: Form, requests: bytes | None, texts: Sequence[list[Any]] | None) -> pa.Array:
    """The ids of the requests of rows of this form, given as `Heads` and `Tails` have them."""
    if requests is not None and form.request == "hex":
        return _in_hex(requests, REQUEST_BYTES)
    return pa.array(request_ids(form, requests, texts), pa.string())


def _in_hex(joined: bytes, width: int) -> pa.Array:
    return texts_of_one_width(joined.hex().encode(), 2 * width)


def _outcomes(rows: PackedRows, schema: ExportSchema, known: Known) -> list[Any]:
    classes, as_number = schema.classes_of(rows.form.version), schema.actual_is_number
    columns: list[Any] = []
    for name, column in _OUTCOMES.items():
        places, values = _placed(rows.seqs, known.get(name, {}))
        if not values:
            columns.append(None)
            continue
        values = values if as_number or name != "actual" else _labels(values, classes)
        at, missing = np.zeros(len(rows.seqs), np.int64), np.ones(len(rows.seqs), bool)
        at[places], missing[places] = np.arange(len(places)), False
        columns.append(pa.array(values, schema.arrow.field(column).type).take(pa.array(at, mask=missing)))
    return columns


def _placed(seqs: np.ndarray, given: Mapping[int, Any]) -> tuple[np.ndarray, list[Any]]:
    """The places of those seqs that are among the ascending `seqs`, and their values."""
    wanted = np.fromiter(given, np.int64, len(given))
    places = np.searchsorted(seqs, wanted)
    own = seqs.take(places, mode="clip") == wanted
    return places[own], [*compress(given.values(), own.tolist())]


def _labels(values: Sequence[Any], classes: Sequence[str]) -> list[Any]:
    if {*map(type, values)} == {int}:  # but for odd ones, there are few
        named = {value: label(value, classes, as_number=False) for value in {*values}}
        return [*map(named.get, values)]
    return [label(value, classes, as_number=False) for value in values]


def _features(
    form: Form, tails: Tails, schema: ExportSchema, layout: LoggedLayout | None, unmatched: Unmatched
) -> list[Any] | None:
    """The columns of features, None where it is not known which these are."""
    positions = schema.columns.places(RowForm(form.version, layout))
    at = {position: place for place, position in enumerate(schema.features)}
    if not form.columns:  # a reported exposure
        return [None] * len(schema.features)
    if positions is None or len(positions) != form.columns or any(each not in at for each in positions):
        return None
    columns: list[Any] = [None] * len(schema.features)
    texts = sorted(form.texts)
    numeric = iter(range(form.columns - len(texts)))
    for place, position in enumerate(positions):
        column = schema.columns.columns[position]
        if place in form.texts:
            own = texts.index(place)
            values = [rest[own] for rest in tails.texts or ()]
        else:
            numbers = tails.features[:, next(numeric)]
            if column.type == "number":
                columns[at[position]] = pa.array(numbers, pa.float64(), from_pandas=True)  # NaN is null
                continue
            values = [None if value != value else value for value in numbers.tolist()]
        columns[at[position]] = column_of(values, column.type, type_of(column), column.feature.name, unmatched)
    return columns


def _answers(form: Form, tails: Tails, schema: ExportSchema) -> list[Any] | None:
    given = {version: (classes, values) for version, classes, values in tails.answers}
    if not given.keys() <= {version.version for version in schema.versions}:
        return None
    failed, lacking = (msgspec.json.decode(text) if text else () for text in (form.failed, form.lacking))
    columns: list[Any] = []
    for version in schema.versions:
        if version.version not in given:
            silence = "failed" if version.version in failed else None
            silence = silence or ("lacks_column" if version.version in lacking else None)
            columns += [*[None] * (len(version.fields) - 1), _Same(silence)]
            continue
        own = _answer(version, *given[version.version])
        if own is None:
            return None
        columns += [*own, _Same("answered")]
    return columns


def _answer(version: VersionColumns, classes: np.ndarray | None, values: np.ndarray | None) -> list[Any] | None:
    """A version's answers as columns, None where they are none of its contract's."""
    if version.is_number or classes is None:
        return None if values is None or not version.is_number or classes is not None else [values[:, 0]]
    width = len(version.classes)
    if classes.max(initial=0) >= width or (values is not None and values.shape[1] != width):
        return None
    names = pa.array(version.classes, pa.string()).take(pa.array(classes.astype(np.int64)))
    shares = [None] * width if values is None else [np.ascontiguousarray(values[:, at]) for at in range(width)]
    return [names, *shares]


def _replayed(rows: PackedRows, follow_outcome: Collection[int]) -> list[Any]:
    """Of the columns that only a replay needs, those of text are for rows that are not packed."""
    follow = np.isin(rows.seqs, [*follow_outcome])
    return [None, None, None, None, None, follow, _Same(text_of(rows.form)), rows.tails]
