"""The parts into which an experiment is broken down, chosen from contracts and references when it begins."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import msgspec

from app.domain.breakdown import (
    MISSING,
    MOST_CLASSES,
    MOST_FEATURES,
    MOST_VALUES,
    OTHER,
    BreakdownPlan,
    FeatureSplit,
    Segment,
)
from app.domain.classes import boolean_values
from app.domain.contract import Feature
from app.domain.experiment import ExperimentTerms
from app.drift.cells import OTHERS, Cells
from app.tables.model_columns import same_columns

_TEXT = "is text or a date, of which nearly every value is new: give the model a column made of it, such as the month"
_NO_REFERENCE = "its version's reference could not be read when the experiment began"
_GONE = "is read by no version that is in the model registry"
_CONSTANT = "has no number in its version's reference"
# The monitor keeps it in its states.
TOO_MANY = f"comes after the first {MOST_FEATURES} features, and only those are counted"


class VersionColumns(msgspec.Struct, frozen=True):
    """What is known of a version: its features, and the cells of each in its reference; None where it is not known."""

    features: Sequence[Feature]
    cells: Sequence[Cells] | None


KnownColumns = Callable[[str], VersionColumns | None]


def plan_for(terms: ExperimentTerms, versions: Sequence[str], columns: KnownColumns) -> BreakdownPlan:
    """The plan of an experiment of `versions`, the baseline first.

    Features are those of the baseline, in the order of its contract, and then those that only later versions read.
    """
    splits: list[FeatureSplit] = []
    refused: dict[str, str] = {}
    for feature, cells in _distinct(versions, columns):
        reason = _refusal(feature, cells, len(splits))
        if reason is None and cells is not None:
            splits.append(_split(feature, cells))
        elif reason is not None:
            refused[feature.name] = reason
    return BreakdownPlan(features=tuple(splits), classes=_classes(terms), refused=refused)


def plan_of_one(name: str, versions: Sequence[str], columns: KnownColumns) -> BreakdownPlan:
    """The plan of one feature alone, whichever its place is; where it cannot be broken down, `refused` says why."""
    for feature, cells in _distinct(versions, columns):
        if name in (feature.name, feature.source_name):
            reason = _refusal(feature, cells, 0)
            if reason is None and cells is not None:
                return BreakdownPlan(features=(_split(feature, cells),))
            return BreakdownPlan(refused={name: reason or _NO_REFERENCE})
    return BreakdownPlan(refused={name: _GONE})


def _distinct(versions: Sequence[str], columns: KnownColumns) -> Iterator[tuple[Feature, Cells | None]]:
    """Each feature once, with its cells in the reference of the first version that reads it."""
    seen: list[Feature] = []
    for version in versions:
        known = columns(version)
        if known is None:
            continue
        for place, at in enumerate(same_columns(known.features, seen)):
            if at is None:
                seen.append(known.features[place])
                yield known.features[place], None if known.cells is None else known.cells[place]


def _refusal(feature: Feature, cells: Cells | None, planned: int) -> str | None:
    if feature.is_text:
        return _TEXT
    if planned >= MOST_FEATURES:
        return TOO_MANY
    if cells is None:
        return _NO_REFERENCE
    return _CONSTANT if not cells.bins and boolean_values(feature) is None else None


def _split(feature: Feature, cells: Cells) -> FeatureSplit:
    flags = boolean_values(feature)
    if flags is not None:
        named = tuple(Segment(_flag(value, flag)) for flag, value in flags.items())
        return FeatureSplit(feature.name, feature.source_name, (*named, OTHER, MISSING), boolean=True)
    if feature.kind == "categorical":
        named = tuple(Segment(name) for name in _most_frequent(cells))
        return FeatureSplit(feature.name, feature.source_name, (*named, OTHER, MISSING))
    edges = _tenths(cells)
    ends = (None, *edges, None)
    ranges = tuple(Segment(_range(low, high), "range", low, high) for low, high in pairwise(ends))
    return FeatureSplit(feature.name, feature.source_name, (*ranges, OTHER, MISSING), edges)


def _flag(value: float | str, flag: bool) -> str:
    return value if isinstance(value, str) else str(flag).lower()


def _most_frequent(cells: Cells) -> list[str]:
    """The most frequent categories of the reference; of equally frequent ones the first."""
    counts = cells.counts[1 : 1 + len(cells.bins)]
    counted = [(count, str(name)) for name, count in zip(cells.bins, counts, strict=True) if name != OTHERS]
    chosen = sorted(counted, key=lambda each: -each[0])[:MOST_VALUES]
    return [name for _, name in chosen]


def _tenths(cells: Cells) -> tuple[float, ...]:
    """The edges nearest to the tenths of the reference, ascending; fewer where values repeat."""
    edges = [float(edge) for edge in cells.bins]
    up_to, total = cells.counts[0], sum(cells.counts[: len(edges) + 1])
    shares: list[tuple[float, float]] = []
    # Not the first edge, which is the smallest value, nor the last one: nothing would lie beyond.
    for edge, count in zip(edges[1:-1], cells.counts[1:], strict=False):
        up_to += count
        shares.append((up_to / total if total else 0.0, edge))
    chosen = {min(shares, key=lambda each: abs(each[0] - tenth / 10))[1] for tenth in range(1, 10)} if shares else set()
    return tuple(sorted(chosen))


def _range(low: float | None, high: float | None) -> str:
    if low is None:
        return "all numbers" if high is None else f"≤ {high:.6g}"
    return f"> {low:.6g}" if high is None else f"{low:.6g} to {high:.6g}"


def _classes(terms: ExperimentTerms) -> tuple[int, ...]:
    """The ids of the classes that are parts: all, or the most frequent of the reference, in order."""
    ids = range(len(terms.classes))
    if len(ids) <= MOST_CLASSES:
        return tuple(ids)
    shares = terms.class_shares or (0.0,) * len(ids)
    return tuple(sorted(sorted(ids, key=lambda each: (-shares[each], each))[:MOST_CLASSES]))
