"""The block Pólya e-detector: evidence, always valid, that the requests are no longer exchangeable with the reference.

Every stream and bet has a wealth M, at first r, and after each block of m requests M ← E·(M + m), where E has mean 1
as long as nothing has changed (Shin, Ramdas & Rinaldo: e-detectors; Vovk et al. 2102.10439: conformal test
martingales). So E[mean over bets of M] ≤ t + r after t requests, and the chance that the mean of any of D streams
ever reaches D·A within T requests is at most (T + r) / A.
"""

from __future__ import annotations

import msgspec
import numpy as np

from app.drift.block_run import BlockRun
from app.drift.detector_state import BLOCK, DetectorState, Mode, unpacked
from app.drift.family import Family


def advance(
    family: Family, state: DetectorState, keys: np.ndarray, *, level: float, at_us: np.ndarray | None = None
) -> DetectorState:
    """The state after the requests with `keys`, shape (n, streams), in log order.

    `level` is the mean wealth at which a stream alarms. `at_us`: when each request was served, µs since 1970. The state
    does not depend on how the log is cut into calls, to the last bit.
    """
    if not len(keys):
        return state
    bins = family.bins(keys, state.requests)
    recent = _windowed(state, family.shown(keys, bins))
    # Requests of the open block come first: blocks are cut by request number, not by call.
    waiting = state.requests % BLOCK
    queue = np.concatenate([unpacked(state.pending, "u1", BLOCK)[:waiting], bins])
    closing = len(queue) - len(queue) % BLOCK
    run = BlockRun(family, state, level)
    if closing:
        ends = np.arange(1, closing // BLOCK + 1) * BLOCK - waiting - 1
        times = np.zeros(len(ends), dtype=np.int64) if at_us is None else np.asarray(at_us, dtype=np.int64)[ends]
        run.close(queue[:closing].reshape(-1, BLOCK, queue.shape[1]), times)
    pending = np.zeros((BLOCK, queue.shape[1]), dtype=np.uint8)
    pending[: len(queue) - closing] = queue[closing:]
    return run.state(requests=state.requests + len(keys), recent=recent.tobytes(), pending=pending.tobytes())


def acknowledge(state: DetectorState, at_us: int) -> DetectorState:
    """The state with its alarm acknowledged: streams in it raise no alarm until they have been clean for a while.

    Streams that are not part of this alarm can still raise one. Without an alarm the state is returned unchanged.
    """
    if not state.alarm:
        return state
    modes = np.frombuffer(state.modes, dtype=np.uint8)
    modes = np.where(modes == Mode.ALARMING, Mode.ACKNOWLEDGED, modes).astype(np.uint8)
    return msgspec.structs.replace(state, modes=modes.tobytes(), acknowledged_us=at_us)


def _windowed(state: DetectorState, shown: np.ndarray) -> np.ndarray:
    """The ring after `shown`, shape (n, streams)."""
    ring = unpacked(state.recent, "u1", state.window).copy()
    first = max(0, len(shown) - state.window)
    ring[(state.requests + np.arange(first, len(shown))) % state.window] = shown[first:]
    return ring
