"""Projects the answers and labels of a page's plain events: counts at once, evidence in order.

`until` walks up to a place among the events, so that an event that is projected by itself finds what was before it.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from app.domain.log_columns import Block
from app.domain.log_event import PredictionRow
from app.monitor.experiment.methods.contract import Observation
from app.monitor.experiment.plain import Label, Plain, Requests, row_of, tells_apart
from app.monitor.experiment.state import ExperimentPlan, ExperimentState, PairState
from app.monitor.experiment.traffic import Assigned
from app.monitor.experiment.units import row_hash
from app.scoring.contract import Answer
from app.stats.all_traffic import Coverage

# The block of a labelled row, the row's place there, and the row.
_Labelled = tuple[Block, int, PredictionRow]


class _PairColumns:
    """The plain requests that both versions of a pair answered, and the plain labels, in order.

    `places` and `differs`, shape (requests,); `labels`, shape (labels, 4), counts up to each label and with it those of
    different answers, wins, losses and equal answers; `gains`, shape (labels,), NaN where there is none. `done` of the
    requests are applied.
    """

    def __init__(
        self, requests: Sequence[tuple[np.ndarray, np.ndarray]], labels: np.ndarray, gains: np.ndarray
    ) -> None:
        places = _joined([each for each, _ in requests])
        order = np.argsort(places)
        self.places: list[int] = places[order].tolist()
        self.done = 0
        self.differs: list[bool] = _joined([each for _, each in requests]).astype(bool)[order].tolist()
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


class PlainOutcomes:
    """The answers and labels of the plain events, in order. `rated` are the labels that the check of rates counts."""

    def __init__(self, state: ExperimentState, plan: ExperimentPlan, plain: Plain) -> None:
        self._state = state
        self._labels = plain.labels
        self._places = [each.place for each in plain.labels]
        self._done: tuple[float, int] = (0, 0)
        _count_received(state, plan, plain)
        rows = [row_of(each) for each in plain.labels]
        self._rows = [row for _, _, row in rows]
        self.rated = self._rated(rows)
        classes = _classes(rows, plan)
        values = _values(plan, classes, plain.labels)
        self._pairs: dict[str, _PairColumns] = {}
        voted = {plan.baseline: np.zeros(len(rows), bool)}
        for challenger, pair in state.pairs.items():
            requests = _count_answers(plan, plain.requests, challenger, pair)
            labels, gains = _count_labels(plan, (classes, values), challenger, pair)
            self._pairs[challenger] = _PairColumns(requests, labels, gains)
            voted[challenger] = ~np.isnan(gains)
            voted[plan.baseline] |= voted[challenger]
        _score(state, values, voted)

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
                label = self._labels[number]
                coverage = partial(columns.coverage, others, (label.place, done), number + 1)
                found.append(Observation(label.place, label.event.at_us, gain, coverage=coverage))
                if gain:
                    added.append((row_hash(self._rows[number]), gain))
        differs += columns.differs[done:requests]
        if added:
            pair.rows = pair.rows.add_all(added)
        for own, (name, count) in zip(others, columns.counts(requests, last).items(), strict=True):
            setattr(firsts, name, own + count)
        columns.done = requests

    def _rated(self, rows: Sequence[_Labelled]) -> Assigned:
        numbers = {version: number for number, version in enumerate(self._state.versions)}
        kept = [
            (place, block.shared.epoch, numbers[block.shared.version])
            for place, (block, _, _) in zip(self._places, rows, strict=True)
            if self._state.epochs[block.shared.epoch].get(block.shared.version, 0.0) > 0
        ]
        return Assigned(*np.array(kept, np.int64).reshape(-1, 3).T)


def _joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(arrays) if arrays else np.zeros(0, np.int64)


def _count_received(state: ExperimentState, plan: ExperimentPlan, plain: Plain) -> None:
    """Count the labels as they came, and the served answers' scores, which an id is enough for."""
    metric, terms = plan.metric, plan.terms
    counted = Counter((served, outcome.answer, value) for served, outcome, value in plain.received)
    for (served, answer, value), times in counted.items():
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
    plan: ExperimentPlan, requests: Sequence[Requests], challenger: str, pair: PairState
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Count the answers to a pair's requests; the places of the first rows of units, and whether answers differ."""
    found = []
    for each in requests:
        pair.asked += len(each.places) * (challenger in each.block.answers)
        apart = tells_apart(plan.metric, each.block, plan.baseline, challenger)
        if apart is not None:
            different = apart[each.at]
            number = int(np.count_nonzero(different))
            pair.both += len(different)
            pair.differ += number
            pair.gate.open += number
            # In a comparison of rewards, the first row of a unit is its first answer that chance chose.
            found += [] if plan.metric.uses_rewards else [(each.places, different)]
    return found


