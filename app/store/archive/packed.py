"""Packed rows of the log as columns of an archive's files, and back, form by form rather than row by row.

A file has the form of each packed row (`log.form`), and the tail of its body (`log.packed`); the head follows from the
ids. So what is read from a file is what the log had, byte by byte.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from itertools import repeat
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa

from app.domain.columns import LoggedLayout
from app.domain.log_event import PredictionRow
from app.domain.prediction_id import RAW_LENGTH, raw_ids, texts_of_ids
from app.errors import ArchiveUnavailable
from app.services.archive.columns import follows, predictions_of_texts, with_replay
from app.services.export.batches import Unmatched, column_of, label
from app.services.export.rows import RowForm
from app.services.export.schema import ExportSchema, VersionColumns, type_of
from app.store.forms import Form, StoredRow
from app.store.log_rows import Known
from app.store.packing import TIME_LENGTH
from app.store.request_ids import request_bytes
from app.store.unpacking import OWN_KEY, SEQ, Heads, Tails, answers_of, features_of, parts_of, request_ids, tails_of

_FORM = msgspec.json.Decoder(Form)
_OUTCOMES = ("actual", "actual_at_us", "reward", "reward_at_us", "actual_corrected_at_us", "reward_corrected_at_us")


class PackedRows(NamedTuple):
    """Rows of one form, in the order of their seqs; `times` are those of serving (µs since 1970)."""

    form: Form
    seqs: np.ndarray
    times: np.ndarray
    own_keys: list[str | None]
    heads: Heads

    @property
    def ids(self) -> list[str]:
        """The ids of the predictions."""
        return texts_of_ids(self.heads.ids)


def packed_rows(rows: Sequence[Any], form: Form) -> tuple[PackedRows, Tails]:
    """Rows of one form, given with the columns of `RawRow`, and what they hold."""
    heads, tails = parts_of(form, rows)
    seqs, own_keys = np.array([row[SEQ] for row in rows], np.int64), [row[OWN_KEY] for row in rows]
    return PackedRows(form, seqs, _times_in(heads.ids), own_keys, heads), tails


def digest_of(packed: Iterable[PackedRows], others: Sequence[StoredRow], follow_outcome: Collection[str]) -> bytes:
    """A digest of all values of the rows, and of which of them an outcome came before."""
    digest = hashlib.sha256()
    for rows in sorted(packed, key=lambda each: text_of(each.form)):
        digest.update(text_of(rows.form).encode())
        for array in (rows.seqs, rows.times):
            digest.update(array.astype("<i8").tobytes())
        digest.update(rows.heads.ids)
        digest.update(msgspec.msgpack.encode([rows.heads.requests, rows.own_keys, rows.heads.tails]))
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
    follow_outcome: Collection[str],
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
    ids = rows.ids
    users = None if not form.user else [f"{user:012x}" for user in tails.users.tolist()]
    facts = [
        rows.seqs,
        ids,
        rows.times,
        request_ids(form, rows.heads.requests, tails.texts),
        rows.own_keys,
        users,
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
    odd = [msgspec.json.encode(unmatched[place]).decode() if place in unmatched else None for place in range(number)]
    columns = [*facts, *_outcomes(ids, form.version, schema, known), *features, *answers, odd if unmatched else None]
    columns += _replayed(rows, ids, follow_outcome)
    whole = with_replay(schema.arrow)
    arrays = [_array(column, field.type, number) for column, field in zip(columns, whole, strict=True)]
    return pa.record_batch(arrays, schema=whole)


def predictions_of(table: pa.Table) -> list[PredictionRow]:
    """The rows in a table of a file, with the columns of `REPLAYED` that it has."""
    found: list[PredictionRow] = []
    places: list[int] = []
    for form, at in _forms_in(table):
        some = table.take(pa.array(at)) if len(at) < len(table) else table
        found += predictions_of_texts(some) if form is None else _predictions(form, some)
        places += at.tolist()
    if len(places) == len(found) and all(map(int.__eq__, places, range(len(places)))):
        return found
    return [row for _, row in sorted(zip(places, found, strict=True), key=lambda pair: pair[0])]


def rows_in(table: pa.Table) -> tuple[list[PackedRows], list[StoredRow]]:
    """The packed rows of each form, and the others, in a table with the columns `REPLAYED` and `request_id`."""
    packed, others = [], []
    for form, at in _forms_in(table):
        some = table.take(pa.array(at))
        if form is None:
            requests = some.column("request_id").to_pylist()
            rows = predictions_of_texts(some)
            others += [
                StoredRow(*[*msgspec.structs.astuple(row), request])
                for row, request in zip(rows, requests, strict=True)
            ]
            continue
        tails = some.column("log.packed").to_pylist()
        requests = _requests_of(form, some.column("request_id").to_pylist(), tails)
        ids, seqs = raw_ids(some.column("prediction_id").to_pylist()), some.column("seq").to_numpy()
        if ids is None:
            raise ArchiveUnavailable("a packed row in the archive has an id that is none of this service")
        times = some.column("time").cast(pa.int64()).to_numpy()
        packed.append(PackedRows(form, seqs, times, some.column("id").to_pylist(), Heads(ids, requests, tails)))
    return packed, others


def _requests_of(form: Form, texts: list[str], tails: list[bytes]) -> bytes | None:
    """The ids of requests as `Heads` has them. Raises `ArchiveUnavailable` where they are none of this form."""
    try:
        requests = None if form.request == "text" else request_bytes("".join(texts))
        if request_ids(form, requests, tails_of(form, tails).texts) == texts:
            return requests
    except ValueError:
        pass
    raise ArchiveUnavailable("a packed row in the archive has another request_id than its form says")


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


def _outcomes(ids: Sequence[str], version: str, schema: ExportSchema, known: Known) -> list[Any]:
    columns: list[Any] = [[*map(known[name].get, ids)] if known.get(name) else None for name in _OUTCOMES]
    if columns[0] is not None:
        classes, as_number = schema.classes_of(version), schema.actual_is_number
        columns[0] = [None if value is None else label(value, classes, as_number=as_number) for value in columns[0]]
    return columns


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


def _replayed(rows: PackedRows, ids: Sequence[str], follow_outcome: Collection[str]) -> list[Any]:
    """Of the columns that only a replay needs, those of text are for rows that are not packed."""
    follow = follows(ids, follow_outcome)
    return [None, None, None, None, None, follow, _Same(text_of(rows.form)), rows.heads.tails]


def _forms_in(table: pa.Table) -> list[tuple[Form | None, np.ndarray]]:
    """The forms of the rows of a table, None for those that are not packed, and the places of the rows of each."""
    if "log.form" not in table.column_names:  # schema 1
        return [(None, np.arange(len(table)))]
    column = table.column("log.form").combine_chunks()
    column = column if isinstance(column, pa.DictionaryArray) else column.dictionary_encode()
    codes = column.indices.fill_null(-1).to_numpy()
    texts = column.dictionary.to_pylist()
    return [
        (None if code < 0 else _FORM.decode(texts[code]), np.flatnonzero(codes == code))
        for code in np.unique(codes).tolist()
    ]


def _predictions(form: Form, table: pa.Table) -> list[PredictionRow]:
    tails = tails_of(form, table.column("log.packed").to_pylist())
    columns = (
        table.column("seq").to_pylist(),
        table.column("prediction_id").to_pylist(),
        table.column("time").cast(pa.int64()).to_pylist(),
        *map(repeat, (form.epoch, form.version, form.chosen, form.assignment, form.propensity)),
        *map(repeat, (form.counts, form.synthetic)),
        tails.users.tolist(),
        features_of(form, tails),
        answers_of(tails),
        tails.latencies_us.tolist(),
        table.column("id").to_pylist(),
        *map(repeat, (form.failed, form.layout, form.lacking)),
    )
    return list(map(PredictionRow, *columns))
