"""Counts requests and labels by the parts of a plan, in place; the same to the last bit in batches of any size."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from app.domain.breakdown import BreakdownPlan, BreakdownState, FeatureSplit, PairCounts, ServedCounts
from app.domain.classes import boolean_of
from app.domain.columns import Featured, LoggedLayout
from app.domain.contract import Feature
from app.domain.experiment import ExperimentTerms
from app.domain.log_event import PredictionRow
from app.domain.log_page import in_blocks, values_of
from app.scoring.answers import NO_ANSWER, NO_CLASS, answers_of, classes_of
from app.scoring.contract import Answer, bounded
from app.scoring.table import metric_of
from app.tables.model_columns import Named, same_columns


class Columns(NamedTuple):
    """Where features are in logged rows: the features of versions (None: not known), and layouts by id."""

    features: Callable[[str], Sequence[Feature] | None]
    layouts: Mapping[int, LoggedLayout]


class Outcomes(NamedTuple):
    """Labels, or rewards, of rows; a sign is −1 where one that was counted is taken back. Arrays of shape (n,)."""

    rows: Sequence[PredictionRow]
    values: np.ndarray
    signs: np.ndarray


class Compared(NamedTuple):
    """What is compared: the terms of the metric, the baseline, and all versions."""

    terms: ExperimentTerms
    baseline: str
    versions: Sequence[str]


def new_state(plan: BreakdownPlan, compared: Compared) -> BreakdownState:
    """The state before the first request."""
    n, rewarded = plan.cells, metric_of(compared.terms).uses_rewards
    challengers = () if rewarded else [each for each in compared.versions if each != compared.baseline]
    size = plan.class_cells * (plan.class_cells + 1)
    return BreakdownState(
        plan=plan,
        requests=[0] * n,
        labelled=[0] * n,
        pairs={name: _new_pair(n) for name in challengers},
        served={name: ServedCounts(n=[0] * n, total=[0.0] * n) for name in compared.versions} if rewarded else {},
        matrices={name: [0] * size for name in compared.versions} if size else {},
    )


def _new_pair(n: int) -> PairCounts:
    return msgspec.convert({name: [0] * n for name in PairCounts.__struct_fields__}, PairCounts)


def count_requests(state: BreakdownState, rows: Sequence[PredictionRow], columns: Columns) -> None:
    """Count rows that count in the experiment."""
    if rows:
        cells = _with_all(state.plan, _feature_cells(state.plan, rows, columns))
        _add(state.requests, cells, np.ones(len(rows), np.int64))


def count_labels(state: BreakdownState, compared: Compared, labels: Outcomes, columns: Columns) -> None:
    """Count labels of rows that count."""
    if not labels.rows:
        return
    plan = state.plan
    ids = _class_cells(plan, labels.values)
    features = _feature_cells(plan, labels.rows, columns)
    own = [features] if ids is None else [features, ids[:, None] + plan.first_class]
    cells = _with_all(plan, np.concatenate(own, axis=1))
    given = {version: classes_of(labels.rows, version) for version in compared.versions}
    _add(state.labelled, cells, labels.signs)
    if ids is not None:
        _count_matrices(state, ids, given, labels.signs)
    _count_pairs(state, compared, labels, given, cells)


def count_rewards(state: BreakdownState, compared: Compared, rewards: Outcomes, columns: Columns) -> None:
    """Count rewards, each for the version that answered."""
    if not rewards.rows:
        return
    metric, signs = metric_of(compared.terms), rewards.signs
    cells = _with_all(state.plan, _feature_cells(state.plan, rewards.rows, columns))
    values = np.array([metric.counted(compared.terms, each) for each in rewards.values.tolist()], np.float64)
    versions = np.array(values_of(rewards.rows, "version"))
    _add(state.labelled, cells, signs)
    for version, counts in state.served.items():
        own = versions == version
        _add(counts.n, cells[own], signs[own])
        _add(counts.total, cells[own], values[own] * signs[own])


def _values(compared: Compared, labels: Outcomes, version: str, given: np.ndarray) -> np.ndarray:
    """The value of a version's answer by each label, NaN where there is none."""
    metric, terms = metric_of(compared.terms), compared.terms

    def value_of(answer: Answer | None, label: float) -> float:
        found = None if answer is None else metric.counted(terms, metric.value(answer, label, terms))
        return math.nan if found is None else found

    if metric.reads_probabilities or not terms.classes:
        answers = (answers_of(row).get(version) for row in labels.rows)
        return np.array(list(map(value_of, answers, labels.values.tolist())), np.float64)
    # A value follows from the class and the label, so that each pair of them is scored once.
    known, of = np.unique(labels.values, return_inverse=True)
    pairs, places = np.unique((given - NO_CLASS) * len(known) + of, return_inverse=True)
    values = []
    for pair in pairs.tolist():
        class_id, label = pair // len(known) + NO_CLASS, float(known[pair % len(known)])
        answer = None if class_id == NO_ANSWER else Answer(c=None if class_id == NO_CLASS else class_id)
        values.append(value_of(answer, label))
    found: np.ndarray = np.array(values, np.float64)[places]
    return found


