"""SQLite as the store: one file, in WAL mode, that the processes of a host share."""

from __future__ import annotations

import contextlib
import mmap
import sqlite3
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, cast

from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.exc import IntegrityError, InterfaceError, ProgrammingError

from app.clock import now_us
from app.domain.archive import ArchiveMark
from app.errors import SettingError, StoreUnavailable
from app.store.growth import bytes_per_day
from app.store.kinds import Access, StoreFacts
from app.store.packing import TIME_LENGTH
from app.store.statements import HEARTBEAT, statements

_STEPS = 10_000  # of SQLite's virtual machine between two reads of the clock
# A reader that becomes a writer half-way can fail at once, without waiting: SQLITE_BUSY_SNAPSHOT.
BEGIN_WRITING = "BEGIN IMMEDIATE"
_PROGRAM_ERRORS = (
    IntegrityError,
    ProgrammingError,
    InterfaceError,
    sqlite3.IntegrityError,
    sqlite3.ProgrammingError,
    sqlite3.InterfaceError,
)
# Rows × columns stay below the lowest limit of any SQLite build (SQLITE_MAX_VARIABLE_NUMBER before 3.32); and sqlite3
# keeps 128 statements prepared, enough for one of each number of rows.
_MOST_VALUES, _MOST_ROWS = 999, 70
_WAL_LIMIT_BYTES = 64 * 1024 * 1024  # the log is cut to this after a checkpoint; without it, it keeps its greatest size
_CHECKPOINT_S = 10.0
_CHECKPOINT_PAGES = "checkpoint_pages"


def driver_of(connection: Connection) -> sqlite3.Connection:
    """The driver's own connection: SQLAlchemy's way to a statement takes as long as inserting ten rows."""
    driver: Any = connection.connection.driver_connection
    return cast(sqlite3.Connection, driver)


