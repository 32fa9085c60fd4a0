"""Writes predictions to the log, in batches: appended, never changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import itemgetter
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import astuple
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DataError

from app.domain.columns import LoggedLayout
from app.domain.logged_rows import LoggedBatch, LoggedPrediction
from app.store.engine import Database
from app.store.forms import COLUMNS, Form, FormWrites, KnownForm, PackedBlock, StoredRow, columns_of, parameters_of
from app.store.kinds import RECORDING
from app.store.layouts import LayoutWrites
from app.store.logged import LoggedRows
from app.store.packing import PackedRow, Packer
from app.store.packing_blocks import packed_block
from app.store.postgres.weeks import Weeks
from app.store.sqlite import append_rows, driver_of
from app.store.statements import statements
from app.store.unpacking import RawRow, unpacked

_COLUMNS = LoggedPrediction.__struct_fields__
_LAYOUT = _COLUMNS.index("layout")
# The columns of a row in the order of `StoredRow`, behind its seq.
_STORED = [_COLUMNS.index(name) for name in StoredRow._fields[1:]]
_SEQ = itemgetter(0)
_UNLESS_KNOWN = "ON CONFLICT ({}) DO NOTHING"


class _Ends(NamedTuple):
    """The log before rows are appended: whether they are packed (1), the last number, and whether it has old rows."""

    packed: int | None
    last: int
    old: bool


class _Numbered(NamedTuple):
    """A packed row with the columns that are no part of packing."""

    seq: int
    own_key: str | None
    row: PackedRow


class PredictionLog:
    """Appends to the log; for one thread.

    A row's layout is the id of one in `layouts`, which has it before anybody sees the row. `admit`: see `FeedbackLog`.
    """

    def __init__(self, database: Database, admit: Callable[[], object] = lambda: None) -> None:
        self._database = database
        self._admit = admit
        self._layouts = LayoutWrites()
        self._packed = PackedWrites()
        self._before = _Ends(packed=1, last=0, old=False)

    def append(self, rows: Sequence[LoggedPrediction]) -> None:
        """Add `rows` in one transaction; rows whose id is in the log already are ignored, so a retry is always safe.

        Raises `StoreUnavailable`, or `UnicodeError` or `OverflowError` for a row that no store can hold; then none was
        added.
        """
        if not rows:
            return
        self._admit()
        # Before the transaction, in which nobody else can write.
        blocks = _blocks(rows) if isinstance(rows, LoggedBatch) and self._before.packed else None
        is_quick = blocks and self._database.kind.file is not None and not self._before.old
        if not (is_quick and self._append_known(blocks or [], _layouts(rows))):
            self._append(rows, blocks)

    def _append_known(self, blocks: Sequence[PackedBlock], layouts: Iterable[LoggedLayout | None]) -> bool:
        """Add blocks to a file that has their forms and layouts, and no rows of before; False: nothing was done."""
        with self._database.driven(RECORDING) as (driver, engine):
            forms = self._packed.known(engine, blocks)
            ends = _Ends(*driver.execute(statements("logged", "sqlite")["ends"]).fetchone())
            if forms is None or ends.old or not ends.packed or not self._layouts.has(engine, layouts):
                return False
            driver.executemany(_append_block(), parameters_of(blocks, forms, ends.last + 1))
        return True

    def _append(self, rows: Sequence[LoggedPrediction], blocks: Sequence[PackedBlock] | None) -> None:
        forms: Mapping[Form, KnownForm] = {}
        with self._database.begin(RECORDING) as connection:
            layouts = self._layouts.put(connection, _layouts(rows))
            ends = _ends(connection)
            if blocks and ends.packed and not (ends.old and _known_old(connection, _ids(rows))):
                _reserve(connection, ends.last + len(rows))
                forms = self._packed.append_blocks(connection, blocks, ends.last + 1)
            elif ends.packed:
                numbered = enumerate(_values(rows), start=ends.last + 1)
                stored = [StoredRow(seq, *[values[at] for at in _STORED]) for seq, values in numbered]
                _reserve(connection, stored[-1].seq)
                forms = self._packed.append(connection, stored, among_old=ends.old)
            else:
                _APPEND[connection.dialect.name](connection, [*rows])
        self._before = ends
        self._layouts.committed(layouts)
        self._packed.committed(forms)


class PackedWrites:
    """Writes rows that have their numbers, packed where they can be. For one thread, under the write lock."""

    def __init__(self) -> None:
        self._packer = Packer()
        self._forms = FormWrites()
        self._rows = LoggedRows()
        self._weeks = Weeks()

    def append(self, connection: Connection, rows: Sequence[StoredRow], *, among_old: bool) -> Mapping[Form, KnownForm]:
        """Add the rows that are not in the log yet; returns their forms, for `committed`.

        `among_old`: whether the log may have them in `predictions`.
        """
        if among_old:
            known = _known_old(connection, [row.prediction_id for row in rows])
            rows = [row for row in rows if row.prediction_id not in known]
        packed = self._packer.packed(rows)
        forms = self._append_rows(connection, _numbered(rows, packed))
        if len(packed) < len(rows):
            places = {row.place for row in packed}
            self._append_old(connection, [row for place, row in enumerate(rows) if place not in places])
        return forms

    def take_over(self, connection: Connection, rows: Sequence[StoredRow]) -> Mapping[Form, KnownForm]:
        """Replace rows of `predictions` by packed ones of the same numbers; returns their forms, for `committed`.

        Rows that would not come back as they are stay, and those that `log` has already go.
        """
        packed = [row for row in self._packer.packed(rows) if _comes_back(rows[row.place], row)]
        known = {row.prediction_id for row in self._rows.packed_of_ids(connection, [row.prediction_id for row in rows])}
        packed = [row for row in packed if rows[row.place].prediction_id not in known]
        forms = self._append_rows(connection, _numbered(rows, packed))
        gone = {row.place for row in packed}
        seqs = msgspec.json.encode(
            [row.seq for place, row in enumerate(rows) if place in gone or row.prediction_id in known]
        ).decode()
        connection.execute(text(statements("logged", connection.dialect.name)["remove_old"]), {"seqs": seqs})
        return forms

    def append_blocks(
        self, connection: Connection, blocks: Sequence[PackedBlock], first: int
    ) -> Mapping[Form, KnownForm]:
        """Add packed blocks under numbers from `first` on; returns their forms, for `committed`."""
        forms = self._forms.put(connection, {form for block in blocks for form in block.forms})
        if connection.dialect.name == "sqlite":
            driver_of(connection).executemany(_append_block(), parameters_of(blocks, forms, first))
        else:
            self._append(connection, columns_of(blocks, forms, first))
        return forms

    def known(self, engine: Engine, blocks: Sequence[PackedBlock]) -> Mapping[Form, KnownForm] | None:
        """The forms of the blocks, if the store of `engine` has them."""
        return self._forms.known(engine, {form for block in blocks for form in block.forms})

    def _append_rows(self, connection: Connection, rows: Sequence[_Numbered]) -> Mapping[Form, KnownForm]:
        """Add packed rows; returns their forms, for `committed`."""
        forms = self._forms.put(connection, {each.row.form for each in rows})
        # In the order of their numbers: pages of an index that grows at its end are filled up.
        values = [
            (seq, row.key, forms[row.form].version, forms[row.form].id, row.request_key, own_key, row.body)
            for seq, own_key, row in sorted(rows, key=_SEQ)
        ]
        if values:
            self._append(connection, [*zip(*values, strict=True)])
        return forms

    def _append(self, connection: Connection, columns: Sequence[Sequence[Any]]) -> None:
        if connection.dialect.name == "postgresql":
            self._weeks.ensure(connection, [*columns[1]])
        _APPEND_PACKED[connection.dialect.name](connection, columns)

    def committed(self, forms: Mapping[Form, KnownForm]) -> None:
        """Note that the transaction in which `append` or `take_over` gave these was committed."""
        if forms:
            self._forms.committed(forms)
            self._weeks.committed()

    def _append_old(self, connection: Connection, rows: Sequence[StoredRow]) -> None:
        known = {row.prediction_id for row in self._rows.of_ids(connection, [row.prediction_id for row in rows])}
        values = [row._asdict() for row in rows if row.prediction_id not in known]
        if values:
            with _own_errors():
                connection.execute(text(statements("logged")["append_old"]), values)


def _blocks(batch: LoggedBatch) -> list[PackedBlock] | None:
    """The blocks of the batch, packed; None where its rows are to be written one by one."""
    found = []
    for block in batch.blocks:
        packed = packed_block(block)
        if packed is None:
            return None
        found.append(packed)
    return found


def _ids(rows: Sequence[LoggedPrediction]) -> list[str]:
    return rows.prediction_ids if isinstance(rows, LoggedBatch) else [row.prediction_id for row in rows]


def _ends(connection: Connection) -> _Ends:
    # Not as text(): this is asked in each commit.
    statement = statements("logged", connection.dialect.name)["ends"]
    return _Ends(*connection.exec_driver_sql(statement).one())


def _known_old(connection: Connection, ids: Sequence[str]) -> set[str]:
    query = text(statements("logged", connection.dialect.name)["known_old"])
    return set(connection.execute(query, {"ids": msgspec.json.encode(ids).decode()}).scalars())


def _comes_back(row: StoredRow, packed: PackedRow) -> bool:
    """Whether the row is the same after it was packed."""
    given = RawRow(row.seq, packed.key, 1, row.own_key, packed.body)
    return unpacked([given], {1: packed.form}) == [row]


def _numbered(rows: Sequence[StoredRow], packed: Iterable[PackedRow]) -> list[_Numbered]:
    return [_Numbered(rows[each.place].seq, rows[each.place].own_key, each) for each in packed]


def _reserve(connection: Connection, last: int) -> None:
    """Note on PostgreSQL that numbers up to `last` are given."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(statements("logged")["reserve"]), {"last": last})


