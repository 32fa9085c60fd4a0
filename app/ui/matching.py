"""The columns of an uploaded file matched to the features that a request has."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from app.tables.model_columns import ModelColumn, source_of
from app.ui.records import ApiContract

_UNIT = re.compile(r"[\(\[]([^\)\]]*)[\)\]]\s*$")


def matched(contract: ApiContract, header: Sequence[str]) -> dict[str, str | None]:
    """The column for each feature; None where none is surely it. No column stands for two features.

    The name in the training data counts first, then the contract name, then either of them without regard to case and
    punctuation, as long as only one column and one feature can be meant. Two different units are never the same.
    """
    found = _named_alike(contract.features, header)
    free = [column for column in header if column not in found.values()]
    left = [feature for feature in contract.features if feature.name not in found]
    for feature in left:
        alike = [column for column in free if _is_alike(feature, column)]
        if len(alike) == 1 and sum(_is_alike(other, alike[0]) for other in left) == 1:
            found[feature.name] = alike[0]
    return {feature.name: found.get(feature.name) for feature in contract.features}


def _named_alike(features: Sequence[ModelColumn], header: Sequence[str]) -> dict[str, str]:
    """The columns that have the very name of a feature: that in the training data first, then that in requests."""
    found: dict[str, str] = {}
    given = [(feature.name, source_of(feature)) for feature in features]
    for name, column in [*given, *((feature.name, feature.name) for feature in features)]:
        if name not in found and column in header and column not in found.values():
            found[name] = column
    return found


def chosen_twice(columns: Mapping[str, str | None]) -> dict[str, list[str]]:
    """The columns that stand for more than one feature, with these features."""
    features: dict[str, list[str]] = {}
    for feature, column in columns.items():
        if column is not None:
            features.setdefault(column, []).append(feature)
    return {column: names for column, names in features.items() if len(names) > 1}


def _is_alike(feature: ModelColumn, column: str) -> bool:
    bare, unit = _bare_and_unit(column)
    for name in (source_of(feature), feature.name):
        our_bare, our_unit = _bare_and_unit(name)
        # The contract name lacks the unit of the training data: it must not hide that the column has another.
        units = {unit, our_unit, _bare_and_unit(feature.source_name or "")[1]} - {""}
        if bare == our_bare and len(units) <= 1:
            return True
    return False


def _bare_and_unit(name: str) -> tuple[str, str]:
    """The name without case and punctuation, and what it has in brackets at its end."""
    unit = _UNIT.search(name)
    bare = name if unit is None or not name[: unit.start()].strip() else name[: unit.start()]
    return _plain(bare), "" if unit is None or bare == name else unit[1].strip()


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold())
