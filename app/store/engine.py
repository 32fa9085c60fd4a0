"""Connections to the store: opened on first use in each process, never carried over a fork, errors as our own."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from os import getpid

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from app.errors import StoreUnavailable
from app.store.kinds import PROBING, READING, REBUILDING, Access, Kind, kind_of, unavailable
from app.store.schema import migrate, pending
from app.store.statements import statements

_USE = "the store cannot be used"


class Database:
    """The store behind a URL. Safe in threads; every failure to use it is `StoreUnavailable`, and the next use tries
    anew. The schema is brought up to date on first use. Making one touches nothing.

    Raises `SettingError` for `DATABASE_URL` where the URL is of a kind that is not supported.
    """

    def __init__(self, url: str) -> None:
        self.kind: Kind = kind_of(url)
        self._failures: tuple[type[Exception], ...] = (SQLAlchemyError, OSError, *self.kind.failures)
        self._lock = threading.RLock()
        self._engines: dict[Access, Engine] = {}
        self._pid = getpid()
        self._inherited: list[dict[Access, Engine]] = []
        self._opened_before = False
        self._mark: object = None
        self._refusal: tuple[float, str] | None = None

    @contextmanager
    def begin(self, access: Access) -> Iterator[Connection]:
        """A transaction: committed at the end of the block, rolled back where it raises. All that a reader sees is of
        one moment; a writer sees all that was committed before, and nobody else writes meanwhile."""
        try:
            with self._engine(access).begin() as connection:
                yield connection
        except self._failures as error:
            if self.kind.is_our_fault(error):
                raise
            if not self.kind.is_still_open(error):
                self.close()  # the next use opens another
            raise unavailable(_USE, error) from error

    def probe(self) -> None:
        """Prove that the store takes a write. Raises `StoreUnavailable`."""
        with self.begin(PROBING) as connection:
            connection.execute(text(statements("schema")["touch"]))

    def close(self) -> None:
        """Close what this process has open; the next use opens it again. Call before a fork and at the end."""
        with self._lock:
            self._forget_inherited()
            engines, self._engines = self._engines, {}
            self._mark = None
        for engine in engines.values():
            engine.dispose()

    def _engine(self, access: Access) -> Engine:
        with self._lock:
            self._forget_inherited()
            if self._engines and self.kind.mark() != self._mark:
                self.close()  # the file was replaced: writing on would go to one that nobody can see
            if not self._engines:
                self._open_first()
            if access not in self._engines:
                self._engines[access] = self.kind.engine(access)
            return self._engines[access]

    def _open_first(self) -> None:
        """Bring the schema up to date. What is refused is not asked for again at once: each who waits for the lock
        would wait for the same answer."""
        if self._refusal is not None and time.monotonic() < self._refusal[0]:
            raise StoreUnavailable(self._refusal[1])
        try:
            self._engines, self._mark = self._opened()
        except self._failures as error:
            if self.kind.pause_s:
                self._refusal = time.monotonic() + self.kind.pause_s, unavailable(_USE, error).message
            raise

    def _opened(self) -> tuple[dict[Access, Engine], object]:
        if not self._opened_before:
            self.kind.make_room()
            self._opened_before = True
        # Looked at without the write lock first: a store that is merely busy opens at once.
        reader, writer = self.kind.engine(READING), self.kind.engine(REBUILDING)
        try:
            if pending(reader):
                migrate(writer)
            return {READING: reader}, self.kind.mark()
        except BaseException:
            reader.dispose()
            raise
        finally:
            writer.dispose()

    def _forget_inherited(self) -> None:
        # Connections must not cross a fork, not even to be closed there: keep them, untouched.
        if self._pid != getpid():
            self._inherited.append(self._engines)
            self._engines, self._mark, self._pid = {}, None, getpid()
