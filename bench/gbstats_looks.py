"""Run by `speed.py` in an environment with gbstats 0.8.0: when would its sequential test have decided?

    python gbstats_looks.py DRAWS.npz STOPS.npy

Reads `arm` and `reward`, uint8 arrays of shape (replications, requests); writes for each replication the number of
requests after which the confidence interval first leaves out 0, with a look at each request (0: never). gbstats's own
formulas are called on whole courses of counts at once; at each stop the ordinary call must say the same.
"""

from __future__ import annotations

import sys

import numpy as np
from gbstats.frequentist.tests import SequentialTwoSidedTTest
from gbstats.models.statistics import ProportionStatistic


class Course:
    """What gbstats reads of a proportion, with arrays over the requests for numbers."""

    def __init__(self, served: np.ndarray, right: np.ndarray) -> None:
        self.n = np.maximum(np.cumsum(served), 1)
        self.sum = np.cumsum(right)
        self.mean = self.unadjusted_mean = self.sum / self.n
        self.variance = self.mean * (1 - self.mean)


class Looks(SequentialTwoSidedTTest):
    """The test over a whole course: the relative difference is written out, because the original tests one number."""

    @property
    def point_estimate(self) -> np.ndarray:
        """Relative difference at each moment."""
        return (self.stat_b.mean - self.stat_a.mean) / self.stat_a.unadjusted_mean


def stop(arm: np.ndarray, reward: np.ndarray) -> int:
    """Requests until the decision; 0 where there is none."""
    a, b = Course(~arm, reward & ~arm), Course(arm, reward & arm)
    with np.errstate(all="ignore"):
        low, high = Looks(a, b).confidence_interval
    usable = (a.mean > 0) & (a.variance > 0) & (b.variance > 0)  # else gbstats gives no result
    decided = np.flatnonzero(usable & ((low > 0) | (high < 0)))
    if not len(decided):
        return 0
    first = int(decided[0])
    if not says_so(a, b, first) or (first and says_so(a, b, first - 1)):
        raise SystemExit("the course and the ordinary call of gbstats differ")
    return first + 1


def says_so(a: Course, b: Course, at: int) -> bool:
    """Whether the ordinary call on the counts at one moment finds a difference."""
    stats = (ProportionStatistic(n=int(arm.n[at]), sum=float(arm.sum[at])) for arm in (a, b))
    result = SequentialTwoSidedTTest(*stats).compute_result()
    return result.error_message is None and (result.ci[0] > 0 or result.ci[1] < 0)


def main() -> None:
    """Read, decide, write."""
    draws = np.load(sys.argv[1])
    stops = [
        stop(arm.astype(bool), reward.astype(bool)) for arm, reward in zip(draws["arm"], draws["reward"], strict=True)
    ]
    np.save(sys.argv[2], np.array(stops))


if __name__ == "__main__":
    main()
