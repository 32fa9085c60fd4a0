"""The state of the detector between two batches of the log, and functions that read it."""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import msgspec
import numpy as np

from app.drift.bets import BETS
from app.drift.crowds import BLOCK, CrowdState
from app.drift.family import Family

# Of the rules by which a state was computed: states of other rules begin anew, as their figures mean something else.
RULES: Final = 4
# r and A of the promise: any alarm within T clean requests has at most probability (T + r) / A.
HEAD_START: Final = 1e4
ALARM_LEVEL: Final = 2e6
CLEAN_BLOCKS: Final = 50
WINDOW: Final = 500
# Wealth is capped at this multiple of the alarm's: evidence beyond it would only delay the all-clear.
CEILING: Final = 20.0


class Mode(enum.IntEnum):
    """A stream's part in the alarm: none, proven and not acknowledged, or acknowledged."""

    QUIET = 0
    ALARMING = 1
    ACKNOWLEDGED = 2


class RaisedStream(msgspec.Struct, frozen=True, array_like=True):
    """A stream's part in an alarm: raised after `requests` rows, the last of them served at `at_us` (µs since 1970).

    `wealth` was the mean over its bets, after `rows` rows in closed blocks.
    """

    stream: int
    requests: int
    at_us: int
    wealth: float
    rows: int


class DetectorState(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the detector keeps of the requests so far; constant in size.

    The arrays are little-endian bytes, so that the state survives JSON and MessagePack without loss. Of shape
    (streams, bins): `counts` int64, live requests that count as normal; `faded` float64, the last blocks' counts, older
    ones weighing less. `wealth` (streams, bets) float64. `modes` (streams) uint8. `calm` (streams) int64: for how many
    blocks a stream in the alarm has been below its level. `onset` (2, streams) int64: requests, and µs since 1970, when
    the wealth last was no more than chance gives. `pending` (m, streams) uint8: bins of the rows of the open block.
    `recent` (window, streams) uint8: a ring of what `Family.shown` gives. `alarms` counts the alarms raised so far.
    `raised` are the streams of the alarm, kept until it is acknowledged or another one is raised.
    `requests` counts rows. `crowd` says whose rows are in blocks and whose wait.
    """

    requests: int
    window: int
    counts: bytes
    faded: bytes
    wealth: bytes
    modes: bytes
    calm: bytes
    onset: bytes
    pending: bytes
    recent: bytes
    alarms: int = 0
    since_requests: int | None = None
    since_us: int | None = None
    acknowledged_us: int | None = None
    raised: tuple[RaisedStream, ...] = ()
    rules: int = 1
    crowd: CrowdState = CrowdState()

    @property
    def alarm(self) -> bool:
        """Whether a change is proven that has neither been acknowledged nor cleared."""
        return Mode.ALARMING in self.modes

    @property
    def closed_requests(self) -> int:
        """The number of rows in closed blocks, on which the evidence is based."""
        return self.crowd.rows


def new_state(family: Family, window: int = WINDOW) -> DetectorState:
    """The state before the first request; the last `window` requests are kept for histograms and the score."""
    streams = len(family.streams)
    return DetectorState(
        requests=0,
        window=window,
        counts=np.zeros(family.gaps.shape, dtype="<i8").tobytes(),
        faded=bytes(8 * family.gaps.size),
        wealth=np.full((streams, BETS), HEAD_START, dtype="<f8").tobytes(),
        modes=bytes(streams),
        calm=bytes(8 * streams),
        onset=bytes(16 * streams),
        pending=bytes(BLOCK * streams),
        recent=bytes(window * streams),
        rules=RULES,
    )


class Moment(NamedTuple):
    """What is known after some requests: each stream's mean wealth, the rows in closed blocks, alarm and window.

    `wealth` has shape (streams,); the window is the last rows up to number `end` of those that `Moments.shown` has.
    """

    wealth: np.ndarray
    closed_requests: int
    alarm: bool
    end: int


class Moments:
    """The moments after these numbers of requests, ascending, which are noted as the detector passes them.

    Its rows need not be cut at them: whole pages take a fraction of the time. `shown` are the rows that their windows
    of `window` rows show, shape (n, streams), uint8.
    """

    def __init__(self, due: Iterable[int]) -> None:
        self.shown, self.window = np.zeros((0, 0), np.uint8), 0
        self._due = deque(due)
        self._found: list[Moment] = []
        self._first = 0

    def follow(self, state: DetectorState, shown: np.ndarray) -> None:
        """Further rows come after that state, of which the window shows this, shape (n, streams)."""
        if not self.window:
            known, self.window = min(state.requests, state.window), state.window
            self._first = state.requests - known
            numbers = np.arange(self._first, state.requests) % self.window
            self.shown = unpacked(state.recent, "u1", self.window)[numbers]
        self.shown = np.concatenate([self.shown, shown])

    def before(self, requests: int) -> Iterator[int]:
        """Those that are due before so many requests, each once: `note` has to follow."""
        while self._due and self._due[0] < requests:
            yield self._due.popleft()

    def note(self, requests: int, wealth: np.ndarray, closed_requests: int, *, alarm: bool) -> None:
        """Note the moment after so many requests; `wealth` has shape (bets, streams)."""
        self._found.append(Moment(_mean(wealth.T), closed_requests, alarm, requests - self._first))

    def of(self, state: DetectorState) -> list[Moment]:
        """All of them, where no further rows come: those that are left are that of the `state`."""
        if not self.window:
            self.follow(state, unpacked(state.recent, "u1", state.window)[:0])
        left = len(self._due)
        self._due.clear()
        last = Moment(stream_wealth(state), state.closed_requests, state.alarm, len(self.shown))
        return [*self._found, *(last for _ in range(left))]


def stream_wealth(state: DetectorState) -> np.ndarray:
    """The mean over the bets of each stream's wealth, shape (streams,)."""
    return _mean(unpacked(state.wealth, "<f8", len(state.modes)))


def stream_onset(state: DetectorState) -> np.ndarray:
    """When each stream's wealth was last no more than chance gives, shape (2, streams): requests, µs since 1970."""
    return unpacked(state.onset, "<i8", 2)


def window_rows(state: DetectorState) -> np.ndarray:
    """The window's contents, shape (min(requests, window), streams), uint8, in no particular order."""
    return unpacked(state.recent, "u1", state.window)[: state.requests]


def _mean(wealth: np.ndarray) -> np.ndarray:
    """The mean over the bets of `wealth`, shape (streams, bets)."""
    # In one layout: the order in which numpy adds, and so the last digit, depends on it.
    mean: np.ndarray = np.ascontiguousarray(wealth).sum(axis=1) / BETS
    return mean


def unpacked(data: bytes, kind: str, rows: int) -> np.ndarray:
    """The array of `rows` rows in `data`, read-only."""
    return np.frombuffer(data, dtype=kind).reshape(rows, -1)
