"""Check decoded JSON against a feature contract, and turn it into rows or an error that names the feature."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import chain
from typing import Any

import msgspec
import numpy as np

from app.domain.classes import boolean_of, boolean_values
from app.domain.contract import Feature, FeatureContract
from app.domain.timestamps import is_iso_date
from app.errors import InvalidFeatures, InvalidRequest

LARGEST_FLOAT32 = float(np.finfo(np.float32).max)
# By exact type: `True` is an int in Python, and a boolean is a value of boolean features alone (ADR 0005).
_NUMBERS = frozenset((float, int))
_FLAGS = frozenset((float, int, bool))
LONG_TEXT = 60
_NAN = float("nan")


class RowParser:
    """Checks rows against one contract.

    A row is a JSON array in column order, or an object by feature name. Rows come back as an array of shape
    (n, features): float64 where every feature is numeric (a missing value is NaN), else of objects (float, str or
    None). Raises `InvalidFeatures` that names the feature (and in a batch the row).
    """

    def __init__(self, contract: FeatureContract) -> None:
        self._contract = contract
        self._features = contract.features
        self._names = contract.names
        self._known = frozenset(self._names)
        self._width = len(self._names)
        # The values of false and true of each boolean feature, None for the others.
        self._flags = [boolean_values(feature) for feature in self._features]
        self._unbounded = contract.all_numeric and not any(f.nullable or f.choices for f in self._features)
        self._flagged = [place for place, flags in enumerate(self._flags) if flags is not None]
        self._plain = self._unbounded and not self._flagged
        self._dtype = np.float64 if contract.all_numeric else np.object_

    @cached_property
    def _decode(self) -> Callable[[bytes], Sequence[Sequence[float]]]:
        # Checks types and widths in half the time. Not made earlier: for hundreds of features it takes long to make.
        return msgspec.json.Decoder(list[tuple[(float,) * self._width]]).decode  # type: ignore[misc]

    @property
    def names(self) -> tuple[str, ...]:
        """The feature names, in column order."""
        return self._names

    def row(self, value: object) -> np.ndarray:
        """One row as an array of shape (1, features)."""
        values = self._in_order(value)
        # The hot path: one loop without calls, for contracts that need no check but the range.
        if self._plain:
            for number in values:
                if type(number) not in _NUMBERS or not -LARGEST_FLOAT32 <= number <= LARGEST_FLOAT32:
                    break
            else:
                return np.array([values], dtype=np.float64)
        return self._assemble([self._checked(values)])

    def rows(self, values: list[Any]) -> np.ndarray:
        """A batch as an array of shape (n, features); one bad row refuses all."""
        if not values:
            raise InvalidRequest("the batch is empty: give at least one row", field="instances")
        fast = self._numbers_at_once(values) if self._unbounded else self._columns_at_once(values)
        if fast is not None:
            return fast
        checked = []
        for index, value in enumerate(values):
            try:
                checked.append(self._checked(self._in_order(value)))
            except InvalidFeatures as error:
                raise error.within("row", index) from None
        return self._assemble(checked)

    def decoded(self, text: bytes) -> np.ndarray | None:
        """The rows of a JSON array of arrays; None where only the decoded values tell whether they are rows."""
        try:
            rows = self._decode(text) if self._plain else None
            return self._matrix(rows) if rows else None
        except ValueError:  # msgspec's own, for whatever is no array of rows of numbers
            return None

    def columns(self, columns: Sequence[np.ndarray | list[Any]]) -> np.ndarray:
        """A batch that is given by columns, in their order and of one length; NaN in an array is a missing value."""
        array = np.empty((len(columns[0]), self._width), self._dtype)
        for place, (feature, flags, column) in enumerate(zip(self._features, self._flags, columns, strict=True)):
            try:
                checked = _checked_array(feature, flags, column)
            except (InvalidFeatures, OverflowError, TypeError):
                checked = None
            if checked is None:  # then the row is to be named
                return self.rows([*map(list, zip(*map(_as_list, self._features, columns), strict=True))])
            array[:, place] = checked
        return array

    def _numbers_at_once(self, values: list[Any]) -> np.ndarray | None:
        """The batch, checked by a few calls in C; None if a row must be checked alone to name its error."""
        if {*map(type, values)} != {list} or {*map(len, values)} != {self._width}:
            return None
        if not _NUMBERS.issuperset(map(type, chain.from_iterable(values))) and not self._flags_alone(values):
            return None
        try:
            return self._matrix(values)
        except OverflowError:
            return None  # an integer of thousands of digits, which msgspec accepts

    def _matrix(self, values: Sequence[Iterable[float]]) -> np.ndarray | None:
        """Rows of numbers, which are as many as the features; None if one is not allowed."""
        numbers = chain.from_iterable(values)
        array = np.fromiter(numbers, np.float64, len(values) * self._width).reshape(-1, self._width)
        if self._flagged and not np.isin(array[:, self._flagged], (0.0, 1.0)).all():
            return None
        # NaN compares as false, and so is left to the checks that name the feature.
        return array if bool((np.abs(array) <= LARGEST_FLOAT32).all()) else None

    def _columns_at_once(self, values: list[Any]) -> np.ndarray | None:
        """The batch, checked by columns; None if a row must be checked alone to name its error."""
        if {*map(type, values)} != {list} or {*map(len, values)} != {self._width}:
            return None
        array = np.empty((len(values), self._width), self._dtype)
        columns = zip(self._features, self._flags, zip(*values, strict=True), strict=True)
        for place, (feature, flags, column) in enumerate(columns):
            try:
                checked = _checked_column(feature, flags, column)
            except (InvalidFeatures, OverflowError, TypeError):  # an object cannot be a key, and is no value either
                return None
            if checked is None:
                return None
            array[:, place] = checked
        return array

    def _flags_alone(self, values: list[list[Any]]) -> bool:
        """Whether all values are numbers, or booleans in the columns of boolean features."""
        columns = zip(self._flags, zip(*values, strict=True), strict=True)
        return all((_NUMBERS if flags is None else _FLAGS).issuperset(map(type, column)) for flags, column in columns)

    def _in_order(self, value: object) -> list[Any]:
        if type(value) is list:
            if len(value) != self._width:
                raise InvalidFeatures(f"expected {self._width} features ({', '.join(self._names)}), got {len(value)}")
            return value
        if isinstance(value, Mapping):
            return self._by_name(value)
        raise InvalidFeatures(f"features must be an array of {self._width} values or an object by feature name")

    def _by_name(self, value: Mapping[str, Any]) -> list[Any]:
        if len(value) == self._width:
            try:
                return [value[name] for name in self._names]
            except KeyError:
                pass
        for name in self._names:
            if name not in value:
                raise InvalidFeatures(f"feature {name!r} is missing", field=name)
        unknown = next(str(name) for name in value if name not in self._known)
        raise InvalidFeatures(
            f"unknown feature {short(unknown)}; known are {', '.join(self._names)}", field=unknown[:LONG_TEXT]
        )

    def _checked(self, values: list[Any]) -> list[Any]:
        columns = zip(self._features, self._flags, values, strict=True)
        return [_checked_value(feature, flags, value) for feature, flags, value in columns]

    def _assemble(self, rows: list[list[Any]]) -> np.ndarray:
        if self._dtype is np.float64:
            return np.array(rows, dtype=np.float64)
        array = np.empty((len(rows), self._width), dtype=object)
        array[:] = rows
        return array


def _checked_column(
    feature: Feature, flags: Mapping[bool, float | str] | None, column: Sequence[Any]
) -> np.ndarray | list[Any] | None:
    """The values of a feature, each distinct one checked once; None where they must be checked one by one.

    Raises what `_checked_value` raises, `OverflowError` and `TypeError`.
    """
    types = {*map(type, column)}
    if flags is None and feature.kind == "numeric":
        if feature.nullable and type(None) in types:
            types.remove(type(None))
            column = [_NAN if value is None else value for value in column]
        # Not by distinct values, of which numbers have too many.
        return _checked_numbers(feature, column) if types <= _NUMBERS else None
    if bool in types and len(types) > 1:  # as keys, true and 1 are one value
        return None
    distinct = {value: _checked_value(feature, flags, value) for value in {*column}}
    return [*map(distinct.__getitem__, column)]


def _checked_array(
    feature: Feature, flags: Mapping[bool, float | str] | None, column: np.ndarray | list[Any]
) -> np.ndarray | list[Any] | None:
    """The same of an array, whose numbers are checked without an object for each."""
    if (
        flags is not None
        or feature.kind != "numeric"
        or not isinstance(column, np.ndarray)
        or column.dtype.kind not in "iuf"
    ):
        return _checked_column(feature, flags, _as_list(feature, column))
    return _checked_numbers(feature, column)


def _as_list(feature: Feature, column: np.ndarray | list[Any]) -> list[Any]:
    """The values of a column as JSON would have them."""
    if not isinstance(column, np.ndarray):
        return column
    values: list[Any] = column.tolist()
    return [None if value != value else value for value in values] if feature.nullable else values


def _checked_numbers(feature: Feature, column: Sequence[Any] | np.ndarray) -> np.ndarray | None:
    if isinstance(column, np.ndarray):
        numbers = column.astype(np.float64)
    else:
        numbers = np.fromiter(column, np.float64, len(column))
    present = numbers[~np.isnan(numbers)] if feature.nullable else numbers
    are_known = not feature.choices or bool(np.isin(present, feature.choices).all())
    return numbers if are_known and bool((np.abs(present) <= LARGEST_FLOAT32).all()) else None


def _checked_value(feature: Feature, flags: Mapping[bool, float | str] | None, value: object) -> float | str | None:
    if value is None:
        if not feature.nullable:
            raise InvalidFeatures(f"feature {feature.name!r} must not be null", field=feature.name)
        return float("nan") if feature.kind == "numeric" else None
    if flags is not None:
        return _checked_boolean(feature, flags, value)
    return _checked_number(feature, value) if feature.kind == "numeric" else _checked_category(feature, value)


def _checked_boolean(feature: Feature, flags: Mapping[bool, float | str], value: object) -> float | str:
    """The feature's own value for true or false, in whatever spelling."""
    flag = boolean_of(value) if type(value) is str else bool(value) if _is_flag(value) else None
    if flag is not None:
        own = flags[flag]
        return own if type(own) is float else _checked_category(feature, own)
    if feature.kind == "categorical" and type(value) is str:
        return _checked_category(feature, value)
    raise InvalidFeatures(
        f"feature {feature.name!r} must be true or false (or 1 or 0), got {_kind(value)}", field=feature.name
    )


