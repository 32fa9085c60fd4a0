"""Several challengers at once: evidence that holds for all of them together.

Closed testing with means of e-values: the adjusted e of j is the least mean over all subsets that contain j. Promise:
P(any true hypothesis is ever rejected) ≤ α over all challengers and moments, under any dependence. Source: Vovk & Wang,
arXiv 1912.06116.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def adjusted(log_es: Sequence[float]) -> list[float]:
    """The adjusted ln E of each hypothesis, in the given order; never above its own ln E.

    Apply it to the evidence of one moment and remember the strongest adjusted value: the mean of e-processes is one,
    the mean of their separate maxima is not.
    """
    return [_least_mean(own, [*log_es[:j], *log_es[j + 1 :]]) for j, own in enumerate(log_es)]


def _least_mean(own: float, others: list[float]) -> float:
    # Of all subsets with m others, the one with the m weakest has the least mean. So n subsets are enough, not 2 ** n.
    total, least = own, own
    for members, other in enumerate(sorted(others), start=2):
        total = float(np.logaddexp(total, other))
        least = min(least, total - float(np.log(members)))
    return least
