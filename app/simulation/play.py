"""Count what came back, from several threads, and sum it up.

The summary as text for a terminal.

Play planned requests against the service from several threads, at a given pace, and tell the labels.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Protocol, TypeVar

import msgspec

from app.simulation.client import NO_ANSWER, Accepted, ServiceAnswer, ServiceOutcome, ServiceProblem
from app.simulation.plan import PlannedRequest
from app.simulation.rows import Label


class VersionScore(msgspec.Struct, frozen=True):
    """One version's answers as seen by who knows the truth of each: a share that is right, or a mean error."""

    answers: int
    accuracy: float | None = None
    mean_absolute_error: float | None = None


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """A run, or what there has been of it. `errors` and `label_errors` count by code; `labels_sent` were sent."""

    planned: int
    sent: int
    answered: int
    seconds: float
    versions: Mapping[str, VersionScore]
    assignments: Mapping[str, int]
    errors: Mapping[str, int]
    labels_sent: int
    labels_accepted: int
    labels_duplicate: int
    label_errors: Mapping[str, int]
    notes: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether everything planned was sent, answered and, where it was told, taken."""
        return self.sent == self.answered == self.planned and not self.label_errors


class _VersionCounts:
    def __init__(self) -> None:
        self.answers = 0
        self.right = 0
        self.error = 0.0


class Tally:
    """Thread-safe counts. `regression` says that a label is a number to be near to, not a name to match."""

    def __init__(self, planned: int, *, regression: bool) -> None:
        self._lock = threading.Lock()
        self._planned = planned
        self._regression = regression
        self._versions: dict[str, _VersionCounts] = {}
        self._assignments: dict[str, int] = {}
        self._errors: dict[str, int] = {}
        self._label_errors: dict[str, int] = {}
        self._notes: dict[str, None] = {}
        self._sent = self._labels_sent = self._accepted = self._duplicates = 0

    @property
    def sent(self) -> int:
        """Requests sent so far, answered or not."""
        return self._sent

    def answered(self, answer: ServiceAnswer, label: Label) -> None:
        """An answer to a row whose true label is known."""
        with self._lock:
            self._sent += 1
            version = self._versions.setdefault(answer.model_version, _VersionCounts())
            version.answers += 1
            if self._regression:
                version.error += abs(float(answer.prediction) - float(label))
            else:
                version.right += answer.prediction == label
            self._assignments[answer.assignment] = self._assignments.get(answer.assignment, 0) + 1

    def refused(self, problem: ServiceProblem) -> None:
        """A request without a prediction."""
        with self._lock:
            self._sent += 1
            self._errors[problem.code] = self._errors.get(problem.code, 0) + 1

    def labels_were_sent(self, labels: int, result: Accepted | ServiceProblem) -> None:
        """`labels` were told together."""
        with self._lock:
            self._labels_sent += labels
            if isinstance(result, Accepted):
                self._accepted += result.accepted
                self._duplicates += result.duplicates
            else:
                self._label_errors[result.code] = self._label_errors.get(result.code, 0) + labels

    def note(self, text: str) -> None:
        """Something that the reader of the summary must know; each text once."""
        with self._lock:
            self._notes.setdefault(text)

    def summary(self, seconds: float) -> Summary:
        """The counts as they are now, after `seconds`."""
        with self._lock:
            return Summary(
                planned=self._planned,
                sent=self._sent,
                answered=sum(version.answers for version in self._versions.values()),
                seconds=seconds,
                versions={name: self._score(self._versions[name]) for name in sorted(self._versions)},
                assignments=dict(self._assignments),
                errors=dict(self._errors),
                labels_sent=self._labels_sent,
                labels_accepted=self._accepted,
                labels_duplicate=self._duplicates,
                label_errors=dict(self._label_errors),
                notes=tuple(self._notes),
            )

    def _score(self, version: _VersionCounts) -> VersionScore:
        if self._regression:
            return VersionScore(version.answers, mean_absolute_error=version.error / version.answers)
        return VersionScore(version.answers, accuracy=version.right / version.answers)


def text_of(summary: Summary) -> str:
    """A few lines: what was sent, what each version answered, what became of the labels."""
    rate = summary.sent / summary.seconds if summary.seconds > 0 else 0.0
    first = f"sent {summary.sent} of {summary.planned} requests in {summary.seconds:.1f} s ({rate:.0f}/s)"
    lines = [first, f"answered {summary.answered}{_listed(summary.assignments)}"]
    if summary.errors:
        lines.append(f"without a prediction {sum(summary.errors.values())}{_listed(summary.errors)}")
    lines += [_version(name, score) for name, score in summary.versions.items()]
    if summary.labels_sent:
        lines.append(f"labels accepted {summary.labels_accepted}, already known {summary.labels_duplicate}")
    if summary.label_errors:
        lines.append(f"labels not taken {sum(summary.label_errors.values())}{_listed(summary.label_errors)}")
    return "\n".join([*lines, *(f"note: {note}" for note in summary.notes)])


def _version(name: str, score: VersionScore) -> str:
    if score.accuracy is not None:
        return f"  {name}: {score.answers} answers, {score.accuracy:.2%} right"
    return f"  {name}: {score.answers} answers, mean absolute error {score.mean_absolute_error:.4g}"


def _listed(counts: Mapping[str, int]) -> str:
    return f" ({', '.join(f'{name} {counts[name]}' for name in sorted(counts))})" if counts else ""


NO_FEEDBACK_YET = "this server takes no feedback yet (POST /feedback: 404): it went on without labels"
_TRIES = 4
_LONGEST_PAUSE_S = 2.0
_UNKNOWN_PREDICTION = "unknown_prediction"
_GONE_AFTER = 20
_T = TypeVar("_T")


class ServiceConnection(Protocol):
    """One thread's way to the service."""

    def predict(self, row: list[float | str | None], user_id: str | None) -> ServiceAnswer | ServiceProblem: ...

    def send_labels(self, outcomes: list[ServiceOutcome]) -> Accepted | ServiceProblem: ...

    def close(self) -> None: ...


