"""Which rows form a block: at most one of a request and one of a named user, so that a crowd of one proves nothing.

Rows of one caller resemble each other, or are sorted, though nothing has changed, and evidence takes rows for
exchangeable. So a block takes one row of a caller. Further ones wait for later blocks in the order of the log, spaced
by as many blocks as the caller has rows waiting, up to `SPACING`: one row of a crowd in each of 100 consecutive blocks
is a tenth of the traffic, which is found as a change. What is admitted depends on callers and the order of the log
alone, never on values, so evidence about unchanged traffic stays valid.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple, TypeAlias

import msgspec
import numpy as np

# One e-value per block and not per row: within a block the order does not matter (ADR 0008).
BLOCK: Final = 10
MOST_WAITING: Final = 1000
# Nearly equal rows of a caller in every second block alarm in 4 of 20 runs, in every fourth in none (bench/drift.py).
SPACING: Final = 8
# Requests after which a block that is not full takes waiting rows without spacing, and after which it closes.
SPACED_FOR: Final = 50
CLOSES_AFTER: Final = 500
_MASK: Final = (1 << 64) - 1

# A named user (0, hash of the user), or a request of nobody (1, its number).
Caller: TypeAlias = tuple[int, int]


class Callers(NamedTuple):
    """Who sent rows, in log order: `users`, hashes (0: nobody), and whether each row `begins` a request; shape (n,)."""

    users: np.ndarray
    begins: np.ndarray


class WaitingRow(msgspec.Struct, frozen=True, array_like=True):
    """A row that waits for a later block: its number in the log's traffic, its caller, its bins (uint8, streams)."""

    number: int
    caller: Caller
    bins: bytes


class CrowdState(msgspec.Struct, frozen=True, kw_only=True):
    """The callers' side of the detector's state; of bounded size.

    `blocks` are closed, with `rows` rows in all; the open one has `open_rows`, and was opened after `opened_after`
    requests. `requests` counts requests, not rows; the last row was served at `last_at_us`. `admitted`: the block of
    the latest row of callers who may have another. Of further rows one in `one_in` waits; `skipped` counts the others.
    `few_callers`: the last block was closed after `CLOSES_AFTER` requests with fewer callers than it has places.
    """

    blocks: int = 0
    rows: int = 0
    open_rows: int = 0
    opened_after: int = 0
    requests: int = 0
    last_at_us: int = -1
    waiting: tuple[WaitingRow, ...] = ()
    admitted: tuple[tuple[Caller, int], ...] = ()
    one_in: int = 1
    skipped: int = 0
    few_callers: bool = False


class ClosedBlocks(NamedTuple):
    """Consecutive closed blocks of one size: `bins`, shape (blocks, m, streams), uint8.

    For each, `seen` rows had come when it closed, the last of them at `at_us` (µs); two arrays of shape (blocks,).
    """

    bins: np.ndarray
    seen: np.ndarray
    at_us: np.ndarray


