"""The columns that a model reads, and which columns of several models are the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, TypeVar

import msgspec

from app.tables.names import matching_columns

FeatureKind = Literal["numeric", "categorical"]


class Named(Protocol):
    """A column: its name in requests, and the name in the training data where it is another."""

    @property
    def name(self) -> str: ...

    @property
    def source_name(self) -> str | None: ...


ColumnT = TypeVar("ColumnT", bound="ModelColumn")


class ModelColumn(msgspec.Struct, frozen=True):
    """One column that the model reads.

    `minimum`, `maximum` and `median` describe the training values of a numeric feature; `categories` lists those of a
    categorical one, in the order of the reference. `nullable`: the reference column had missing values.
    `open_categories`: the pipeline accepts categories it has not seen. `choices` are the only numbers that a numeric
    feature may have, if the pipeline encodes them as categories and fails on others. `source_name` is the column's
    name in the training data, where it was changed. `boolean`: a numeric feature whose values are false (0) and true
    (1) in the training data. An open feature without `categories` is text; if it has `dates_like`, the
    pipeline fails on what is no ISO date or time, and that is one of them: all have its form.
    """

    name: str
    kind: FeatureKind = "numeric"
    minimum: float | None = None
    maximum: float | None = None
    median: float | None = None
    categories: tuple[str, ...] = ()
    choices: tuple[float, ...] = ()
    nullable: bool = False
    open_categories: bool = False
    source_name: str | None = None
    boolean: bool = False
    dates_like: str | None = None


def source_of(column: Named) -> str:
    """The name in the training data, by which columns of two versions are compared."""
    return column.source_name or column.name


def same_columns(features: Sequence[Named], columns: Sequence[Named]) -> tuple[int | None, ...]:
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


def named_apart(feature: ColumnT, columns: Sequence[ModelColumn]) -> ColumnT:
    """The feature under a name that no column has yet: else its name in the training data, else with a number."""
    taken = {column.name for column in columns} | {source_of(column) for column in columns}
    if feature.name not in taken:
        return feature
    source = source_of(feature)
    candidates = [source, *(f"{feature.name}_{number}" for number in range(2, len(taken) + 3))]
    name = next(candidate for candidate in candidates if candidate not in taken)
    return msgspec.structs.replace(feature, name=name, source_name=None if source == name else source)


def either(one: ColumnT, other: ModelColumn) -> ColumnT:
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


def places_in_file(features: Sequence[Named], offered: Sequence[str]) -> tuple[int | None, ...]:
    """For each feature the position of its column among the names in a file, as `matching_columns` finds it."""
    return matching_columns([source_of(each) for each in features], offered, [each.name for each in features])
