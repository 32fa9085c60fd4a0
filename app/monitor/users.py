"""Which rows and outcomes are fresh draws of chance, where chance chose once for each user.

A sticky user is one unit: the first exposure counts for the sample ratio, and the first outcome of each kind is the
user's vote, if it is of the version and the weights of that first exposure. Weights that changed may move the user
later: then who is still where is not chance any more, and later outcomes say nothing. A user whom two versions
answered under the same weights is in quarantine: no vote from then on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from app.domain.derived import UserFact
from app.monitor.facts import Fact, JoinedFact, ServedFact, ToldFact


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
        if isinstance(fact, ServedFact):
            if fact.row.counts:
                _expose(found, place, fact, known)
        elif fact.outcome.counts and _votes_here(fact, triggered):
            _vote(found, place, fact, known)
    return found


def _votes_here(fact: ToldFact | JoinedFact, triggered: bool) -> bool:
    waits = triggered and fact.outcome.kind == "reward"
    return isinstance(fact, JoinedFact) == waits


def _expose(found: Units, place: int, fact: ServedFact, known: Mapping[int, UserFact]) -> None:
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


def _vote(found: Units, place: int, fact: ToldFact | JoinedFact, known: Mapping[int, UserFact]) -> None:
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
    return fact.row.user_hash if isinstance(fact, ServedFact) else fact.outcome.user_hash
