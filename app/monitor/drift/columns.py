"""The columns of logged rows, among which each watched version's own are found by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from app.domain.classes import boolean_of, boolean_values
from app.domain.columns import LoggedLayout
from app.domain.contract import Feature
from app.tables.model_columns import Named, same_columns

# The features of a published version, in order; None where it is not known any more.
Contracts: TypeAlias = Callable[[str], Sequence[Feature] | None]
_Spelling: TypeAlias = Mapping[bool, float | str]


class RowColumns:
    """Finds a version's features in logged rows. `layouts` are those of the rows, by id.

    A row without a layout has the features of the version that answered, in its order. If the contract of one of the
    two is not known any more, the row is taken as the version's own, if it is as wide.
    """

    def __init__(self, contracts: Contracts, layouts: Mapping[int, LoggedLayout]) -> None:
        self._contracts = contracts
        self._layouts = layouts
        self._pickers: dict[tuple[str, str | int], _Picker | None] = {}

    def own(self, version: str, width: int, values: list[Any], *, served: str, layout: int | None) -> list[Any] | None:
        """The `width` features of `version` in a row that `served` answered; None if it lacks one of them."""
        if layout is None and served == version:
            return values if len(values) == width else None
        picker = self._known_picker(version, served, layout)
        if picker is None or picker.width != len(values):
            return values if layout is None and len(values) == width else None
        found = picker.pick(values)
        return found if found is not None and len(found) == width else None

    def places(self, version: str, columns: int, width: int, *, served: str, layout: int | None) -> list[int] | None:
        """The positions of the `width` features of `version` in rows of so many columns, as `own` takes them.

        None where their values have to be looked at, or where the rows lack one.
        """
        same = [*range(columns)] if columns == width else None
        if layout is None and served == version:
            return same
        picker = self._known_picker(version, served, layout)
        if picker is None or picker.width != columns:
            return same if layout is None else None
        return picker.places if len(picker.places or ()) == width else None

    def _known_picker(self, version: str, served: str, layout: int | None) -> _Picker | None:
        key = version, served if layout is None else layout
        if key not in self._pickers:
            self._pickers[key] = self._picker(version, served, layout)
        return self._pickers[key]

    def _picker(self, version: str, served: str, layout: int | None) -> _Picker | None:
        features = self._contracts(version)
        known = None if layout is None else self._layouts.get(layout)
        columns: Sequence[Named] | None = self._contracts(served) if known is None else known.columns
        if features is None or columns is None or (layout is not None and known is None):
            return None
        return _Picker(features, columns)


class _Picker:
    """Takes the values of `features` out of rows of `columns`."""

    def __init__(self, features: Sequence[Feature], columns: Sequence[Named]) -> None:
        self.width = len(columns)
        places = same_columns(features, columns)
        self._places = None if None in places else [place for place in places if place is not None]
        spelled = {index: boolean_values(feature) for index, feature in enumerate(features)}
        self._spelled = {index: values for index, values in spelled.items() if values is not None}

    @property
    def places(self) -> list[int] | None:
        """The positions of the features; None if a column is not there, or one is spelled in the features' own way."""
        return None if self._spelled else self._places

    def pick(self, values: list[Any]) -> list[Any] | None:
        """The values in the features' order, booleans as the features spell them; None if a column is not there."""
        if self._places is None:
            return None
        found = [values[place] for place in self._places]
        for index, spelling in self._spelled.items():
            found[index] = _spelled(found[index], spelling)
        return found


def _spelled(value: Any, spelling: _Spelling) -> Any:
    if value is None or value in spelling.values():
        return value
    flag = boolean_of(value) if isinstance(value, str) else {0: False, 1: True}.get(value)
    return value if flag is None else spelling[flag]
