"""The walk through rows that forms blocks of them, by the rules that `crowds.py` states: row by row, or by count."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import TypeAlias

import msgspec
import numpy as np

from app.drift.callers import Acquaintances, Caller, Callers
from app.drift.crowds import (
    BLOCK,
    CLOSES_AFTER,
    REMEMBERED,
    SPACED_FOR,
    SPACING,
    Begun,
    ClosedBlocks,
    CrowdState,
    Walk,
    remembered,
)
from app.drift.waiting import EXPIRES_EVERY, Lots, Waiting, WaitingRows

# Its size, the places of its rows, and what `ClosedBlocks` says of it.
_ClosedBlock: TypeAlias = tuple[int, list[int], int, int, int]


class Blocks:
    """The open block, the queue, and the blocks closed in one walk."""

    def __init__(self, begun: Begun, lots: Lots) -> None:
        state = begun.crowd
        self._before, self._lots = begun.rows, lots
        self._open = [*range(state.open_rows)]
        self._blocks, self._rows = state.blocks, state.rows
        self._known = Acquaintances(state.known)
        self._opened_after = state.opened_after
        self._repeated, self._few_callers = state.repeated, state.few_callers
        self._unlearnt, self._is_learning = state.unlearnt, state.is_learning
        self._admitted = dict(state.admitted)
        # The last request of one row that is no person's, and the block that has it.
        self._alone = 0, 0
        self._gathered = begun.gathered
        self._waiting = WaitingRows(begun.waiting, state.one_in, state.skipped, lots)
        self._last_at_us = state.last_at_us
        self._closed: list[_ClosedBlock] = []
        self._row = 0

    def walk(self) -> Walk:
        """What the rows that were added came to."""
        # Only what can matter later, so that the state does not depend on where the log is cut into calls.
        last, (alone, block) = (1, self._known.requests), self._alone
        every = self._admitted | {last: (block,)} if alone and alone == self._known.requests else self._admitted
        admitted = {
            caller: blocks
            for caller, blocks in remembered(every, self._blocks).items()
            if caller[0] == 0 or caller == last or caller in self._waiting
        }
        crowd = CrowdState(
            blocks=self._blocks,
            rows=self._rows,
            open_rows=len(self._open),
            opened_after=self._opened_after,
            last_at_us=self._last_at_us,
            known=self._known.state(),
            admitted=tuple(sorted(admitted.items())),
            one_in=self._waiting.one_in,
            skipped=self._waiting.skipped,
            repeated=self._repeated,
            unlearnt=self._unlearnt,
            is_learning=self._is_learning,
            few_callers=self._few_callers,
        )
        return Walk(tuple(_by_size(self._closed)), crowd, self._open, self._waiting.rows(), self._gathered)

    def add(self, at_us: np.ndarray, callers: Callers) -> None:
        """Add rows of these callers, served at `at_us`."""
        known = self._known
        repeated = known.repeats(callers.keys)
        self._repeated += int(repeated.sum())
        requests = self._requests(at_us, callers, repeated)
        for start, counting, drawn, begins, alone, user, drawn_user, time, last_at_us in requests:
            self._row = start + 1
            number = self._begin(user, start, time) if begins else known.requests
            self._is_learning = not known.are_learnt
            if not counting:
                pass
            elif self._is_learning:
                self._unlearnt += counting
            elif not alone:
                self._gather(Waiting(number, known.caller(drawn_user), drawn), counting)
            elif drawn_user and known.is_person(drawn_user):
                self._arrive(number, (0, drawn_user), drawn, start + 1, time)
            else:
                # As nearly all are: of a caller of one row, who need not wait, nor be remembered after the next.
                self._open.append(drawn)
                self._alone = number, self._blocks
                if len(self._open) == BLOCK:
                    self._close_full(start + 1, time)
            self._last_at_us = last_at_us

    def _requests(self, at_us: np.ndarray, callers: Callers, repeated: np.ndarray) -> Iterator[tuple[int, ...]]:
        """The requests among the rows: the first row, how many rows count, and the place of the one that is drawn.

        Then whether the first one begins it and is alone, its user, that of the one that is drawn, and the times of the
        first and of the last row.
        """
        begins = callers.begins.copy()
        begins[:1] = True
        # The rest of a batch whose first row is no longer in the log says that it goes on with whatever is before it.
        begins[1:] |= callers.alone[:-1]
        starts = np.flatnonzero(begins)
        ends = np.append(starts[1:], len(begins))
        counting, drawn = ends - starts, starts
        if len(starts) < len(begins) or repeated.any():
            kept = np.flatnonzero(~repeated)
            of = np.repeat(np.arange(len(starts)), ends - starts)[kept]
            counting = np.bincount(of, minlength=len(starts))
            if counting.max(initial=0) > 1:
                self._lots.are_drawn = True
                kept = kept[np.lexsort((self._lots.all[self._before + kept], of))]
            drawn = np.append(kept, 0)[np.searchsorted(of, np.arange(len(starts)))]
        columns = (
            starts,
            counting,
            drawn + self._before,
            callers.begins[starts],
            callers.alone[starts],
            callers.users[starts],
            callers.users[drawn],
            at_us[starts],
            at_us[ends - 1],
        )
        return zip(*(each.tolist() for each in columns), strict=True)

    def _begin(self, user: int, seen: int, at_us: int) -> int:
        """Another request begins, after `seen` rows; the one before it is complete. Returns its number."""
        if self._gathered is not None:
            self._arrive(*self._gathered, seen, self._last_at_us)
            self._gathered = None
        number = self._known.begin(user)
        if number % EXPIRES_EVERY == 0:
            self._waiting.expire(number)
        if number - self._opened_after >= SPACED_FOR:
            self._wait(seen, at_us)
        return number

    def _gather(self, row: Waiting, rows: int) -> None:
        """Keep the row, drawn of so many, until its request is complete, unless the lot falls on an earlier one."""
        self._waiting.skipped += rows - 1
        if self._gathered is not None:
            self._waiting.skipped += 1
            row = min(row, self._gathered, key=lambda each: self._lots.draw(each.place))
        self._gathered = row

    def _arrive(self, request: int, caller: Caller, place: int, seen: int, at_us: int) -> None:
        if caller in self._waiting or not self._may_enter(caller, 0):
            self._waiting.put(Waiting(request, caller, place))
            return
        self._admit(caller, place)
        if len(self._open) == BLOCK:
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
        self._closed.append((len(self._open), self._open, seen, at_us, self._row))
        self._blocks += 1
        self._rows += len(self._open)
        self._open = []
        self._opened_after = self._known.requests
        # Kept small: named users pass through here in all of their traffic.
        if len(self._admitted) > 2 * REMEMBERED * BLOCK:
            self._admitted = remembered(self._admitted, self._blocks)

    def _fill(self) -> None:
        """Admit waiting rows, in the order of the log, as far as their callers may have one in the open block."""
        if not self._waiting:
            return
        for row, waiting in self._waiting.heads():
            if len(self._open) == BLOCK:
                return
            if self._may_enter(row.caller, waiting):
                self._waiting.take(row)
                self._admit(row.caller, row.place)

    def _admit(self, caller: Caller, place: int) -> None:
        self._open.append(place)
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


def walk_by_count(state: CrowdState, at_us: np.ndarray) -> Walk:
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


def _by_size(closed: list[_ClosedBlock]) -> Iterator[ClosedBlocks]:
    """Closed blocks, in order, together with those after them of the same size."""
    for _, run in groupby(closed, itemgetter(0)):
        _, *columns = zip(*run, strict=True)
        yield ClosedBlocks(*(np.array(column, dtype=np.int64) for column in columns))
