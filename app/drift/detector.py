"""The block Pólya e-detector: evidence, always valid, that the requests are no longer exchangeable with the reference.

Every stream and bet has a wealth M, at first r, and after each block of m rows M ← E·(M + m), where E has mean 1
as long as nothing has changed (Shin, Ramdas & Rinaldo: e-detectors; Vovk et al. 2102.10439: conformal test
martingales). So E[mean over bets of M] ≤ t + r after t requests, and the chance that the mean of any of D streams
ever reaches D·A within T requests is at most (T + r) / A.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np

from app.drift.bets import BETS
from app.drift.callers import Callers, each_alone
from app.drift.crowds import BLOCK, ClosedBlocks, CrowdState
from app.drift.detector_state import (
    CEILING,
    CLEAN_BLOCKS,
    HEAD_START,
    DetectorState,
    Mode,
    Moments,
    RaisedStream,
    unpacked,
)
from app.drift.family import Family
from app.drift.urn import block_e_values, urns_before
from app.drift.waiting import Lots
from app.drift.walks import Walks

# Blocks times streams of one computation. Many, because NumPy's cost is per call; few, because the arrays of all bets
# must stay in the processor's cache, and a change of mode throws the rest of the blocks away.
_CELLS_AT_ONCE: Final = 2000


class BlockRun:
    """A `DetectorState` unpacked for one call of `advance`; `state` packs it again."""

    def __init__(self, family: Family, state: DetectorState, level: float, moments: Moments) -> None:
        streams = len(family.streams)
        self._before, self._first = state, state.requests
        self._gaps, self._highest = family.gaps, family.highest
        self._level = level
        self._moments = moments
        self._closed = state.closed_requests
        self._counts = unpacked(state.counts, "<i8", streams).copy()
        self._faded = unpacked(state.faded, "<f8", streams)
        self._wealth = unpacked(state.wealth, "<f8", streams).T.copy()
        self._modes = np.frombuffer(state.modes, dtype=np.uint8).copy()
        self._calm = unpacked(state.calm, "<i8", streams)[:, 0].copy()
        self._onset = unpacked(state.onset, "<i8", 2).copy()
        self._since = (state.since_requests, state.since_us)
        self._acknowledged_us = state.acknowledged_us
        self._alarms = state.alarms
        self._raised = state.raised

    def close(self, bins: np.ndarray, closed: ClosedBlocks) -> None:
        """Apply closed blocks; `bins` by place, shape (rows, streams), uint8.

        E-values are computed for many blocks at once. If a stream's mode changes, so does whether its urn absorbs
        blocks, and the blocks after that are computed again.
        """
        start, size = 0, closed.places.shape[1]
        at_once = max(1, _CELLS_AT_ONCE // bins.shape[1])
        ends, after = np.stack([closed.seen + self._first, closed.at_us]), closed.after + self._first
        while start < len(closed.places):
            # In the order of the requests of a block, which are multiplied one after the other.
            part = bins.take(closed.places[start : start + at_once].T, axis=0)
            # A stream that alarms does not learn: a lasting change would become the norm and end its own alarm.
            absorbing = self._modes != Mode.ALARMING
            urns = urns_before(self._gaps + self._counts, self._faded, part, absorbing)
            done = self._walk(block_e_values(urns, self._highest), size, ends[:, start:], after[start:])
            self._counts += (urns.counts[:done].sum(axis=0) * absorbing[:, None]).astype(np.int64)
            self._faded = urns.recent[done]
            start += done

    def note_moments(self, before: int) -> None:
        """Note those that are due before so many requests, by what is known now."""
        for requests in self._moments.before(before):
            self._moments.note(requests, self._wealth, self._closed, alarm=Mode.ALARMING in self._modes)

    def state(self, *, requests: int, recent: bytes, pending: bytes, crowd: CrowdState) -> DetectorState:
        """The state packed again."""
        return msgspec.structs.replace(
            self._before,
            requests=requests,
            counts=self._counts.tobytes(),
            faded=self._faded.tobytes(),
            wealth=self._wealth.T.tobytes(),
            modes=self._modes.tobytes(),
            calm=self._calm.tobytes(),
            onset=self._onset.tobytes(),
            pending=pending,
            recent=recent,
            since_requests=self._since[0],
            since_us=self._since[1],
            acknowledged_us=self._acknowledged_us,
            alarms=self._alarms,
            raised=self._raised,
            crowd=crowd,
        )

    def _walk(self, e_values: np.ndarray, size: int, ends: np.ndarray, after: np.ndarray) -> int:
        """Advance the wealth through the blocks until one changes a stream's mode; the number of blocks used.

        `e_values` have shape (blocks, bets, streams). Blocks have `size` rows; `ends`, shape (2, blocks), are the rows
        seen when each closed, and the time; `after` is that of `ClosedBlocks`.
        """
        self.note_moments(int(after[0]))
        grown = wealth_after(self._wealth, e_values, size, CEILING * self._level)
        # Python's sum adds in the order of the bets whatever the shape; numpy's order depends on it.
        means = sum((grown[:, bet] for bet in range(1, BETS)), start=grown[:, 0]) / BETS
        done = self._blocks_to_change(means)
        for requests in self._moments.before(int(after[done - 1])):
            block = int(after.searchsorted(requests, side="right"))
            alarm = Mode.ALARMING in self._modes
            self._moments.note(requests, grown[block - 1], self._closed + size * block, alarm=alarm)
        self._wealth = grown[done - 1].copy()
        self._note_onsets(means[:done], size, ends[:, :done])
        self._change_modes(means[done - 1], ends[:, done - 1])
        return done

    def _note_onsets(self, means: np.ndarray, size: int, ends: np.ndarray) -> None:
        """Record when each stream's wealth was last no more than chance gives: an alarm dates the change from there."""
        closed = self._closed + size * np.arange(1, len(means) + 1)
        by_chance = means <= (closed + HEAD_START)[:, None]
        last = len(means) - 1 - np.argmax(by_chance[::-1], axis=0)
        self._onset = np.where(by_chance.any(axis=0), ends[:, last], self._onset)
        self._closed = int(closed[-1])

    def _blocks_to_change(self, means: np.ndarray) -> int:
        """The number of blocks up to the first that changes a mode, or all; advances `calm`, which is 0 in quiet mode.

        `means` is the mean wealth after each block, shape (blocks, streams).
        """
        if not self._modes.any() and means.max() < self._level:
            return len(means)
        for block, over in enumerate(means >= self._level):
            loud = self._modes != Mode.QUIET
            self._calm = np.where(over | ~loud, 0, self._calm + 1)
            if (over & ~loud).any() or self._calm.max() >= CLEAN_BLOCKS:
                return block + 1
        return len(means)

    def _change_modes(self, mean: np.ndarray, end: np.ndarray) -> None:
        """Raise and clear the alarms of streams by the mean wealth after the last block, shape (streams,).

        `end`: the rows seen when that block closed, and the time.
        """
        raised = (mean >= self._level) & (self._modes == Mode.QUIET)
        # A further stream joins a standing alarm, which keeps its date and is counted once.
        if raised.any() and Mode.ALARMING not in self._modes:
            first = int(np.argmax(np.where(raised, mean, 0.0)))
            self._since = (int(self._onset[0, first]), int(self._onset[1, first]))
            self._acknowledged_us = None
            self._alarms += 1
            self._raised = ()
        self._note_raised(raised, mean, end)
        cleared = self._calm >= CLEAN_BLOCKS
        self._modes[raised] = Mode.ALARMING
        self._modes[cleared] = Mode.QUIET
        self._calm[cleared] = 0
        if not self._modes.any():
            self._since, self._acknowledged_us = (None, None), None

    def _note_raised(self, raised: np.ndarray, mean: np.ndarray, end: np.ndarray) -> None:
        """Keep the evidence of streams that raise the alarm now, strongest first: it may be gone when people look."""
        requests, at_us = end.tolist()
        streams = sorted(np.flatnonzero(raised).tolist(), key=lambda stream: -mean[stream])
        earlier = tuple(each for each in self._raised if each.stream not in streams)
        now = (RaisedStream(stream, requests, at_us, float(mean[stream]), self._closed) for stream in streams)
        self._raised = (*earlier, *now)


