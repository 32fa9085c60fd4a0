"""Common drift rules, as used in practice: every 50 requests they check the last 500, once there are 500.

In their favour, the rule for the mean accounts for the uncertainty of the reference.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import kstwobign

LOOK = 50
WINDOW = 500
_PSI_BINS = 10
_PSI_FLOOR = 1e-4


def alarms(reference: np.ndarray, live: np.ndarray) -> dict[str, bool]:
    """Which rules raised an alarm at any look at `live`, shape (n, features); n is a multiple of `LOOK`, ≥ `WINDOW`."""
    per_look = [_per_feature(reference[:, j], live[:, j]) for j in range(reference.shape[1])]
    scaled, psi, z = (np.stack([feature[i] for feature in per_look]) for i in range(3))
    width = len(per_look)
    drifted = scaled > kstwobign.isf(0.05)
    return {
        "KS p < .05, any feature": bool(drifted.any()),
        "KS + Bonferroni": bool((scaled > kstwobign.isf(0.05 / width)).any()),
        "half of the features by KS": bool((drifted.mean(axis=0) >= 0.5).any()),
        "PSI > 0.2, any feature": bool((psi > 0.2).any()),
        "mean off by 3 SE, any feature": bool((z > 3).any()),
    }


def _per_feature(reference: np.ndarray, live: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """At each look: the scaled KS statistic, the PSI, and the difference of the means in standard errors."""
    ordered = np.sort(reference)
    counts, rows = _windows(np.searchsorted(ordered, live), len(ordered) + 1)
    return (
        _scaled_ks(counts, rows, len(ordered)),
        _psi(counts, rows, len(ordered)),
        _mean_distance(reference, live, rows),
    )


def _windows(gaps: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Counts per gap between reference values in each look's window, shape (looks, gaps), and the window's rows."""
    looks = len(gaps) // LOOK
    flat = np.arange(looks).repeat(LOOK) * width + gaps[: looks * LOOK]
    total = np.cumsum(np.bincount(flat, minlength=looks * width).reshape(looks, width), axis=0)
    back = WINDOW // LOOK
    total[back:] -= total[:-back].copy()
    full = total[back - 1 :]
    return full, full.sum(axis=1)


def _scaled_ks(counts: np.ndarray, rows: np.ndarray, size: int) -> np.ndarray:
    """The two-sample KS statistic, scaled by its sample sizes; the supremum is at an end of a gap."""
    live = np.cumsum(counts, axis=1) / rows[:, None]
    known = np.arange(size + 1) / size
    right = np.abs(live - known).max(axis=1)
    left = np.abs(live[:, :-1] - known[1:]).max(axis=1)
    return np.maximum(right, left) * np.sqrt(size * rows / (size + rows))


def _psi(counts: np.ndarray, rows: np.ndarray, size: int) -> np.ndarray:
    """The population stability index over deciles of the reference."""
    decile = np.minimum(np.arange(size + 1) * _PSI_BINS // size, _PSI_BINS - 1)
    starts = np.searchsorted(decile, np.arange(_PSI_BINS))
    known = np.bincount(decile[:-1], minlength=_PSI_BINS) / size
    live = np.maximum(np.add.reduceat(counts, starts, axis=1) / rows[:, None], _PSI_FLOOR)
    return ((live - known) * np.log(live / known)).sum(axis=1)


def _mean_distance(reference: np.ndarray, live: np.ndarray, rows: np.ndarray) -> np.ndarray:
    sums = np.cumsum(live.reshape(-1, LOOK).sum(axis=1))
    back = WINDOW // LOOK
    sums[back:] -= sums[:-back].copy()
    error = reference.std() * np.sqrt(1 / rows + 1 / len(reference))
    return np.abs(sums[back - 1 :] / rows - reference.mean()) / error
