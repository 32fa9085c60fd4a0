"""Moments as text.

Times as the API shows them.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def iso_utc(at_us: int) -> str:
    """µs since 1970 as ISO 8601 in UTC, with microseconds and a Z."""
    return (_EPOCH + timedelta(microseconds=at_us)).isoformat(timespec="microseconds").replace("+00:00", "Z")


_US = 1_000_000
_last_second: tuple[int, str] = (0, "1970-01-01T00:00:00")


def rfc3339(us: int) -> str:
    """µs since 1970 as `2026-11-20T12:00:00.123456Z`.

    The text of the last second is kept: requests come many to a second, and formatting it costs more than the rest.
    """
    global _last_second
    second, micros = divmod(us, _US)
    known, text = _last_second  # one read: another thread may swap the pair in between
    if second != known:
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        _last_second = (second, text)
    return f"{text}.{micros:06d}Z"
