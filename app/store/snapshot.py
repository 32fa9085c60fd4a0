"""A copy of the SQLite store as it was at one moment, while others go on writing."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from app.errors import StoreUnavailable


def snapshot(source: Path, copy: Path) -> None:
    """Write a copy of the store at `source` to `copy`: one file, whole by SQLite's own check.

    Readers of a write-ahead log hold up no writer, so it may be as large as it likes. Raises `StoreUnavailable`.
    """
    try:
        with (
            contextlib.closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=rw", uri=True, timeout=30)) as live,
            contextlib.closing(sqlite3.connect(copy)) as written,
        ):
            live.backup(written)  # all pages in one transaction: with several, each commit beside it begins anew
            written.execute("PRAGMA journal_mode = DELETE")  # else the copy would want a second file beside it
            found = written.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        raise StoreUnavailable(f"{source} cannot be copied: {error}") from error
    if found != "ok":
        raise StoreUnavailable(f"{source} is damaged ({found}): a copy of it would be no backup")
