"""The kinds of database that can be the store, and what differs between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from sqlalchemy import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError

from app.errors import SettingError
from app.store.access import Access
from app.store.facts import StoreFacts

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
    from app.store.postgres.kind import PostgreSQL

    return PostgreSQL(url)


_KINDS: Mapping[str, Callable[[URL], Kind]] = {
    "sqlite": _sqlite,
    "sqlite+pysqlite": _sqlite,
    "postgresql": _postgres,
    "postgresql+psycopg": _postgres,
}