def wealth_after(wealth: np.ndarray, e_values: np.ndarray, size: int, ceiling: float) -> np.ndarray:
    """The wealth after each block of `size` rows, with these `e_values`, and at most `ceiling`.

    Of shape (blocks, bets, streams); `wealth` is that before the first.
    """
    grown, stakes, sizes = np.empty_like(e_values), np.empty_like(wealth), np.full_like(wealth, size)
    before = wealth
    with np.errstate(over="ignore", invalid="ignore"):
        for e_value, after in zip(e_values, grown, strict=True):
            np.multiply(e_value, np.add(before, sizes, out=stakes), out=after)
            before = after
    # Only an alarm that stands comes near the ceiling, and a step more in each block is a third of the loop's time.
    if not grown.max() <= ceiling:  # nor where it is NaN, which is not less either
        before = wealth
        for e_value, after in zip(e_values, grown, strict=True):
            np.multiply(e_value, np.add(before, sizes, out=stakes), out=after)
            before = np.minimum(after, ceiling, out=after)
    return grown


def advance(
    family: Family,
    state: DetectorState,
    keys: np.ndarray,
    *,
    level: float,
    at_us: np.ndarray | None = None,
    callers: Callers | None = None,
    moments: Moments | None = None,
    walks: Walks | None = None,
) -> DetectorState:
    """The state after the rows with `keys`, shape (n, streams), in log order; notes the `moments` on the way.

    `level` is the mean wealth at which a stream alarms. `at_us`: when each row was served, µs since 1970. Without
    `callers` each row is a request of its own. The state does not depend on how the log is cut into calls, to the last
    bit. `walks` are those of other parts through the same rows.
    """
    if not len(keys):
        return state
    bins = family.bins(keys, state.requests)
    # Without moments only the last of many rows are still of use.
    kept = slice(-state.window if moments is None else None, None)
    shown = family.shown(keys[kept], bins[kept])
    moments = Moments(()) if moments is None else moments
    moments.follow(state, shown)
    recent = _windowed(state, shown[-state.window :], len(keys))
    times = np.zeros(len(keys), dtype=np.int64) if at_us is None else np.asarray(at_us, dtype=np.int64)
    callers = each_alone(len(keys)) if callers is None else callers
    stored, lots = _stored(state), Lots(family.seed, state.crowd.stored_lots, state.requests, len(keys))
    walk = (walks or Walks()).through(state.crowd, times, callers, lots)
    rows = np.empty((len(stored) + len(bins), bins.shape[1]), np.uint8)
    rows[: len(stored)], rows[len(stored) :] = stored, bins
    run = BlockRun(family, state, level, moments)
    for closed in walk.closed:
        run.close(rows, closed)
    run.note_moments(state.requests + len(keys) + 1)
    pending = np.zeros((BLOCK, bins.shape[1]), dtype=np.uint8)
    pending[: len(walk.open)] = rows[walk.open]
    return run.state(
        requests=state.requests + len(keys),
        recent=recent.tobytes(),
        pending=pending.tobytes(),
        crowd=walk.state(rows, lots),
    )


