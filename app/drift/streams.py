"""A stream's bins: unions of the gaps between the reference's order statistics, ties broken by seeded jitter.

For exchangeable values the next one falls into each of the n+1 gaps between n reference values with the same
probability, whatever their distribution; so a bin of `a` gaps has probability a / (n+1), exactly, for any n.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np

from app.drift.keys import INFINITE_KEY, LARGEST_KEY, MISSING_KEY

TIE_RANGE: Final = 1 << 24
# With the two outermost gaps at most 24 bins.
_INTERIOR_BINS: Final = 22
_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX_1: Final = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2: Final = np.uint64(0x94D049BB133111EB)


class Levels(msgspec.Struct, frozen=True, omit_defaults=True):
    """The bins of a categorical stream: one for each rank below `own`, one for ranks up to `rarest`, one for the rest.

    `missing` is the key in whose place a missing value stands: `FIRST_KEY` if it has a bin of its own, which is the
    first; None if it falls into the last bin.
    """

    own: int
    rarest: float
    missing: float | None = None

    def placed(self, keys: np.ndarray) -> np.ndarray:
        """The keys in the order of the bins; rare levels have one key."""
        if self.missing is not None:
            keys = np.where(keys == MISSING_KEY, self.missing, keys)
        placed: np.ndarray = np.where((keys >= self.own) & (keys <= self.rarest), self.rarest, keys)
        return placed


class Stream(msgspec.Struct, frozen=True, omit_defaults=True):
    """One monitored number per request and its bins.

    A value with key k and jitter u lies above edge i where (k, u) > (`edges`[i], `ties`[i]). `gaps` holds how many
    gaps each of the len(edges) + 1 bins unites; they sum to the number of reference values plus one. `levels` is None
    for a numeric stream, and for a categorical one of an earlier release, where every level had a bin.
    """

    name: str
    edges: tuple[float, ...]
    ties: tuple[int, ...]
    gaps: tuple[int, ...]
    levels: Levels | None = None

    @property
    def reference_rows(self) -> int:
        """The number of reference values that the stream ranks against."""
        return sum(self.gaps) - 1


def numeric_stream(name: str, keys: np.ndarray, jitter: np.random.Generator) -> Stream:
    """The stream of numeric `keys`, shape (n,): bins of about equal mass, the outermost gaps on their own."""
    return _stream(name, keys, jitter, _numeric_cuts)


def categorical_stream(name: str, keys: np.ndarray, levels: Levels, jitter: np.random.Generator) -> Stream:
    """The stream of categorical `keys` (ranks), shape (n,), with the bins that `levels` says."""

    def cuts(placed: np.ndarray) -> set[int]:
        return _group_ends(placed[placed <= max(levels.rarest, levels.own - 1)])

    return msgspec.structs.replace(_stream(name, levels.placed(keys), jitter, cuts), levels=levels)


def tie_breakers(seed: int, numbers: np.ndarray) -> np.ndarray:
    """Jitter of values with these numbers (request by request, counted from 1): integers below `TIE_RANGE`.

    A hash of the seed and the number, so that the same log has the same jitter however it is cut into batches.
    """
    return (mixed(seed, numbers) >> np.uint64(40)).astype(np.int64)


def mixed(seed: int, numbers: np.ndarray) -> np.ndarray:
    """A hash of each number, uint64, same shape: SplitMix64 (Steele, Lea & Flood 2014)."""
    state = numbers.astype(np.uint64) * _GOLDEN + np.uint64(seed % (1 << 64))
    state = (state ^ (state >> np.uint64(30))) * _MIX_1
    state = (state ^ (state >> np.uint64(27))) * _MIX_2
    found: np.ndarray = state ^ (state >> np.uint64(31))
    return found


def _stream(name: str, keys: np.ndarray, jitter: np.random.Generator, cuts: object) -> Stream:
    assert callable(cuts)
    # Equal values are ordered by chance, or all live values equal to them would fall to one side.
    ties = jitter.integers(0, TIE_RANGE, len(keys))
    order = np.lexsort((ties, keys))
    keys, ties = keys[order], ties[order]
    positions = sorted(cuts(keys))
    at = np.array(positions, dtype=np.int64) - 1
    gaps = np.diff(np.array([0, *positions, len(keys) + 1]))
    return Stream(
        name=name,
        edges=tuple(keys[at].tolist()),
        ties=tuple(int(tie) for tie in ties[at]),
        gaps=tuple(int(gap) for gap in gaps),
    )


def _group_ends(keys: np.ndarray) -> set[int]:
    """The position (from 1) of the last of each run of equal keys."""
    return {int(end) for end in np.flatnonzero(np.diff(keys)) + 1} | ({len(keys)} if len(keys) else set())


def _numeric_cuts(keys: np.ndarray) -> set[int]:
    """Positions of the edges: the ends of every kind of value, quantiles of the finite ones moved to a tie's end."""
    # The outermost gaps are bins of their own: a value beyond all known ones is rare and weighs accordingly.
    cuts = {1, len(keys)}
    for odd in (-INFINITE_KEY, INFINITE_KEY, MISSING_KEY):
        cuts |= _run_of(keys, odd)
    first, last = np.searchsorted(keys, (-LARGEST_KEY, LARGEST_KEY), side="left").tolist()
    last = int(np.searchsorted(keys, LARGEST_KEY, side="right"))
    finite = keys[first:last]
    if not len(finite):
        return cuts
    ends = np.unique(np.searchsorted(finite, finite, side="right"))
    if len(ends) > _INTERIOR_BINS:
        wanted = np.linspace(0, len(finite), _INTERIOR_BINS + 1)[1:]
        ends = np.unique(ends[np.minimum(np.searchsorted(ends, wanted), len(ends) - 1)])
    return cuts | {first + 1, *(first + int(end) for end in ends)}


def _run_of(keys: np.ndarray, key: float) -> set[int]:
    first, end = (int(np.searchsorted(keys, key, side=side)) for side in ("left", "right"))
    return {first + 1, end} if end > first else set()
