"""The columns of requests from the page: those that the API needs, and those that other versions read beside them.

The same union as in `app.domain.columns`, which the dashboard may not import, over the contracts of `GET /models`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec

from app.tables.model_columns import ModelColumn, either, named_apart, same_columns, source_of
from app.ui.records import ApiContract, ApiModel, ApiModels, Cell


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
        """The columns that a request may leave out and that the page does not show unless asked."""
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
        return _of_one(asked)
    union, readers = _union(reference, models)
    shown = {column.name for column in union[: len(reference.contract.features)]}
    own = {place: feature for feature, place in _placed(asked, union)}
    needed = frozenset(union[place].name for place in own)
    sent = {} if asked is reference else _force(union, own, asked)
    return PageColumns(
        contract=msgspec.structs.replace(reference.contract, features=tuple(union)),
        needed=needed,
        shown=needed | shown,
        sent=sent,
        readers={name: tuple(versions) for name, versions in readers.items()},
        as_arrays=_named(asked.contract) == _named(reference.contract),
    )


def _of_one(model: ApiModel) -> PageColumns:
    """The columns of a version that is never asked with another: the API knows no other of its requests."""
    names = frozenset(feature.name for feature in model.contract.features)
    return PageColumns(contract=model.contract, needed=names, shown=names, as_arrays=False)


def _force(union: list[ModelColumn], own: Mapping[int, ModelColumn], asked: ApiModel) -> dict[str, str]:
    """Give the columns of a forced version its own rules, in place; the names in requests where they are others."""
    sent = [_sent_name(column, own.get(place), asked.contract.features) for place, column in enumerate(union)]
    names = [column.name for column in union]
    for place, feature in own.items():
        union[place] = msgspec.structs.replace(feature, name=names[place], source_name=source_of(feature))
    return {name: other for name, other in zip(names, sent, strict=True) if other != name}


def _union(reference: ApiModel, models: ApiModels) -> tuple[list[ModelColumn], dict[str, list[str]]]:
    """The columns of `reference`, then those that other routed versions read beside them, with these versions."""
    first = len(reference.contract.features)
    union = list(reference.contract.features)
    readers: dict[str, list[str]] = {}
    for model in (each for each in models.models if each.routed and each is not reference):
        places = same_columns(model.contract.features, union)
        for feature, place in zip(model.contract.features, places, strict=True):
            if place is None:
                place = len(union)
                union.append(named_apart(feature, union))
            elif place >= first:
                union[place] = either(union[place], feature)
            if place >= first:
                readers.setdefault(union[place].name, []).append(model.version)
    return union, readers


def _placed(model: ApiModel, union: Sequence[ModelColumn]) -> list[tuple[ModelColumn, int]]:
    places = same_columns(model.contract.features, union)
    return [(each, place) for each, place in zip(model.contract.features, places, strict=True) if place is not None]


def _named(contract: ApiContract) -> list[tuple[str, str]]:
    return [(feature.name, source_of(feature)) for feature in contract.features]


def _sent_name(column: ModelColumn, own: ModelColumn | None, features: Sequence[ModelColumn]) -> str:
    """A column's name in a request that forces the version with `features`, where their names mean its own columns."""
    if own is not None:
        return own.name
    return source_of(column) if column.name in {feature.name for feature in features} else column.name
