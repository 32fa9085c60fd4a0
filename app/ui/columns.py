"""The columns of requests from the page: those that the API needs, and those that other versions read beside them.

The same rules as in `app.domain.columns`, which the dashboard may not import, over the contracts of `GET /models`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec

from app.ui.records import ApiContract, ApiFeature, ApiModel, ApiModels, Cell


class PageColumns(msgspec.Struct, frozen=True, kw_only=True):
    """The columns, and what is known of each by its name.

    `contract` has all of them, the champion's first, under names that stay the same whichever version is forced.
    `needed` are those that the API requires; a page asks for the columns in `shown` whatever happens. `sent` has the
    name in requests where it is another. `readers` has, for a column that only some versions read, these versions.
    `as_arrays`: the API reads an array of the needed columns in their order.
    """

    contract: ApiContract
    needed: frozenset[str]
    shown: frozenset[str]
    sent: Mapping[str, str] = {}
    readers: Mapping[str, tuple[str, ...]] = {}
    as_arrays: bool = True

    @property
    def optional(self) -> tuple[str, ...]:
        """The columns that a request may leave out and the page does not ask for by itself."""
        return tuple(feature.name for feature in self.contract.features if feature.name not in self.shown)

    def only(self, names: Collection[str]) -> ApiContract:
        """The contract with these columns alone."""
        features = tuple(feature for feature in self.contract.features if feature.name in names)
        return msgspec.structs.replace(self.contract, features=features)

    def as_sent(self, values: Mapping[str, Cell]) -> dict[str, Cell]:
        """A row under the names that a request has."""
        return {self.sent.get(name, name): value for name, value in values.items()}

    def lacking(self, absent: Collection[str]) -> dict[str, list[str]]:
        """The versions that take no part in requests without the columns in `absent`, each with those of its own."""
        found: dict[str, list[str]] = {}
        for name, versions in self.readers.items():
            for version in versions if name in absent else ():
                found.setdefault(version, []).append(name)
        return found


def columns_of(models: ApiModels, reference: ApiModel, forced: str | None = None) -> PageColumns:
    """The columns of requests that are made from the contract of `reference`, or that force a version."""
    asked = next((model for model in models.models if model.version == forced), reference)
    if asked is not reference and not asked.routed:
        # It is never asked with another version, and no column but its own is known to the API.
        names = frozenset(feature.name for feature in asked.contract.features)
        return PageColumns(contract=asked.contract, needed=names, shown=names, as_arrays=False)
    union, readers = _union(reference, [each for each in models.models if each.routed and each is not reference])
    shown = {column.name for column in union[: len(reference.contract.features)]}
    sent: dict[str, str] = {}
    own = {place: feature for feature, place in _placed(asked, union)}
    needed = frozenset(union[place].name for place in own)
    if asked is not reference:
        sent = {
            column.name: _sent_name(column, own.get(place), asked.contract.features)
            for place, column in enumerate(union)
        }
        for place, feature in own.items():
            # The forced version's own rules hold for its columns.
            name = union[place].name
            union[place] = msgspec.structs.replace(feature, name=name, source_name=source_of(feature))
    return PageColumns(
        contract=msgspec.structs.replace(reference.contract, features=tuple(union)),
        needed=needed,
        shown=needed | shown,
        sent={name: other for name, other in sent.items() if other != name},
        readers={name: tuple(versions) for name, versions in readers.items()},
        as_arrays=_named(asked.contract) == _named(reference.contract),
    )


def _union(reference: ApiModel, others: Sequence[ApiModel]) -> tuple[list[ApiFeature], dict[str, list[str]]]:
    """The columns of `reference`, then what the others read beside them; and which versions read each of the latter."""
    first = len(reference.contract.features)
    union = list(reference.contract.features)
    readers: dict[str, list[str]] = {}
    for model in others:
        places = same_columns(model.contract.features, union)
        for feature, place in zip(model.contract.features, places, strict=True):
            if place is None:
                place = len(union)
                union.append(_named_apart(feature, union))
            elif place >= first:
                union[place] = _either(union[place], feature)
            if place >= first:
                readers.setdefault(union[place].name, []).append(model.version)
    return union, readers


def same_columns(features: Sequence[ApiFeature], columns: Sequence[ApiFeature]) -> list[int | None]:
    """For each feature its position among `columns`, as `app.domain.columns.matched`."""
    found: list[int | None] = [None] * len(features)
    for same in (_same_source, _one_named_as_the_other):
        for index, feature in enumerate(features):
            if found[index] is None:
                places = (place for place, each in enumerate(columns) if place not in found and same(feature, each))
                found[index] = next(places, None)
    return found


def source_of(feature: ApiFeature) -> str:
    """The name in the training data."""
    return feature.source_name or feature.name


def _same_source(one: ApiFeature, other: ApiFeature) -> bool:
    return source_of(one) == source_of(other)


def _one_named_as_the_other(one: ApiFeature, other: ApiFeature) -> bool:
    return source_of(one) == other.name or one.name == source_of(other)


def _placed(model: ApiModel, union: Sequence[ApiFeature]) -> list[tuple[ApiFeature, int]]:
    places = same_columns(model.contract.features, union)
    return [(each, place) for each, place in zip(model.contract.features, places, strict=True) if place is not None]


def _named(contract: ApiContract) -> list[tuple[str, str]]:
    return [(feature.name, source_of(feature)) for feature in contract.features]


def _sent_name(column: ApiFeature, own: ApiFeature | None, features: Sequence[ApiFeature]) -> str:
    """A column's name in a request that forces the version with `features`, where their names mean its own columns."""
    if own is not None:
        return own.name
    return source_of(column) if column.name in {feature.name for feature in features} else column.name


def _named_apart(feature: ApiFeature, columns: Sequence[ApiFeature]) -> ApiFeature:
    """The feature under a name that no column has yet, as the API names it."""
    taken = {column.name for column in columns} | {source_of(column) for column in columns}
    if feature.name not in taken:
        return feature
    source = source_of(feature)
    candidates = [source, *(f"{feature.name}_{number}" for number in range(2, len(taken) + 3))]
    name = next(candidate for candidate in candidates if candidate not in taken)
    return msgspec.structs.replace(feature, name=name, source_name=None if source == name else source)


def _either(one: ApiFeature, other: ApiFeature) -> ApiFeature:
    """A column that two versions read beside the champion's: what either of them takes may be sent."""
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
