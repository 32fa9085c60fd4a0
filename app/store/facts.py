"""What a look at the store from outside finds."""

from __future__ import annotations

import msgspec


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
