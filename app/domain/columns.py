"""The columns of a request: each version takes its own, by name, from what the caller sent.

Versions may read different columns, in different orders. A request is checked against the union of them. The columns
of the reference version are required; the others may be absent, and a version that lacks one of its columns takes no
part in that request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec
import numpy as np

from app.domain.classes import boolean_values
from app.domain.contract import Feature, FeatureContract
from app.tables.model_columns import either, named_apart, same_columns, source_of

Versions = Mapping[str, FeatureContract]


class LoggedColumn(msgspec.Struct, frozen=True, omit_defaults=True):
    """A column of logged rows, as `Named`."""

    name: str
    source_name: str | None = None


class LoggedLayout(msgspec.Struct, frozen=True):
    """The columns of logged rows, in their order. `id` follows from them: 63 bits of a hash."""

    id: int
    columns: tuple[LoggedColumn, ...]


class Featured(Protocol):
    """A logged row as its features are found by: `features` is JSON, `layout` the id of its columns."""

    @property
    def version(self) -> str: ...

    @property
    def features(self) -> str: ...

    @property
    def layout(self) -> int | None: ...


class Reading(msgspec.Struct, frozen=True):
    """How a version takes its columns from rows of a layout.

    `positions` are those of its features, None if the rows are its own already. `spelled` has, for a position in the
    version's own order, the value that it was fitted on for each value that requests have (booleans).
    """

    positions: np.ndarray | None
    numeric: bool
    spelled: tuple[tuple[int, Mapping[object, float | str]], ...] = ()

    def rows(self, cases: np.ndarray) -> np.ndarray:
        """The version's rows, shape (n, its features), of `cases`, shape (n, columns of the layout)."""
        rows = cases if self.positions is None else cases.take(self.positions, axis=1)
        if self.spelled:
            rows = rows.astype(np.object_)
            for place, values in self.spelled:
                rows[:, place] = [values.get(value, value) for value in rows[:, place].tolist()]
        if self.numeric and rows.dtype != np.float64:
            return rows.astype(np.float64)
        return rows if self.numeric or rows.dtype == np.object_ else rows.astype(np.object_)


def reading(contract: FeatureContract, columns: Sequence[Feature]) -> Reading | None:
    """How a version of that contract reads rows of these columns; None if one of its own is not among them."""
    places = same_columns(contract.features, columns)
    if None in places:
        return None
    positions = [place for place in places if place is not None]
    own = positions == list(range(len(columns)))
    spelled = tuple(
        (index, values)
        for index, (feature, place) in enumerate(zip(contract.features, positions, strict=True))
        if (values := _spelling(feature, columns[place]))
    )
    return Reading(None if own else np.array(positions, dtype=np.intp), contract.all_numeric, spelled)


def _spelling(feature: Feature, column: Feature) -> Mapping[object, float | str]:
    """The feature's own value for each value of the column, where both are booleans in two spellings."""
    ours, theirs = boolean_values(feature), boolean_values(column)
    if ours is None or theirs is None or ours == theirs:
        return {}
    return {theirs[flag]: ours[flag] for flag in (False, True)}


class Union(msgspec.Struct, frozen=True):
    """The columns of several versions: those of the first, in its order, then what the others read beside them.

    `contracts` are those of the versions that can be asked together; `excluded` has the reason for each other one.
    """

    columns: tuple[Feature, ...]
    contracts: Mapping[str, FeatureContract]
    excluded: Mapping[str, str] = msgspec.field(default_factory=dict)


def union_of(reference: str, contracts: Versions) -> Union:
    """The union for the versions in `contracts`, in their order; the columns of `reference` go first."""
    first = contracts[reference]
    columns = list(first.features)
    excluded: dict[str, str] = {}
    for name, contract in contracts.items():
        if name == reference:
            continue
        places = same_columns(contract.features, columns)
        reason = _incomparable(reference, first, contract) or _conflict(contract, columns, places)
        if reason is not None:
            excluded[name] = reason
            continue
        for feature, place in zip(contract.features, places, strict=True):
            if place is None:
                columns.append(named_apart(feature, columns))
            elif place >= len(first.features):
                columns[place] = either(columns[place], feature)
    taking_part = {name: each for name, each in contracts.items() if name not in excluded}
    return Union(tuple(columns), taking_part, excluded)


def _incomparable(reference: str, ours: FeatureContract, theirs: FeatureContract) -> str | None:
    if ours.task != theirs.task:
        return f"is a {theirs.task}, and {reference} is a {ours.task}"
    if ours.classes != theirs.classes:
        return f"names its classes differently: {_listed(theirs.classes)} where {reference} has {_listed(ours.classes)}"
    return None


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")


def _conflict(contract: FeatureContract, columns: Sequence[Feature], places: Sequence[int | None]) -> str | None:
    """Why no request can suit these columns and the contract: one takes text where another takes a number."""
    kinds = {"numeric": "a number", "categorical": "text"}
    for feature, place in zip(contract.features, places, strict=True):
        if place is None or feature.kind == columns[place].kind:
            continue
        if boolean_values(feature) is None or boolean_values(columns[place]) is None:
            return (
                f"reads the column {source_of(feature)!r} as {kinds[feature.kind]}, which other versions read as "
                f"{kinds[columns[place].kind]}"
            )
    return None
