"""Which rows form a block: at most one of a request and one of a named user, so that a crowd of one proves nothing.

Rows of one caller resemble each other, or are sorted, though nothing has changed, and evidence takes rows for
exchangeable. So of a request with several rows one counts, which is drawn, and a block takes one row of a caller.
Further ones wait for later blocks, spaced by as many blocks as the caller has rows waiting, or had in the last blocks,
up to `SPACING`: one row of a crowd in each of 100 consecutive blocks is a tenth of the traffic, found as a change.
What is admitted depends on callers and the order of the log, never on values.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import Final, NamedTuple, TypeAlias

import msgspec
import numpy as np

from app.drift.callers import Acquaintance, Acquaintances, Caller, Callers
from app.drift.streams import mixed
from app.drift.waiting import EXPIRES_EVERY, WaitingRow, WaitingRows

# One e-value per block and not per row: within a block the order does not matter (ADR 0008).
BLOCK: Final = 10
# Nearly equal rows of a caller in every second block alarm in 4 of 20 runs, in every fourth in none (bench/drift.py).
SPACING: Final = 8
# Blocks for which it is remembered that a caller had a row in them.
REMEMBERED: Final = 2 * SPACING
# Requests after which a block that is not full takes waiting rows without spacing, and after which it closes.
SPACED_FOR: Final = 50
CLOSES_AFTER: Final = 500
_ClosedBlock: TypeAlias = tuple[bytes, int, int, int, int]


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


class ClosedBlocks(NamedTuple):
    """Consecutive closed blocks of one size: `bins`, shape (blocks, m, streams), uint8.

    For each, `seen` rows had come when it closed, the last of them at `at_us` (µs); the row that closed it, which may
    be one more, was number `after`. Three arrays of shape (blocks,).
    """

    bins: np.ndarray
    seen: np.ndarray
    at_us: np.ndarray
    after: np.ndarray


class Blocks:
    """The open block, the queue, and the blocks closed in one call. `state` and `open_bins` are what is left."""

    def __init__(self, state: CrowdState, open_bins: np.ndarray, seed: int) -> None:
        self._seed = seed
        self._open = [row.tobytes() for row in open_bins[: state.open_rows]]
        self._streams = open_bins.shape[1]
        self._blocks, self._rows = state.blocks, state.rows
        self._known = Acquaintances(state.known)
        self._opened_after = state.opened_after
        self._repeated, self._few_callers = state.repeated, state.few_callers
        self._unlearnt, self._is_learning = state.unlearnt, state.is_learning
        self._admitted = dict(state.admitted)
        # The last caller of one row, and the block that has it.
        self._alone: tuple[Caller, tuple[int, ...]] = (0, 0), ()
        self._gathered = state.gathered
        self._waiting = WaitingRows(state.waiting, state.one_in, state.skipped)
        self._last_at_us = state.last_at_us
        self._closed: list[_ClosedBlock] = []
        self._row = 0

    @property
    def open_bins(self) -> np.ndarray:
        """The bins of the open block's rows, shape (rows, streams), uint8."""
        return np.frombuffer(b"".join(self._open), dtype=np.uint8).reshape(-1, self._streams)

    def state(self) -> CrowdState:
        """The state after the rows that were added."""
        # Only what can matter later, so that the state does not depend on where the log is cut into calls.
        last, (alone, of) = (1, self._known.requests), self._alone
        every = self._admitted | {alone: of} if alone == last else self._admitted
        admitted = {
            caller: blocks
            for caller, blocks in _remembered(every, self._blocks).items()
            if caller[0] == 0 or caller == last or caller in self._waiting
        }
        return CrowdState(
            blocks=self._blocks,
            rows=self._rows,
            open_rows=len(self._open),
            opened_after=self._opened_after,
            last_at_us=self._last_at_us,
            known=self._known.state(),
            gathered=self._gathered,
            waiting=self._waiting.rows(),
            admitted=tuple(sorted(admitted.items())),
            one_in=self._waiting.one_in,
            skipped=self._waiting.skipped,
            repeated=self._repeated,
            unlearnt=self._unlearnt,
            is_learning=self._is_learning,
            few_callers=self._few_callers,
        )

    def add(self, bins: np.ndarray, first: int, at_us: np.ndarray, callers: Callers) -> Iterator[ClosedBlocks]:
        """Add rows numbered from `first`; yields the blocks that close. `bins`, shape (n, streams), uint8."""
        columns = (at_us, callers.users, callers.begins, callers.alone, callers.keys)
        lots, bodies, width = _lots(self._seed, first, len(bins)), bins.tobytes(), self._streams
        known = self._known
        for index, (lot, time, user, begins, alone, key) in enumerate(
            zip(lots, *(each.tolist() for each in columns), strict=True)
        ):
            self._row = number = first + index + 1
            if begins:
                self._begin(user, number - 1, time)
            self._is_learning = not known.are_learnt
            if key and known.is_repeat(key):
                self._repeated += 1
            elif self._is_learning:
                self._unlearnt += 1
            else:
                caller, own = known.caller(user), bodies[index * width : (index + 1) * width]
                if alone and caller[0]:
                    # As nearly all are: of a caller of one row, who need not wait, nor be remembered after the next.
                    self._open.append(own)
                    self._alone = caller, (self._blocks,)
                    if len(self._open) == BLOCK:
                        self._close_full(number, time)
                elif alone:
                    self._arrive(WaitingRow(known.requests, lot, caller, own), number, time)
                else:
                    self._gather(WaitingRow(known.requests, lot, caller, own))
            self._last_at_us = time
        return _by_size(self._closed, self._streams)

    def _begin(self, user: int, seen: int, at_us: int) -> None:
        """Another request begins, after `seen` rows; the one before it is complete."""
        if self._gathered is not None:
            self._arrive(self._gathered, seen, self._last_at_us)
        self._gathered = None
        self._known.begin(user)
        if self._known.requests % EXPIRES_EVERY == 0:
            self._waiting.expire(self._known.requests)
        self._wait(seen, at_us)

    def _gather(self, row: WaitingRow) -> None:
        """Keep the row until its request is complete, unless the lot falls on another one of it."""
        if self._gathered is not None:
            self._waiting.skipped += 1
            row = min(row, self._gathered)
        self._gathered = row

    def _arrive(self, row: WaitingRow, seen: int, at_us: int) -> None:
        if row.caller in self._waiting or not self._may_enter(row.caller, 0):
            self._waiting.put(row)
            return
        self._admit(row.caller, row.bins)
        self._close_full(seen, at_us)

    def _wait(self, seen: int, at_us: int) -> None:
        """Another request has begun while the open block waits."""
        waited = self._known.requests - self._opened_after
        if waited == SPACED_FOR and self._waiting:
            self._fill()
            self._close_full(seen, at_us)
        elif waited > CLOSES_AFTER and self._open:
            self._few_callers = True
            self._close(seen, at_us)
            self._fill()
            self._close_full(seen, at_us)

    def _close_full(self, seen: int, at_us: int) -> None:
        """Close the open block while it is full; waiting rows may fill the next one."""
        while len(self._open) == BLOCK:
            self._few_callers = False
            self._close(seen, at_us)
            self._fill()

    def _close(self, seen: int, at_us: int) -> None:
        self._closed.append((b"".join(self._open), len(self._open), seen, at_us, self._row))
        self._blocks += 1
        self._rows += len(self._open)
        self._open = []
        self._opened_after = self._known.requests
        # Kept small: named users pass through here in all of their traffic.
        if len(self._admitted) > 2 * REMEMBERED * BLOCK:
            self._admitted = _remembered(self._admitted, self._blocks)

    def _fill(self) -> None:
        """Admit waiting rows, in the order of the log, as far as their callers may have one in the open block."""
        if not self._waiting:
            return
        for row, waiting in self._waiting.heads():
            if len(self._open) == BLOCK:
                return
            if self._may_enter(row.caller, waiting):
                self._waiting.take(row)
                self._admit(row.caller, row.bins)

    def _admit(self, caller: Caller, bins: bytes) -> None:
        self._open.append(bins)
        self._admitted[caller] = (*self._admitted.get(caller, ()), self._blocks)

    def _may_enter(self, caller: Caller, waiting: int) -> bool:
        """Whether the open block may have a row of the caller, who has so many waiting."""
        blocks = self._admitted.get(caller)
        if blocks is None:
            return True
        since = self._blocks - blocks[-1]
        if not since or self._known.requests - self._opened_after >= SPACED_FOR:
            return bool(since)
        recent = sum(block > self._blocks - REMEMBERED for block in blocks)
        return since >= min(max(waiting, recent), SPACING)


