"""The marks of what is archived, in the store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

from app.domain.archive import ArchiveMark
from app.store.kinds import READING
from app.store.statements import statements

if TYPE_CHECKING:
    from app.store.engine import Database


def last_mark(connection: Connection) -> ArchiveMark | None:
    """The last mark; None where nothing is archived. One indexed read."""
    row = connection.execute(text(statements("archive")["last_mark"])).first()
    return None if row is None else ArchiveMark(*row)


def newest_mark(database: Database) -> ArchiveMark | None:
    """The last mark; None where nothing is archived. Raises `StoreUnavailable`."""
    with database.begin(READING) as connection:
        return last_mark(connection)


def archived_until_us(database: Database) -> int | None:
    """The time of the newest archived row (µs since 1970), None where there is none. Raises `StoreUnavailable`."""
    mark = newest_mark(database)
    return None if mark is None else mark.newest_us


def all_marks(connection: Connection) -> Sequence[ArchiveMark]:
    """All marks, in order."""
    return [ArchiveMark(*row) for row in connection.execute(text(statements("archive")["marks"]))]
