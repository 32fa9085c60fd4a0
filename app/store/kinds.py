"""What a database of the store offers, the ways to use it, its errors as our own, and the lock of the one monitor."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

import msgspec
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from app.domain.archive import ArchiveMark
from app.errors import SettingError, StoreUnavailable
from app.files import FileLock


class Access(msgspec.Struct, frozen=True):
    """One way to use the store.

    `writes` takes the write lock at the beginning of a transaction. `durable` commits survive a power cut (fsync each
    time); the others survive the end of the process. `busy_s` is how long to wait for another writer, in seconds,
    `answer_s` how long a server may take to answer one statement.
    """

    writes: bool
    durable: bool
    busy_s: float
    answer_s: float = 10.0


READING = Access(writes=False, durable=False, busy_s=1.0)
# The recorder keeps its rows and tries again, so it must learn soon that the store is locked.
RECORDING = Access(writes=True, durable=False, busy_s=0.1)
# A probe asks whether the store can be written at all: other writers are no failure, so it waits for them.
PROBING = Access(writes=True, durable=False, busy_s=1.0)
DURABLE = Access(writes=True, durable=True, busy_s=5.0)
# Derived state can be computed again, so it need not survive a power cut; and the monitor has time to wait.
MONITORING = Access(writes=True, durable=False, busy_s=5.0, answer_s=60.0)
# Building an index on a large table, or restoring a whole log, takes minutes.
REBUILDING = Access(writes=True, durable=True, busy_s=5.0, answer_s=3600.0)
# A copy reads the whole log, in pieces.
COPYING = Access(writes=False, durable=False, busy_s=1.0, answer_s=600.0)


# The driver has no SQLSTATE (53300) of a connection that was refused, only the server's words.
_ALL_TAKEN = re.compile(r"too many clients already|too many connections for |connection slots are reserved")
MORE_CONNECTIONS = (
    "all connections that the server allows are in use: lower DATABASE_CONNECTIONS or WEB_CONCURRENCY, or raise its "
    "max_connections (or the limit of the role or database)"
)


class StoreFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The condition of a store, seen from outside. Times are µs since 1970, None where there is nothing yet.

    `complaint` is the finding of SQLite's check, which `finished` in time or did not, or the reason why a server
    cannot be the store. `server` is the version of a server, `wal_bytes` the size of SQLite's write-ahead log (None: a
    server). `risks` are settings of a server under which acknowledged data can be lost. `bytes_per_day` is how fast
    SQLite's file grows at the rate of the last day. `archive` is the last mark of what is archived.
    `open_erasure_us` is when the first erasure that has not ended began. `key` is the fingerprint of the deployment's.
    """

    complaint: str | None
    newest_prediction_us: int | None
    heartbeat_us: int | None
    finished: bool = True
    wal_bytes: int | None = None
    server: str | None = None
    risks: tuple[str, ...] = ()
    bytes_per_day: float | None = None
    archive: ArchiveMark | None = None
    open_erasure_us: int | None = None
    key: str | None = None


def unavailable(what: str, error: Exception) -> StoreUnavailable:
    """`error` as `StoreUnavailable` in one line that begins with `what`; a `StoreUnavailable` is returned unchanged."""
    if isinstance(error, StoreUnavailable):
        return error
    # SQLAlchemy's own text would repeat the statement with its parameters, which are users' data.
    reason = str(error.orig if isinstance(error, DBAPIError) else error).removeprefix("connection failed: ")
    told = "; ".join(line.strip() for line in reason.splitlines() if line.strip())
    return StoreUnavailable(f"{what}: {told}; {MORE_CONNECTIONS}" if _ALL_TAKEN.search(told) else f"{what}: {told}")


class StoreLock(Protocol):
    """A lock that one process at a time can hold; free again when its holder ends, however it ends."""

    def acquire(self) -> bool:
        """Whether it is ours now; does not wait. Raises `StoreUnavailable`."""
        ...

    def held(self) -> bool:
        """Whether it still is ours: a server that was restarted has forgotten it."""
        ...

    def release(self) -> None:
        """Free the lock. Harmless when repeated."""
        ...


