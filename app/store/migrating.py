"""Bring a store's schema up to date: numbered scripts that only add, each applied once, whoever starts first.

A schema from a later release is left alone: within a release line migrations only expand, so the older release runs
on it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path
from string import Template

from sqlalchemy import Connection, Engine, inspect, text

from app.store.statements import cut, statements

_FOLDER = Path(__file__).parent / "migrations"
_FILE_NAME = re.compile(r"(\d{4})_\w+\.sql")
# AUTOINCREMENT: a number is never given twice, so that a cursor cannot meet an old number with a new row.
_DIALECTS: Mapping[str, Mapping[str, str]] = {
    "sqlite": {"serial": "INTEGER PRIMARY KEY AUTOINCREMENT"},
}


def pending(engine: Engine, folder: Path = _FOLDER) -> bool:
    """Whether there are scripts that the store has not seen; takes no write lock."""
    with engine.begin() as connection:
        return not _scripts(folder).keys() <= _applied(connection)


def migrate(engine: Engine, folder: Path = _FOLDER) -> list[int]:
    """Apply the scripts of `folder` that the store has not seen, all or none; the numbers applied.

    `engine` must take the write lock at the beginning of a transaction: concurrent starters then wait for each other.
    """
    scripts = _scripts(folder)
    with engine.begin() as connection:
        connection.execute(text(statements("schema")["create"]))
        missing = sorted(scripts.keys() - _applied(connection))
        for number in missing:
            _apply(connection, number, scripts[number].read_text(encoding="utf-8"))
    return missing


def _scripts(folder: Path) -> dict[int, Path]:
    matches = ((path, _FILE_NAME.fullmatch(path.name)) for path in folder.iterdir())
    return {int(match[1]): path for path, match in matches if match}


def _applied(connection: Connection) -> set[int]:
    if not inspect(connection).has_table("schema_version"):
        return set()
    return set(connection.execute(text(statements("schema")["applied"])).scalars())


def _apply(connection: Connection, number: int, script: str) -> None:
    names = _DIALECTS[connection.dialect.name]
    for statement in cut(script):
        connection.exec_driver_sql(Template(statement).substitute(names))
    record = text(statements("schema")["record"])
    connection.execute(record, {"version": number, "applied_at_us": time.time_ns() // 1000})
