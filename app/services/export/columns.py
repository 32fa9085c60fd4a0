"""The columns of an export: their names and types, and where the features of a row belong among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Literal

import msgspec

from app.domain.classes import boolean_values
from app.domain.contract import Feature, FeatureContract
from app.services.export.rows import RowForm
from app.tables.model_columns import named_apart, same_columns

# Raised when a column changes its name, type or meaning; not when one is added.
SCHEMA_VERSION = 1
ColumnType = Literal["number", "text", "boolean", "date", "time", "time_utc"]
Contracts = Mapping[str, FeatureContract]


class FeatureColumn(msgspec.Struct, frozen=True):
    """One column of features; its name in files begins with `feature.`."""

    feature: Feature
    type: ColumnType

    @property
    def name(self) -> str:
        """The name in files."""
        return f"feature.{self.feature.name}"


class FeatureColumns:
    """The columns of all versions of a registry, in the order of publication, and those that layouts add.

    So a name does not depend on which rows are exported. `contracts` have the classes as the log numbers them.
    """

    def __init__(self, contracts: Contracts) -> None:
        self._contracts = contracts
        self._columns: list[FeatureColumn] = []
        self._places: dict[RowForm, tuple[int, ...] | None] = {}
        for contract in contracts.values():
            self._take(contract.features)

    @property
    def columns(self) -> Sequence[FeatureColumn]:
        """All columns so far."""
        return self._columns

    def places(self, form: RowForm) -> tuple[int, ...] | None:
        """For each feature of such a row the position of its column; None where its columns are not known."""
        if form not in self._places:
            self._places[form] = self._found(form)
        return self._places[form]

    def _found(self, form: RowForm) -> tuple[int, ...] | None:
        if form.layout is None:
            contract = self._contracts.get(form.version)
            return None if contract is None else self._take(contract.features)
        if not form.layout.columns:
            return None
        named = [Feature(name=column.name, source_name=column.source_name) for column in form.layout.columns]
        # Of which type a column is only contracts say, first of all that of the version that served.
        served = self._contracts.get(form.version)
        known = [*(served.features if served else ()), *(column.feature for column in self._columns)]
        typed = [
            feature
            if place is None
            else msgspec.structs.replace(known[place], name=feature.name, source_name=feature.source_name)
            for feature, place in zip(named, same_columns(named, known), strict=True)
        ]
        unknown = [place is None for place in same_columns(named, known)]
        return self._take(typed, unknown)

    def _take(self, features: Sequence[Feature], unknown: Sequence[bool] | None = None) -> tuple[int, ...]:
        """The positions of these columns, which are added or widened where that is needed."""
        types: list[ColumnType] = [_type_of(feature) for feature in features]
        for place, is_unknown in enumerate(unknown or ()):
            if is_unknown:
                types[place] = "text"
        found: dict[int, int] = {}
        for kind in dict.fromkeys(types):
            # A column of numbers and one of texts are two, even under one name: a file has one type for each.
            able = [place for place, column in enumerate(self._columns) if _widened(column.type, kind)]
            able = [place for place in able if place not in found.values()]
            wanted = [place for place, each in enumerate(types) if each == kind]
            offered = [self._columns[place].feature for place in able]
            same = same_columns([features[place] for place in wanted], offered)
            found |= {place: able[at] for place, at in zip(wanted, same, strict=True) if at is not None}
        for place, (feature, kind) in enumerate(zip(features, types, strict=True)):
            if place in found:
                column = self._columns[found[place]]
                wide = _widened(column.type, kind) or column.type
                self._columns[found[place]] = msgspec.structs.replace(column, type=wide)
            else:
                found[place] = len(self._columns)
                named = named_apart(feature, [column.feature for column in self._columns])
                self._columns.append(FeatureColumn(named, kind))
        return tuple(found[place] for place in range(len(features)))


def _type_of(feature: Feature) -> ColumnType:
    if boolean_values(feature) is not None:
        return "boolean"
    if feature.kind == "numeric":
        return "number"
    return "text" if feature.dates_like is None else _time_type(feature.dates_like)


def _time_type(example: str) -> ColumnType:
    try:
        date.fromisoformat(example)
    except ValueError:
        return "time" if datetime.fromisoformat(example).tzinfo is None else "time_utc"
    return "date"


def _widened(one: ColumnType, other: ColumnType) -> ColumnType | None:
    """The type that has the values of both; None where they stay two columns."""
    if one == other:
        return one
    types = {one, other}
    if types == {"boolean", "number"}:
        return "number"
    return None if types & {"boolean", "number"} else "text"
