"""Projects what was served: requests, errors, latencies, the realised split, guardrails."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

import numpy as np
from msgspec import UNSET

from app.domain.experiment import SlowLimit, slow_limit
from app.monitor.experiment.draws import Rules
from app.monitor.experiment.events import Fact, JoinedFact, PredictionFact
from app.monitor.experiment.latencies import bucket_of
from app.monitor.experiment.splits import Split
from app.monitor.experiment.state import ExperimentPlan, ExperimentState
from app.monitor.experiment.units import UnitLedger, key_identity, user_identity
from app.stats import checks, guardrails
from app.stats.checks import RatioState

MARGIN = 0.25
_ENOUGH_ANSWERS = 100
# A policy divides by the sum of the weights, so a propensity may differ from the weight by rounding.
_ROUNDING = 1e-6
# Where both versions were asked and one of them failed, chance had no part in which: a factor of its own, under the
# config revision that no experiment has.
_BOTH_ASKED, _EVEN = 0, 0.5
_ERROR_BIT, _SLOW_BIT, _BITS = 0, 1, 2
# People send fewer requests than this on average; what sends more is another service, and stands for many people.
_MOST_OF_A_PERSON = 100


class Batch(NamedTuple):
    """What a batch of facts is read with."""

    fresh: set[int]
    rules: Rules
    ledger: UnitLedger


class Assigned(NamedTuple):
    """Plain events at their places among all: config revision, and number of the version; shape (n,) each."""

    places: np.ndarray
    epochs: np.ndarray
    members: np.ndarray


class PlainRequests(Protocol):
    """The plain requests between the facts."""

    assigned: Assigned

    def until(self, place: float) -> None:
        """Apply those before a place."""


def apply_traffic(
    state: ExperimentState, plan: ExperimentPlan, facts: Mapping[int, Fact], batch: Batch, plain: PlainRequests
) -> None:
    """Apply the predictions among `facts`, and the plain ones between them, to `state`, in place.

    `batch.fresh` are the places of the predictions that are new draws of chance.
    """
    assigned: list[tuple[int, Split, str]] = []
    limit = slow_limit(plan.terms.guardrail_slow)
    for place, fact in facts.items():
        if not isinstance(fact, PredictionFact):
            continue
        plain.until(place)
        if fact.row.is_reported:
            _count_exposure(state, fact)
        elif not fact.row.counts:
            _count_forced(state, fact)
        if not fact.row.counts:
            continue
        if fact.marks.first:
            if not fact.row.is_reported:  # which has no latency, and cannot fail
                _count_request(state, plan, fact, limit, batch)
            _count_user(state, fact, place, batch)
        if place in batch.fresh and as_configured(state, fact):
            assigned.append((place, fact.split, fact.row.version))
        _watch_failures(state, plan, fact, batch)
    plain.until(math.inf)
    state.sample_ratio = follow_ratio(state.sample_ratio, state, assigned, plain.assigned)


def follow_ratio(
    ratio: RatioState, state: ExperimentState, events: Iterable[tuple[int, Split, str]], plain: Assigned
) -> RatioState:
    """The check after events (place, split, version) and the plain ones between them, in runs of one split."""
    numbers = {version: number for number, version in enumerate(state.versions)}
    splits: dict[int, Mapping[str, float]] = {}
    splits |= {epoch: state.epochs[epoch] for epoch in np.unique(plain.epochs).tolist()}
    rows = []
    for place, split, version in events:
        splits[split.number] = split.shares
        rows.append((place, split.number, numbers[version]))
    places, of, members = np.concatenate([np.array(rows, np.int64).reshape(-1, 3).T, np.stack(plain)], axis=1)
    order = np.argsort(places)
    of, members = of[order], members[order]
    for run in np.split(np.arange(len(of)), np.flatnonzero(np.diff(of)) + 1):
        if run.size:
            number = int(of[run[0]])
            shares = tuple(splits[number].get(version, 0.0) for version in state.versions)
            ratio = checks.follow(ratio, number, shares, members[run])
    return ratio


def _count_forced(state: ExperimentState, fact: PredictionFact) -> None:
    tally = state.versions.get(fact.row.version)
    if tally is not None and not fact.marks.synthetic:
        tally.forced_requests += fact.marks.first


def _count_exposure(state: ExperimentState, fact: PredictionFact) -> None:
    if fact.marks.synthetic or fact.row.version not in state.versions:
        return
    known = {} if state.exposures is UNSET else state.exposures
    counted, others = known.get(fact.row.version, (0, 0))
    state.exposures = known | {fact.row.version: (counted + fact.row.counts, others + (not fact.row.counts))}


def _count_request(
    state: ExperimentState, plan: ExperimentPlan, fact: PredictionFact, limit: SlowLimit | None, batch: Batch
) -> None:
    row = fact.row
    tally, chosen = state.versions.get(row.version), state.versions.get(row.chosen)
    _count_in_epoch(state.chosen, row.epoch, row.chosen)
    for version in sorted(fact.lacking & state.versions.keys()):
        _count_in_epoch(state.lacked, row.epoch, version)
    for challenger, pair in state.pairs.items():
        pair.failed_in_request = False
        pair.apart += plan.parts(fact.lacking, challenger)
    if tally is not None:
        tally.requests += 1
    if row.version != row.chosen:
        # Another version answered, because the chosen one failed: the error is the chosen one's.
        _count_in_epoch(state.failed, row.epoch, row.chosen)
        if chosen is not None:
            chosen.errors += 1
    elif tally is not None:
        bucket = bucket_of(row.latency_us)
        tally.latency[bucket] = tally.latency.get(bucket, 0) + 1
        _watch_latency(state, plan, fact, limit, batch)


def _count_user(state: ExperimentState, fact: PredictionFact, place: int, batch: Batch) -> None:
    """Count a named user's request, and the user at the first one."""
    if not fact.user_hash:
        return
    state.named_requests += 1
    # Of users who stay with one version, it is known who is new. Others are remembered like the events of users.
    if batch.rules.is_sticky(fact):
        state.named_users += place in batch.fresh
    else:
        state.named_users += batch.ledger.is_first_of_kind(user_identity(fact.row), naming_bit(state))


