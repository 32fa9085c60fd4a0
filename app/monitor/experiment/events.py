"""The log's events as one experiment reads them: facts, with ids, answers and values decoded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TypeAlias

import msgspec

from app.domain.log_event import (
    FeedbackReceived,
    OutcomeCorrected,
    OutcomeJoined,
    OutcomeRow,
    PredictionLogged,
    PredictionRow,
)
from app.domain.outcome import OutcomeKind
from app.domain.prediction_id import Marks, read_marks
from app.monitor.experiment.splits import Split, split_of
from app.scoring.answers import Answers, answers_of
from app.scoring.contract import bounded

_RANDOM = ("weighted", "sticky", "bandit")


class PredictionFact(msgspec.Struct, frozen=True):
    """A prediction of the experiment, with the answers of all versions that were asked.

    `lacking` are the versions that took no part, because a column is missing; `split` is the one that it was drawn at.
    """

    row: PredictionRow
    marks: Marks
    answers: Answers
    split: Split
    lacking: frozenset[str] = frozenset()

    @property
    def user_hash(self) -> int:
        """The user's hash; 0 for none."""
        return self.row.user_hash

    @property
    def at_us(self) -> int:
        """When it was served, µs since 1970."""
        return self.row.served_at_us

    @property
    def drawn(self) -> str:
        """The version that chance chose; another one has answered if it failed."""
        return self.row.chosen

    @property
    def epoch(self) -> int:
        """The config revision."""
        return self.row.epoch


class FeedbackFact(msgspec.Struct, frozen=True):
    """An outcome of the experiment when it is received; `served` is None where its ordinal names no known version.

    An id does not say whether a version took no part: `split` is that of all versions.
    """

    outcome: OutcomeRow
    marks: Marks
    served: str | None
    value: float
    split: Split

    @property
    def kind(self) -> OutcomeKind:
        """A label or a reward."""
        return self.outcome.kind

    @property
    def user_hash(self) -> int:
        """The user's hash; 0 for none."""
        return self.outcome.user_hash

    @property
    def at_us(self) -> int:
        """When it was received, µs since 1970."""
        return self.outcome.received_at_us

    @property
    def drawn(self) -> str | None:
        """The version that answered: an id does not say whether another was chosen."""
        return self.served

    @property
    def epoch(self) -> int:
        """The config revision."""
        return self.outcome.epoch


class JoinedFact(msgspec.Struct, frozen=True):
    """An outcome once its prediction's row is in the log too, with the answers of all versions to that request.

    `lacking` and `split` are those of the prediction.
    """

    outcome: OutcomeRow
    row: PredictionRow
    marks: Marks
    value: float
    answers: Answers
    at_us: int
    split: Split
    lacking: frozenset[str] = frozenset()

    @property
    def kind(self) -> OutcomeKind:
        """A label or a reward."""
        return self.outcome.kind

    @property
    def served(self) -> str:
        """The version that answered."""
        return self.row.version

    @property
    def drawn(self) -> str:
        """The version that chance chose; another one has answered if it failed."""
        return self.row.chosen

    @property
    def epoch(self) -> int:
        """The config revision."""
        return self.row.epoch

    @property
    def user_hash(self) -> int:
        """The user's hash; 0 for none."""
        return self.outcome.user_hash


class CorrectedFact(msgspec.Struct, frozen=True):
    """A corrected outcome as it was received, with the value before and after.

    `joined` are the same once its prediction's row is in the log, None until then.
    """

    received: tuple[FeedbackFact, FeedbackFact]
    joined: tuple[JoinedFact, JoinedFact] | None
    corrected_at_us: int

    @property
    def outcome(self) -> OutcomeRow:
        """The outcome that was corrected."""
        return self.received[0].outcome

    @property
    def kind(self) -> OutcomeKind:
        """A label or a reward."""
        return self.outcome.kind


Fact: TypeAlias = PredictionFact | FeedbackFact | JoinedFact | CorrectedFact
Decodable: TypeAlias = PredictionLogged | FeedbackReceived | OutcomeJoined | OutcomeCorrected
# Makes a fact of an event, the versions by ordinal, and the weights of its config revision.
Decode: TypeAlias = Callable[[Decodable, Mapping[int, str], Mapping[str, float]], Fact]


def fact_of(event: Decodable, names: Mapping[int, str], weights: Mapping[str, float]) -> Fact:
    """The event decoded; `names` are the versions by ordinal, `weights` those of its config revision."""
    if isinstance(event, PredictionLogged):
        row = event.row
        lacking = frozenset(row.lacking_versions)
        # A row that does not count is only tallied: its answers, most of the row's text, need not be parsed.
        answers = answers_of(row) if row.counts else {}
        return PredictionFact(row, marks_of_row(row), answers, split_of(row.epoch, weights, lacking), lacking)
    if isinstance(event, OutcomeCorrected):
        return _corrected(event, names, weights)
    if isinstance(event, OutcomeJoined):
        return _joined(event, weights)
    return _received(event.outcome, names, weights)


@lru_cache(1 << 12)
def value_of(text: str) -> float:
    """The value of an outcome, a JSON number."""
    return bounded(float(msgspec.json.decode(text)))


def _joined(event: OutcomeJoined, weights: Mapping[str, float]) -> JoinedFact:
    row, lacking = event.row, frozenset(event.row.lacking_versions)
    split = split_of(row.epoch, weights, lacking)
    value = value_of(event.outcome.present)
    return JoinedFact(event.outcome, row, marks_of_row(row), value, answers_of(row), event.at_us, split, lacking)


def _received(outcome: OutcomeRow, names: Mapping[int, str], weights: Mapping[str, float]) -> FeedbackFact:
    served = names.get(outcome.version_ordinal)
    split = Split(outcome.epoch, weights)
    return FeedbackFact(outcome, _marks_of_outcome(outcome), served, value_of(outcome.present), split)


def _corrected(event: OutcomeCorrected, names: Mapping[int, str], weights: Mapping[str, float]) -> CorrectedFact:
    before, after = value_of(event.correction.replaced), value_of(event.correction.outcome)
    received = _received(event.outcome, names, weights)
    joined = None
    if event.row is not None:
        first = _joined(OutcomeJoined(event.outcome, event.row), weights)
        joined = (msgspec.structs.replace(first, value=before), msgspec.structs.replace(first, value=after))
    return CorrectedFact(
        (msgspec.structs.replace(received, value=before), msgspec.structs.replace(received, value=after)),
        joined,
        event.correction.corrected_at_us,
    )


def marks_of_row(row: PredictionRow) -> Marks:
    """The marks in the row's prediction id; for an id of another format, marks made from the row's assignment."""
    marks = row.marks
    if marks is None:
        random = row.counts and row.assignment in _RANDOM
        return Marks(version_ordinal=0, randomised=random, sticky=row.assignment == "sticky", first=True)
    return marks


def _marks_of_outcome(outcome: OutcomeRow) -> Marks:
    marks = read_marks(outcome.prediction_id)
    if marks is None:
        return Marks(outcome.version_ordinal, outcome.randomised, sticky=False, first=True)
    return marks