def execute_all(connection: Connection, concern: str, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Execute the named statement of a concern for each of the rows of parameters, in order.

    PostgreSQL gets all of them in one statement, an array a column, where there is one that is named so.
    """
    if not rows:
        return
    named, of_arrays = statements(concern, connection.dialect.name), f"{name}_arrays"
    if connection.dialect.name == "sqlite":
        # The parameters of the driver are written as SQLAlchemy's, which take it several times as long to prepare.
        driver_of(connection).executemany(named[name], rows)
    elif of_arrays in named:
        connection.execute(text(named[of_arrays]), {column: [row[column] for row in rows] for column in rows[0]})
    else:
        connection.execute(text(named[name]), [*rows])


def append_rows(driver: sqlite3.Connection, statement: str, rows: Sequence[Sequence[Any]], conflict: str = "") -> None:
    """Add rows by `statement`, which ends with VALUES; `conflict` is its clause for rows that are there already."""
    width = len(rows[0])
    most = min(_MOST_ROWS, _MOST_VALUES // width)
    for start in range(0, len(rows), most):
        some = rows[start : start + most]
        driver.execute(_of_rows(statement, width, len(some), conflict), [*chain.from_iterable(some)])


@cache
def _of_rows(statement: str, width: int, rows: int, conflict: str) -> str:
    # Not `executemany`: sqlite3 releases the interpreter's lock at every statement, and beside a busy request thread
    # each row would wait a whole switch interval (5 ms) to get it back.
    row = f"({', '.join('?' * width)})"
    return f"{statement} {', '.join([row] * rows)} {conflict}"


def snapshot(source: Path, copy: Path) -> None:
    """Copy the store at `source`, as it is at one moment, to the file `copy`, and check the copy.

    Others go on writing meanwhile. Raises `StoreUnavailable`.
    """
    try:
        # A reader of a write-ahead log blocks no writer, so the size of the store does not matter.
        with (
            contextlib.closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=rw", uri=True, timeout=30)) as live,
            contextlib.closing(sqlite3.connect(copy)) as written,
        ):
            live.backup(written)  # all pages in one transaction: with several, each commit would restart the copy
            written.execute("PRAGMA journal_mode = DELETE")  # in WAL mode the copy would need a second file beside it
            found = written.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        raise StoreUnavailable(f"{source} cannot be copied: {error}") from error
    if found != "ok":
        raise StoreUnavailable(f"{source} is damaged ({found}): restore an earlier backup")


def examine(path: Path, within_s: float) -> StoreFacts | None:
    """The condition of the store at `path`, read-only; None where there is no file.

    SQLite's own check stops after `within_s` seconds. Raises `StoreUnavailable` where the file is no store.
    """
    if not path.exists():
        return None
    try:
        with contextlib.closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)
        ) as connection:
            complaint, finished = _checked(connection, within_s)
            return StoreFacts(
                wal_bytes=_size(path.with_name(path.name + "-wal")),
                complaint=complaint,
                finished=finished,
                newest_prediction_us=_newest_prediction(connection),
                heartbeat_us=_newest(connection, "SELECT updated_at_us FROM monitor_state WHERE name = ?", HEARTBEAT),
                bytes_per_day=bytes_per_day(connection, now_us()),
                archive=_last_mark(connection),
                open_erasure_us=_newest(connection, statements("erasing")["first_open"]),
                key=_newest(connection, statements("deployment")["fingerprint"]),
            )
    except sqlite3.Error as error:
        raise StoreUnavailable(f"{path}: {error}") from error


def scrub(path: Path, texts: Collection[str], within_s: float = _CHECKPOINT_S) -> str | None:
    """Empty the write-ahead log, and look for the texts in the file; what is left to do, None for nothing.

    Raises `StoreUnavailable`.
    """
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=within_s, isolation_level=None)) as connection:
            deadline = time.monotonic() + within_s
            while connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                if time.monotonic() > deadline:
                    return (
                        f"{path}-wal still has old pages, because others read all the time: it is emptied when the "
                        "last process that uses the store ends."
                    )
                time.sleep(0.05)
    except sqlite3.Error as error:
        raise StoreUnavailable(f"{path} cannot be used: {error}") from error
    if not any(_has(path, text.encode("utf-8", "surrogatepass")) for text in texts):
        return None
    return (
        f"{path} still has some of it in unused parts, which an earlier release did not overwrite: stop API and "
        f"monitor once, and run python -c \"import sqlite3; sqlite3.connect('{path}').execute('VACUUM')\""
    )


def _has(path: Path, text: bytes) -> bool:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(text) >= 0


def _last_mark(connection: sqlite3.Connection) -> ArchiveMark | None:
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'archive_marks'").fetchone():
        return None
    row = connection.execute(statements("archive")["last_mark"]).fetchone()
    return None if row is None else ArchiveMark(*row)


def _checked(connection: sqlite3.Connection, within_s: float) -> tuple[str | None, bool]:
    deadline = time.monotonic() + within_s
    connection.set_progress_handler(lambda: int(time.monotonic() > deadline), _STEPS)  # 1 interrupts the check
    try:
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.OperationalError as error:
        if "interrupted" not in str(error):
            raise
        return None, False
    finally:
        connection.set_progress_handler(None, 0)
    return (None if found == "ok" else str(found)), True


def _newest_prediction(connection: sqlite3.Connection) -> int | None:
    old = _newest(connection, "SELECT served_at_us FROM predictions ORDER BY seq DESC LIMIT 1")
    key = _newest(connection, "SELECT id FROM log ORDER BY seq DESC LIMIT 1")
    packed = None if key is None else int.from_bytes(key[:TIME_LENGTH])
    return max((each for each in (old, packed) if each is not None), default=None)


def _newest(connection: sqlite3.Connection, query: str, *values: str) -> Any:
    try:
        row = connection.execute(query, values).fetchone()
    except sqlite3.OperationalError:  # a store of an earlier release has no such table
        return None
    return row[0] if row else None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _checkpoint_pages(url: URL) -> int | None:
    text = url.query.get(_CHECKPOINT_PAGES)
    if text is None:
        return None
    if not isinstance(text, str) or not text.isdecimal():
        raise SettingError("DATABASE_URL", f"{_CHECKPOINT_PAGES} must be a whole number")
    return int(text)


class SQLite:
    """The kind of a `sqlite:` URL. Raises `SettingError` where that names no file.

    `?checkpoint_pages=N` in the URL: from how many pages of write-ahead log on a commit also checkpoints; without it,
    SQLite's own 1,000.
    """

    failures = (sqlite3.Error,)
    retry_after_s = 0.0
    is_fair = False  # a waiting writer sleeps ever longer between its tries, whatever order they came in
    server = None

    def __init__(self, url: URL) -> None:
        if url.database in (None, "", ":memory:") or str(url.database).startswith("file:"):
            reason = "the store must be a file that all processes share: sqlite:////path/to/file"
            raise SettingError("DATABASE_URL", reason)
        self._checkpoint_pages = _checkpoint_pages(url)
        self._url = url.difference_update_query([_CHECKPOINT_PAGES])
        self.file = Path(str(url.database))
        self.place = str(self.file)

    def make_folder(self) -> None:
        """Make the file's folder."""
        self.file.parent.mkdir(parents=True, exist_ok=True)

    def identity(self) -> int:
        """The file's inode: a restored file has another."""
        return self.file.stat().st_ino

    def engine(self, access: Access) -> Engine:
        """Connections in WAL mode; writers begin with the write lock."""
        engine = create_engine(self._url, connect_args={"timeout": access.busy_s})

        @event.listens_for(engine, "connect")
        def _prepare(connection: Any, _record: object) -> None:
            connection.isolation_level = None  # `_begin` begins: the driver would begin without the write lock
            if not connection.execute("PRAGMA page_count").fetchone()[0]:
                # Only an empty file can be made so that it gives room back. Later this would take the write lock.
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {'FULL' if access.durable else 'NORMAL'}")
            connection.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT_BYTES}")
            # What is deleted is overwritten, so that an erased person is not found in unused parts of the file.
            connection.execute("PRAGMA secure_delete = ON")
            if self._checkpoint_pages is not None:
                connection.execute(f"PRAGMA wal_autocheckpoint = {self._checkpoint_pages}")

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            driver_of(connection).execute(BEGIN_WRITING if access.writes else "BEGIN")

        return engine

    def engines(self) -> Callable[[Access], Engine]:
        """`engine`: connections to a file are no scarce thing."""
        return self.engine

    def is_program_error(self, error: Exception) -> bool:
        """Whether `error` is a violated constraint or an invalid statement."""
        return isinstance(error, _PROGRAM_ERRORS)

    def keeps_connections(self, _error: Exception) -> bool:
        """False: an error of the disk may have left the connection unusable, and opening a file is cheap."""
        return False

    def examine(self, within_s: float) -> StoreFacts | None:
        """The condition of the file, with SQLite's own check for up to `within_s` seconds."""
        return examine(self.file, within_s)

    def scrub(self, texts: Collection[str]) -> str | None:
        """Empty the write-ahead log; deleted rows are overwritten already."""
        return scrub(self.file, texts)

    def snapshot(self, copy: Path) -> bool:
        """Copy the store by SQLite's backup interface."""
        if not self.file.is_file():
            return False
        snapshot(self.file, copy)
        return True
