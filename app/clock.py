"""The clock of the log. Whatever computes with the time gets it as a parameter; this is what it is given."""

from __future__ import annotations

import time


def now_us() -> int:
    """Microseconds since 1970 (UTC)."""
    return time.time_ns() // 1000
