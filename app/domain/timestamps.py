"""The one text for a moment: in the API, in reports and in the audit log; and dates in the values of features."""

from __future__ import annotations

import re
import time
from datetime import datetime

_US = 1_000_000
_DIGIT = re.compile("[0-9]")
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


def is_iso_date(text: str, form: str | None = None) -> bool:
    """Whether the text is a date, or a date and a time, in ISO 8601: `2026-11-20`, `2026-11-20T12:00:00+01:00`.

    With `form`, another date, it must be written like that: digits where it has digits, all else the same.
    """
    if form is not None and _DIGIT.sub("0", text) != _DIGIT.sub("0", form):
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True
