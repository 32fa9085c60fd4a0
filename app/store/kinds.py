"""The ways to use the store: how durable a write is, and how long one waits for a lock.

What a look at the store from outside finds.

What a driver says, as our own error: in one line, and without its statement.

The kinds of database that can be the store, and what differs between them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import msgspec
from sqlalchemy import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from app.errors import SettingError, StoreUnavailable


class Access(msgspec.Struct, frozen=True):
    """One way to use the store. `writes` takes the write lock at once, so that a transaction never fails half-way.

    `durable` commits survive a power cut (fsync each time); the others survive the death of the process.
    `busy_s` is how long to wait for another writer before giving up, `answer_s` how long a server may take to answer
    one statement.
    """

    writes: bool
    durable: bool
    busy_s: float
    answer_s: float = 10.0


READING = Access(writes=False, durable=False, busy_s=1.0)
# The recorder keeps its rows and tries again, so it wants to know soon that the store is locked.
RECORDING = Access(writes=True, durable=False, busy_s=0.1)
# Who asks whether the store can be written can wait for those who are writing.
PROBING = Access(writes=True, durable=False, busy_s=1.0)
DURABLE = Access(writes=True, durable=True, busy_s=5.0)
# Derived state can be derived again, so it need not survive a power cut; it has time to wait for the others.
MONITORING = Access(writes=True, durable=False, busy_s=5.0, answer_s=60.0)
# An index on a large table, or a whole log that is put back, takes its time.
REBUILDING = Access(writes=True, durable=True, busy_s=5.0, answer_s=3600.0)
# What copies the whole log reads it in pieces.
COPYING = Access(writes=False, durable=False, busy_s=1.0, answer_s=600.0)


class StoreFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What was found. Times are µs since 1970, None where there is nothing yet.

    `complaint` is that of SQLite's check, which `finished` in time or did not, or what would keep a server from being
    the store; `server` is the version of a server, `wal_bytes` the size of SQLite's write-ahead log (None: a server).
    `risks` are settings of a server under which something acknowledged can be lost.
    """

    complaint: str | None
    newest_prediction_us: int | None
    heartbeat_us: int | None
    finished: bool = True
    wal_bytes: int | None = None
    server: str | None = None
    risks: tuple[str, ...] = ()


def unavailable(what: str, error: Exception) -> StoreUnavailable:
    """`what` cannot be done because of `error`; one that is our own already stays as it is."""
    if isinstance(error, StoreUnavailable):
        return error
    reason = str(error.orig if isinstance(error, DBAPIError) else error)
    return StoreUnavailable(f"{what}: {'; '.join(line.strip() for line in reason.splitlines() if line.strip())}")


_USE = (
    "use postgresql://user:password@host:5432/name or sqlite:////path/to/file, or leave it empty for SQLite in DATA_DIR"
)


class ServerLock(Protocol):
    """A lock that the server of the store keeps."""

    def acquire(self) -> bool:
        """Whether it is ours now; does not wait. Raises `StoreUnavailable`."""
        ...

    def held(self) -> bool:
        """Whether it still is; a server that was away has forgotten."""
        ...

    def release(self) -> None:
        """Let another one have it; once more is harmless."""
        ...


class Kind(Protocol):
    """One kind of database, for one URL. Making one touches nothing."""

    @property
    def place(self) -> str:
        """Where the store is, for people; without the password."""
        ...

    @property
    def file(self) -> Path | None:
        """The file that is the store; None where a server has it."""
        ...

    @property
    def failures(self) -> tuple[type[Exception], ...]:
        """What the driver raises, beside the errors of SQLAlchemy."""
        ...

    @property
    def pause_s(self) -> float:
        """For how long one that could not be opened is not asked again."""
        ...

    @property
    def is_fair(self) -> bool:
        """Whether writers that wait are let in by the order in which they came."""
        ...

    def engine(self, access: Access) -> Engine:
        """Connections for one way to use it, none opened yet."""
        ...

    def make_room(self) -> None:
        """Make what the store needs around it, at the start of a process. Raises `OSError`."""
        ...

    def mark(self) -> object:
        """What tells the opened store from another that took its place. Raises `OSError`."""
        ...

    def is_our_fault(self, error: Exception) -> bool:
        """Whether it is misuse on our side, which waiting would not mend."""
        ...

    def is_still_open(self, error: Exception) -> bool:
        """Whether the connections are good after this error."""
        ...

    def examine(self, within_s: float) -> StoreFacts | None:
        """What can be seen from outside, without making, migrating or locking anything; None where nothing is there.

        Raises `StoreUnavailable`.
        """
        ...

    def lock(self, name: str) -> ServerLock | None:
        """A lock that the server keeps, free again when its holder is gone; None where there is no server."""
        ...

    def snapshot(self, copy: Path) -> bool:
        """Write the store as it is at one moment to `copy`, a SQLite file; False where there is none yet.

        Others go on writing. Raises `StoreUnavailable`.
        """
        ...

    def is_there(self) -> bool:
        """Whether there is a store that must not be overwritten. Raises `StoreUnavailable`."""
        ...

    def taking_in(self, backup: Path, aside: str) -> AbstractContextManager[Callable[[], None]]:
        """Within the block the store holds what a SQLite file does, as soon as what it gives was called; else nothing
        has changed. What was there before is kept under the name `aside`. For a file there is nothing to do.

        Raises `BackupRefused` and `StoreUnavailable`.
        """
        ...


def kind_of(url: str) -> Kind:
    """What is behind a URL. Raises `SettingError` for `DATABASE_URL`, which never repeats a password."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise SettingError("DATABASE_URL", f"that is not a URL: {_USE}") from None
    make = _KINDS.get(parsed.drivername)
    if make is None:
        raise SettingError("DATABASE_URL", f"{parsed.drivername} is not supported: {_USE}")
    return make(parsed)


def _sqlite(url: URL) -> Kind:
    from app.store.sqlite import SQLite

    return SQLite(url)


def _postgres(url: URL) -> Kind:
    from app.store.postgres.server import PostgreSQL

    return PostgreSQL(url)


_KINDS: Mapping[str, Callable[[URL], Kind]] = {
    "sqlite": _sqlite,
    "sqlite+pysqlite": _sqlite,
    "postgresql": _postgres,
    "postgresql+psycopg": _postgres,
}
