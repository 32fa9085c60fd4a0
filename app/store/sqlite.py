"""SQLite as the store: one file, in WAL mode, that the processes of a host share."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import IntegrityError, InterfaceError, ProgrammingError

from app.errors import SettingError
from app.store.access import Access
from app.store.checkup import examine
from app.store.facts import StoreFacts
from app.store.snapshot import snapshot

_OUR_FAULT = (IntegrityError, ProgrammingError, InterfaceError)
_WAL_LIMIT_BYTES = 64 * 1024 * 1024


class SQLite:
    """The kind of a `sqlite:` URL. Raises `SettingError` where that names no file."""

    failures = (sqlite3.Error,)
    pause_s = 0.0
    is_fair = False  # who waits sleeps, and looks again now and then

    def __init__(self, url: URL) -> None:
        if url.database in (None, "", ":memory:") or str(url.database).startswith("file:"):
            reason = "the store must be a file that all processes share: sqlite:////path/to/file"
            raise SettingError("DATABASE_URL", reason)
        self._url = url
        self.file = Path(str(url.database))
        self.place = str(self.file)

    def make_room(self) -> None:
        """The folder is made at start only: one that vanishes later is a lost disk."""
        self.file.parent.mkdir(parents=True, exist_ok=True)

    def mark(self) -> int:
        """The file's inode."""
        return self.file.stat().st_ino

    def engine(self, access: Access) -> Engine:
        """Writers take the write lock at the beginning of a transaction."""
        engine = create_engine(self._url, connect_args={"timeout": access.busy_s})

        @event.listens_for(engine, "connect")
        def _prepare(connection: Any, _record: object) -> None:
            connection.isolation_level = None  # we say BEGIN ourselves: the driver would begin without the write lock
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {'FULL' if access.durable else 'NORMAL'}")
            connection.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT_BYTES}")

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE" if access.writes else "BEGIN")

        return engine

    def is_our_fault(self, error: Exception) -> bool:
        """A constraint, or a statement that makes no sense."""
        return isinstance(error, _OUR_FAULT)

    def is_still_open(self, _error: Exception) -> bool:
        """What broke may be the connection."""
        return False

    def examine(self, within_s: float) -> StoreFacts | None:
        """With SQLite's own check, for as long as that."""
        return examine(self.file, within_s)

    def lock(self, _name: str) -> None:
        """None: there is no server."""

    def snapshot(self, copy: Path) -> bool:
        """By SQLite's own means."""
        if not self.file.is_file():
            return False
        snapshot(self.file, copy)
        return True

    def is_there(self) -> bool:
        """False: files are looked at where they are moved."""
        return False

    def taking_in(self, _backup: Path, _aside: str) -> AbstractContextManager[Callable[[], None]]:
        """Nothing: the file is moved."""
        return nullcontext(lambda: None)