def _layouts(rows: Sequence[LoggedPrediction]) -> Iterable[LoggedLayout | None]:
    return rows.layouts if isinstance(rows, LoggedBatch) else (row.layout for row in rows)


def _values(rows: Iterable[LoggedPrediction]) -> Iterable[tuple[Any, ...]]:
    """The rows as the table has them."""
    return (astuple(row) if row.layout is None else _with_id(astuple(row), row.layout) for row in rows)


def _with_id(values: tuple[Any, ...], layout: LoggedLayout) -> tuple[Any, ...]:
    return (*values[:_LAYOUT], layout.id, *values[_LAYOUT + 1 :])


def _append_values(connection: Connection, rows: Sequence[LoggedPrediction]) -> None:
    append_rows(
        driver_of(connection),
        statements("predictions")["append"],
        [*_values(rows)],
        _UNLESS_KNOWN.format("prediction_id"),
    )


def _append_packed_values(connection: Connection, columns: Sequence[Sequence[Any]]) -> None:
    rows = [*zip(*columns, strict=True)]
    append_rows(driver_of(connection), statements("logged")["append_packed"], rows, _UNLESS_KNOWN.format("id"))


def _append_block() -> str:
    return statements("logged", "sqlite")["append_block"]


def _append_arrays(connection: Connection, rows: Sequence[LoggedPrediction]) -> None:
    # One array a column: the same statement for any number of rows, which the server prepares once.
    columns = zip(*_values(rows), strict=True)
    arrays = {name: list(values) for name, values in zip(_COLUMNS, columns, strict=True)}
    with _own_errors():
        connection.execute(text(statements("predictions")["append_arrays"]), arrays)


def _append_packed_arrays(connection: Connection, columns: Sequence[Sequence[Any]]) -> None:
    arrays = dict(zip(COLUMNS, map(list, columns), strict=True))
    with _own_errors():
        connection.execute(text(statements("logged")["append_packed_arrays"]), arrays)


@contextmanager
def _own_errors() -> Iterator[None]:
    try:
        yield
    except DataError as error:
        raise OverflowError(f"a value that the log cannot store: {error.orig}") from error


_APPEND: Mapping[str, Callable[[Connection, Sequence[LoggedPrediction]], None]] = {
    "sqlite": _append_values,
    "postgresql": _append_arrays,
}
# With the values of each of `COLUMNS`.
_APPEND_PACKED: Mapping[str, Callable[[Connection, Sequence[Sequence[Any]]], None]] = {
    "sqlite": _append_packed_values,
    "postgresql": _append_packed_arrays,
}