def naming_bit(state: ExperimentState) -> int:
    """The number of the event that a user who is not sticky was named, among those that a unit contributes once."""
    return _BITS * len(state.pairs)


def _users_are_people(state: ExperimentState) -> bool:
    """Whether named users seem to be people, who meet one fault again and again, and not a few services."""
    return state.named_requests <= _MOST_OF_A_PERSON * state.named_users


def _watch_latency(
    state: ExperimentState, plan: ExperimentPlan, fact: PredictionFact, limit: SlowLimit | None, batch: Batch
) -> None:
    row = fact.row
    if slow_is_known(state):
        _count_in_epoch(state.timed, row.epoch, row.version)
    if is_slow(state, row.latency_us, limit):
        by_user = batch.rules.is_sticky(fact)
        counting = [
            challenger
            for place, challenger in enumerate(state.pairs)
            if row.version in (plan.baseline, challenger)
            and not plan.parts(fact.lacking, challenger)
            and _is_event(fact, place, _SLOW_BIT, batch, by_user=by_user)
        ]
        follow_slow(state, plan, (row.epoch, row.version), counting)
    # After the answer was classified: the threshold must be fixed before the answer that it classifies.
    if row.version == plan.baseline:
        state.slow_threshold = state.slow_threshold.observe(row.latency_us)


def follow_slow(
    state: ExperimentState, plan: ExperimentPlan, served: tuple[int, str], challengers: Iterable[str]
) -> None:
    """Count a slow answer, and follow it in the pairs of those of the challengers that it is one for.

    `served`: the config revision, and the version that answered.
    """
    epoch, version = served
    _count_in_epoch(state.slow, epoch, version)
    for challenger in challengers:
        if version in (plan.baseline, challenger):
            pair, share = state.pairs[challenger], plan.share(state.epochs[epoch], challenger)
            pair.slow = guardrails.follow(pair.slow, epoch, share, np.array([version == challenger]), MARGIN)