def _is_flag(value: object) -> bool:
    return type(value) in _FLAGS and value in (0, 1)


def _checked_number(feature: Feature, value: object) -> float:
    name = feature.name
    if type(value) not in _NUMBERS:
        raise InvalidFeatures(f"feature {name!r} must be a number, got {_kind(value)}", field=name)
    assert isinstance(value, int | float)
    if not -LARGEST_FLOAT32 <= value <= LARGEST_FLOAT32:
        reason = "must be finite" if value != value or value in (float("inf"), float("-inf")) else "overflows float32"
        raise InvalidFeatures(f"feature {name!r} {reason}", field=name)
    if feature.choices and value not in feature.choices:
        known = ", ".join(f"{choice:g}" for choice in feature.choices[:10])
        raise InvalidFeatures(f"feature {name!r} must be one of the numbers {known}", field=name)
    return float(value)


def _checked_category(feature: Feature, value: object) -> str:
    name = feature.name
    if type(value) is not str:
        raise InvalidFeatures(f"feature {name!r} must be a string, got {_kind(value)}", field=name)
    if value not in feature.categories and not feature.open_categories:
        known = ", ".join(map(_plain, feature.categories[:10])) + (", …" if len(feature.categories) > 10 else "")
        raise InvalidFeatures(f"feature {name!r} has no category {short(value)}; known are {known}", field=name)
    if feature.dates_like is not None and not is_iso_date(value, feature.dates_like):
        raise InvalidFeatures(
            f"feature {name!r} must be a date like {feature.dates_like!r}, got {short(value)}", field=name
        )
    return value


def _plain(category: str) -> str:
    """The category as it is; in quotes where spaces around it, a comma, or nothing at all, would mislead."""
    return category if category and category == category.strip() and "," not in category else repr(category)


def _kind(value: object) -> str:
    names = {bool: "a boolean", str: "a string", list: "an array", dict: "an object"}
    return names.get(type(value), "a number" if type(value) in _NUMBERS else type(value).__name__)


def short(text: str) -> str:
    """The text in quotes, cut where it is long."""
    return repr(text if len(text) <= LONG_TEXT else text[:LONG_TEXT] + "…")
