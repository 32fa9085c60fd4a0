"""Which rows form a block: at most one of a request and one of a named user, so that a crowd of one proves nothing.

Rows of one caller resemble each other, or are sorted, though nothing has changed, and evidence takes rows for
exchangeable. So of a request with several rows one counts, which is drawn, and a block takes one row of a caller.
Further ones wait for later blocks, spaced by as many blocks as the caller has rows waiting, or had in the last blocks,
up to `SPACING`: one row of a crowd in each of 100 consecutive blocks is a tenth of the traffic, found as a change.
What is admitted depends on callers and the order of the log, never on values.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec
import numpy as np

from app.drift.callers import Acquaintance, Caller
from app.drift.waiting import Lots, Waiting, WaitingRow

# One e-value per block and not per row: within a block the order does not matter (ADR 0008).
BLOCK: Final = 10
# Nearly equal rows of a caller in every second block alarm in 4 of 20 runs, in every fourth in none (bench/drift.py).
SPACING: Final = 8
# Blocks for which it is remembered that a caller had a row in them.
REMEMBERED: Final = 2 * SPACING
# Requests after which a block that is not full takes waiting rows without spacing, and after which it closes.
SPACED_FOR: Final = 50
CLOSES_AFTER: Final = 500


class CrowdState(msgspec.Struct, frozen=True, kw_only=True):
    """The callers' side of the detector's state; of bounded size.

    `blocks` are closed, with `rows` rows in all; the open one has `open_rows`, and was opened after `opened_after`
    requests. The last row was served at `last_at_us`. `gathered` is a row of the last request, which may have more.
    `admitted`: of callers who may have another row, which of the last `REMEMBERED` blocks have one. Of further rows one
    in `one_in` waits; `skipped` counts the others, and those that waited for too long, `repeated` the rows of cases
    that were sent before, `unlearnt` those that came while it was not known whether a user is a service
    (`is_learning`: the last one did). `few_callers`: the last block was closed after `CLOSES_AFTER` requests with
    fewer callers than it has places.
    """

    blocks: int = 0
    rows: int = 0
    open_rows: int = 0
    opened_after: int = 0
    last_at_us: int = -1
    known: Acquaintance = Acquaintance()
    gathered: WaitingRow | None = None
    waiting: tuple[WaitingRow, ...] = ()
    admitted: tuple[tuple[Caller, tuple[int, ...]], ...] = ()
    one_in: int = 1
    skipped: int = 0
    repeated: int = 0
    unlearnt: int = 0
    is_learning: bool = False
    few_callers: bool = False

    @property
    def requests(self) -> int:
        """The number of requests so far."""
        return self.known.requests

    @property
    def kept(self) -> tuple[WaitingRow, ...]:
        """The rows that wait, and the one that is gathered."""
        return self.waiting if self.gathered is None else (*self.waiting, self.gathered)

    @property
    def stored_lots(self) -> list[int]:
        """The lots of the rows that have a place in a walk before others; those of the open block need none."""
        return [*(0 for _ in range(self.open_rows)), *(row.lot for row in self.kept)]


class ClosedBlocks(NamedTuple):
    """Consecutive closed blocks of one size: the `places` of their rows, shape (blocks, m).

    For each, `seen` of the rows that were added had come when it closed, the last of them at `at_us` (µs); the row that
    closed it, which may be one more, was number `after` of these, from 1. Three arrays of shape (blocks,).
    """

    places: np.ndarray
    seen: np.ndarray
    at_us: np.ndarray
    after: np.ndarray


class Walk(NamedTuple):
    """What rows of certain callers come to, whatever their values are.

    The `places` of rows are those among the rows of the open block, those that wait, the one that is gathered, and the
    rows that were added. `crowd` is the state without rows that wait, which are beside it, as is the `open` block.
    """

    closed: tuple[ClosedBlocks, ...]
    crowd: CrowdState
    open: list[int]
    waiting: tuple[Waiting, ...]
    gathered: Waiting | None

    def state(self, rows: np.ndarray, lots: Lots) -> CrowdState:
        """The whole state; `rows` are bins by place, shape (rows, streams), uint8."""

        def stored(row: Waiting) -> WaitingRow:
            return WaitingRow(row.request, int(lots.all[row.place]), row.caller, rows[row.place].tobytes())

        gathered = None if self.gathered is None else stored(self.gathered)
        return msgspec.structs.replace(self.crowd, waiting=tuple(map(stored, self.waiting)), gathered=gathered)


class Begun(NamedTuple):
    """What a walk depends on of the state before it: `crowd` is without rows that wait, which are beside it."""

    crowd: CrowdState
    waiting: tuple[Waiting, ...]
    gathered: Waiting | None

    @classmethod
    def of(cls, state: CrowdState) -> Begun:
        """That of a state."""
        places = range(state.open_rows, state.open_rows + len(state.waiting))
        waiting = tuple(Waiting(row.request, row.caller, at) for row, at in zip(state.waiting, places, strict=True))
        last = state.gathered
        gathered = None if last is None else Waiting(last.request, last.caller, places.stop)
        return cls(msgspec.structs.replace(state, waiting=(), gathered=None), waiting, gathered)

    @property
    def rows(self) -> int:
        """The number of rows that have a place before those that are added."""
        return self.crowd.open_rows + len(self.waiting) + (self.gathered is not None)


def remembered(admitted: dict[Caller, tuple[int, ...]], blocks: int) -> dict[Caller, tuple[int, ...]]:
    """The callers who had a row in one of the last blocks, after so many blocks."""
    oldest = blocks - REMEMBERED
    recent = ((caller, tuple(block for block in of if block > oldest)) for caller, of in admitted.items())
    return {caller: of for caller, of in recent if of}
