"""The columns of a request: each version takes its own, by name, from what the caller sent.

Versions may read different columns, in different orders. A request is checked against the union of them. The columns
of the reference version are required; the others may be absent, and a version that lacks one of its columns takes no
part in that request.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec
import numpy as np

from app.domain.classes import boolean_values
from app.domain.contract import Feature, FeatureContract
from app.domain.rows import LONG_TEXT, RowParser, short
from app.errors import InvalidFeatures

# The forms that clients send are remembered, to read the next row of the same form fast. As many as clients of one
# service have; a client that varies its rows forever must not fill the memory.
_MOST_FORMS = 256


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


class Layout:
    """The columns that one request has, with a parser for them, and the versions that can answer it.

    `readers` are the versions that can, in order of publication. `lacking` has, for each that cannot, the name of the
    first column that it lacks.
    """

    def __init__(self, task_contract: FeatureContract, columns: tuple[Feature, ...], versions: Versions) -> None:
        contract = msgspec.structs.replace(task_contract, features=columns)
        self.columns = columns
        self.parser = RowParser(contract)
        self.names = contract.names
        found = {name: reading(each, columns) for name, each in versions.items()}
        self.readers: Mapping[str, Reading] = {name: each for name, each in found.items() if each is not None}
        self.able = tuple(self.readers)
        self.lacking: Mapping[str, str] = {
            name: _first_lacking(versions[name], columns) for name, each in found.items() if each is None
        }
        # Both in the form that the log keeps.
        self.lacking_text = msgspec.json.encode(sorted(self.lacking)).decode() if self.lacking else None
        self.logged = _logged_layout(columns)

    def logged_for(self, version: str) -> LoggedLayout | None:
        """What the log says of the columns of a row that `version` serves; None if they are the version's own."""
        return None if self.readers[version].positions is None else self.logged


Versions = Mapping[str, FeatureContract]


def _first_lacking(contract: FeatureContract, columns: Sequence[Feature]) -> str:
    places = matched(contract.features, columns)
    return next(feature.name for feature, place in zip(contract.features, places, strict=True) if place is None)


def _logged_layout(columns: Sequence[Feature]) -> LoggedLayout:
    logged = tuple(LoggedColumn(column.name, column.source_name) for column in columns)
    digest = hashlib.blake2b(msgspec.json.encode(logged), digest_size=8).digest()
    return LoggedLayout(int.from_bytes(digest) >> 1, logged)


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


