"""`POST /feedback`: verifies the signed prediction ids, makes the outcomes durable, and only then acknowledges them.

Concurrent requests share commits: while one commit runs, further requests gather, and the next commit takes them all.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from app.domain.contract import FeatureContract
from app.domain.outcome import Outcome, label_of, reward_of
from app.domain.prediction_id import Signer
from app.errors import BakeoffError, InvalidRequest, StoreUnavailable
from app.services.boundaries import attempt
from app.services.serving.live_models import LiveModels

Work = TypeVar("Work")
Result = TypeVar("Result")
_KEYS = frozenset(("prediction_id", "actual", "reward"))
_LONG_TEXT = 60


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

    A caller waits at most `wait_s` seconds for the commit before its own.
    """

    def __init__(self, commit: Callable[[Sequence[Work]], list[Result]], wait_s: float) -> None:
        self._commit = commit
        self._wait_s = wait_s
        self._committing = threading.Lock()
        self._gathering = threading.Lock()
        self._waiting: list[_Ticket[Work, Result]] = []

    def submit(self, work: Work) -> Result:
        """The result for `work`, once committed. Raises what `commit` raised, or `StoreUnavailable` after `wait_s`."""
        ticket: _Ticket[Work, Result] = _Ticket(work)
        with self._gathering:
            self._waiting.append(ticket)
        # Whoever gets the lock commits for all who wait: one fsync for many requests.
        if not self._committing.acquire(timeout=self._wait_s):
            self._withdraw(ticket)
            raise StoreUnavailable(
                "the store is too slow at the moment: nothing of this request is acknowledged, so send it again"
            )
        try:
            if not ticket.done:  # the commit before may have taken this ticket along
                self._commit_waiting()
        finally:
            self._committing.release()
        if ticket.error is not None:
            raise ticket.error
        return ticket.result  # type: ignore[return-value]

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


class Receipt(msgspec.Struct, frozen=True):
    """The number of new outcomes and of repeated ones; all are on disk."""

    accepted: int
    duplicates: int


class OutcomeLog(Protocol):
    """The store's side of feedback.

    `commit` makes several submissions durable in one transaction. For each it returns the receipt, or the
    `Contradiction` because of which none of its outcomes was accepted. Raises `StoreUnavailable`: then nothing was.
    """

    def commit(self, submissions: Sequence[Sequence[Outcome]]) -> list[Receipt | BakeoffError]: ...


class Feedback:
    """The use case behind `POST /feedback`. Thread-safe; it may be made before a fork.

    A submission that timed out may have been committed all the same. Repeating it is safe: the outcomes then count as
    duplicates.
    """

    def __init__(self, live: LiveModels, signer: Signer, log: OutcomeLog, wait_s: float = 10.0) -> None:
        self._live = live
        self._signer = signer
        self._commits: GroupCommit[Sequence[Outcome], Receipt | BakeoffError] = GroupCommit(log.commit, wait_s)

    def accept(self, items: Sequence[Any]) -> Receipt:
        """Accept all outcomes of `items`, or none.

        Raises `InvalidRequest`, `UnknownPrediction` and `Contradiction` (for a list with the index), `NotReady` for a
        label while no version is loaded, and `StoreUnavailable` if nothing could be made durable.
        """
        if not items:
            raise InvalidRequest("the list is empty: give at least one outcome", field="feedback")
        outcomes: list[Outcome] = []
        for index, item in enumerate(items):
            try:
                outcomes += self._outcomes(item, index)
            except BakeoffError as error:
                if len(items) == 1:
                    raise
                raise error.within("item", index) from None
        # Returns after the fsync: an acknowledged label that is lost or counted twice spoils an experiment (ADR 9).
        result = self._commits.submit(outcomes)
        if isinstance(result, BakeoffError):
            raise result
        return result

    def _outcomes(self, item: Any, index: int) -> list[Outcome]:
        prediction_id = _checked_item(item)
        # No look-up: the row may still be queued in another worker, and the signed id says all that is needed.
        fact = self._signer.verify(prediction_id)
        found = []
        if "actual" in item:
            value = label_of(item["actual"], self._contract(fact.version_ordinal))
            found.append(Outcome(prediction_id, "actual", value, fact, index))
        if "reward" in item:
            value = reward_of(item["reward"])
            found.append(Outcome(prediction_id, "reward", value, fact, index))
        return found

    def _contract(self, ordinal: int) -> FeatureContract:
        """The contract of the version that answered, or of the reference version if that one is no longer loaded.

        Loaded versions of one service predict the same target, so the reference's classes are the right ones.
        """
        loaded_models = self._live.loaded_models
        for version in loaded_models.versions.values():
            if version.ordinal == ordinal:
                return version.contract
        if loaded_models.reference is None:
            raise self._live.not_ready()
        return loaded_models.versions[loaded_models.reference].contract


def _checked_item(item: Any) -> str:
    """The prediction id of an item with the right keys."""
    if type(item) is not dict:
        raise InvalidRequest('an outcome is an object such as {"prediction_id": "…", "actual": "…"}', field="feedback")
    for key in item:
        if key not in _KEYS:
            shown = key[:_LONG_TEXT]
            raise InvalidRequest(f"unknown key {shown!r}; known keys: {', '.join(sorted(_KEYS))}", field=shown)
    prediction_id = item.get("prediction_id")
    if type(prediction_id) is not str:
        raise InvalidRequest("give prediction_id: the id of the prediction, a string", field="prediction_id")
    if "actual" not in item and "reward" not in item:
        raise InvalidRequest("give actual (the true label) or reward (a number)", field="actual")
    return prediction_id
