"""Projects the answers and labels of a page's plain events: counts at once, evidence in order.

`until` walks up to a place among the events, so that an event that is projected by itself finds what was before it.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from app.domain.log_page import Part, in_blocks
from app.monitor.experiment.events import value_of
from app.monitor.experiment.methods.contract import Observation
from app.monitor.experiment.plain import Labels, Plain, Requests, tells_apart
from app.monitor.experiment.state import ExperimentPlan, ExperimentState, PairState
from app.monitor.experiment.traffic import Assigned
from app.monitor.experiment.unit_columns import UnitColumns
from app.monitor.experiment.units import row_hashes, unit_of_nobody, unit_of_user
from app.scoring.contract import Answer
from app.stats.all_traffic import Coverage


class _PairColumns:
    """The first plain requests of units that both versions of a pair answered, and the plain labels, in order.

    `places` and `differs`, shape (requests,); `labels`, shape (labels, 4), counts up to each label and with it those of
    different answers, wins, losses and equal answers; `gains`, shape (labels,), NaN where there is none. `votes` has
    the first vote's label for each kind of unit, in order, with the number of votes; `done` requests are applied.
    """

    def __init__(
        self,
        requests: tuple[np.ndarray, np.ndarray],
        labels: np.ndarray,
        gains: np.ndarray,
        votes: list[tuple[int, str, int]],
    ) -> None:
        self.votes = votes
        self.places: list[int] = requests[0].tolist()
        self.done = 0
        self.differs: list[bool] = requests[1].tolist()
        self.differ = [0, *np.cumsum(self.differs, dtype=np.int64).tolist()]
        self.labels: list[list[int]] = [[0] * 4, *np.cumsum(labels, axis=0, dtype=np.int64).tolist()]
        self.gains: list[float] = gains.tolist()

    def counts(self, requests: int, labels: int) -> dict[str, int]:
        """What the first so many of each add to the first rows of units, by name in `FirstRows`."""
        labelled, wins, losses, agreeing = self.labels[labels]
        return {
            "both": requests,
            "differ": self.differ[requests],
            "labelled": labelled,
            "wins": wins,
            "losses": losses,
            "agreeing_labelled": agreeing,
        }

    def coverage(self, others: Sequence[int], place: tuple[int, int], labels: int) -> Coverage:
        """What there is before a place (with how many requests at least) with so many labels, on top of `others`."""
        counts = self.counts(bisect_left(self.places, *place), labels)
        return Coverage(**{name: own + count for own, (name, count) in zip(others, counts.items(), strict=True)})


class _LabelColumns(NamedTuple):
    """Labels in order: places among the events, users, their units' numbers, and seqs of the predictions."""

    places: np.ndarray
    users: np.ndarray
    units: np.ndarray
    seqs: np.ndarray


