"""One commit for the work of all callers that wait for one."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from app.errors import StoreUnavailable
from app.services.boundaries import attempt

_SLOW = "the store is too slow at the moment: nothing of this request is acknowledged, so send it again"
Work = TypeVar("Work")
Result = TypeVar("Result")


class _Ticket(Generic[Work, Result]):
    """One caller's work and, once committed, its result or the error that the commit raised."""

    __slots__ = ("done", "error", "result", "work")

    def __init__(self, work: Work) -> None:
        self.work = work
        self.result: Result | None = None
        self.error: Exception | None = None
        self.done = False


class GroupCommit(Generic[Work, Result]):
    """Calls `commit` with the work of all waiting callers; has no thread of its own, so it may cross a fork.

    A caller waits at most `wait_s` seconds for the commit before its own, and up to `most` wait at a time.
    """

    def __init__(
        self, commit: Callable[[Sequence[Work]], list[Result]], wait_s: float, most: int = sys.maxsize
    ) -> None:
        self._commit = commit
        self._wait_s = wait_s
        self._most = most
        self._committing = threading.Lock()
        self._gathering = threading.Lock()
        self._waiting: list[_Ticket[Work, Result]] = []
        self._callers = 0

    def submit(self, work: Work) -> Result:
        """The result for `work`, once committed.

        Raises what `commit` raised, and `StoreUnavailable` after `wait_s`, or at once where enough others wait.
        """
        ticket: _Ticket[Work, Result] = _Ticket(work)
        with self._gathering:
            if self._callers > self._most:
                raise StoreUnavailable(_SLOW)
            self._callers += 1
            self._waiting.append(ticket)
        try:
            self._settle(ticket)
        finally:
            with self._gathering:
                self._callers -= 1
        if ticket.error is not None:
            raise ticket.error
        return ticket.result  # type: ignore[return-value]

    def _settle(self, ticket: _Ticket[Work, Result]) -> None:
        # Whoever gets the lock commits for all who wait: one fsync for many requests.
        if not self._committing.acquire(timeout=self._wait_s):
            self._withdraw(ticket)
            raise StoreUnavailable(_SLOW)
        try:
            if not ticket.done:  # the commit before may have taken this ticket along
                self._commit_waiting()
        finally:
            self._committing.release()

    def _commit_waiting(self) -> None:
        with self._gathering:
            tickets, self._waiting = self._waiting, []
        results = attempt(self._commit, [ticket.work for ticket in tickets])
        if isinstance(results, Exception):  # each caller raises it in its own thread
            for ticket in tickets:
                ticket.error, ticket.done = results, True
            return
        for ticket, result in zip(tickets, results, strict=True):
            ticket.result, ticket.done = result, True

    def _withdraw(self, ticket: _Ticket[Work, Result]) -> None:
        with self._gathering:
            if ticket in self._waiting:  # otherwise the commit that runs has it, and nobody can stop that
                self._waiting.remove(ticket)