class DatabaseServer(Protocol):
    """The part of a kind that only a server has: it keeps locks, and its tables are replaced inside it."""

    def lock(self, name: str) -> StoreLock:
        """A lock that the server keeps for all hosts. Raises `KeyError` for an unknown name."""
        ...

    def has_store(self) -> bool:
        """Whether it has a store, which must not be overwritten. Raises `StoreUnavailable`."""
        ...

    def live_hosts(self) -> list[str]:
        """The hosts with a worker of the API that was seen within 15 s. Raises `StoreUnavailable`."""
        ...

    def restoring(self, backup: Path, aside: str) -> AbstractContextManager[Callable[[], None]]:
        """Replace the store by the SQLite file `backup`; the former tables are kept in the schema `aside`.

        The block gets a function that commits: without a call of it nothing has changed. Raises `BackupRefused` and
        `StoreUnavailable`.
        """
        ...


class Kind(Protocol):
    """One kind of database, for one URL. Making one touches nothing."""

    @property
    def server(self) -> DatabaseServer | None:
        """The server; None where the store is a file."""
        ...

    @property
    def place(self) -> str:
        """Where the store is, for messages; without the password."""
        ...

    @property
    def file(self) -> Path | None:
        """The file that is the store; None for a server."""
        ...

    @property
    def failures(self) -> tuple[type[Exception], ...]:
        """The driver's own exceptions, beside those of SQLAlchemy."""
        ...

    @property
    def retry_after_s(self) -> float:
        """Seconds for which a store that could not be opened is not tried again."""
        ...

    @property
    def is_fair(self) -> bool:
        """Whether waiting writers are served in the order in which they came."""
        ...

    def engine(self, access: Access) -> Engine:
        """Connections for one way to use the store, none opened yet."""
        ...

    def engines(self) -> Callable[[Access], Engine]:
        """As `engine`, for a process that uses the store in several ways: they share what it may open at once."""
        ...

    def make_folder(self) -> None:
        """Make the folder that the store needs, at the start of a process. Raises `OSError`."""
        ...

    def identity(self) -> object:
        """A value that changes when another store takes the place of the opened one. Raises `OSError`."""
        ...

    def is_program_error(self, error: Exception) -> bool:
        """Whether `error` is a bug of this program, which trying again would not mend."""
        ...

    def keeps_connections(self, error: Exception) -> bool:
        """Whether the connections are still usable after `error`."""
        ...

    def examine(self, within_s: float) -> StoreFacts | None:
        """The store's condition, without making, migrating or locking anything; None where there is no store yet.

        The check takes at most about `within_s` seconds. Raises `StoreUnavailable`.
        """
        ...

    def snapshot(self, copy: Path) -> bool:
        """Write the store as it is at one moment to the SQLite file `copy`; False where there is no store yet.

        Others go on writing meanwhile. Raises `StoreUnavailable`.
        """
        ...

    def scrub(self, _texts: Collection[str], /) -> str | None:
        """Make what was deleted unreadable; what is left to do for that, None for nothing.

        `_texts` are some of those that must be gone. Others go on meanwhile. Raises `StoreUnavailable`.
        """
        ...


MONITOR, REBUILD, ARCHIVE = "monitor.lock", "rebuild.lock", "archive.lock"


@contextmanager
def monitor_lock(folder: Path, kind: Kind, name: str = MONITOR) -> Iterator[StoreLock]:
    """The lock of that name for the store of `kind`, not acquired yet; released at the end of the block.

    Raises `SettingError` for `DATA_DIR` where the lock's file cannot be made in `folder`.
    """
    # Monitors on several hosts may share a database server, but no file: then the server keeps the lock.
    lock = kind.server.lock(name) if kind.server is not None else _file_lock(folder / name)
    try:
        yield lock
    finally:
        lock.release()


def _file_lock(path: Path) -> FileLock:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(0o600)  # now, so that a wrong DATA_DIR stops the start instead of the loop
    except OSError as error:
        raise SettingError("DATA_DIR", f"cannot make the lock {path}: {error.strerror}") from error
    return FileLock(path)
