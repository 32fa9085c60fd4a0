"""Count what came back, from several threads, and sum it up."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import msgspec

from app.simulation.client import Accepted, Answer, Problem
from app.simulation.rows import Label


class VersionScore(msgspec.Struct, frozen=True):
    """One version's answers as seen by who knows the truth of each: a share that is right, or a mean error."""

    answers: int
    accuracy: float | None = None
    mean_absolute_error: float | None = None


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """A run, or what there has been of it. `errors` and `label_errors` count by code; `labels_told` were sent."""

    planned: int
    sent: int
    answered: int
    seconds: float
    versions: Mapping[str, VersionScore]
    assignments: Mapping[str, int]
    errors: Mapping[str, int]
    labels_told: int
    labels_accepted: int
    labels_duplicate: int
    label_errors: Mapping[str, int]
    notes: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether everything planned was sent, answered and, where it was told, taken."""
        return self.sent == self.answered == self.planned and not self.label_errors


class _Version:
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
        self._versions: dict[str, _Version] = {}
        self._assignments: dict[str, int] = {}
        self._errors: dict[str, int] = {}
        self._label_errors: dict[str, int] = {}
        self._notes: dict[str, None] = {}
        self._sent = self._told = self._accepted = self._duplicates = 0

    @property
    def sent(self) -> int:
        """Requests sent so far, answered or not."""
        return self._sent

    def answered(self, answer: Answer, label: Label) -> None:
        """An answer to a row whose true label is known."""
        with self._lock:
            self._sent += 1
            version = self._versions.setdefault(answer.model_version, _Version())
            version.answers += 1
            if self._regression:
                version.error += abs(float(answer.prediction) - float(label))
            else:
                version.right += answer.prediction == label
            self._assignments[answer.assignment] = self._assignments.get(answer.assignment, 0) + 1

    def refused(self, problem: Problem) -> None:
        """A request without a prediction."""
        with self._lock:
            self._sent += 1
            self._errors[problem.code] = self._errors.get(problem.code, 0) + 1

    def told(self, labels: int, result: Accepted | Problem) -> None:
        """`labels` were told together."""
        with self._lock:
            self._told += labels
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
                labels_told=self._told,
                labels_accepted=self._accepted,
                labels_duplicate=self._duplicates,
                label_errors=dict(self._label_errors),
                notes=tuple(self._notes),
            )

    def _score(self, version: _Version) -> VersionScore:
        if self._regression:
            return VersionScore(version.answers, mean_absolute_error=version.error / version.answers)
        return VersionScore(version.answers, accuracy=version.right / version.answers)
