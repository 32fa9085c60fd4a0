"""The displayed histograms: the same cells for the reference and for live values, and cells for odd values."""

from __future__ import annotations

import functools

import msgspec
import numpy as np

from app.drift.keys import INFINITE_KEY, MISSING_KEY, category_keys
from app.drift.levels import LevelChoice
from app.drift.streams import Stream
from app.tables.model_columns import FeatureKind

# Cells are stored as bytes and shown as bars; the rarest categories share one.
MAX_CATEGORIES = 60
OTHERS = "(others)"
# Less than the half by which a cell reaches beyond its rank.
_ABOVE_RARE = 0.25
# Of shares and scores that are shown.
DECIMALS = 6


class Cells(msgspec.Struct, frozen=True, dict=True):
    """The cells of one feature or output and how many reference values each holds.

    `bins`: the edges of c numeric cells (c + 1 numbers; cell i is (edge i, edge i+1], the first with its left end), or
    the c categories by falling frequency, those with a bin of their own first. `counts` has c + 4 numbers: below the
    first edge, the c cells, above the last edge, missing, unseen. A value's number in that list is its cell. `others`
    are the categories of the cell `OTHERS`, where there are more than `MAX_CATEGORIES`; `latest` those of them that the
    half of the reference on which levels are chosen lacks.
    """

    name: str
    kind: FeatureKind
    bins: tuple[float | str, ...]
    counts: tuple[int, ...]
    others: tuple[str, ...] = ()
    latest: tuple[str, ...] = ()

    @property
    def ordinary(self) -> int:
        """The number of cells without below, above, missing and unseen."""
        return len(self.counts) - 4

    @functools.cached_property
    def shares(self) -> list[float] | None:
        """The share of the reference values in each cell, None without any."""
        return shares_of(np.array([self.counts]))[0] if sum(self.counts) else None

    @functools.cached_property
    def ranks(self) -> dict[str, float] | None:
        """The key of each known category, None for a numeric feature; `others` share one, `latest` another one."""
        if self.kind == "numeric":
            return None
        last: dict[str, float] = dict.fromkeys(self.others, len(self.bins) - 1)
        # The same cell, but above the rare levels, in the bin of what was never seen.
        last |= dict.fromkeys(self.latest, len(self.bins) - 1 + _ABOVE_RARE)
        return last | {str(name): rank for rank, name in enumerate(self.bins)}

    @functools.cached_property
    def boundaries(self) -> np.ndarray:
        """Ascending keys, one fewer than cells: a value's cell is how many of them lie below its key."""
        if self.kind == "categorical":
            # Between the ranks: a category's key is its rank exactly.
            inner = [rank - 0.5 for rank in range(self.ordinary + 1)]
        elif self.bins:
            first, *others = (float(edge) for edge in self.bins)
            # The smallest reference value is the first edge itself, and belongs to the first cell and not below it.
            inner = [float(np.nextafter(first, -np.inf)), *others]
        else:
            inner = [INFINITE_KEY]
        return np.array([*inner, INFINITE_KEY, MISSING_KEY])

    def of(self, keys: np.ndarray) -> np.ndarray:
        """The cell of each of `keys`, uint8, same shape."""
        return self.boundaries.searchsorted(keys, side="left").astype(np.uint8)


def shares_of(counts: np.ndarray) -> list[list[float]]:
    """The share of each row's counts, which are not all 0; shape (n, cells)."""
    shares: list[list[float]] = np.round(counts / counts.sum(axis=1)[:, None], DECIMALS).tolist()
    return shares


def numeric_cells(name: str, stream: Stream, keys: np.ndarray) -> Cells:
    """The cells between the distinct finite edges of `stream`, with the counts of the reference `keys`."""
    edges = sorted({edge for edge in stream.edges if abs(edge) < INFINITE_KEY})
    # A constant column still needs a cell, of width 0.
    if len(edges) == 1:
        edges = edges * 2
    empty = Cells(name=name, kind="numeric", bins=tuple(edges), counts=(0,) * (max(len(edges) - 1, 0) + 4))
    return _counted(empty, keys)


def categorical_cells(
    name: str, values: list[object], declared: tuple[str, ...], choice: LevelChoice
) -> tuple[Cells, np.ndarray]:
    """The cells of a categorical column and its keys: levels with a bin of their own, rare ones, then all others.

    Each kind by falling frequency; `declared` categories that `values` lacks come last. The rarest share a cell where
    there are too many.
    """
    present = [value for value in values if isinstance(value, str)]
    frequency = dict.fromkeys([*declared, *present], 0)
    for value in present:
        frequency[value] += 1
    own, rare = frozenset(choice.own), frozenset(choice.rare)
    kinds = {category: 0 if category in own else 1 if category in rare else 2 for category in frequency}
    names, others = sorted(frequency, key=lambda category: (kinds[category], -frequency[category])), []
    if len(names) > MAX_CATEGORIES:
        names, others = [*names[: MAX_CATEGORIES - 1], OTHERS], names[MAX_CATEGORIES - 1 :]
    empty = Cells(
        name=name,
        kind="categorical",
        bins=tuple(names),
        others=tuple(others),
        latest=tuple(category for category in others if kinds[category] == 2),
        counts=(0,) * (len(names) + 4),
    )
    keys = category_keys(values, empty.ranks or {})
    return _counted(empty, keys), keys


def text_cells(name: str, values: list[object]) -> tuple[Cells, np.ndarray]:
    """The cells of a column of texts, of which only the missing ones are told apart, and its keys.

    Nearly every text is new, in the reference as in live traffic; all of them are counted as unseen.
    """
    keys = category_keys(values, {})
    return _counted(Cells(name=name, kind="categorical", bins=(), counts=(0,) * 4), keys), keys


def _counted(cells: Cells, keys: np.ndarray) -> Cells:
    counts = np.bincount(cells.of(keys), minlength=len(cells.counts))
    return msgspec.structs.replace(cells, counts=tuple(int(count) for count in counts))
