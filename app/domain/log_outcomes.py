"""Outcomes of the log as columns, which become objects only where they are taken one by one."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np

from app.domain.log_event import OutcomeRow

_FIELDS = OutcomeRow.__struct_fields__
# The last fields of outcomes that nothing has corrected.
_UNCORRECTED = (None, 0, 0)
_DTYPES = {"answer": np.float64, "counts": np.bool_, "randomised": np.bool_}


class _Table:
    """A list for each field of an `OutcomeRow`, and arrays of what was asked for."""

    def __init__(self, columns: Sequence[Sequence[Any]]) -> None:
        self.lists = dict(zip(_FIELDS, columns, strict=True))
        self.arrays: dict[str, np.ndarray] = {}

    def array(self, name: str) -> np.ndarray:
        """A field of numbers or of truth values."""
        if name not in self.arrays:
            self.arrays[name] = np.array(self.lists[name], _DTYPES.get(name, np.int64))
        return self.arrays[name]

    @functools.cached_property
    def are_labels(self) -> np.ndarray:
        return np.array([kind == "actual" for kind in self.lists["kind"]], np.bool_)

    @functools.cached_property
    def are_corrected(self) -> np.ndarray:
        return np.array([value is not None for value in self.lists["corrected"]], np.bool_)


class Outcomes(Sequence[OutcomeRow]):
    """The outcomes of a table at some of its places, in some order; all where `at` is None."""

    def __init__(self, table: _Table, at: np.ndarray | None = None) -> None:
        self._table, self._at = table, at

    def __len__(self) -> int:
        return len(self._table.lists["seq"]) if self._at is None else len(self._at)

    @overload
    def __getitem__(self, place: int) -> OutcomeRow: ...

    @overload
    def __getitem__(self, place: slice) -> Outcomes: ...

    def __getitem__(self, place: int | slice) -> OutcomeRow | Outcomes:
        """The outcome at a place, or some of the outcomes."""
        if isinstance(place, slice):
            return self.take(np.arange(len(self))[place])
        at = place if self._at is None else int(self._at[place])
        return OutcomeRow(*[column[at] for column in self._table.lists.values()])

    def __iter__(self) -> Iterator[OutcomeRow]:
        return map(OutcomeRow, *map(self.column, _FIELDS))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and [*self] == [*other]

    __hash__ = None  # type: ignore[assignment]

    def take(self, places: np.ndarray) -> Outcomes:
        """The outcomes at these places."""
        return Outcomes(self._table, places if self._at is None else self._at[places])

    def column(self, name: str) -> Sequence[Any]:
        """A field of each outcome."""
        column = self._table.lists[name]
        return column if self._at is None else [column[at] for at in self._at.tolist()]

    def array(self, name: str) -> np.ndarray:
        """A field of numbers or of truth values, of each outcome."""
        return self._of(self._table.array(name))

    @property
    def are_labels(self) -> np.ndarray:
        """Which are labels; the others are rewards."""
        return self._of(self._table.are_labels)

    @property
    def are_corrected(self) -> np.ndarray:
        """Which have another value by now than they were received with."""
        return self._of(self._table.are_corrected)

    @property
    def present(self) -> Sequence[str]:
        """The value of each that counts by now, a JSON number."""
        if not self.are_corrected.any():
            return self.column("outcome")
        return [each.present for each in self]

    def and_then(self, others: Outcomes) -> Outcomes:
        """These and behind them the others."""
        if not len(self) or not len(others):
            return self if len(self) else others
        return outcomes_of([[*self.column(name), *others.column(name)] for name in _FIELDS])

    def _of(self, array: np.ndarray) -> np.ndarray:
        found: np.ndarray = array if self._at is None else array[self._at]
        return found


def outcomes_of(columns: Sequence[Sequence[Any]]) -> Outcomes:
    """Outcomes by the columns of `OutcomeRow`, in its order; those of corrections may be left out."""
    given = columns or [()] * len(_FIELDS)
    missing = len(_FIELDS) - len(given)
    more = [[value] * len(given[0]) for value in _UNCORRECTED[len(_UNCORRECTED) - missing :]]
    return Outcomes(_Table([*given, *more]))


def as_outcomes(outcomes: Iterable[OutcomeRow]) -> Outcomes:
    """The outcomes as columns."""
    if isinstance(outcomes, Outcomes):
        return outcomes
    return outcomes_of([*zip(*([getattr(each, name) for name in _FIELDS] for each in outcomes), strict=True)])