def acknowledge(state: DetectorState, at_us: int) -> DetectorState:
    """The state with its alarm acknowledged: streams in it raise no alarm until they have been clean for a while.

    Streams that are not part of this alarm can still raise one. Without an alarm the state is returned unchanged.
    """
    if not state.alarm:
        return msgspec.structs.replace(state, raised=()) if state.raised else state
    modes = np.frombuffer(state.modes, dtype=np.uint8)
    modes = np.where(modes == Mode.ALARMING, Mode.ACKNOWLEDGED, modes).astype(np.uint8)
    return msgspec.structs.replace(state, modes=modes.tobytes(), acknowledged_us=at_us, raised=())


def _windowed(state: DetectorState, shown: np.ndarray, rows: int) -> np.ndarray:
    """The ring after `rows` rows, the last of which are `shown`, shape (n, streams), n at most the window."""
    ring = unpacked(state.recent, "u1", state.window).copy()
    ring[(state.requests + np.arange(rows - len(shown), rows)) % state.window] = shown
    return ring


def _stored(state: DetectorState) -> np.ndarray:
    """The bins of the rows that have a place in a walk before those that are added, shape (rows, streams), uint8."""
    pending = unpacked(state.pending, "u1", BLOCK)
    waiting = b"".join(row.bins for row in state.crowd.kept)
    return np.concatenate(
        [pending[: state.crowd.open_rows], np.frombuffer(waiting, "u1").reshape(-1, pending.shape[1])]
    )