def is_ordinary(state: CrowdState, callers: Callers) -> bool:
    """Whether blocks are closed by count alone: every row is nobody's and a request, and none waits."""
    in_time = state.requests + BLOCK - state.opened_after <= CLOSES_AFTER
    return in_time and not state.waiting and state.gathered is None and state.known.names_nobody and callers.ordinary


def after_ordinary(state: CrowdState, rows: int, last_at_us: int) -> CrowdState:
    """The state after `rows` rows for which `is_ordinary` holds; `Blocks` comes to the same one."""
    closed, left = divmod(state.open_rows + rows, BLOCK)
    requests = state.requests + rows
    blocks = state.blocks + closed
    admitted = {caller: of for caller, of in _remembered(dict(state.admitted), blocks).items() if caller[0] == 0}
    # The last request is remembered: its next row may come in the next call.
    last = ((1, requests), (blocks - (left == 0),))
    return msgspec.structs.replace(
        state,
        blocks=blocks,
        rows=state.rows + closed * BLOCK,
        open_rows=left,
        opened_after=requests - left if closed else state.opened_after,
        last_at_us=last_at_us,
        known=msgspec.structs.replace(state.known, requests=requests),
        admitted=tuple(sorted([*admitted.items(), last])),
        few_callers=state.few_callers and not closed,
        is_learning=False,
    )


def _remembered(admitted: dict[Caller, tuple[int, ...]], blocks: int) -> dict[Caller, tuple[int, ...]]:
    """The callers who had a row in one of the last blocks, after so many blocks."""
    oldest = blocks - REMEMBERED
    recent = ((caller, tuple(block for block in of if block > oldest)) for caller, of in admitted.items())
    return {caller: of for caller, of in recent if of}


def _by_size(closed: Iterable[_ClosedBlock], streams: int) -> Iterator[ClosedBlocks]:
    """Closed blocks, in order, together with those after them of the same size."""
    return (_joined(list(run), streams) for _, run in groupby(closed, itemgetter(1)))


def _joined(run: list[_ClosedBlock], streams: int) -> ClosedBlocks:
    bins = np.frombuffer(b"".join(block[0] for block in run), dtype=np.uint8)
    seen, at_us, after = (np.array([block[field] for block in run], dtype=np.int64) for field in (2, 3, 4))
    return ClosedBlocks(bins.reshape(len(run), run[0][1], streams), seen, at_us, after)


def _lots(seed: int, first: int, rows: int) -> list[int]:
    """A hash of the numbers of rows from `first` on.

    Keyed by the reference's `seed`, which clients do not know: nobody can choose which of its rows count.
    """
    lots: list[int] = (mixed(seed ^ 0x5DEECE66D, first, rows) >> np.uint64(20)).tolist()
    return lots
