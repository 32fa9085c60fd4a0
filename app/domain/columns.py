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

Versions = Mapping[str, FeatureContract]


class Named(Protocol):
    """A column: its name in requests, and the name in the training data where it is another."""

    @property
    def name(self) -> str: ...

    @property
    def source_name(self) -> str | None: ...


class LoggedColumn(msgspec.Struct, frozen=True, omit_defaults=True):
    """A column of logged rows, as `Named`."""

    name: str
    source_name: str | None = None


class LoggedLayout(msgspec.Struct, frozen=True):
    """The columns of logged rows, in their order. `id` follows from them: 63 bits of a hash."""

    id: int
    columns: tuple[LoggedColumn, ...]


def source_of(column: Named) -> str:
    """The name in the training data, by which columns of two versions are compared."""
    return column.source_name or column.name


def matched(features: Sequence[Named], columns: Sequence[Named]) -> tuple[int | None, ...]:
    """For each feature its position among `columns`, None where it is not there; no column stands for two features.

    Columns are the same if their names in the training data are, or if one was trained under the name that requests
    give to the other.
    """
    found: list[int | None] = [None] * len(features)
    taken: set[int] = set()
    for same in (_same_source, _one_named_as_the_other):
        for index, feature in enumerate(features):
            if found[index] is None:
                places = (place for place, column in enumerate(columns) if place not in taken and same(feature, column))
                found[index] = next(places, None)
                taken |= {place for place in (found[index],) if place is not None}
    return tuple(found)


def _same_source(one: Named, other: Named) -> bool:
    return source_of(one) == source_of(other)


def _one_named_as_the_other(one: Named, other: Named) -> bool:
    return source_of(one) == other.name or one.name == source_of(other)


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
    places = matched(contract.features, columns)
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
        places = matched(contract.features, columns)
        reason = _incomparable(reference, first, contract) or _conflict(contract, columns, places)
        if reason is not None:
            excluded[name] = reason
            continue
        for feature, place in zip(contract.features, places, strict=True):
            if place is None:
                columns.append(_named_apart(feature, columns))
            elif place >= len(first.features):
                columns[place] = _either(columns[place], feature)
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


def _named_apart(feature: Feature, columns: Sequence[Feature]) -> Feature:
    """The feature under a name that no column has yet: else its name in the training data, else with a number."""
    taken = {column.name for column in columns} | {source_of(column) for column in columns}
    if feature.name not in taken:
        return feature
    source = source_of(feature)
    candidates = [source, *(f"{feature.name}_{number}" for number in range(2, len(taken) + 3))]
    name = next(candidate for candidate in candidates if candidate not in taken)
    return msgspec.structs.replace(feature, name=name, source_name=None if source == name else source)


def _either(one: Feature, other: Feature) -> Feature:
    """A column that two versions read beside the reference's: what either of them takes may be sent."""
    if one.kind != other.kind:
        return one
    return msgspec.structs.replace(
        one,
        categories=tuple(sorted({*one.categories, *other.categories})),
        choices=tuple(sorted({*one.choices, *other.choices})) if one.choices and other.choices else (),
        nullable=one.nullable or other.nullable,
        open_categories=one.open_categories or other.open_categories,
        boolean=one.boolean and other.boolean,
        dates_like=one.dates_like if other.dates_like else None,
    )
