"""Streams that are monitored together, and the mapping of keys to their bins."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
import numpy as np

from app.drift.cells import Cells
from app.drift.keys import FIRST_KEY
from app.drift.streams import Levels, Stream, tie_breakers

# With fewer keys a search takes less than a comparison with each edge, whose calls cost more than their work.
_MANY: Final = 500


class Family(msgspec.Struct, frozen=True, dict=True):
    """The streams and, for the first len(`cells`) of them, the displayed histogram.

    `seed` is that of the jitter of live values.
    """

    seed: int
    streams: tuple[Stream, ...]
    cells: tuple[Cells, ...]

    @functools.cached_property
    def gaps(self) -> np.ndarray:
        """The gaps in each bin, shape (streams, bins), float64; streams with fewer bins are filled up with 0."""
        rows = [stream.gaps for stream in self.streams]
        return _padded(rows, 0.0, max(map(len, rows)))

    @functools.cached_property
    def highest(self) -> np.ndarray:
        """The number of each stream's last bin, shape (streams,)."""
        return np.array([len(stream.gaps) - 1 for stream in self.streams])

    def bins(self, keys: np.ndarray, first: int) -> np.ndarray:
        """The bins of `keys`, shape (n, streams), uint8; they are those of requests `first`…, counted from 0.

        How many edges lie below the key; then steps over the edges that tie with the key and lose by jitter.
        """
        edges, ties = self._edges
        streams, width = edges.shape
        keys = self._placed(keys.T)
        bins = _edges_below(edges, keys)
        start = np.arange(streams)[:, None] * width
        tied = np.flatnonzero(edges.take(bins + start) == keys)
        if tied.size:
            stream, row = np.divmod(tied, keys.shape[1])
            jitter = tie_breakers(self.seed, (first + row) * streams + stream + 1)
            place, keys = stream * width + bins.take(tied), keys.take(tied)
            over = np.ones(tied.size, bool)
            while over.any():
                over &= (edges.take(place) == keys) & (jitter > ties.take(place))
                place += over
            bins.put(tied, place - stream * width)
        return bins.T

    def shown(self, keys: np.ndarray, bins: np.ndarray) -> np.ndarray:
        """The window's entries, shape (n, streams), uint8: cells for streams that have them, else bins."""
        cells = len(self.cells)
        return np.concatenate(
            [_edges_below([each.boundaries for each in self.cells], keys.T[:cells]).T, bins[:, cells:]], axis=1
        )

    @functools.cached_property
    def shown_reference(self) -> tuple[tuple[int, ...], ...]:
        """The reference's counts of the values that `shown` gives, per stream."""
        joint = [(*stream.gaps[:-1], stream.gaps[-1] - 1) for stream in self.streams[len(self.cells) :]]
        return (*(cells.counts for cells in self.cells), *joint)

    @functools.cached_property
    def compared(self) -> tuple[np.ndarray, np.ndarray]:
        """What scores compare: the group of each value that `shown` gives, and the reference's count of each group.

        Shape (streams, values) and (streams, groups), filled up with 0. All but the levels with a bin of their own are
        one group, weighed on the rows that weigh the bins.
        """
        parts: list[tuple[Sequence[int], tuple[int, ...]]] = []
        for stream, counts in zip(self.streams, self.shown_reference, strict=True):
            levels = stream.levels
            parts.append((range(len(counts)), counts) if levels is None else _grouped(stream, levels, len(counts)))
        width = max(len(groups) for groups, _ in parts)
        groups = _padded([groups for groups, _ in parts], 0.0, width).astype(np.int64)
        return groups, _padded([counts for _, counts in parts], 0.0, max(len(counts) for _, counts in parts))

    def _placed(self, keys: np.ndarray) -> np.ndarray:
        """`keys` in the order of the streams' bins."""
        if all(stream.levels is None for stream in self.streams):
            return keys
        placed = keys.copy()
        for own, stream in zip(placed, self.streams, strict=True):
            if stream.levels is not None:
                own[:] = stream.levels.placed(own)
        return placed

    @functools.cached_property
    def _edges(self) -> tuple[np.ndarray, np.ndarray]:
        """Edges and ties of the streams, shape (streams, edges) each, with at least one that is never met."""
        width = max(len(stream.edges) for stream in self.streams) + 1
        edges = _padded([stream.edges for stream in self.streams], np.inf, width)
        return edges, _padded([stream.ties for stream in self.streams], 0.0, width)


def _edges_below(edges: Iterable[np.ndarray], keys: np.ndarray) -> np.ndarray:
    """How many of its stream's `edges`, ascending, lie below each of `keys`, shape (streams, n); uint8."""
    found = np.zeros(keys.shape, np.uint8)
    for own, counts, values in zip(edges, found, keys, strict=True):
        if len(values) < _MANY:
            counts[:] = own.searchsorted(values)
            continue
        # To compare all keys with one edge after the other takes a third of the time of a search.
        for edge in own[own < np.inf]:
            counts += np.less(edge, values).view(np.uint8)
    return found


def _grouped(stream: Stream, levels: Levels, cells: int) -> tuple[Sequence[int], tuple[int, ...]]:
    """The group of each of a categorical stream's cells, and the number of weighing rows in each group."""
    # A level's bin ends at its last weighing row, so a level that no such row has belongs to the bin after it.
    places = np.searchsorted(stream.edges, np.arange(levels.own))
    others = int(np.searchsorted(stream.edges, levels.own - 1, side="right"))
    groups = np.full(cells, others)
    groups[1 : 1 + levels.own] = places
    if levels.missing == FIRST_KEY:
        groups[-2] = 0
    return groups.tolist(), (*stream.gaps[:others], sum(stream.gaps[others:]) - 1)


def _padded(rows: Sequence[Sequence[float]], filler: float, width: int) -> np.ndarray:
    array = np.full((len(rows), width), filler)
    for index, row in enumerate(rows):
        array[index, : len(row)] = row
    return array