def _classes(rows: Sequence[_Labelled], plan: ExperimentPlan) -> dict[str, np.ndarray]:
    """The class id of each version's answer to the labelled rows, −1 where it was not asked; shape (labels,) each."""
    found = {version: np.full(len(rows), -1, np.int64) for version in plan.versions}
    places: dict[int, tuple[list[int], list[int]]] = {}
    blocks = {}
    for place, (block, at, _) in enumerate(rows):
        own = places.setdefault(id(block), ([], []))
        own[0].append(place)
        own[1].append(at)
        blocks[id(block)] = block
    for key, (own_places, own_at) in places.items():
        for version, answers in blocks[key].answers.items():
            if version in found:
                assert answers.classes is not None  # else it was not plain
                found[version][own_places] = answers.classes[own_at]
    return found


def _values(plan: ExperimentPlan, classes: Mapping[str, np.ndarray], labels: Sequence[Label]) -> dict[str, np.ndarray]:
    """The value of each version's answers, NaN for none; shape (labels,) each."""
    known, of = np.unique([each.value for each in labels], return_inverse=True)
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


def _count_labels(
    plan: ExperimentPlan,
    known: tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]],
    challenger: str,
    pair: PairState,
) -> tuple[np.ndarray, np.ndarray]:
    """Count the labels of a pair; what each adds to the first rows of units, shape (labels, 4), and the gains."""
    classes, values = known
    (base_class, other_class), (base, other) = ((each[plan.baseline], each[challenger]) for each in (classes, values))
    asked = (base_class >= 0) & (other_class >= 0)
    different = asked & (base_class != other_class)
    scored = ~np.isnan(base) & ~np.isnan(other)
    table = np.array([[plan.metric.gain(plan.terms, b, o) for o in (0.0, 1.0)] for b in (0.0, 1.0)])
    gains = np.full(len(base), math.nan)
    gains[scored] = table[base[scored].astype(int), other[scored].astype(int)]
    won, lost = gains > 0, gains < 0
    _add(pair, different, won, lost)
    number = int(np.count_nonzero(scored))
    pair.outcomes += number
    if number:
        pair.kinds["request"] += number
    sign = 1 if plan.metric.higher_is_better else -1
    pair.improvements += sign * float((other[scored] - base[scored]).sum())
    for name, right in (("both", (1, 1)), ("baseline", (1, 0)), ("challenger", (0, 1)), ("neither", (0, 0))):
        cells = int(np.count_nonzero((base == right[0]) & (other == right[1])))
        setattr(pair.cells, name, getattr(pair.cells, name) + cells)
    return np.stack([different, won, lost, asked & ~different], axis=1), gains


def _add(pair: PairState, different: np.ndarray, won: np.ndarray, lost: np.ndarray) -> None:
    number = int(np.count_nonzero(different))
    pair.differ_labelled += number
    pair.gate.open -= number
    pair.gate.wins += int(np.count_nonzero(different & won))
    pair.gate.losses += int(np.count_nonzero(different & lost))


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