def _count_pairs(
    state: BreakdownState, compared: Compared, labels: Outcomes, given: Mapping[str, np.ndarray], cells: np.ndarray
) -> None:
    metric = metric_of(compared.terms)
    values = {version: _values(compared, labels, version, of) for version, of in given.items() if state.pairs}
    for challenger, counts in state.pairs.items():
        known = ~(np.isnan(values[compared.baseline]) | np.isnan(values[challenger]))
        base, other = values[compared.baseline][known], values[challenger][known]
        at, sign = cells[known], labels.signs[known]
        gains = other - base if metric.higher_is_better else base - other
        _add(counts.n, at, sign)
        _add(counts.base, at, base * sign)
        _add(counts.other, at, other * sign)
        _add(counts.gains, at, gains * sign)
        _add(counts.squares, at, gains * gains * sign)
        right, wrong = (base == 1, other == 1), (base == 0, other == 0)
        for counted, met in (
            (counts.both, right[0] & right[1]),
            (counts.only_base, right[0] & wrong[1]),
            (counts.only_other, wrong[0] & right[1]),
            (counts.neither, wrong[0] & wrong[1]),
        ):
            _add(counted, at[met], sign[met])


def _count_matrices(state: BreakdownState, ids: np.ndarray, given: Mapping[str, np.ndarray], signs: np.ndarray) -> None:
    width = state.plan.class_cells + 1
    # An answer without a class is that of a version that failed.
    columns = {class_id: place for place, class_id in enumerate(state.plan.classes)} | {NO_CLASS: width - 1}
    for version, matrix in state.matrices.items():
        known = given[version] != NO_ANSWER
        classes, of = np.unique(given[version][known], return_inverse=True)
        places = np.array([columns.get(each, len(state.plan.classes)) for each in classes.tolist()], np.int64)[of]
        _add(matrix, (ids[known] * width + places)[:, None], signs[known])


def _class_cells(plan: BreakdownPlan, labels: np.ndarray) -> np.ndarray | None:
    """The place of each true class, the last one for a class that has none; None where classes are not counted."""
    if not plan.classes:
        return None
    places: dict[float, int] = {class_id: place for place, class_id in enumerate(plan.classes)}
    return np.array([places.get(label, len(places)) for label in labels.tolist()], np.int64)


def _with_all(plan: BreakdownPlan, cells: np.ndarray) -> np.ndarray:
    """The cells of each row, shape (rows, splits), and that of all."""
    return np.concatenate([cells, np.full((len(cells), 1), plan.everything, np.int64)], axis=1)


def _add(counts: list[Any], cells: np.ndarray, values: np.ndarray) -> None:
    """Add the value of each row, shape (rows,), to its cells, shape (rows, …), in the order of the rows."""
    if not len(values):
        return
    # One after another, as `add.at` does: a sum of the batch would round differently from the sums of its parts.
    found, each = np.array(counts, values.dtype), np.repeat(values, cells.shape[1])
    if _are_whole(found) and _are_whole(values):  # their sums are exact in any order
        found += np.bincount(cells.ravel(), each, len(found)).astype(values.dtype)
    else:
        np.add.at(found, cells.ravel(), each)
    counts[:] = found.tolist()


def _are_whole(values: np.ndarray) -> bool:  # and so small that no sum of many is rounded
    return bool((np.abs(values) < 2**45).all() and (values == np.rint(values)).all())