class Pace(msgspec.Struct, frozen=True):
    """How fast: `rate` requests a second in all (None: as fast as they are answered) over `concurrency` threads.

    Labels are told `feedback_batch` at a time.
    """

    concurrency: int = 4
    rate: float | None = None
    feedback_batch: int = 50


class Play:
    """One run. `connect` makes a connection for each thread; `plan` is used up."""

    def __init__(
        self, plan: Iterator[PlannedRequest], pace: Pace, connect: Callable[[], ServiceConnection], tally: Tally
    ) -> None:
        self._plan = plan
        self._pace = pace
        self._connect = connect
        self._tally = tally
        self._plan_lock = threading.Lock()
        self._stop = threading.Event()
        self._accepts_labels = True
        self._unanswered_in_a_row = 0
        self._started = time.monotonic()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin to send."""
        self._started = time.monotonic()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(self._pace.concurrency)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Send no more; what is under way is finished, and the labels of what was answered are told."""
        self._stop.set()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the end. True when all is done, False when `timeout_s` has passed before."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(None if deadline is None else max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self) -> None:
        connection = self._connect()
        unsent: list[ServiceOutcome] = []
        while (request := self._next()) is not None:
            answer = self._tried(partial(connection.predict, request.row, request.user_id))
            self._count(request, answer)
            if request.sends_label and isinstance(answer, ServiceAnswer):
                unsent.append(ServiceOutcome(answer.prediction_id, request.label))
            if len(unsent) >= self._pace.feedback_batch:
                unsent = self._send_labels(connection, unsent)
        self._send_labels(connection, unsent)
        connection.close()

    def _next(self) -> PlannedRequest | None:
        """The next request when it is due; None at the end."""
        with self._plan_lock:
            request = None if self._stop.is_set() else next(self._plan, None)
        if request is None or self._pace.rate is None:
            return request
        due = self._started + request.index / self._pace.rate
        return None if self._stop.wait(max(0.0, due - time.monotonic())) else request

    def _count(self, request: PlannedRequest, answer: ServiceAnswer | ServiceProblem) -> None:
        if isinstance(answer, ServiceAnswer):
            self._unanswered_in_a_row = 0
            self._tally.answered(answer, request.label)
            return
        self._tally.refused(answer)
        if answer.code != NO_ANSWER:
            return
        self._unanswered_in_a_row += 1
        if self._unanswered_in_a_row >= _GONE_AFTER:
            self._tally.note(f"the server has gone: {answer.message}")
            self.stop()

    def _send_labels(self, connection: ServiceConnection, unsent: list[ServiceOutcome]) -> list[ServiceOutcome]:
        """Tell the labels, and give back what is left to send_labels: nothing."""
        if unsent and self._accepts_labels:
            result = self._tried(partial(connection.send_labels, unsent))
            if isinstance(result, ServiceProblem) and result.status == 404 and result.code != _UNKNOWN_PREDICTION:
                self._accepts_labels = False
                self._tally.note(NO_FEEDBACK_YET)
            else:
                self._tally.labels_were_sent(len(unsent), result)
        return []

    def _tried(self, call: Callable[[], _T | ServiceProblem]) -> _T | ServiceProblem:
        """The result, asked for again where the service says that it is busy."""
        for _ in range(_TRIES - 1):
            result = call()
            if not isinstance(result, ServiceProblem) or result.status != 503 or result.retry_after_s is None:
                return result
            self._stop.wait(min(result.retry_after_s, _LONGEST_PAUSE_S))
        return call()
