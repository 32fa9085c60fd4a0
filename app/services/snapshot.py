"""A value that is slow to read, cached for a short time and shared by all readers in a process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

Value = TypeVar("Value")


class _Read(msgspec.Struct, Generic[Value], frozen=True):
    """A value, the key that it was read for, and the monotonic second when reading it ended."""

    key: object
    value: Value
    at_s: float


class CachedSnapshot(Generic[Value]):
    """Reads a value at most once every `ttl_s` seconds; thread-safe. `clock` is monotonic seconds.

    One value is kept. A reader with another key never gets it: the value is read again. While one thread reads, the
    others get the previous value of their key, and wait only if there is none.

    If reading raises one of `keep_on`, the previous value of the same key is returned, and the next call reads again.
    Any other error is raised and leaves the cache as it was.
    """

    def __init__(self, clock: Callable[[], float], ttl_s: float, keep_on: tuple[type[Exception], ...] = ()) -> None:
        self._clock = clock
        self._ttl_s = ttl_s
        self._keep_on = keep_on
        self._lock = threading.Lock()
        self._last: _Read[Value] | None = None

    def get(self, read: Callable[[], Value], key: object = None) -> Value:
        """The cached value if it is of `key` and less than `ttl_s` old, otherwise what `read` returns."""
        last = self._usable(key)
        if last is not None and self._fresh(last):
            return last.value
        # A slow source must not tie up every thread that asks: only the first caller waits for it.
        if not self._lock.acquire(blocking=last is None):
            assert last is not None
            return last.value
        try:
            last = self._usable(key)  # another thread may have read it while this one waited for the lock
            if last is not None and self._fresh(last):
                return last.value
            return self._read(read, key, last)
        finally:
            self._lock.release()

    def last(self) -> Value | None:
        """The value read last, however old and whatever its key; None if nothing has been read."""
        return None if self._last is None else self._last.value

    def _read(self, read: Callable[[], Value], key: object, last: _Read[Value] | None) -> Value:
        try:
            value = read()
        except self._keep_on:
            if last is None:
                raise
            return last.value
        # Stamped after reading: a source slower than `ttl_s` would otherwise be asked without a pause.
        self._last = _Read(key, value, self._clock())
        return value

    def _usable(self, key: object) -> _Read[Value] | None:
        last = self._last
        return last if last is not None and (last.key is key or last.key == key) else None

    def _fresh(self, last: _Read[Value]) -> bool:
        return self._clock() - last.at_s < self._ttl_s
