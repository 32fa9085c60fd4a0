"""A column of data, and its type as the text of its cells implies it."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec
import numpy as np

from app.domain.contract import FeatureKind
from app.domain.rows import LARGEST_FLOAT32

# Texts that stand for a missing value: common ones that pandas reads as NaN, and the `?` of the UCI data sets.
MISSING = frozenset(("", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "-nan", "-NaN", "NULL", "null", "None", "?"))
MOSTLY_NUMBERS = 0.9
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf(inity)?", re.IGNORECASE)
# Postcodes and article numbers: as numbers they would lose their zeros, and their order means nothing.
_CODE = re.compile(r"[+-]?0\d+")
_DECIMAL_COMMA = re.compile(r"([+-]?\d*),(\d+([eE][+-]?\d+)?)")
_BOOLEANS = frozenset(("true", "false"))

Cells = Sequence[str | None]


class Column(msgspec.Struct, frozen=True):
    """One column, `values` of shape (rows,).

    Numeric: float64, a missing value is NaN, infinities as they were read. Categorical: objects, text or None;
    `boolean` if that text is "false" and "true" only. `cells` are the texts as read (None: missing) if the data came
    as text, else None. `stray` is a cell that is no number in a column where at least 90 % are, else None.
    """

    name: str
    kind: FeatureKind
    values: np.ndarray
    cells: tuple[str | None, ...] | None = None
    boolean: bool = False
    stray: str | None = None

    @property
    def missing(self) -> np.ndarray:
        """True where there is no value, shape (rows,)."""
        if self.kind == "numeric":
            return np.asarray(np.isnan(self.values))
        return np.fromiter((value is None for value in self.values), dtype=bool, count=len(self.values))

    @property
    def infinite(self) -> np.ndarray:
        """True where a number is infinite or overflows float32, shape (rows,)."""
        if self.kind != "numeric":
            return np.zeros(len(self.values), dtype=bool)
        return np.asarray(np.abs(self.values) > LARGEST_FLOAT32)

    @property
    def distinct(self) -> tuple[float | str, ...]:
        """The values that occur, each once, sorted, without the missing ones."""
        return tuple(sorted(set(self.values[~self.missing].tolist())))

    def take(self, positions: np.ndarray) -> Column:
        """The same column with the rows at `positions`, in that order."""
        cells = None if self.cells is None else tuple(self.cells[position] for position in positions)
        return msgspec.structs.replace(self, values=self.values[positions], cells=cells)

    def without_infinities(self) -> Column:
        """The same column with NaN for numbers beyond float32, which no request may carry."""
        if self.kind != "numeric":
            return self
        return msgspec.structs.replace(self, values=np.where(self.infinite, np.nan, self.values))


def numeric(name: str, values: np.ndarray, cells: Cells | None = None) -> Column:
    """A numeric column of `values`, shape (rows,); `cells` are the texts that they were read from."""
    texts = None if cells is None else tuple(cells)
    return Column(name=name, kind="numeric", values=np.asarray(values, dtype=np.float64), cells=texts)


def categorical(name: str, cells: Cells, *, boolean: bool = False, stray: str | None = None) -> Column:
    """A categorical column of `cells`, None for a missing one; `boolean` texts become "false" and "true"."""
    values = np.empty(len(cells), dtype=object)
    values[:] = [None if cell is None else cell.lower() for cell in cells] if boolean else cells
    return Column(name=name, kind="categorical", values=values, cells=tuple(cells), boolean=boolean, stray=stray)


def typed(name: str, cells: Cells, *, decimal_comma: bool = False) -> Column:
    """The column that these texts are: numeric if all present ones are numbers, else categorical.

    Numbers written with leading zeros (`007`) are codes, hence categories. A column without any value is numeric.
    """
    if decimal_comma and any(_DECIMAL_COMMA.fullmatch(cell) for cell in _present(cells)):
        pointed = [None if cell is None else _DECIMAL_COMMA.sub(r"\1.\2", cell) for cell in cells]
        column = _typed(name, pointed)
        # If other cells are no numbers, these are categories, which are kept as they are written.
        if column.kind == "numeric":
            return column
    return _typed(name, cells)


def _typed(name: str, cells: Cells) -> Column:
    present = _present(cells)
    if any(_CODE.fullmatch(cell) for cell in present):
        return categorical(name, cells)
    if _are_booleans(present):
        return categorical(name, cells, boolean=True)
    strays = [cell for cell in present if not _NUMBER.fullmatch(cell)]
    if not strays:
        return numeric(name, _numbers(cells), cells)
    nearly = len(strays) <= (1 - MOSTLY_NUMBERS) * len(present)
    return categorical(name, cells, stray=strays[0] if nearly else None)


def _present(cells: Cells) -> list[str]:
    return [cell for cell in cells if cell is not None]


def _are_booleans(present: list[str]) -> bool:
    return bool(present) and {cell.lower() for cell in present} <= _BOOLEANS


def _numbers(cells: Cells) -> np.ndarray:
    return np.array([np.nan if cell is None else float(cell) for cell in cells])
