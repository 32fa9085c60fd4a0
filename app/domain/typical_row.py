"""A row that a model could well be asked, made from its feature contract alone: no training row leaves the shelf."""

from __future__ import annotations

from app.domain.contract import Feature, FeatureContract


def typical_row(contract: FeatureContract) -> list[float | str | None]:
    """One value a feature, in contract order: the median of a number, the first category of a category."""
    return [_number(feature) if feature.kind == "numeric" else _category(feature) for feature in contract.features]


def _number(feature: Feature) -> float:
    if feature.choices:
        return feature.choices[0]
    if feature.median is not None:
        return feature.median
    known = [bound for bound in (feature.minimum, feature.maximum) if bound is not None]
    return sum(known) / len(known) if known else 0.0


def _category(feature: Feature) -> str | None:
    if feature.categories:
        return feature.categories[0]
    return None if feature.nullable else ""