def numbers_of(outcomes: Sequence[str]) -> np.ndarray:
    """Logged outcomes (JSON numbers) as experiments count them."""
    return np.array([bounded(float(each)) for each in outcomes], np.float64)


def places_in(plan: BreakdownPlan, rows: Sequence[Featured], columns: Columns) -> list[int]:
    """The cell of each row in the first feature of the plan."""
    return _feature_cells(plan, rows, columns)[:, 0].tolist() if rows else []


def _feature_cells(plan: BreakdownPlan, rows: Sequence[Featured], columns: Columns) -> np.ndarray:
    """The cell of each row in each split, shape (rows, splits)."""
    cells = np.empty((len(rows), len(plan.features)), np.int64)
    parts, alone = in_blocks(rows)
    for part in parts:
        kind = (part.block.shared.version, part.block.shared.layout, part.block.width)
        for at, found in enumerate(_levels(plan, _places(plan.features, *kind, columns), part.column)):
            cells[part.places, at] = found
    if alone:
        cells[alone] = _cells_of_texts(plan, [rows[place] for place in alone], columns)
    return cells


def _cells_of_texts(plan: BreakdownPlan, rows: Sequence[Featured], columns: Columns) -> np.ndarray:
    """The cells of rows that are in no block."""
    cells = np.empty((len(rows), len(plan.features)), np.int64)
    features: list[list[Any]] = [msgspec.json.decode(row.features) for row in rows]
    kinds = [(row.version, row.layout, len(values)) for row, values in zip(rows, features, strict=True)]
    for kind in set(kinds):
        members = [place for place, each in enumerate(kinds) if each == kind]
        own = [*zip(*(features[each] for each in members), strict=True)]
        for at, found in enumerate(_levels(plan, _places(plan.features, *kind, columns), own.__getitem__)):
            cells[members, at] = found
    return cells


def _places(
    splits: Sequence[FeatureSplit], version: str, layout: int | None, width: int, columns: Columns
) -> Sequence[int | None]:
    """For each split the position of its column in rows of a kind; None where it is not there, or not known."""
    known = None if layout is None else columns.layouts.get(layout)
    named: Sequence[Named] | None = known.columns if known else columns.features(version) if layout is None else None
    return [None] * len(splits) if named is None or len(named) != width else same_columns(splits, named)


def _levels(
    plan: BreakdownPlan, places: Sequence[int | None], column: Callable[[int], Sequence[Any]]
) -> Iterator[np.ndarray | int]:
    """For each split the cells of rows of one kind; `column` gives the values of a column."""
    first = 0
    for split, place in zip(plan.features, places, strict=True):
        missing = first + len(split.segments) - 1
        if place is None:
            yield missing
        elif split.is_numeric:
            yield _ranges(split, column(place)) + first
        else:
            yield _categories(split, column(place)) + first
        first += len(split.segments)


def _ranges(split: FeatureSplit, values: Sequence[Any]) -> np.ndarray:
    try:
        numbers = np.array(values, np.float64)  # null becomes NaN
    except ValueError:  # another version takes text under this name
        return _odd(split, values)
    levels = np.searchsorted(split.edges, numbers, side="left")
    levels[np.isnan(numbers)] = len(split.segments) - 1
    return levels


def _odd(split: FeatureSplit, values: Sequence[Any]) -> np.ndarray:
    """The levels of values that are not all numbers: of each alone."""
    other = len(split.segments) - 2
    return np.array([other if isinstance(value, str) else _ranges(split, [value])[0] for value in values], np.int64)


def _categories(split: FeatureSplit, values: Sequence[Any]) -> np.ndarray:
    values = [None if math.isnan(x) else x for x in values.tolist()] if isinstance(values, np.ndarray) else values
    table: dict[object, int] = {segment.level: place for place, segment in enumerate(split.segments[:-2])}
    other, missing = len(split.segments) - 2, len(split.segments) - 1
    if split.boolean:
        flags: dict[object, int] = {False: 0, True: 1}  # 0 and 1 are equal to them
        spelled = ((value, flags.get(boolean_of(value) if isinstance(value, str) else value)) for value in set(values))
        table |= {value: place for value, place in spelled if place is not None}
    table[None] = missing
    return np.array([table.get(value, other) for value in values], np.int64)