class RequestColumns:
    """Checks the rows of requests against a union of columns, of which those of `reference` are required.

    Rows that are arrays have the columns `arrays`, in that order; without it those of `reference`.
    """

    def __init__(self, reference: str, union: Union, arrays: Sequence[str] | None = None) -> None:
        self.contract = union.contracts[reference]
        self._contracts = union.contracts
        self._columns = union.columns
        self._width = len(self.contract.features)
        self._places = _places_by_name(union)
        self._layouts: dict[tuple[int, ...], Layout] = {}
        self._required = self._layout(())
        self._arrays = None if arrays is None or tuple(arrays) == self._required.names else tuple(arrays)
        # Whether an array is a row of the required columns as it is, and nothing more can be said of its width.
        self._plain = self._arrays is None and not self.optional
        self._forms: dict[frozenset[str], Form] = {}

    @property
    def columns(self) -> tuple[Feature, ...]:
        """The union, the required columns first."""
        return self._columns

    @property
    def optional(self) -> tuple[Feature, ...]:
        """The columns that a request may leave out."""
        return self._columns[self._width :]

    def __contains__(self, name: object) -> bool:
        """Whether a column may be given under this name."""
        return name in self._places

    def row(self, value: object) -> tuple[np.ndarray, Layout]:
        """One row, shape (1, columns of the layout), and its layout. Raises `InvalidFeatures` that names the column."""
        if type(value) is dict:
            form = self._forms.get(frozenset(value)) or self._form(value)
            return form.layout.parser.row([value[name] for name in form.names]), form.layout
        if self._plain:
            return self._required.parser.row(value), self._required
        return self._row_of_array(value)

    def rows(self, values: list[Any]) -> tuple[np.ndarray, Layout]:
        """A batch, shape (n, columns of the layout), and its layout; a column that not every row has is in none.

        Raises `InvalidFeatures` that names the row and the column, and `InvalidRequest` if the batch is empty.
        """
        if self._arrays is None and dict not in set(map(type, values)):
            return self._required.parser.rows(values), self._required
        named = []
        for index, value in enumerate(values):
            try:
                row = value if type(value) is dict else self._by_name(value)
                named.append((self._form(row), row))
            except InvalidFeatures as error:
                raise error.within("row", index) from None
        shared = set.intersection(*(set(form.layout.names) for form, _ in named))
        layout = self._layout(tuple(place for place, column in enumerate(self._columns) if column.name in shared))
        return layout.parser.rows([form.values(row, layout) for form, row in named]), layout

    def _row_of_array(self, value: object) -> tuple[np.ndarray, Layout]:
        row = self._by_name(value)
        if self._arrays is None:
            return self._required.parser.row(value), self._required
        return self.row(row)

    def _by_name(self, value: object) -> dict[str, Any]:
        """A row that is an array as an object. What is wrong with its width says which columns go by name only."""
        names = self._arrays or self._required.names
        if type(value) is not list:
            raise InvalidFeatures(f"features must be an array of {len(names)} values or an object by feature name")
        if len(value) != len(names):
            others = [
                column.name for column in self._columns if self._places[column.name] not in self._of_arrays(names)
            ]
            by_name = f"; give the row as an object to add {', '.join(others)}" if others else ""
            raise InvalidFeatures(f"expected {len(names)} features ({', '.join(names)}), got {len(value)}{by_name}")
        return dict(zip(names, value, strict=True))

    def _of_arrays(self, names: Sequence[str]) -> set[int]:
        return {self._places[name] for name in names}

    def _form(self, value: Mapping[str, Any]) -> Form:
        """The form of a row by name; the same names, in whatever order, are one form."""
        keys = frozenset(value)
        form = self._forms.get(keys)
        if form is None:
            form = self._new_form(value)
            if len(self._forms) < _MOST_FORMS:
                self._forms[keys] = form
        return form

    def _new_form(self, value: Mapping[str, Any]) -> Form:
        names: dict[int, str] = {}
        for name in value:
            place = self._places.get(name)
            if place is None:
                known = ", ".join(column.name for column in self._columns)
                raise InvalidFeatures(f"unknown feature {short(name)}; known are {known}", field=name[:LONG_TEXT])
            if place in names:
                raise InvalidFeatures(
                    f"{short(names[place])} and {short(name)} are names of one feature: give one of them",
                    field=name[:LONG_TEXT],
                )
            names[place] = name
        for place, column in enumerate(self._columns[: self._width]):
            if place not in names:
                raise InvalidFeatures(f"feature {column.name!r} is missing", field=column.name)
        layout = self._layout(tuple(sorted(names)))
        return Form(layout, tuple(names[place] for place in sorted(names)))

    def _layout(self, places: tuple[int, ...]) -> Layout:
        """The layout of the required columns and of the others among `places`."""
        optional = tuple(place for place in places if place >= self._width)
        layout = self._layouts.get(optional)
        if layout is None:
            columns = (*self._columns[: self._width], *(self._columns[place] for place in optional))
            layout = Layout(self.contract, columns, self._contracts)
            if len(self._layouts) < _MOST_FORMS:
                self._layouts[optional] = layout
        return layout


class Form(msgspec.Struct, frozen=True):
    """A layout, and the names under which a caller gives its columns, in the layout's order."""

    layout: Layout
    names: tuple[str, ...]

    def values(self, row: Mapping[str, Any], layout: Layout) -> list[Any]:
        """The row's values of the columns of `layout`, which are some of this form's."""
        given = dict(zip(self.layout.names, self.names, strict=True))
        return [row[given[name]] for name in layout.names]


def _places_by_name(union: Union) -> dict[str, int]:
    """The position of each column by every name that it may be given under; the union's own names win."""
    places: dict[str, int] = {}
    for contract in union.contracts.values():
        for feature, place in zip(contract.features, matched(contract.features, union.columns), strict=True):
            assert place is not None
            places |= {name: place for name in (source_of(feature), feature.name) if name not in places}
    places |= {source_of(column): place for place, column in enumerate(union.columns)}
    return places | {column.name: place for place, column in enumerate(union.columns)}
