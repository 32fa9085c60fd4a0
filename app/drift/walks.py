"""Walks through the rows of a page, which the parts of the detection share."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import numpy as np

from app.drift.blocks import Blocks
from app.drift.callers import Callers
from app.drift.crowds import BLOCK, CLOSES_AFTER, Begun, ClosedBlocks, CrowdState, Walk, remembered
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
            walk = by_count(state, at_us)
        else:
            blocks = Blocks(begun, lots)
            blocks.add(at_us, callers)
            walk = blocks.walk()
        if not lots.are_drawn:
            self._known.append(_Known(begun, at_us, callers, walk))
        return walk


def is_ordinary(state: CrowdState, callers: Callers) -> bool:
    """Whether blocks are closed by count alone: every row is nobody's and a request, and none waits."""
    in_time = state.requests + BLOCK - state.opened_after <= CLOSES_AFTER
    return in_time and not state.waiting and state.gathered is None and state.known.names_nobody and callers.ordinary


def by_count(state: CrowdState, at_us: np.ndarray) -> Walk:
    """The walk through rows for which `is_ordinary` holds; `Blocks` comes to the same one."""
    rows, before = len(at_us), state.open_rows
    closed, left = divmod(before + rows, BLOCK)
    requests = state.requests + rows
    blocks = state.blocks + closed
    admitted = {caller: of for caller, of in remembered(dict(state.admitted), blocks).items() if caller[0] == 0}
    # The last request is remembered: its next row may come in the next call.
    last = ((1, requests), (blocks - (left == 0),))
    crowd = msgspec.structs.replace(
        state,
        blocks=blocks,
        rows=state.rows + closed * BLOCK,
        open_rows=left,
        opened_after=requests - left if closed else state.opened_after,
        last_at_us=int(at_us[-1]),
        known=msgspec.structs.replace(state.known, requests=requests),
        admitted=tuple(sorted([*admitted.items(), last])),
        few_callers=state.few_callers and not closed,
        is_learning=False,
    )
    places = np.arange(before + rows)
    ends = np.arange(1, closed + 1) * BLOCK - before
    of_blocks = ClosedBlocks(places[: closed * BLOCK].reshape(-1, BLOCK), ends, at_us[ends - 1], ends)
    return Walk((of_blocks,) if closed else (), crowd, places[closed * BLOCK :].tolist(), (), None)


def _are_same(known: _Known, at_us: np.ndarray, callers: Callers) -> bool:
    pairs = zip((known.at_us, *known.callers), (at_us, *callers), strict=True)
    return all(before is now or np.array_equal(before, now) for before, now in pairs)
