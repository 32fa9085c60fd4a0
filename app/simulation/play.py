"""Play planned requests against the service from several threads, send the labels, and count the results."""

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

NO_FEEDBACK = "the server has no POST /feedback (it answered 404): the run went on without labels"
_TRIES = 4
_LONGEST_PAUSE_S = 2.0
_UNKNOWN_PREDICTION = "unknown_prediction"
# So many requests in a row without an HTTP answer end the run.
_GONE_AFTER = 20
_T = TypeVar("_T")


class VersionScore(msgspec.Struct, frozen=True):
    """One version's answers compared with all true labels, sent or not: the share that is right, or the mean error."""

    answers: int
    accuracy: float | None = None
    mean_absolute_error: float | None = None


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The counts of a run, or of its part so far.

    `errors` counts requests without a prediction, and `label_errors` rejected labels, by code. `seconds` is the time
    that it took.
    """

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
        """Whether every planned request was sent and answered, and every label sent was accepted."""
        return self.sent == self.answered == self.planned and not self.label_errors


class _VersionCounts:
    def __init__(self) -> None:
        self.answers = 0
        self.right = 0
        self.error = 0.0


class Tally:
    """Thread-safe counts. With `regression`, a label is a number to be near to and not a name to match."""

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
        """A request was answered; `label` is its true one."""
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
        """A request got no prediction."""
        with self._lock:
            self._sent += 1
            self._errors[problem.code] = self._errors.get(problem.code, 0) + 1

    def labels_were_sent(self, labels: int, result: Accepted | ServiceProblem) -> None:
        """`labels` labels were sent in one call, with this result."""
        with self._lock:
            self._labels_sent += labels
            if isinstance(result, Accepted):
                self._accepted += result.accepted
                self._duplicates += result.duplicates
            else:
                self._label_errors[result.code] = self._label_errors.get(result.code, 0) + labels

    def note(self, text: str) -> None:
        """Add a text for the reader of the summary; each text appears once."""
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
    """The summary for a terminal: requests, answers by version, labels and notes, one per line."""
    rate = summary.sent / summary.seconds if summary.seconds > 0 else 0.0
    first = f"sent {summary.sent} of {summary.planned} requests in {summary.seconds:.1f} s ({rate:.0f}/s)"
    lines = [first, f"answered {summary.answered}{_listed(summary.assignments)}"]
    if summary.errors:
        lines.append(f"without a prediction {sum(summary.errors.values())}{_listed(summary.errors)}")
    lines += [_version(name, score) for name, score in summary.versions.items()]
    if summary.labels_sent:
        lines.append(f"labels accepted {summary.labels_accepted}, already known {summary.labels_duplicate}")
    if summary.label_errors:
        lines.append(f"labels rejected {sum(summary.label_errors.values())}{_listed(summary.label_errors)}")
    return "\n".join([*lines, *(f"note: {note}" for note in summary.notes)])


def _version(name: str, score: VersionScore) -> str:
    if score.accuracy is not None:
        return f"  {name}: {score.answers} answers, {score.accuracy:.2%} right"
    return f"  {name}: {score.answers} answers, mean absolute error {score.mean_absolute_error:.4g}"


def _listed(counts: Mapping[str, int]) -> str:
    return f" ({', '.join(f'{name} {counts[name]}' for name in sorted(counts))})" if counts else ""


class ServiceConnection(Protocol):
    """One thread's connection to the service: a `Service`, or a fake."""

    def predict(self, request: PlannedRequest) -> ServiceAnswer | ServiceProblem: ...

    def send_labels(self, outcomes: list[ServiceOutcome]) -> Accepted | ServiceProblem: ...

    def close(self) -> None: ...


class Pace(msgspec.Struct, frozen=True):
    """The speed: `rate` requests per second in all (None: as fast as they are answered) over `concurrency` threads.

    Labels are sent `feedback_batch` at a time, per thread.
    """

    concurrency: int = 4
    rate: float | None = None
    feedback_batch: int = 50


class Play:
    """One run. `connect` makes a connection for each thread; `plan` is consumed."""

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
        """Start the threads that send."""
        self._started = time.monotonic()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(self._pace.concurrency)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Send no more requests; those under way are finished, and the labels of answered ones are sent."""
        self._stop.set()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the end. True if all is done, False if `timeout_s` passed first."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(None if deadline is None else max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self) -> None:
        connection = self._connect()
        unsent: list[ServiceOutcome] = []
        while (request := self._next()) is not None:
            answer = self._with_retries(partial(connection.predict, request))
            self._count(request, answer)
            if request.sends_label and isinstance(answer, ServiceAnswer):
                unsent.append(ServiceOutcome(answer.prediction_id, request.label))
            if len(unsent) >= self._pace.feedback_batch:
                self._send_labels(connection, unsent)
                unsent = []
        self._send_labels(connection, unsent)
        connection.close()

    def _next(self) -> PlannedRequest | None:
        """The next request, when it is due; None at the end."""
        with self._plan_lock:
            request = None if self._stop.is_set() else next(self._plan, None)
        if request is None or self._pace.rate is None:
            return request
        # By its number and not after the previous one, so that a slow answer does not lower the rate.
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
        # Not exact over several threads, which does not matter: any answer sets it back.
        self._unanswered_in_a_row += 1
        if self._unanswered_in_a_row >= _GONE_AFTER:
            self._tally.note(f"the server does not answer any more, the run was stopped: {answer.message}")
            self.stop()

    def _send_labels(self, connection: ServiceConnection, outcomes: list[ServiceOutcome]) -> None:
        if not outcomes or not self._accepts_labels:
            return
        result = self._with_retries(partial(connection.send_labels, outcomes))
        # 404 has two meanings: a forged or foreign prediction id, which is counted, and a server without the call.
        if isinstance(result, ServiceProblem) and result.status == 404 and result.code != _UNKNOWN_PREDICTION:
            self._accepts_labels = False
            self._tally.note(NO_FEEDBACK)
        else:
            self._tally.labels_were_sent(len(outcomes), result)

    def _with_retries(self, call: Callable[[], _T | ServiceProblem]) -> _T | ServiceProblem:
        """The result of `call`, tried up to four times while the service answers 503 with a Retry-After."""
        for _ in range(_TRIES - 1):
            result = call()
            if not isinstance(result, ServiceProblem) or result.status != 503 or result.retry_after_s is None:
                return result
            # On the event and not by sleeping, so that a stop does not wait for the service.
            self._stop.wait(min(result.retry_after_s, _LONGEST_PAUSE_S))
        return call()
