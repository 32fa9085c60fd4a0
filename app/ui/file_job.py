"""The work on a file that a page sends to the API in batches: it can be cancelled, fails, and is resumed."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod

from app.ui.client import ApiClient
from app.ui.transport import NoResult


class FileJob(ABC):
    """The work on `rows` rows, `done` of them processed, with or without success. `step` sends one batch.

    `failure` stops the job until `resume`.
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.done = 0
        self.cancelled = False
        self.failure: NoResult | None = None
        # A click starts another run of the page while the previous one is still in `step`: one batch at a time.
        self._lock = threading.Lock()

    @property
    def running(self) -> bool:
        """Whether rows are left and the job is neither cancelled nor stopped by a failure."""
        return self.done < self.rows and not self.cancelled and self.failure is None

    def cancel(self) -> None:
        """Stop before the next batch; what was done so far stays. Waits for the batch in progress."""
        self.cancelled = True
        with self._lock:
            return

    def resume(self) -> None:
        """Send the failed batch again."""
        self.failure = None

    def step(self, api: ApiClient) -> None:
        """Send the next batch, if the job is running; failing rows are noted and the others continue."""
        with self._lock:
            if self.running:
                try:
                    self._send_next(api)
                except NoResult as failure:
                    self.failure = failure.with_traceback(None)

    @abstractmethod
    def _send_next(self, api: ApiClient) -> None:
        """Send the next batch and advance `done`. Raises `NoResult`, and has then changed nothing."""
