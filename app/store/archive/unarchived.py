"""Archived predictions as the log had them: from the columns of a file, form by form rather than row by row."""

from __future__ import annotations

from itertools import repeat

import msgspec
import numpy as np
import pyarrow as pa

from app.domain.log_event import PredictionRow
from app.domain.prediction_id import ID_LENGTH, SignedIds, raw_of_joined
from app.errors import ArchiveUnavailable
from app.services.archive.columns import predictions_of_texts
from app.store.archive.arrays import joined_in
from app.store.archive.packed import PackedRows, requests_of
from app.store.forms import Form, StoredRow
from app.store.request_ids import request_bytes
from app.store.unpacking import answers_of, features_of, tails_of

_FORM = msgspec.json.Decoder(Form)
# The columns of `PackedRows`, after the form: all that the log has of a packed row.
PACKED = ["seq", "time", "prediction_id", "request_id", "id", "log.packed"]


def predictions_of(table: pa.Table) -> list[PredictionRow]:
    """The rows in a table of a file, with the columns of `REPLAYED` that it has."""
    found: list[PredictionRow] = []
    places: list[int] = []
    for form, at in _forms_in(table):
        some = _some(table, at)
        found += predictions_of_texts(some) if form is None else _predictions(form, some)
        places += at.tolist()
    if len(places) == len(found) and all(map(int.__eq__, places, range(len(places)))):
        return found
    return [row for _, row in sorted(zip(places, found, strict=True), key=lambda pair: pair[0])]


def _some(table: pa.Table, places: np.ndarray) -> pa.Table:
    return table.take(pa.array(places)) if len(places) < len(table) else table


def rows_in(table: pa.Table) -> tuple[list[PackedRows], list[StoredRow]]:
    """The packed rows of each form, and the others, in a table as the reader of `whole` rows gives it."""
    packed, others = [], []
    for form, at in _forms_in(table):
        if form is not None:
            packed.append(_packed_rows(form, _some(table.select(PACKED), at)))
            continue
        some = _some(table, at)
        requests = some.column("request_id").to_pylist()
        for row, request in zip(predictions_of_texts(some), requests, strict=True):
            others.append(StoredRow(*[*msgspec.structs.astuple(row), request]))
    return packed, others


def _packed_rows(form: Form, table: pa.Table) -> PackedRows:
    """The rows of a form. Raises `ArchiveUnavailable` where their ids are none of it, or a value is missing."""
    seqs, times, ids, requests, own_keys, tails = (column.combine_chunks() for column in table.columns)
    if any(column.null_count for column in (seqs, times, ids, requests, tails)):
        raise ArchiveUnavailable("a packed row in the archive lacks a value that each has")
    lengths, joined = joined_in(ids)
    raw = raw_of_joined(joined) if (lengths == ID_LENGTH).all() else None
    if raw is None:
        raise ArchiveUnavailable("a packed row in the archive has an id that is none of this service")
    found = _requests_of(form, requests, tails)
    return PackedRows(form, seqs.to_numpy(), times.cast(pa.int64()).to_numpy(), SignedIds(raw), found, own_keys, tails)


def _requests_of(form: Form, texts: pa.Array, tails: pa.Array) -> bytes | None:
    """The ids of requests as `Heads` has them. Raises `ArchiveUnavailable` where they are none of this form."""
    try:
        requests = None if form.request == "text" else request_bytes(str(joined_in(texts)[1], "ascii"))
        rest = tails_of(form, tails.to_pylist()).texts if requests is None else None
        if requests_of(form, requests, rest).equals(texts):
            return requests
    except ValueError:
        pass
    raise ArchiveUnavailable("a packed row in the archive has another request_id than its form says")


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