class PlainOutcomes:
    """The answers and labels of the plain events, in order. `rated` are the labels that the check of rates counts."""

    def __init__(self, state: ExperimentState, plan: ExperimentPlan, plain: Plain, units: UnitColumns) -> None:
        self._state = state
        self._done: tuple[float, int] = (0, 0)
        _count_received(state, plan, plain)
        parts, _ = in_blocks(plain.labels.rows)
        labels = _labels_of(plain.labels, parts, units)
        self._places: list[int] = labels.places.tolist()
        self._at_us: list[int] = plain.labels.at_us.tolist()
        self.rated = self._rated(parts, labels.places)
        classes = _classes(parts, len(labels.places), plan)
        values = _values(plan, classes, plain.labels.values)
        requests = {
            challenger: _count_answers(plan, plain.requests, (place, challenger, pair), units)
            for place, (challenger, pair) in enumerate(state.pairs.items())
        }
        gains = np.array([_gains(plan, values, challenger) for challenger in state.pairs]).reshape(
            len(state.pairs), len(labels.seqs)
        )
        votes, late = units.vote(labels.units, labels.seqs, ~np.isnan(gains))
        voted = {plan.baseline: votes.any(axis=0) & ~late}
        self._pairs: dict[str, _PairColumns] = {}
        for place, (challenger, pair) in enumerate(state.pairs.items()):
            counted = _count_labels(plan, (classes, values, gains[place]), (place, challenger, pair), labels, units)
            entering = np.where(votes[place], gains[place], math.nan)
            kinds = _votes_by_kind(votes[place], labels, plan)
            self._pairs[challenger] = _PairColumns(requests[challenger], counted, entering, kinds)
            voted[challenger] = votes[place]
        _score(state, values, voted)
        self._hashes: list[int] = _hashes(parts, (votes & (gains != 0)).any(axis=0)).tolist()

    def until(self, place: float, differs: Mapping[str, list[bool]], found: Mapping[str, list[Observation]]) -> None:
        """Apply what is before a place: appends to `differs` and `found`, by challenger, as single events do."""
        end = bisect_left(self._places, place, self._done[1])
        for challenger, columns in self._pairs.items():
            self._pair_until(
                self._state.pairs[challenger], columns, (place, end), differs[challenger], found[challenger]
            )
        self._done = place, end

    def _pair_until(
        self,
        pair: PairState,
        columns: _PairColumns,
        end: tuple[float, int],
        differs: list[bool],
        found: list[Observation],
    ) -> None:
        (place, last), (_, first) = end, self._done
        requests, done = bisect_left(columns.places, place, columns.done), columns.done
        if requests == done and last == first:
            return
        firsts = pair.firsts
        # What others have added, on top of which the counts of the plain ones are put.
        others = [getattr(firsts, name) - count for name, count in columns.counts(done, first).items()]
        added: list[tuple[int, float]] = []
        for number in range(first, last):
            gain = columns.gains[number]
            if gain == gain:  # else it has none
                coverage = partial(columns.coverage, others, (self._places[number], done), number + 1)
                found.append(Observation(self._places[number], self._at_us[number], gain, coverage=coverage))
                if gain:
                    added.append((self._hashes[number], gain))
        while columns.votes and columns.votes[0][0] < last:
            _, kind, votes = columns.votes.pop(0)
            pair.kinds[kind] = pair.kinds.get(kind, 0) + votes
        differs += columns.differs[done:requests]
        if added:
            pair.rows = pair.rows.add_all(added)
        for own, (name, count) in zip(others, columns.counts(requests, last).items(), strict=True):
            setattr(firsts, name, own + count)
        columns.done = requests

    def _rated(self, parts: Sequence[Part], places: np.ndarray) -> Assigned:
        numbers = {version: number for number, version in enumerate(self._state.versions)}
        epochs, members = np.zeros(len(places), np.int64), np.zeros(len(places), np.int64)
        kept = np.zeros(len(places), bool)
        for block, own, _ in parts:
            epoch, version = block.shared.epoch, block.shared.version
            epochs[own], members[own] = epoch, numbers[version]
            kept[own] = self._state.epochs[epoch].get(version, 0.0) > 0
        return Assigned(places[kept], epochs[kept], members[kept])


def _labels_of(labels: Labels, parts: Sequence[Part], units: UnitColumns) -> _LabelColumns:
    seqs = np.zeros(len(labels.places), np.int64)
    for block, own, at in parts:
        seqs[own] = block.seq_array[at]
    return _LabelColumns(labels.places, labels.users, units.numbers_of(labels.units), seqs)


def _hashes(parts: Sequence[Part], wanted: np.ndarray) -> np.ndarray:
    """The hashes of the wanted labels' rows, 0 for others; shape of `wanted`."""
    found = np.zeros(len(wanted), np.int64)
    for block, own, at in parts:
        found[own[wanted[own]]] = row_hashes(block, at[wanted[own]])
    return found


def _count_received(state: ExperimentState, plan: ExperimentPlan, plain: Plain) -> None:
    """Count the labels as they came, and the served answers' scores, which an id is enough for."""
    metric, terms = plan.metric, plan.terms
    counted = ((each.version, *of, times) for each in plain.received for of, times in each.times.items())
    for served, answer, text, times in counted:
        value = value_of(text)
        state.labels += times
        state.beside += times * (not metric.is_outcome(value, terms))
        tally = state.versions[served]
        tally.labelled += times
        assert metric.score_of_id is not None
        score = metric.counted(terms, metric.score_of_id(answer, value, terms))
        if score is not None:
            tally.scored += times
            tally.total += times * score


def _count_answers(
    plan: ExperimentPlan, requests: Sequence[Requests], numbered: tuple[int, str, PairState], units: UnitColumns
) -> tuple[np.ndarray, np.ndarray]:
    """Count the answers to a pair's requests; the places of the first rows of units, and whether answers differ."""
    place, challenger, pair = numbered
    found = []
    for each in requests:
        pair.asked += len(each.places) * (challenger in each.block.answers)
        apart = tells_apart(plan.metric, each.block, plan.baseline, challenger)
        if apart is not None:
            found.append((each.places, apart[each.at], units.numbers_of(each.units), each.block.seq_array[each.at]))
    if not found:
        return np.zeros(0, np.int64), np.zeros(0, bool)
    order = np.argsort(np.concatenate([places for places, *_ in found]))
    places, different, of, seqs = (np.concatenate(column)[order] for column in zip(*found, strict=True))
    pair.both += len(different)
    pair.differ += int(np.count_nonzero(different))
    pair.gate.open += int(np.count_nonzero(units.claim(place, "differs", of[different], seqs[different])))
    # In a comparison of rewards, the first row of a unit is its first answer that chance chose.
    firsts = np.zeros(len(of), bool) if plan.metric.uses_rewards else units.claim(place, "first", of, seqs)
    return places[firsts], different[firsts]


