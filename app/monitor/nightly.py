"""Runs a command once every night in a process of its own, so that the monitor's loop never waits for it."""

from __future__ import annotations

import logging
import subprocess
import threading
from collections.abc import Callable, Sequence

import msgspec

from app.services.boundaries import FaultBoundary

_LOG = logging.getLogger(__name__)
_HOUR_US = 3_600 * 1_000_000
_DAY_US = 24 * _HOUR_US
_AT_US = 2 * _HOUR_US  # 02:00 UTC
_POLL_S = 30.0
_END_S = 20.0


def is_due(now_us: int, done_us: int, tried_us: int) -> bool:
    """Whether a night has begun since the last run that succeeded, and the last try is an hour ago (µs since 1970)."""
    night, done = (now_us - _AT_US) // _DAY_US, (done_us - _AT_US) // _DAY_US
    return night > done and now_us - tried_us >= _HOUR_US


class Nightly:
    """Runs `command` every night from 02:00 UTC on, and logs what it prints, which is a JSON object.

    `done_us` returns when it last succeeded, `now_us` is the clock (both µs since 1970). After a failure it is tried
    again every hour.
    """

    def __init__(self, command: Sequence[str], done_us: Callable[[], int], now_us: Callable[[], int]) -> None:
        self._command = command
        self._done_us = done_us
        self._now_us = now_us
        self._tried_us = 0
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._run, name="nightly", daemon=True)

    def start(self) -> None:
        """Begin to look at the clock."""
        self._thread.start()

    def stop(self) -> None:
        """Tell a command that runs to end, and wait for it for a while."""
        with self._lock:
            self._stopping.set()
            if self._process is not None:
                self._process.terminate()
        self._thread.join(_END_S)

    def tick(self) -> None:
        """Run the command if it is due."""
        if is_due(self._now_us(), self._done_us(), self._tried_us):
            self._tried_us = self._now_us()
            self._once()

    def _run(self) -> None:
        boundary = FaultBoundary(_LOG, "nightly_failed", once=True)
        while not self._stopping.is_set():
            with boundary:
                self.tick()
            self._stopping.wait(_POLL_S)

    def _once(self) -> None:
        with self._lock:
            if self._stopping.is_set():
                return
            self._process = subprocess.Popen(  # noqa: S603 - the command is our own
                self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        out, err = self._process.communicate()
        code = self._process.returncode
        with self._lock:
            self._process = None
        if code == 0:
            _LOG.info("archived", extra={"event_fields": msgspec.json.decode(out)})
        elif not self._stopping.is_set():
            reason = err.strip().splitlines()[-1] if err.strip() else f"exit status {code}"
            _LOG.error("archive_failed", extra={"event_fields": {"reason": reason}})
