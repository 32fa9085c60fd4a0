"""The table `layouts`: the columns of logged rows that do not follow the contract of the version that answered."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext

import msgspec
from sqlalchemy import Connection, Engine, text

from app.domain.columns import LoggedColumn, LoggedLayout
from app.store.engine import Database
from app.store.kinds import READING
from app.store.statements import statements

# What is remembered at the most: callers that send other columns each time must not fill the memory.
_MOST = 4096
_COLUMNS = msgspec.json.Decoder(tuple[LoggedColumn, ...])


class LayoutReads:
    """Reads layouts. What was read is kept: an id follows from the columns, so it never gets others."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[int, LoggedLayout] = {}

    def layouts(self, ids: Iterable[int], connection: Connection | None = None) -> dict[int, LoggedLayout]:
        """The layouts with these ids, by id; unknown ones are left out. Raises `StoreUnavailable`.

        Whoever reads already gives the `connection`: a second one might have to wait for those who wait for theirs.
        """
        wanted = set(ids)
        known = self._known if len(self._known) < _MOST else {}
        missing = wanted - known.keys()
        if missing:
            self._known = known = {**known, **self._read(missing, connection)}
        return {each: known[each] for each in wanted if each in known}

    def _read(self, ids: Iterable[int], given: Connection | None) -> dict[int, LoggedLayout]:
        with self._database.begin(READING) if given is None else nullcontext(given) as connection:
            query = text(statements("predictions", connection.dialect.name)["layouts"])
            rows = connection.execute(query, {"ids": msgspec.json.encode(sorted(ids)).decode()}).all()
        return {row.id: LoggedLayout(row.id, _COLUMNS.decode(row.columns)) for row in rows}


class LayoutWrites:
    """Writes layouts, each once to a store. For one thread."""

    def __init__(self) -> None:
        self._engine: Engine | None = None
        self._written: set[int] = set()

    def put(self, connection: Connection, layouts: Iterable[LoggedLayout | None]) -> set[int]:
        """Write those of `layouts` that are not known to be there; returns their ids, for `committed`."""
        if connection.engine is not self._engine:  # another file may have taken the place of the store
            self._engine, self._written = connection.engine, set()
        new = {each.id: each for each in layouts if each is not None and each.id not in self._written}
        if new:
            values = [
                {"id": each.id, "columns": msgspec.json.encode(each.columns).decode()}
                for each in sorted(new.values(), key=lambda layout: layout.id)
            ]
            connection.execute(text(statements("predictions")["put_layout"]), values)
        return set(new)

    def has(self, engine: Engine, layouts: Iterable[LoggedLayout | None]) -> bool:
        """Whether all of them are known to be in the store of `engine`."""
        return engine is self._engine and all(each is None or each.id in self._written for each in layouts)

    def committed(self, ids: set[int]) -> None:
        """Note that the transaction in which `put` wrote these was committed."""
        self._written = (self._written if len(self._written) < _MOST else set()) | ids