def _classes(parts: Sequence[Part], labels: int, plan: ExperimentPlan) -> dict[str, np.ndarray]:
    """The class id of each version's answer to the labelled rows, −1 where it was not asked; shape (labels,) each."""
    found = {version: np.full(labels, -1, np.int64) for version in plan.versions}
    for block, own, at in parts:
        for version, answers in block.answers.items():
            if version in found:
                assert answers.classes is not None  # else it was not plain
                found[version][own] = answers.classes[at]
    return found


def _values(plan: ExperimentPlan, classes: Mapping[str, np.ndarray], labels: np.ndarray) -> dict[str, np.ndarray]:
    """The value of each version's answers by the labels' values, NaN for none; shape (labels,) each."""
    known, of = np.unique(labels, return_inverse=True)
    found = {}
    for version, own in classes.items():
        codes, places = np.unique((own + 1) * max(1, len(known)) + of, return_inverse=True)
        values = [math.nan] * len(codes)
        for at, code in enumerate(codes.tolist()):
            class_id, label = divmod(code, max(1, len(known)))
            value = plan.metric.value(Answer(c=class_id - 1), float(known[label]), plan.terms) if class_id else None
            values[at] = math.nan if value is None else value
        found[version] = np.array(values, float)[places]
    return found


def _gains(plan: ExperimentPlan, values: Mapping[str, np.ndarray], challenger: str) -> np.ndarray:
    """The challenger's gain by each label, NaN where there is none; shape (labels,)."""
    base, other = values[plan.baseline], values[challenger]
    scored = ~np.isnan(base) & ~np.isnan(other)
    table = np.array([[plan.metric.gain(plan.terms, b, o) for o in (0.0, 1.0)] for b in (0.0, 1.0)])
    gains = np.full(len(base), math.nan)
    gains[scored] = table[base[scored].astype(int), other[scored].astype(int)]
    return gains


def _count_labels(
    plan: ExperimentPlan,
    known: tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray], np.ndarray],
    numbered: tuple[int, str, PairState],
    labels: _LabelColumns,
    units: UnitColumns,
) -> np.ndarray:
    """Count the labels of a pair, by `known` classes, values and gains; what each adds to the first rows of units, in
    an array of shape (labels, 4)."""
    (classes, values, gains), (place, challenger, pair) = known, numbered
    (base_class, other_class), (base, other) = ((each[plan.baseline], each[challenger]) for each in (classes, values))
    asked = (base_class >= 0) & (other_class >= 0)
    different, won, lost = asked & (base_class != other_class), gains > 0, gains < 0
    pair.differ_labelled += int(np.count_nonzero(different))
    opened = different & units.claimed(place, "differs", labels.units, labels.seqs)
    pair.gate.open -= int(np.count_nonzero(opened))
    pair.gate.wins += int(np.count_nonzero(opened & won))
    pair.gate.losses += int(np.count_nonzero(opened & lost))
    scored = ~np.isnan(gains)
    pair.outcomes += int(np.count_nonzero(scored))
    pair.improvements += (1 if plan.metric.higher_is_better else -1) * float((other[scored] - base[scored]).sum())
    for name, right in (("both", (1, 1)), ("baseline", (1, 0)), ("challenger", (0, 1)), ("neither", (0, 0))):
        cells = int(np.count_nonzero((base == right[0]) & (other == right[1])))
        setattr(pair.cells, name, getattr(pair.cells, name) + cells)
    first = units.claimed(place, "first", labels.units, labels.seqs)
    counted: np.ndarray = np.stack([different, won, lost, asked & ~different], axis=1) & first[:, None]
    return counted


def _votes_by_kind(votes: np.ndarray, labels: _LabelColumns, plan: ExperimentPlan) -> list[tuple[int, str, int]]:
    """The first vote, and the number of votes, of each kind of unit, in order: so the counts of kinds begin."""
    kinds = (unit_of_nobody(plan), labels.users == 0), (unit_of_user(plan), labels.users != 0)
    found = [(np.flatnonzero(votes & own), kind) for kind, own in kinds]
    return sorted((int(own[0]), kind, own.size) for own, kind in found if own.size)


def _score(state: ExperimentState, values: Mapping[str, np.ndarray], voted: Mapping[str, np.ndarray]) -> None:
    """Each version's values, whoever served; and as the votes of their units."""
    for version, tally in state.versions.items():
        known = ~np.isnan(values[version])
        counted = np.where(known, values[version], 0.0)
        tally.known += int(np.count_nonzero(known))
        tally.known_total += float(counted.sum())
        votes = known & voted[version]
        tally.voted += int(np.count_nonzero(votes))
        tally.voted_total += float(counted[votes].sum())
