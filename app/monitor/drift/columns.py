"""The columns of logged rows, among which each watched version's own are found by name, and its answers to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import msgspec
import numpy as np

from app.domain.classes import boolean_of, boolean_values
from app.domain.columns import LoggedLayout
from app.domain.contract import Feature
from app.domain.log_event import PredictionRow
from app.domain.log_page import Part, in_blocks
from app.scoring.answers import Answers
from app.tables.model_columns import Named, same_columns

# The features of a published version, in order; None where it is not known any more.
Contracts: TypeAlias = Callable[[str], Sequence[Feature] | None]
_ANSWERS = msgspec.json.Decoder(Answers)
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


class AnswersToRows(NamedTuple):
    """A version's answers to n rows: class ids (−1: none), the greatest probability and the number (NaN: none)."""

    classes: np.ndarray
    tops: np.ndarray
    numbers: np.ndarray

    def part(self, which: slice | np.ndarray) -> AnswersToRows:
        """Some of the answers."""
        return AnswersToRows(*(each[which] for each in self))


def features_of(
    rows: Sequence[PredictionRow], version: str, width: int, columns: RowColumns
) -> tuple[np.ndarray, np.ndarray]:
    """The features of a version in rows, shape (n, width), and which of the rows have all of them, shape (n,).

    Numbers where all values are numbers (NaN for null), else objects.
    """
    parts, alone = in_blocks(rows)
    numbers: list[tuple[np.ndarray, np.ndarray]] = []
    others: list[tuple[int, list[Any]]] = []
    for part in parts:
        found = _numbers_of(part, version, width, columns)
        if found is not None:
            numbers.append((part.places, found))
            continue
        shared, cells = part.block.shared, part.block.cells
        for place, at in zip(part.places.tolist(), part.at.tolist(), strict=True):
            own = columns.own(version, width, cells[at], served=shared.version, layout=shared.layout)
            others += [] if own is None else [(place, own)]
    for place in alone:
        row = rows[place]
        values = msgspec.json.decode(row.features)
        own = columns.own(version, width, values, served=row.version, layout=row.layout)
        others += [] if own is None else [(place, own)]
    features = np.empty((len(rows), width), dtype=object if others else np.float64)
    known = np.zeros(len(rows), dtype=bool)
    for places, found in numbers:
        features[places] = as_objects(found) if others else found
        known[places] = True
    for place, own in others:
        features[place] = own
        known[place] = True
    return features, known


def _numbers_of(part: Part, version: str, width: int, columns: RowColumns) -> np.ndarray | None:
    """The version's own features in rows of a block where they can be taken as numbers, all at once; else None."""
    block = part.block
    if block.texts:
        return None
    shared, columns_of_row = block.shared, block.numbers.shape[1]
    places = columns.places(version, columns_of_row, width, served=shared.version, layout=shared.layout)
    if places is None:
        return None
    found: np.ndarray = block.numbers[part.at]
    return found if places == [*range(columns_of_row)] else found[:, places]


def as_objects(features: np.ndarray) -> np.ndarray:
    """Numbers as objects, with None for NaN."""
    objects = features.astype(object)
    objects[np.isnan(features)] = None
    return objects


def answers_to(rows: Sequence[PredictionRow], version: str) -> AnswersToRows:
    """A version's answers to the rows."""
    classes = np.full(len(rows), -1, dtype=np.int64)
    tops, numbers = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    parts, alone = in_blocks(rows)
    for block, places, at in parts:
        answers = block.answers.get(version)
        if answers is None:
            continue
        if answers.classes is not None:
            classes[places] = answers.classes[at]
        if answers.shares is not None:
            tops[places] = answers.shares[at].max(axis=1)
        if answers.numbers is not None:
            numbers[places] = answers.numbers[at]
    for place in alone:
        answer = _ANSWERS.decode(rows[place].answers).get(version)
        if answer is None:
            continue
        classes[place] = -1 if answer.c is None else answer.c
        tops[place] = max(answer.p) if answer.p else np.nan
        numbers[place] = np.nan if answer.v is None else answer.v
    return AnswersToRows(classes, tops, numbers)