class Blocks:
    """The open block, the queue, and the blocks closed in one call. `state` and `open_bins` are what is left."""

    def __init__(self, state: CrowdState, open_bins: np.ndarray, seed: int) -> None:
        self._before = state
        self._seed = seed
        self._open = [row.tobytes() for row in open_bins[: state.open_rows]]
        self._streams = open_bins.shape[1]
        self._blocks, self._rows, self._requests = state.blocks, state.rows, state.requests
        self._opened_after, self._one_in, self._skipped = state.opened_after, state.one_in, state.skipped
        self._few_callers = state.few_callers
        self._last: Caller = (1, state.requests)
        self._admitted = dict(state.admitted)
        self._queues: dict[Caller, deque[WaitingRow]] = {}
        for row in state.waiting:
            self._queues.setdefault(row.caller, deque()).append(row)
        self._waiting = len(state.waiting)
        self._last_at_us = state.last_at_us
        self._closed: list[tuple[bytes, int, int, int]] = []

    @property
    def open_bins(self) -> np.ndarray:
        """The bins of the open block's rows, shape (rows, streams), uint8."""
        return np.frombuffer(b"".join(self._open), dtype=np.uint8).reshape(-1, self._streams)

    def state(self) -> CrowdState:
        """The state after the rows that were added."""
        # Only what can matter later, so that the state does not depend on where the log is cut into calls.
        admitted = {
            caller: block
            for caller, block in self._admitted.items()
            if block > self._blocks - SPACING and (caller[0] == 0 or caller == self._last or caller in self._queues)
        }
        return CrowdState(
            blocks=self._blocks,
            rows=self._rows,
            open_rows=len(self._open),
            opened_after=self._opened_after,
            requests=self._requests,
            last_at_us=self._last_at_us,
            waiting=tuple(sorted((row for queue in self._queues.values() for row in queue), key=_number)),
            admitted=tuple(sorted(admitted.items())),
            one_in=self._one_in,
            skipped=self._skipped,
            few_callers=self._few_callers,
        )

    def add(self, bins: np.ndarray, first: int, at_us: np.ndarray, callers: Callers) -> Iterator[ClosedBlocks]:
        """Add rows numbered from `first`; yields the blocks that close. `bins`, shape (n, streams), uint8."""
        begins, users = callers.begins.tolist(), callers.users.tolist()
        times = at_us.tolist()
        for index, (begun, user) in enumerate(zip(begins, users, strict=True)):
            self._requests += begun
            caller = (0, user) if user else (1, self._requests)
            row = WaitingRow(first + index, caller, bins[index].tobytes())
            self._last = (1, self._requests)
            self._arrive(row, times[index], bool(begun))
        self._last_at_us = times[-1]
        return _by_size(self._closed, self._streams)

    def _arrive(self, row: WaitingRow, at_us: int, begun: bool) -> None:
        seen = row.number + 1
        if begun:
            self._wait(seen, at_us)
        if row.caller in self._queues or self._admitted.get(row.caller) == self._blocks:
            self._put_in_queue(row)
            return
        self._admit(row)
        self._close_full(seen, at_us)

    def _wait(self, seen: int, at_us: int) -> None:
        """Another request has begun while the open block waits."""
        waited = self._requests - self._opened_after
        if waited == SPACED_FOR and self._waiting:
            self._fill()
            self._close_full(seen - 1, at_us)
        elif waited > CLOSES_AFTER and self._open:
            self._few_callers = True
            self._close(seen - 1, at_us)
            self._fill()
            self._close_full(seen - 1, at_us)

    def _close_full(self, seen: int, at_us: int) -> None:
        """Close the open block while it is full; waiting rows may fill the next one."""
        while len(self._open) == BLOCK:
            self._few_callers = False
            self._close(seen, at_us)
            self._fill()

    def _close(self, seen: int, at_us: int) -> None:
        self._closed.append((b"".join(self._open), len(self._open), seen, at_us))
        self._blocks += 1
        self._rows += len(self._open)
        self._open = []
        self._opened_after = self._requests
        # Kept small: named users pass through here in all of their traffic.
        if len(self._admitted) > 4 * SPACING * BLOCK + len(self._queues):
            oldest = self._blocks - SPACING
            self._admitted = {caller: block for caller, block in self._admitted.items() if block > oldest}

    def _fill(self) -> None:
        """Admit waiting rows, in the order of the log, as far as their callers may have one in the open block."""
        if not self._waiting:
            return
        spaced = self._requests - self._opened_after < SPACED_FOR
        for head in sorted((queue[0] for queue in self._queues.values()), key=_number):
            if len(self._open) == BLOCK:
                return
            queue = self._queues[head.caller]
            gap = min(len(queue), SPACING) if spaced else 1
            if self._blocks - self._admitted.get(head.caller, -SPACING) >= gap:
                self._admit(queue.popleft())
                self._forget_empty(head.caller)

    def _admit(self, row: WaitingRow) -> None:
        self._open.append(row.bins)
        self._admitted[row.caller] = self._blocks

    def _put_in_queue(self, row: WaitingRow) -> None:
        if not self._is_kept(row.number):
            self._skipped += 1
            return
        self._queues.setdefault(row.caller, deque()).append(row)
        self._waiting += 1
        while self._waiting > MOST_WAITING:
            self._thin()

    def _thin(self) -> None:
        """Halve the share of further rows that wait, of those in the queue too, so that the share is one for all."""
        self._one_in *= 2
        for caller in list(self._queues):
            kept = deque(row for row in self._queues[caller] if self._is_kept(row.number))
            self._skipped += len(self._queues[caller]) - len(kept)
            self._waiting -= len(self._queues[caller]) - len(kept)
            self._queues[caller] = kept
            if not kept:
                del self._queues[caller]
        if not self._waiting:
            self._one_in = 1

    def _forget_empty(self, caller: Caller) -> None:
        self._waiting -= 1
        if not self._queues[caller]:
            del self._queues[caller]
        if not self._waiting:
            self._one_in = 1

    def _is_kept(self, number: int) -> bool:
        # Keyed by the reference's seed, which clients do not know: nobody can choose which of its rows count.
        return self._one_in == 1 or _mixed(self._seed, number) % self._one_in == 0