def _watch_failures(state: ExperimentState, plan: ExperimentPlan, fact: PredictionFact, batch: Batch) -> None:
    """Errors for the guardrails, at most one of a request: a batch fails as a whole, and that is one event."""
    for place, (challenger, pair) in enumerate(state.pairs.items()):
        error = None if pair.failed_in_request else _error(state, plan, fact, challenger)
        if error is None:
            continue
        epoch, share, owners = error
        # A user whose requests all fail with one version is one event, and equal versions meet such users alike. Where
        # the only users are services, a broken version must show with one of them.
        by_user = batch.rules.is_sticky(fact) if epoch != _BOTH_ASKED else _users_are_people(state)
        if _is_event(fact, place, _ERROR_BIT, batch, by_user=by_user and fact.user_hash != 0):
            pair.failed_in_request = True
            pair.errors = guardrails.follow(pair.errors, epoch, share, np.array(owners), MARGIN)


def _error(
    state: ExperimentState, plan: ExperimentPlan, fact: PredictionFact, challenger: str
) -> tuple[int, float, tuple[bool, ...]] | None:
    """The errors that a row is for a pair: its config revision, the challenger's share, and whether each is its own."""
    row, answers = fact.row, fact.answers
    if plan.parts(fact.lacking, challenger):
        return None
    base, other, chosen = answers.get(plan.baseline), answers.get(challenger), answers.get(row.chosen)
    if base is not None and other is not None and (base.is_missing or other.is_missing):
        # A row on which both failed is an error of each, or the margin would be one of the other rows alone.
        owners = (False,) * base.is_missing + (True,) * other.is_missing
        return _BOTH_ASKED, _EVEN, owners
    # A version that was shut off was not asked: the failures that shut it off were counted, and one fault that shuts it
    # off for a minute is one fault.
    if plan.terms.unit is not None:
        return None
    # Releases before did not mark failures: only the chosen one was asked, and that it was this one is chance, at its
    # share of the traffic.
    unmarked = row.version != row.chosen and not (chosen is not None and chosen.is_missing)
    if not unmarked or not fact.marks.first or row.chosen not in (plan.baseline, challenger):
        return None
    return row.epoch, plan.share(state.epochs[row.epoch], challenger), (row.chosen == challenger,)


def _is_event(fact: PredictionFact, place: int, bit: int, batch: Batch, *, by_user: bool) -> bool:
    """Whether a bad event counts: of a case that is sent again, only the first of its kind does.

    So it is for the user, if `by_user`.
    """
    units = key_identity(fact.row)
    if by_user:
        units = (user_identity(fact.row), *units)
    # A list, so that every one of them remembers the event, also behind one that has met it.
    firsts = [batch.ledger.is_first_of_kind(unit, _BITS * place + bit) for unit in units]
    return all(firsts)


def _count_in_epoch(counts: dict[int, dict[str, int]], epoch: int, version: str) -> None:
    of_epoch = counts.setdefault(epoch, {})
    of_epoch[version] = of_epoch.get(version, 0) + 1


def slow_is_known(state: ExperimentState) -> bool:
    """Whether the baseline has answered often enough to say what is slow."""
    return state.slow_threshold.log_us is not None and state.slow_threshold.n >= _ENOUGH_ANSWERS


def is_slow(state: ExperimentState, latency_us: float, limit: SlowLimit | None) -> bool:
    """Whether an answer is slow by the threshold known before it."""
    # The baseline's own answers say what is slow, because chance makes them comparable.
    threshold = state.slow_threshold
    if limit is None or threshold.log_us is None or not slow_is_known(state):
        return False
    return latency_us > limit.factor * math.exp(threshold.log_us) + limit.allowance_us


def as_configured(state: ExperimentState, fact: PredictionFact | JoinedFact) -> bool:
    """Whether the version that answered was drawn by the split of its config revision and its columns.

    It was not where the chosen version failed, or where a worker could not serve every version just then. Such rows
    would fail the check of the sample ratio although the split is sound.
    """
    return fact.row.version == fact.row.chosen and drawn_as_configured(state, fact)


def drawn_as_configured(state: ExperimentState, fact: PredictionFact | JoinedFact) -> bool:
    """Whether the version that was chosen was drawn by that split, whichever answered in the end."""
    row, share = fact.row, fact.split.shares.get(fact.row.chosen)
    if share is None or row.chosen not in state.versions:
        return False
    return is_at_share(row.propensity, share)


def is_at_share(propensity: float | None, share: float) -> bool:
    """Whether a version was drawn with the probability that is its share; also where the log does not say."""
    return propensity is None or abs(propensity - share) < _ROUNDING
