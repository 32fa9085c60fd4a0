"""A column of data, and what its cells are, told from their text."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec
import numpy as np

from app.domain.contract import FeatureKind
from app.domain.rows import LARGEST_FLOAT32

MISSING = frozenset(("", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "-nan", "-NaN", "NULL", "null", "None", "?"))
MOSTLY_NUMBERS = 0.9
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf(inity)?", re.IGNORECASE)
_CODE = re.compile(r"[+-]?0\d+")
_DECIMAL_COMMA = re.compile(r"([+-]?\d*),(\d+([eE][+-]?\d+)?)")
_BOOLEANS = frozenset(("true", "false"))

Cells = Sequence[str | None]


class Column(msgspec.Struct, frozen=True):
    """One column, `values` of shape (rows,).

    Numeric: float64, a missing value is NaN, infinities as they were read. Categorical: objects, text or None;
    `boolean` where that text is "false" and "true". `cells` are the texts as read (None: missing), where the data
    came as text. `stray` is a cell that is no number in a column where nearly all are.
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
        """The same column with what does not fit a float32 made missing: no request could carry it."""
        if self.kind != "numeric":
            return self
        return msgspec.structs.replace(self, values=np.where(self.infinite, np.nan, self.values))


def numeric(name: str, values: np.ndarray, cells: Cells | None = None) -> Column:
    """A column of numbers."""
    texts = None if cells is None else tuple(cells)
    return Column(name=name, kind="numeric", values=np.asarray(values, dtype=np.float64), cells=texts)


def categorical(name: str, cells: Cells, *, boolean: bool = False, stray: str | None = None) -> Column:
    """A column of texts, None where one is missing; booleans become "false" and "true"."""
    values = np.empty(len(cells), dtype=object)
    values[:] = [None if cell is None else cell.lower() for cell in cells] if boolean else cells
    return Column(name=name, kind="categorical", values=values, cells=tuple(cells), boolean=boolean, stray=stray)


def typed(name: str, cells: Cells, *, decimal_comma: bool = False) -> Column:
    """The column that these texts are: numbers where all are, else categories.

    Numbers written with leading zeros (`007`) are codes, hence categories. A column without any value is numeric.
    """
    present = [cell for cell in cells if cell is not None]
    if decimal_comma and any(_DECIMAL_COMMA.fullmatch(cell) for cell in present):
        pointed = [None if cell is None else _DECIMAL_COMMA.sub(r"\1.\2", cell) for cell in cells]
        column = typed(name, pointed)
        return column if column.kind == "numeric" else typed(name, cells)
    if any(_CODE.fullmatch(cell) for cell in present):
        return categorical(name, cells)
    if present and {cell.lower() for cell in present} <= _BOOLEANS:
        return categorical(name, cells, boolean=True)
    strays = [cell for cell in present if not _NUMBER.fullmatch(cell)]
    if not strays:
        return numeric(name, np.array([np.nan if cell is None else float(cell) for cell in cells]), cells)
    nearly = len(strays) <= (1 - MOSTLY_NUMBERS) * len(present)
    return categorical(name, cells, stray=strays[0] if nearly else None)