def each_alone(rows: int) -> Callers:
    """Callers of `rows` rows that are nobody's, one a request."""
    return Callers(np.zeros(rows, dtype=np.int64), np.ones(rows, dtype=bool))


def is_ordinary(state: CrowdState, callers: Callers) -> bool:
    """Whether blocks are closed by count alone: every row is nobody's and a request, and none waits."""
    in_time = state.requests + BLOCK - state.opened_after <= CLOSES_AFTER
    return in_time and not state.waiting and bool(callers.begins.all()) and not callers.users.any()


def after_ordinary(state: CrowdState, rows: int, last_at_us: int) -> CrowdState:
    """The state after `rows` rows for which `is_ordinary` holds; `Blocks` comes to the same one."""
    total = state.open_rows + rows
    closed, left = divmod(total, BLOCK)
    requests = state.requests + rows
    blocks = state.blocks + closed
    admitted = {caller: block for caller, block in state.admitted if caller[0] == 0 and block > blocks - SPACING}
    # The last request is remembered: its next row may come in the next call.
    last = ((1, requests), blocks - (left == 0))
    return CrowdState(
        blocks=blocks,
        rows=state.rows + closed * BLOCK,
        open_rows=left,
        opened_after=requests - left if closed else state.opened_after,
        requests=requests,
        last_at_us=last_at_us,
        admitted=tuple(sorted([*admitted.items(), last])),
        skipped=state.skipped,
        few_callers=state.few_callers and not closed,
    )


def _by_size(closed: Iterable[tuple[bytes, int, int, int]], streams: int) -> Iterator[ClosedBlocks]:
    """Closed blocks, in order, together with those after them of the same size."""
    run: list[tuple[bytes, int, int, int]] = []
    for block in closed:
        if run and run[0][1] != block[1]:
            yield _joined(run, streams)
            run = []
        run.append(block)
    if run:
        yield _joined(run, streams)


def _joined(run: list[tuple[bytes, int, int, int]], streams: int) -> ClosedBlocks:
    bins = np.frombuffer(b"".join(block[0] for block in run), dtype=np.uint8)
    seen, at_us = (np.array([block[field] for block in run], dtype=np.int64) for field in (2, 3))
    return ClosedBlocks(bins.reshape(len(run), run[0][1], streams), seen, at_us)


def _number(row: WaitingRow) -> int:
    return row.number


def _mixed(seed: int, number: int) -> int:
    """A hash of the row's number, keyed by `seed`: SplitMix64 (Steele, Lea & Flood 2014), upper bits."""
    state = (number * 0x9E3779B97F4A7C15 + (seed ^ 0x5DEECE66D)) & _MASK
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
    return (state ^ (state >> 31)) >> 20
