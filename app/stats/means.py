"""The mean of one version's outcomes with its own confidence sequence, for showing beside the comparison.

Model: outcomes in [0, 1] with mean p given the past; a Beta(½, ½) mixture of likelihood ratios, which for fractional
outcomes is a supermartingale by the weighted inequality of means. Promise: P(the interval ever misses) ≤ α, for each
single version. Source: Howard et al., arXiv 1810.08240 (beta-binomial boundary).
"""

from __future__ import annotations

import math
from collections.abc import Callable

from scipy.optimize import brentq
from scipy.special import betaln

from app.stats.estimates import Interval, NotEstimable, bar

_PRIOR = 0.5
# At 0 and 1 the logarithms of the likelihood are infinite.
_EDGE = 1e-12
_NOTHING = NotEstimable("no outcome yet")


def log_e_at(total: float, n: int, p: float) -> float:
    """ln E against "the mean is p", 0 < p < 1, after n outcomes that sum to `total`."""
    mixture = float(betaln(_PRIOR + total, _PRIOR + n - total)) - float(betaln(_PRIOR, _PRIOR))
    return mixture - total * math.log(p) - (n - total) * math.log1p(-p)


def interval(total: float, n: int, alpha: float) -> Interval | NotEstimable:
    """The confidence sequence of the mean, in [0, 1], after `n` outcomes in [0, 1] that sum to `total`."""
    if not n:
        return _NOTHING
    threshold = bar(alpha)
    centre = min(max(total / n, _EDGE), 1 - _EDGE)

    def excess(p: float) -> float:
        return log_e_at(total, n, p) - threshold

    return _end(excess, centre, _EDGE, 0.0), _end(excess, centre, 1 - _EDGE, 1.0)


def _end(excess: Callable[[float], float], inside: float, outside: float, otherwise: float) -> float:
    if excess(outside) <= 0 or excess(inside) >= 0:
        return otherwise
    return float(brentq(excess, inside, outside, xtol=1e-12))
