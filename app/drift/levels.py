"""Which levels of a categorical column have a bin of their own, which share one, and which rows weigh the bins.

The chance that the next value is a level which the reference lacks is about the share of levels that it has once, and
not 1/(n+1): with many rare levels, unchanged traffic would look changed. So levels are chosen on one half of the rows
and weighed on the other. Given the choice, the weighed rows and live ones are exchangeable, and the promise is exact:
levels that the fitting half lacks weigh what they do on the other half, where they are as new as in live traffic.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec
import numpy as np

# A level with fewer rows on the fitting half has no bin of its own.
LEAST_ROWS = 5
# Cells are stored as bytes and shown as bars; with the one of all others there are at most 60.
MOST_OWN_LEVELS = 59


class LevelChoice(msgspec.Struct, frozen=True):
    """The levels with a bin of their own, the rare ones, and the positions of the rows that weigh the bins.

    `rare` levels have too few rows to be weighed alone and share a bin; all other levels share the bin of what was
    never seen. None stands for a missing value.
    """

    own: tuple[str | None, ...]
    rare: tuple[str | None, ...]
    weighed: np.ndarray


def choose_levels(values: Sequence[object], chance: np.random.Generator) -> LevelChoice:
    """The choice for a column of level names; what is not a text is missing."""
    whole = np.arange(len(values))
    own, rare = _split(values, whole)
    # Where every level is common, nothing is rare or left out: any other sample would give the same choice, but for
    # levels of about five expected rows, so no row need be spent on choosing.
    if not rare:
        return LevelChoice(own, rare, whole)
    order = chance.permutation(len(values))
    half = len(values) // 2
    return LevelChoice(*_split(values, order[:half]), order[half:])


def _split(values: Sequence[object], rows: np.ndarray) -> tuple[tuple[str | None, ...], tuple[str | None, ...]]:
    """The common and the rare levels of `rows`, most frequent first."""
    picked = (values[row] for row in rows.tolist())
    counts = Counter(value if isinstance(value, str) else None for value in picked).most_common()
    common = sum(count >= LEAST_ROWS for _, count in counts[:MOST_OWN_LEVELS])
    return tuple(level for level, _ in counts[:common]), tuple(level for level, _ in counts[common:])
