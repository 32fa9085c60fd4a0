"""The memory of a comparison: the strongest evidence that it has ever shown. P-value and verdict follow from it.

And evidence about several challengers, adjusted so that it holds for all of them together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from app.stats.estimates import bar


class Strongest(msgspec.Struct, frozen=True):
    """The largest ln E so far (0 at the start: E = 1), after how many outcomes, and which side led then.

    `side` is 1 where the evidence was for the challenger (or the event watched for), −1 against it, 0 for neither.
    """

    log_e: float = 0.0
    n: int = 0
    side: int = 0

    def remember(self, log_e: float, n: int, side: int) -> Strongest:
        """The memory after evidence of `log_e` at `n` outcomes; a tie keeps the earlier moment."""
        return Strongest(log_e, n, side) if log_e > self.log_e else self


def remember_path(memory: Strongest, log_es: np.ndarray, sides: np.ndarray, n_before: int) -> Strongest:
    """The memory after evidence at each of the outcomes `n_before` + 1, `n_before` + 2, …; shapes (outcomes,)."""
    if not len(log_es):
        return memory
    at = int(np.argmax(log_es))
    return memory.remember(float(log_es[at]), n_before + at + 1, int(sides[at]))


def p_value(memory: Strongest) -> float:
    """The anytime-valid p-value min(1, 1 / max E).

    Under the hypothesis P(it is ever ≤ α) ≤ α, however often one looks (Ville; Ramdas et al., arXiv 2210.01948).
    """
    return min(1.0, math.exp(-memory.log_e))


def decided(memory: Strongest, alpha: float) -> bool:
    """Whether E has ever reached 1/α; wrong with probability ≤ α over the whole experiment."""
    return memory.log_e >= bar(alpha)


def adjusted(log_es: Sequence[float]) -> list[float]:
    """The adjusted ln E of each of several challengers, in the given order; never above its own ln E.

    Closed testing with means of e-values: the adjusted e of j is the least mean over all subsets that contain j.
    Promise: P(any true hypothesis is ever rejected) ≤ α over all challengers and moments, under any dependence.
    Source: Vovk & Wang, arXiv 1912.06116.

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
