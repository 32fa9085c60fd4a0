"""Walks through the rows of a page, which the parts of the detection share."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from app.drift.blocks import Blocks, is_ordinary, walk_by_count
from app.drift.callers import Callers
from app.drift.crowds import Begun, CrowdState, Walk
from app.drift.waiting import Lots


class _Known(NamedTuple):
    begun: Begun
    at_us: np.ndarray
    callers: Callers
    walk: Walk


class Walks:
    """The walks through rows of one page.

    Which rows form a block depends on who sends them, and not on values: the inputs, and the answers of each version,
    come to the same blocks of the same rows, unless lots decide, which each of them draws by a seed of its own.
    """

    def __init__(self) -> None:
        self._known: list[_Known] = []

    def through(self, state: CrowdState, at_us: np.ndarray, callers: Callers, lots: Lots) -> Walk:
        """The walk from that state through rows of these callers, served at `at_us`."""
        begun = Begun.of(state)
        for known in self._known:
            if known.begun == begun and _are_same(known, at_us, callers):
                return known.walk
        if is_ordinary(state, callers):
            walk = walk_by_count(state, at_us)
        else:
            blocks = Blocks(begun, lots)
            blocks.add(at_us, callers)
            walk = blocks.walk()
        if not lots.are_drawn:
            self._known.append(_Known(begun, at_us, callers, walk))
        return walk


def _are_same(known: _Known, at_us: np.ndarray, callers: Callers) -> bool:
    pairs = zip((known.at_us, *known.callers), (at_us, *callers), strict=True)
    return all(before is now or np.array_equal(before, now) for before, now in pairs)
