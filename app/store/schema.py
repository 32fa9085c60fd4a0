"""Migrations of the store's schema: numbered scripts that only add, each applied once.

A schema from a later release is left alone: migrations only add, so the older release runs on it.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from app.clock import now_us
from app.store.statements import cut, schema_in_dialect, statements

_FOLDER = Path(__file__).parent / "migrations"
_FILE_NAME = re.compile(r"(\d{4})_\w+\.sql")


def pending(engine: Engine, folder: Path = _FOLDER) -> bool:
    """Whether scripts are to be applied. Takes no write lock."""
    with engine.begin() as connection:
        return not _scripts(folder).keys() <= applied(connection)


def migrate(engine: Engine, folder: Path = _FOLDER) -> list[int]:
    """Apply the scripts of `folder` that are pending, all or none; returns their numbers.

    `engine` must take the write lock at the beginning of a transaction: processes that start at once then wait for each
    other, and the second finds nothing pending.
    """
    with engine.begin() as connection:
        missing = sorted(_scripts(folder).keys() - applied(connection))
        build(connection, missing, folder)
    return missing


def known(folder: Path = _FOLDER) -> set[int]:
    """The numbers of this release's scripts."""
    return set(_scripts(folder))


def build(connection: Connection, numbers: Collection[int], folder: Path = _FOLDER) -> None:
    """Apply the scripts of these numbers, in the transaction of `connection`. Raises `KeyError` for unknown ones."""
    connection.execute(text(statements("schema")["create"]))
    scripts = _scripts(folder)
    for number in sorted(numbers):
        _apply(connection, number, scripts[number].read_text(encoding="utf-8"))


def _scripts(folder: Path) -> dict[int, Path]:
    matches = ((path, _FILE_NAME.fullmatch(path.name)) for path in folder.iterdir())
    return {int(match[1]): path for path, match in matches if match}


def applied(connection: Connection) -> set[int]:
    """The numbers of the scripts that were applied to the store."""
    if not inspect(connection).has_table("schema_version"):
        return set()
    return set(connection.execute(text(statements("schema")["applied"])).scalars())


def _apply(connection: Connection, number: int, script: str) -> None:
    for statement in cut(script):
        connection.exec_driver_sql(schema_in_dialect(statement, connection.dialect.name))
    record = text(statements("schema")["record"])
    connection.execute(record, {"version": number, "applied_at_us": now_us()})
