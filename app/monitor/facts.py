"""Events as one experiment sees them: decoded, with the names of versions instead of ordinals."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from app.domain.log_event import Event, Joined, OutcomeRow, PredictionRow, Served
from app.domain.outcome import OutcomeKind
from app.domain.prediction_id import Marks, read_marks

_RANDOM = ("weighted", "sticky", "bandit")


class Answer(msgspec.Struct, frozen=True):
    """One version's logged answer: class id and probabilities, or a number."""

    c: int | None = None
    p: tuple[float, ...] | None = None
    v: float | None = None


Answers: TypeAlias = dict[str, Answer]
_DECODER = msgspec.json.Decoder(Answers)


class ServedFact(msgspec.Struct, frozen=True):
    """A prediction of the experiment, with the answers of all versions that gave one."""

    row: PredictionRow
    marks: Marks
    answers: Answers


class ToldFact(msgspec.Struct, frozen=True):
    """An outcome of the experiment; `version` answered (None: no version of this experiment has that ordinal)."""

    outcome: OutcomeRow
    marks: Marks
    version: str | None
    value: float

    @property
    def kind(self) -> OutcomeKind:
        """A label or a reward."""
        return self.outcome.kind


class JoinedFact(msgspec.Struct, frozen=True):
    """An outcome with the answers of all versions to that request."""

    outcome: OutcomeRow
    row: PredictionRow
    marks: Marks
    value: float
    answers: Answers
    at_us: int


Fact: TypeAlias = ServedFact | ToldFact | JoinedFact


def fact_of(event: Event, names: dict[int, str]) -> Fact:
    """The event decoded; `names` are the versions by ordinal."""
    if isinstance(event, Served):
        row = event.row
        return ServedFact(row, marks_of_row(row), _answers(row) if row.counts else {})
    outcome = event.outcome
    value = float(msgspec.json.decode(outcome.outcome))
    if isinstance(event, Joined):
        return JoinedFact(outcome, event.row, marks_of_row(event.row), value, _answers(event.row), event.at_us)
    return ToldFact(outcome, _marks_of_outcome(outcome), names.get(outcome.version_ordinal), value)


def marks_of_row(row: PredictionRow) -> Marks:
    """The marks in the row's id; where it is not of our format, what the row's assignment says."""
    marks = read_marks(row.prediction_id)
    if marks is None:
        random = row.counts and row.assignment in _RANDOM
        return Marks(version_ordinal=0, randomised=random, sticky=row.assignment == "sticky", first=True)
    return marks


def _marks_of_outcome(outcome: OutcomeRow) -> Marks:
    marks = read_marks(outcome.prediction_id)
    if marks is None:
        return Marks(outcome.version_ordinal, outcome.randomised, sticky=False, first=True)
    return marks


def _answers(row: PredictionRow) -> Answers:
    return _DECODER.decode(row.answers)
