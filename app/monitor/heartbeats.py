"""Heartbeats in the log: while reward windows are open and no traffic says how late it is, the monitor does.

A window closes by the time of the log. A replay closes it at the same place among the events only because the passing
of time is an event too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

REST_US = 60_000_000


class OpenWindows(Protocol):
    """The windows that are open. Raises `StoreUnavailable`."""

    def any_window(self) -> bool: ...


class Heartbeats(Protocol):
    """The log of heartbeats. Raises `StoreUnavailable`."""

    def newest_event_us(self) -> int: ...

    def append(self) -> None: ...


class HeartbeatControl:
    """Appends a heartbeat where any of `windows` are open and the newest event, heartbeats included, is `REST_US` old.

    For the one monitor that leads. `now_us` is the clock (µs since 1970). Calls raise `StoreUnavailable`.
    """

    def __init__(self, windows: Sequence[OpenWindows], heartbeats: Heartbeats, now_us: Callable[[], int]) -> None:
        self._windows = windows
        self._heartbeats = heartbeats
        self._now_us = now_us

    def __call__(self) -> None:
        """Append one if it is due."""
        waits = any(each.any_window() for each in self._windows)
        if waits and self._now_us() - self._heartbeats.newest_event_us() >= REST_US:
            self._heartbeats.append()
