"""A breakdown as `GET /experiment/{id}/breakdown` gives it, from the monitor's counters. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from app.domain.breakdown import ALL, CLASS, OTHER, BreakdownPlan, BreakdownState, Segment, SegmentKind, ServedCounts
from app.domain.experiment import ExperimentTerms
from app.domain.report import Interval
from app.errors import InvalidRequest
from app.scoring.contract import Metric
from app.scoring.table import metric_of
from app.services.breakdown.plan import TOO_MANY
from app.stats import asymptotic, paired_interval
from app.stats.asymptotic import AsymptoticState
from app.stats.estimates import NotEstimable
from app.stats.paired import PairedSummary

FEATURE = "feature:"


class BreakdownRow(msgspec.Struct, frozen=True, kw_only=True):
    """One part. The means, the improvement, its interval and the four counts are of `n` labelled requests."""

    level: str
    kind: SegmentKind
    low: float | None
    high: float | None
    requests: int | None
    labelled: int
    n: int
    baseline_mean: float | None = None
    challenger_mean: float | None = None
    improvement: float | None = None
    interval: Interval | None = None
    asymptotic: bool = False
    both_right: int | None = None
    only_baseline: int | None = None
    only_challenger: int | None = None
    both_wrong: int | None = None


class VersionClasses(msgspec.Struct, frozen=True, kw_only=True):
    """A version's answers by true class. `confusion` has the true classes as rows and the answers as columns.

    `missing`: rows on which it failed, which lower its recall. None: there is no such answer, or no such row.
    """

    version: str
    labelled: int
    confusion: tuple[tuple[int, ...], ...]
    missing: tuple[int, ...]
    precision: tuple[float | None, ...]
    recall: tuple[float | None, ...]
    f1: tuple[float | None, ...]


class Breakdown(msgspec.Struct, frozen=True, kw_only=True):
    """A comparison in parts: exploratory, nothing is decided on it."""

    experiment: str
    baseline: str
    challenger: str
    by: str
    metric: str
    higher_is_better: bool
    exploratory: bool = True
    alpha: float
    row_alpha: float
    unit: str = "request"
    note: str
    computed_from: str = "all requests"
    features: tuple[str, ...]
    on_demand: tuple[str, ...] = ()
    refused: Mapping[str, str]
    rows: tuple[BreakdownRow, ...]
    all: BreakdownRow
    classes: tuple[str, ...] | None = None
    versions: tuple[VersionClasses, ...] | None = None


class Pair(msgspec.Struct, frozen=True):
    """What is asked about: an experiment, its terms, and the two versions."""

    experiment: str
    terms: ExperimentTerms
    baseline: str
    challenger: str


def breakdown_of(pair: Pair, state: BreakdownState, by: str, note: str) -> Breakdown:
    """The breakdown by `class` or `feature:NAME`. Raises `InvalidRequest` for another `by`, with what there is."""
    metric, plan, by_class = metric_of(pair.terms), state.plan, by == CLASS
    segments, first = parts_of(state, pair.terms, by)
    parts = [
        (cell, segment)
        for cell, segment in enumerate(segments, first)
        # What holds everything else is no part of its own where there is nothing else.
        if segment.kind in ("value", "range") or state.requests[cell] or state.labelled[cell]
    ]
    rows = [_row(pair, metric, state, cell, segment) for cell, segment in parts]
    row_alpha = pair.terms.alpha / max(1, sum(row.n > 0 for row in rows))
    for place, (cell, _) in enumerate(parts):
        rows[place] = replace(rows[place], interval=_interval(pair, metric, state, cell, row_alpha))
        if by_class:  # the class of a request is not known before its label
            rows[place] = replace(rows[place], requests=None)
    shown = [segment.level for _, segment in parts]
    names = (pair.baseline, pair.challenger)
    return Breakdown(
        experiment=pair.experiment,
        baseline=pair.baseline,
        challenger=pair.challenger,
        by=by,
        metric=metric.name,
        higher_is_better=metric.higher_is_better,
        alpha=pair.terms.alpha,
        row_alpha=row_alpha,
        note=note,
        features=tuple(split.name for split in plan.features),
        on_demand=on_demand(plan),
        refused={name: reason for name, reason in plan.refused.items() if reason != TOO_MANY},
        rows=tuple(rows),
        all=_row(pair, metric, state, plan.everything, ALL),
        classes=tuple(shown) if by_class else None,
        versions=tuple(_classes(name, state, len(shown)) for name in names) if by_class else None,
    )


def on_demand(plan: BreakdownPlan) -> tuple[str, ...]:
    """The features of which there are no counters, only because there are many features."""
    return tuple(name for name, reason in plan.refused.items() if reason == TOO_MANY)


def of_newest(found: Breakdown, counted: int, *, is_all: bool, rewarded: bool) -> Breakdown:
    """A breakdown of `counted` outcomes of which the requests without one are not known."""
    what = "rewards" if rewarded else "labelled requests"
    return replace(
        found,
        computed_from=f"{'all' if is_all else 'the newest'} {counted:,} {what}",
        rows=tuple(replace(row, requests=None) for row in found.rows),
        all=replace(found.all, requests=None),
    )


def default_by(terms: ExperimentTerms) -> str:
    """What a breakdown is by where nothing is asked for: the true class, or nothing that there is."""
    return CLASS if terms.classes and not metric_of(terms).uses_rewards else FEATURE


def parts_of(state: BreakdownState, terms: ExperimentTerms, by: str) -> tuple[list[Segment], int]:
    """The parts, and the cell of the first of them. Raises `InvalidRequest` where there are none of these."""
    plan = state.plan
    if by == CLASS:
        return _class_parts(state, terms), plan.first_class
    if not by.startswith(FEATURE):
        raise InvalidRequest(f"by is class or feature:NAME; {_there_are(state)}", field="by")
    name, first = by.removeprefix(FEATURE), 0
    for split in plan.features:
        if name in (split.name, split.source_name):
            return list(split.segments), first
        first += len(split.segments)
    if name in plan.refused:
        raise InvalidRequest(f"no breakdown by {name[:64]}: it {plan.refused[name]}", field="by")
    what = f"no feature {name[:64]}" if name else "say which feature"
    raise InvalidRequest(f"{what}; {_there_are(state)}", field="by")


def _there_are(state: BreakdownState) -> str:
    names = [split.name for split in state.plan.features]
    return f"features: {', '.join(names)}" if names else "no feature is counted"


def _class_parts(state: BreakdownState, terms: ExperimentTerms) -> list[Segment]:
    if metric_of(terms).uses_rewards:
        raise InvalidRequest(f"rewards do not say the true class: use by=feature:NAME; {_there_are(state)}", field="by")
    if not state.plan.classes:
        raise InvalidRequest(f"no classes are known: use by=feature:NAME; {_there_are(state)}", field="by")
    return [*(Segment(terms.classes[each]) for each in state.plan.classes), OTHER]


def _row(pair: Pair, metric: Metric, state: BreakdownState, cell: int, segment: Segment) -> BreakdownRow:
    row = BreakdownRow(
        level=segment.level,
        kind=segment.kind,
        low=segment.low,
        high=segment.high,
        requests=state.requests[cell],
        labelled=state.labelled[cell],
        n=0,
    )
    if metric.uses_rewards:
        return _rewarded(row, metric, state.served[pair.baseline], state.served[pair.challenger], cell)
    counts = state.pairs[pair.challenger]
    n = counts.n[cell]
    if not n:
        return row
    found = replace(
        row,
        n=n,
        baseline_mean=counts.base[cell] / n,
        challenger_mean=counts.other[cell] / n,
        improvement=counts.gains[cell] / n,
        asymptotic=metric.method_under(pair.terms) != "paired",
    )
    if found.asymptotic:
        return found
    return replace(
        found,
        both_right=counts.both[cell],
        only_baseline=counts.only_base[cell],
        only_challenger=counts.only_other[cell],
        both_wrong=counts.neither[cell],
    )


def _rewarded(row: BreakdownRow, metric: Metric, base: ServedCounts, other: ServedCounts, cell: int) -> BreakdownRow:
    """The row with the mean rewards of both versions, each of its own answers."""
    means = [counts.total[cell] / counts.n[cell] if counts.n[cell] else None for counts in (base, other)]
    ours, theirs = means
    improvement = None if ours is None or theirs is None else theirs - ours
    if improvement is not None and not metric.higher_is_better:
        improvement = -improvement
    n = base.n[cell] + other.n[cell]
    return replace(row, n=n, baseline_mean=ours, challenger_mean=theirs, improvement=improvement)


def _interval(pair: Pair, metric: Metric, state: BreakdownState, cell: int, alpha: float) -> Interval | None:
    """The confidence sequence of the improvement in a cell; None where there is none."""
    if metric.uses_rewards or not state.pairs[pair.challenger].n[cell]:
        return None
    counts = state.pairs[pair.challenger]
    if metric.method_under(pair.terms) == "paired":
        ties = counts.both[cell] + counts.neither[cell]
        found = paired_interval.interval(PairedSummary(counts.only_other[cell], counts.only_base[cell], ties), alpha)
    else:
        n, mean = counts.n[cell], counts.gains[cell] / counts.n[cell]
        # A sum of squares that rounding has made negative is that of values without spread.
        squares = max(0.0, counts.squares[cell] - n * mean * mean)
        found = asymptotic.interval(AsymptoticState(n=n, mean=mean, squares=squares), alpha)
    return None if isinstance(found, NotEstimable) else found


def _classes(version: str, state: BreakdownState, shown: int) -> VersionClasses:
    cells = state.plan.class_cells
    width = cells + 1
    matrix = [state.matrices[version][row * width : (row + 1) * width] for row in range(cells)]
    right = [matrix[place][place] for place in range(shown)]
    answered = [sum(row[place] for row in matrix) for place in range(shown)]
    labelled = [sum(matrix[place]) for place in range(shown)]
    return VersionClasses(
        version=version,
        labelled=sum(labelled),
        confusion=tuple(tuple(matrix[place][:shown]) for place in range(shown)),
        missing=tuple(matrix[place][-1] for place in range(shown)),
        precision=tuple(map(_share, right, answered)),
        recall=tuple(map(_share, right, labelled)),
        f1=tuple(_share(2 * right[place], answered[place] + labelled[place]) for place in range(shown)),
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
