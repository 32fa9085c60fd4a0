"""Events as one experiment sees them: decoded, with the names of versions instead of ordinals.

Which rows and outcomes are fresh draws of chance, where chance chose once for each user.

A sticky user is one unit: the first exposure counts for the sample ratio, and the first outcome of each kind is the
user's vote, if it is of the version and the weights of that first exposure. Weights that changed may move the user
later: then who is still where is not chance any more, and later outcomes say nothing. A user whom two versions
answered under the same weights is in quarantine: no vote from then on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import msgspec

from app.domain.derived import UserFact
from app.domain.log_event import Event, OutcomeJoined, OutcomeRow, PredictionLogged, PredictionRow
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


class PredictionFact(msgspec.Struct, frozen=True):
    """A prediction of the experiment, with the answers of all versions that gave one."""

    row: PredictionRow
    marks: Marks
    answers: Answers


class FeedbackFact(msgspec.Struct, frozen=True):
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


Fact: TypeAlias = PredictionFact | FeedbackFact | JoinedFact


def fact_of(event: Event, names: dict[int, str]) -> Fact:
    """The event decoded; `names` are the versions by ordinal."""
    if isinstance(event, PredictionLogged):
        row = event.row
        return PredictionFact(row, marks_of_row(row), _answers(row) if row.counts else {})
    outcome = event.outcome
    value = float(msgspec.json.decode(outcome.outcome))
    if isinstance(event, OutcomeJoined):
        return JoinedFact(outcome, event.row, marks_of_row(event.row), value, _answers(event.row), event.at_us)
    return FeedbackFact(outcome, _marks_of_outcome(outcome), names.get(outcome.version_ordinal), value)


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


class Units(msgspec.Struct):
    """The places, in the sequence of facts, of fresh assignments and of outcomes that may vote.

    `changed`: facts to be written. `new_users`: by version. `moved`: users newly in quarantine.
    """

    fresh: set[int] = msgspec.field(default_factory=set)
    votes: set[int] = msgspec.field(default_factory=set)
    changed: dict[int, UserFact] = msgspec.field(default_factory=dict)
    new_users: dict[str, int] = msgspec.field(default_factory=dict)
    moved: int = 0


def sticky_users(facts: Iterable[Fact]) -> set[int]:
    """The users about whom something must be known."""
    return {_user(fact) for fact in facts if fact.marks.sticky} - {0}


def units(facts: Sequence[Fact], known: Mapping[int, UserFact], *, triggered: bool) -> Units:
    """The units among `facts`. In the triggered form a reward votes when it is joined, else when it is told."""
    found = Units()
    for place, fact in enumerate(facts):
        if not fact.marks.randomised:
            continue
        if isinstance(fact, PredictionFact):
            if fact.row.counts:
                _expose(found, place, fact, known)
        elif fact.outcome.counts and _votes_here(fact, triggered):
            _vote(found, place, fact, known)
    return found


def _votes_here(fact: FeedbackFact | JoinedFact, triggered: bool) -> bool:
    waits = triggered and fact.outcome.kind == "reward"
    return isinstance(fact, JoinedFact) == waits


def _expose(found: Units, place: int, fact: PredictionFact, known: Mapping[int, UserFact]) -> None:
    row, user = fact.row, _user(fact)
    if not (fact.marks.sticky and user):
        found.fresh.add(place)
        return
    before = found.changed.get(user) or known.get(user)
    if before is None or (not before.exposed and _same(before, row.epoch, row.version)):
        first = before or UserFact(user_hash=user, epoch=row.epoch, version=row.version)
        found.changed[user] = msgspec.structs.replace(first, exposed=True)
        found.fresh.add(place)
        found.new_users[row.version] = found.new_users.get(row.version, 0) + 1
    elif row.epoch == before.epoch and row.version != before.version and not before.moved:
        found.changed[user] = msgspec.structs.replace(before, moved=True)
        found.moved += 1


def _vote(found: Units, place: int, fact: FeedbackFact | JoinedFact, known: Mapping[int, UserFact]) -> None:
    user, version = _user(fact), fact.row.version if isinstance(fact, JoinedFact) else fact.version
    if not (fact.marks.sticky and user):
        found.votes.add(place)
        return
    if version is None:
        return
    epoch = fact.outcome.epoch
    before = found.changed.get(user) or known.get(user) or UserFact(user_hash=user, epoch=epoch, version=version)
    spent = before.rewarded if fact.outcome.kind == "reward" else before.labelled
    if spent or before.moved or not _same(before, epoch, version):
        return
    found.votes.add(place)
    field = "rewarded" if fact.outcome.kind == "reward" else "labelled"
    found.changed[user] = msgspec.structs.replace(before, **{field: True})


def _same(before: UserFact, epoch: int, version: str) -> bool:
    return (before.epoch, before.version) == (epoch, version)


def _user(fact: Fact) -> int:
    return fact.row.user_hash if isinstance(fact, PredictionFact) else fact.outcome.user_hash
