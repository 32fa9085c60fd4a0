"""Which facts are fresh draws of chance, and which outcomes are comparable by chance.

A request is a draw of its own, except under sticky assignment, where a user is one draw: the first exposure counts for
the sample ratio, and an outcome is comparable only if it is of the version and the config revision of that exposure.
Changed weights may move the user later. Who stays where is then no longer chance. A user whom two versions answered in
one revision is excluded from then on (crossover exclusion). Requests that lack a column of a version with traffic are
drawn at a split of their own (`app.monitor.experiment.splits`), which for a user is as another revision is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from app.domain.monitor_state import UserFact
from app.domain.outcome import OutcomeKind
from app.monitor.experiment.events import CorrectedFact, Fact, FeedbackFact, JoinedFact, PredictionFact

# Which field of a `UserFact` remembers that an outcome of the user has counted.
_VOTED: Mapping[OutcomeKind, str] = {"actual": "labelled", "reward": "rewarded"}


class Draws(msgspec.Struct):
    """Places, among the events, of fresh draws of chance and of outcomes that are comparable by chance.

    `matched` are all outcomes of the version that chance drew; `comparable` only the first of each sticky user.
    `changed`: user facts to be written, by hash. `new_users`: by version. `moved`: users newly excluded.
    """

    fresh: set[int] = msgspec.field(default_factory=set)
    comparable: set[int] = msgspec.field(default_factory=set)
    matched: set[int] = msgspec.field(default_factory=set)
    changed: dict[int, UserFact] = msgspec.field(default_factory=dict)
    new_users: dict[str, int] = msgspec.field(default_factory=dict)
    moved: int = 0


class Rules(msgspec.Struct, frozen=True):
    """What the terms of an experiment make of draws.

    `rewards_wait`: a reward enters when it is joined, else when it is received. `fallbacks_count`: a request whose
    chosen version failed is a draw of that version. `sticky_epochs`: config revisions with sticky assignment.
    """

    rewards_wait: bool
    fallbacks_count: bool
    sticky_epochs: frozenset[int]

    def is_sticky(self, fact: PredictionFact | FeedbackFact | JoinedFact) -> bool:
        """Whether the version followed from the user, whose requests then are one draw."""
        # The id of a fallback answer does not say how the failed version was chosen.
        return fact.user_hash != 0 and (fact.marks.sticky or (_fell_back(fact) and fact.epoch in self.sticky_epochs))

    def is_draw(self, fact: PredictionFact | FeedbackFact | JoinedFact) -> bool:
        """Whether chance chose the version, and this is the row of the request that stands for the choice."""
        return fact.marks.randomised or (self.fallbacks_count and _fell_back(fact) and fact.marks.first)


def _fell_back(fact: PredictionFact | FeedbackFact | JoinedFact) -> bool:
    return not isinstance(fact, FeedbackFact) and fact.row.counts and fact.row.version != fact.row.chosen


def draws(facts: Mapping[int, Fact], known: Mapping[int, UserFact], rules: Rules) -> Draws:
    """The draws among `facts` by place; `known` are the facts about `sticky_users` before."""
    found = Draws()
    for place, fact in facts.items():
        if isinstance(fact, CorrectedFact):
            continue
        # Where only one version could take part, nothing was drawn; under sticky assignment that is no exposure either.
        if not rules.is_draw(fact) or not fact.split.is_drawn:
            continue
        if isinstance(fact, PredictionFact):
            if fact.row.counts:
                _expose(found, place, fact, known, rules)
        elif fact.outcome.counts and _enters_here(fact, rules):
            _compare(found, place, fact, known, rules)
    return found


def sticky_users(facts: Iterable[Fact], rules: Rules) -> set[int]:
    """The hashes of the users whose history decides whether these facts count."""
    return {fact.user_hash for fact in facts if not isinstance(fact, CorrectedFact) and rules.is_sticky(fact)}


def _enters_here(fact: FeedbackFact | JoinedFact, rules: Rules) -> bool:
    # Each outcome is an event twice, when received and when joined. It must enter at exactly one of the two.
    waits = fact.kind == "actual" or rules.rewards_wait
    return isinstance(fact, JoinedFact) == waits


def _expose(found: Draws, place: int, fact: PredictionFact, known: Mapping[int, UserFact], rules: Rules) -> None:
    user, version, draw = fact.user_hash, fact.drawn, fact.split.number
    if not rules.is_sticky(fact):
        found.fresh.add(place)
        return
    before = found.changed.get(user) or known.get(user)
    # An outcome may come before its prediction's row: then the user is known, and not exposed yet.
    if before is None or (not before.exposed and _same(before, draw, version)):
        first = before or UserFact(user_hash=user, epoch=draw, version=version)
        found.changed[user] = msgspec.structs.replace(first, exposed=True)
        found.fresh.add(place)
        found.new_users[version] = found.new_users.get(version, 0) + 1
    elif draw == before.epoch and version != before.version and not before.moved:
        found.changed[user] = msgspec.structs.replace(before, moved=True)
        found.moved += 1


def _compare(
    found: Draws, place: int, fact: FeedbackFact | JoinedFact, known: Mapping[int, UserFact], rules: Rules
) -> None:
    user, version, draw = fact.user_hash, fact.drawn, fact.split.number
    if not rules.is_sticky(fact):
        found.matched.add(place)
        found.comparable.add(place)
        return
    if version is None:
        return
    before = found.changed.get(user) or known.get(user) or UserFact(user_hash=user, epoch=draw, version=version)
    if before.moved or not _same(before, draw, version):
        return
    found.matched.add(place)
    if getattr(before, _VOTED[fact.kind]):
        return
    found.comparable.add(place)
    found.changed[user] = msgspec.structs.replace(before, **{_VOTED[fact.kind]: True})


def _same(before: UserFact, draw: int, version: str) -> bool:
    return (before.epoch, before.version) == (draw, version)
