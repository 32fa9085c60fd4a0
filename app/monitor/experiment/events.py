"""The log's events as one experiment reads them, and which of them are fresh draws of chance.

A sticky user is one unit: the first exposure counts for the sample ratio, and the first outcome of each kind is the
user's vote, if it is of the version and the config revision of that first exposure. Changed weights may move the user
later. Who stays where is then no longer chance, so later outcomes do not vote. A user whom two versions answered in
one revision is excluded (crossover exclusion): no vote from then on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import msgspec

from app.domain.log_event import Event, OutcomeJoined, OutcomeRow, PredictionLogged, PredictionRow
from app.domain.monitor_state import UserFact
from app.domain.outcome import OutcomeKind
from app.domain.prediction_id import Marks, read_marks
from app.scoring.contract import Answer

_RANDOM = ("weighted", "sticky", "bandit")
# Which field of a `UserFact` remembers that the user has voted.
_VOTED: Mapping[OutcomeKind, str] = {"actual": "labelled", "reward": "rewarded"}

Answers: TypeAlias = dict[str, Answer]
_DECODER = msgspec.json.Decoder(Answers)


class PredictionFact(msgspec.Struct, frozen=True):
    """A prediction of the experiment, with the answers of all versions that gave one."""

    row: PredictionRow
    marks: Marks
    answers: Answers

    @property
    def user_hash(self) -> int:
        """The user's hash; 0 for none."""
        return self.row.user_hash

    @property
    def at_us(self) -> int:
        """When it was served, µs since 1970."""
        return self.row.served_at_us


class FeedbackFact(msgspec.Struct, frozen=True):
    """An outcome of the experiment when it is received; `served` is None where its ordinal names no known version."""

    outcome: OutcomeRow
    marks: Marks
    served: str | None
    value: float

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


class JoinedFact(msgspec.Struct, frozen=True):
    """An outcome once its prediction's row is in the log too, with the answers of all versions to that request."""

    outcome: OutcomeRow
    row: PredictionRow
    marks: Marks
    value: float
    answers: Answers
    at_us: int

    @property
    def served(self) -> str:
        """The version that answered."""
        return self.row.version

    @property
    def user_hash(self) -> int:
        """The user's hash; 0 for none."""
        return self.outcome.user_hash


Fact: TypeAlias = PredictionFact | FeedbackFact | JoinedFact


def fact_of(event: Event, names: dict[int, str]) -> Fact:
    """The event decoded; `names` are the versions by ordinal."""
    if isinstance(event, PredictionLogged):
        row = event.row
        # A row that does not count is only tallied: its answers, most of the row's text, need not be parsed.
        return PredictionFact(row, marks_of_row(row), _answers(row) if row.counts else {})
    outcome = event.outcome
    value = float(msgspec.json.decode(outcome.outcome))
    if isinstance(event, OutcomeJoined):
        return JoinedFact(outcome, event.row, marks_of_row(event.row), value, _answers(event.row), event.at_us)
    return FeedbackFact(outcome, _marks_of_outcome(outcome), names.get(outcome.version_ordinal), value)


def marks_of_row(row: PredictionRow) -> Marks:
    """The marks in the row's prediction id; for an id of another format, marks made from the row's assignment."""
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
    """Positions, in the sequence of facts, of fresh assignments and of outcomes that may vote.

    `changed`: user facts to be written, by hash. `new_users`: by version. `moved`: users newly excluded.
    """

    fresh: set[int] = msgspec.field(default_factory=set)
    votes: set[int] = msgspec.field(default_factory=set)
    changed: dict[int, UserFact] = msgspec.field(default_factory=dict)
    new_users: dict[str, int] = msgspec.field(default_factory=dict)
    moved: int = 0


def sticky_users(facts: Iterable[Fact]) -> set[int]:
    """The hashes of the users whose history decides whether these facts count."""
    return {fact.user_hash for fact in facts if fact.marks.sticky} - {0}


def units(facts: Sequence[Fact], known: Mapping[int, UserFact], *, triggered: bool) -> Units:
    """The units among `facts`. In the triggered form a reward votes when it is joined, else when it is received."""
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
    # Each outcome is an event twice, when received and when joined. It must vote at exactly one of the two.
    waits = triggered and fact.outcome.kind == "reward"
    return isinstance(fact, JoinedFact) == waits


def _expose(found: Units, place: int, fact: PredictionFact, known: Mapping[int, UserFact]) -> None:
    row, user = fact.row, fact.user_hash
    if not (fact.marks.sticky and user):
        found.fresh.add(place)
        return
    before = found.changed.get(user) or known.get(user)
    # An outcome may come before its prediction's row: then the user is known, and not exposed yet.
    if before is None or (not before.exposed and _same(before, row.epoch, row.version)):
        first = before or UserFact(user_hash=user, epoch=row.epoch, version=row.version)
        found.changed[user] = msgspec.structs.replace(first, exposed=True)
        found.fresh.add(place)
        found.new_users[row.version] = found.new_users.get(row.version, 0) + 1
    elif row.epoch == before.epoch and row.version != before.version and not before.moved:
        found.changed[user] = msgspec.structs.replace(before, moved=True)
        found.moved += 1


def _vote(found: Units, place: int, fact: FeedbackFact | JoinedFact, known: Mapping[int, UserFact]) -> None:
    user, version, epoch = fact.user_hash, fact.served, fact.outcome.epoch
    if not (fact.marks.sticky and user):
        found.votes.add(place)
        return
    if version is None:
        return
    before = found.changed.get(user) or known.get(user) or UserFact(user_hash=user, epoch=epoch, version=version)
    voted = _VOTED[fact.outcome.kind]
    if getattr(before, voted) or before.moved or not _same(before, epoch, version):
        return
    found.votes.add(place)
    found.changed[user] = msgspec.structs.replace(before, **{voted: True})


def _same(before: UserFact, epoch: int, version: str) -> bool:
    return (before.epoch, before.version) == (epoch, version)
