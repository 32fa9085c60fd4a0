"""The rows of requests, checked against the union of the versions' columns, with the columns that each request has."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

import msgspec
import numpy as np

from app.domain.columns import LoggedColumn, LoggedLayout, Reading, Union, Versions, reading
from app.domain.contract import Feature, FeatureContract
from app.domain.rows import LONG_TEXT, RowParser, short
from app.errors import InvalidFeatures
from app.tables.model_columns import same_columns, source_of

# The forms that clients send are remembered, to read the next row of the same form fast. As many as clients of one
# service have; a client that varies its rows forever must not fill the memory.
_MOST_FORMS = 256


# The values of a column: numbers as an array, or values as JSON has them.
Column = np.ndarray | list[Any]


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


def _first_lacking(contract: FeatureContract, columns: Sequence[Feature]) -> str:
    places = same_columns(contract.features, columns)
    return next(feature.name for feature, place in zip(contract.features, places, strict=True) if place is None)


def _logged_layout(columns: Sequence[Feature]) -> LoggedLayout:
    logged = tuple(LoggedColumn(column.name, column.source_name) for column in columns)
    digest = hashlib.blake2b(msgspec.json.encode(logged), digest_size=8).digest()
    return LoggedLayout(int.from_bytes(digest) >> 1, logged)


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
        self._arrays = tuple(arrays) if arrays is not None else self._required.names
        of_arrays = {self._places.get(name) for name in self._arrays}
        # The columns that no array has: those that a row then lacks, and those that it may have by name.
        self._beyond = [column.name for place, column in enumerate(self._columns) if place not in of_arrays]
        self._lacking = self._beyond[: sum(place not in of_arrays for place in range(self._width))]
        # Whether an array is a row of the required columns as it is.
        self._plain = self._arrays == self._required.names
        self._forms: dict[frozenset[str], Form] = {}

    @property
    def columns(self) -> tuple[Feature, ...]:
        """The union, the required columns first."""
        return self._columns

    @property
    def optional(self) -> tuple[Feature, ...]:
        """The columns that a request may leave out."""
        return self._columns[self._width :]

    @property
    def array_names(self) -> tuple[str, ...]:
        """The columns of a row that is an array, in order."""
        return tuple(self._arrays)

    @property
    def arrays_are_rows(self) -> bool:
        """Whether a row may be an array: it then has all columns that are required."""
        return not self._lacking

    def feature(self, name: str) -> Feature | None:
        """The column that may be given under this name; None if there is none."""
        place = self._places.get(name)
        return None if place is None else self._columns[place]

    @property
    def able(self) -> tuple[str, ...]:
        """The versions that can answer a request with all columns, in the order in which a policy gets them."""
        return tuple(self._contracts)

    def __contains__(self, name: object) -> bool:
        """Whether a column may be given under this name."""
        return name in self._places

    def row(self, value: object) -> tuple[np.ndarray, Layout]:
        """One row, shape (1, columns of the layout), and its layout. Raises `InvalidFeatures` that names the column."""
        if type(value) is dict:
            form = self._form(value)
            return form.layout.parser.row([value[name] for name in form.names]), form.layout
        if not self._plain:
            return self.row(self._by_name(value))
        if self._beyond and (type(value) is not list or len(value) != self._width):
            self._require_width(value)
        return self._required.parser.row(value), self._required

    def rows(self, values: list[Any]) -> tuple[np.ndarray, Layout]:
        """A batch, shape (n, columns of the layout), and its layout; a column that not every row has is in none.

        Raises `InvalidFeatures` that names the row and the column, and `InvalidRequest` if the batch is empty.
        """
        if not values or (self._plain and dict not in set(map(type, values))):
            return self._required.parser.rows(values), self._required
        return self._rows_of_one_form(values) or self._rows_of_forms(values)

    def decoded(self, text: bytes) -> tuple[np.ndarray, Layout] | None:
        """The rows of a JSON array of arrays, as `rows` gives them; None where that needs its values."""
        rows = self._required.parser.decoded(text) if self._plain else None
        return None if rows is None else (rows, self._required)

    def table(self, columns: Mapping[str, Column] | Sequence[Column]) -> tuple[np.ndarray, Layout]:
        """A batch that is given by columns of one length, by name, or in the order of a row that is an array.

        As `rows` otherwise, also in what it raises; NaN in an array of numbers is a missing value.
        """
        if not len(columns):
            raise InvalidFeatures(f"no columns are given; known are {', '.join(self._arrays)}")
        named = columns if isinstance(columns, Mapping) else self._by_name([*columns])
        form = self._form(named)
        return form.layout.parser.columns([named[name] for name in form.names]), form.layout

    def _rows_of_one_form(self, values: list[Any]) -> tuple[np.ndarray, Layout] | None:
        """The same for objects that all have the names of the first one; None where not all of them have."""
        if {*map(type, values)} != {dict}:
            return None
        try:
            form = self._form(values[0])
            if len(form.names) < 2:  # for a single name, itemgetter gives the value alone
                return None
            ordered = [*map(list, map(itemgetter(*form.names), values))]
        except (InvalidFeatures, KeyError):
            return None
        return (form.layout.parser.rows(ordered), form.layout) if {*map(len, values)} == {len(form.names)} else None

    def _rows_of_forms(self, values: list[Any]) -> tuple[np.ndarray, Layout]:
        """The same for any rows."""
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

    def _by_name(self, value: object) -> dict[str, Any]:
        """A row that is an array as an object."""
        return dict(zip(self._arrays, self._require_width(value), strict=True))

    def _require_width(self, value: object) -> list[Any]:
        """The row, if it is an array of the right width; else an error that says which columns go by name only."""
        names = self._arrays
        if type(value) is not list:
            raise InvalidFeatures(f"features must be an array of {len(names)} values or an object by feature name")
        if self._lacking:
            raise InvalidFeatures(
                f"feature {self._lacking[0]!r} is missing: an array has the champion's columns alone; give the row as "
                f"an object with {', '.join(self._lacking)}",
                field=self._lacking[0],
            )
        if len(value) != len(names):
            by_name = f"; give the row as an object to add {', '.join(self._beyond)}" if self._beyond else ""
            raise InvalidFeatures(f"expected {len(names)} features ({', '.join(names)}), got {len(value)}{by_name}")
        return value

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
                # Some systems write ö as o and two dots: names are kept in the composed form.
                place = self._places.get(unicodedata.normalize("NFC", name))
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
        for feature, place in zip(contract.features, same_columns(contract.features, union.columns), strict=True):
            assert place is not None
            places |= {name: place for name in (source_of(feature), feature.name) if name not in places}
    places |= {source_of(column): place for place, column in enumerate(union.columns)}
    return places | {column.name: place for place, column in enumerate(union.columns)}
