"""A row that a client could well send, made from a feature contract alone: it discloses no training row."""

from __future__ import annotations

from app.domain.contract import Feature, FeatureContract


def typical_row(contract: FeatureContract) -> list[float | str | None]:
    """One value per feature, in contract order; a row that `RowParser` of the same contract accepts."""
    return [typical_value(feature) for feature in contract.features]


def typical_value(feature: Feature) -> float | str | None:
    """A value that the feature's pipeline accepts, the most ordinary one that the contract knows.

    Numeric: the first of its `choices`, else the median (of a boolean feature 0 or 1), else the middle of the known
    range, else 0. Categorical: the first category, else a date like those of the data, else None where the contract
    allows it, else an empty text.
    """
    return _number(feature) if feature.kind == "numeric" else _category(feature)


def _number(feature: Feature) -> float:
    # Before the median: of the choices 1 and 3 it may be 2, on which the pipeline fails.
    if feature.choices:
        return feature.choices[0]
    if feature.boolean:
        return float((feature.median or 0.0) > 0.5)
    if feature.median is not None:
        return feature.median
    known = [bound for bound in (feature.minimum, feature.maximum) if bound is not None]
    return sum(known) / len(known) if known else 0.0


def _category(feature: Feature) -> str | None:
    if feature.categories:
        return feature.categories[0]
    if feature.dates_like is not None:
        return feature.dates_like
    return None if feature.nullable else ""
