"""Run by `speed.py` in an environment with gbstats 0.8.0: after how many requests its sequential test decides.

    python gbstats_looks.py DRAWS.npz STOPS.npy

Reads `arm` and `reward`, uint8 arrays of shape (replications, requests). Writes for each replication the number of
requests after which the confidence interval first excludes 0, checked after each request (0: never). gbstats's own
formulas are applied to whole timelines of counts at once; at each stop the ordinary call must agree.
"""

from __future__ import annotations

import sys

import numpy as np
from gbstats.frequentist.tests import SequentialTwoSidedTTest
from gbstats.models.statistics import ProportionStatistic


class Timeline:
    """The attributes that gbstats reads from a proportion, as arrays over the requests."""

    def __init__(self, served: np.ndarray, right: np.ndarray) -> None:
        self.n = np.maximum(np.cumsum(served), 1)
        self.sum = np.cumsum(right)
        self.mean = self.unadjusted_mean = self.sum / self.n
        self.variance = self.mean * (1 - self.mean)


class Looks(SequentialTwoSidedTTest):
    """The test over a whole timeline. It overrides the relative difference, whose original accepts one number only."""

    @property
    def point_estimate(self) -> np.ndarray:
        """The relative difference after each request."""
        return (self.stat_b.mean - self.stat_a.mean) / self.stat_a.unadjusted_mean


def stop(arm: np.ndarray, reward: np.ndarray) -> int:
    """Requests until the decision; 0 if there is none."""
    a, b = Timeline(~arm, reward & ~arm), Timeline(arm, reward & arm)
    with np.errstate(all="ignore"):
        low, high = Looks(a, b).confidence_interval
    usable = (a.mean > 0) & (a.variance > 0) & (b.variance > 0)  # else gbstats gives no result
    decided = np.flatnonzero(usable & ((low > 0) | (high < 0)))
    if not len(decided):
        return 0
    first = int(decided[0])
    if not decides(a, b, first) or (first and decides(a, b, first - 1)):
        raise SystemExit("the vectorised call of gbstats differs from the ordinary one")
    return first + 1


def decides(a: Timeline, b: Timeline, at: int) -> bool:
    """Whether the ordinary call finds a difference in the counts after one request."""
    stats = (ProportionStatistic(n=int(arm.n[at]), sum=float(arm.sum[at])) for arm in (a, b))
    result = SequentialTwoSidedTTest(*stats).compute_result()
    return result.error_message is None and (result.ci[0] > 0 or result.ci[1] < 0)


def main() -> None:
    """Read the draws and write the stops."""
    draws = np.load(sys.argv[1])
    stops = [
        stop(arm.astype(bool), reward.astype(bool)) for arm, reward in zip(draws["arm"], draws["reward"], strict=True)
    ]
    np.save(sys.argv[2], np.array(stops))


if __name__ == "__main__":
    main()
