"""The one text for a moment: in the API, in reports and in the audit log."""

from __future__ import annotations

import time

_US = 1_000_000
_last_second: tuple[int, str] = (0, "1970-01-01T00:00:00")


def iso_utc(at_us: int) -> str:
    """µs since 1970 as ISO 8601 (RFC 3339) in UTC: `2026-11-20T12:00:00.123456Z`."""
    global _last_second
    second, micros = divmod(at_us, _US)
    known, text = _last_second  # one read: another thread may swap the pair in between
    # The text of the last second is kept: many requests come in one second, and formatting it costs more than the rest.
    if second != known:
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        _last_second = (second, text)
    return f"{text}.{micros:06d}Z"
