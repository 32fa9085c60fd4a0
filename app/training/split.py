"""The seeded split into training and hold-out rows."""

from __future__ import annotations

import msgspec
import numpy as np

HOLDOUT_SHARE = 0.2


class Split(msgspec.Struct, frozen=True):
    """Positions of the training and the hold-out rows, each in random order, together all rows."""

    training: np.ndarray
    holdout: np.ndarray


def stratified(strata: np.ndarray, first: np.ndarray, seed: int, share: float = HOLDOUT_SHARE) -> Split:
    """A split in which each stratum gives `share` of its rows to the hold-out, at least one and never all.

    `strata` (rows,) holds the class ids, or zeros where there are no classes. `first` (rows,) gives the first copy of
    each row: only first copies are drawn, and their copies follow them. A stratum of one row is trained on.
    """
    generator = np.random.default_rng(seed)
    originals = np.flatnonzero(first == np.arange(len(first)))
    held = np.zeros(len(first), dtype=bool)
    for stratum in np.unique(strata):
        members = generator.permutation(originals[strata[originals] == stratum])
        wanted = min(max(1, round(share * len(members))), len(members) - 1)
        held[members[:wanted]] = True
    held = held[first]
    order = generator.permutation(len(first))
    return Split(training=order[~held[order]], holdout=order[held[order]])
