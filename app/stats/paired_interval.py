"""The exact confidence sequence for the difference of two accuracies measured on the same requests.

Model: the label of a request gives X = 1 (challenger alone right), −1 (baseline alone) or 0; the hypothesis "the
difference is d" says E[X | past] = d, and the bets L on it are mixed by u ~ Beta(a(1+d), a(1−d)). At d = 0 this is
the paired test itself. Promise: P(the interval ever misses the true difference) ≤ α. Source: betting confidence
sequences, Waudby-Smith & Ramdas, arXiv 2010.09686.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
from scipy.optimize import brentq
from scipy.special import betaln

from app.stats import paired
from app.stats.estimates import NO_LABELS, Interval, NotEstimable, bar
from app.stats.paired import PRIOR, PairedSummary

_PANELS, _POINTS = 4, 200
# e**−60 is far below the precision of a float: what lies beyond adds nothing to the area.
_NEGLIGIBLE_NATS = 60.0
_EDGE = 0.999
_REACHES = 2.0 ** -np.arange(60, 0, -0.5)
_SMOOTHING = 4


def _panels() -> tuple[np.ndarray, np.ndarray]:
    """Abscissae and weights of the composite Gauss–Legendre rule on (0, 1)."""
    nodes, weights = np.polynomial.legendre.leggauss(_POINTS)
    starts = np.arange(_PANELS)[:, None]
    return ((starts + (nodes + 1) / 2) / _PANELS).ravel(), np.tile(weights / (2 * _PANELS), _PANELS)


_ABSCISSAE, _WEIGHTS = _panels()


def log_e_at(summary: PairedSummary, d: float) -> float:
    """ln E_d against the hypothesis "the challenger's accuracy minus the baseline's is d", −1 < d < 1."""
    # Swapped, so that the integral is computed for d ≥ 0 only.
    if d < 0:
        summary, d = summary.swapped(), -d
    high = summary.wins + PRIOR * (1 + d)
    low = summary.losses + PRIOR * (1 - d)
    constant = (
        -summary.wins * math.log1p(d)
        - summary.losses * math.log1p(-d)
        - summary.ties * math.log1p(-d * d)
        + (summary.wins + summary.losses) * math.log(2.0)
        - float(betaln(PRIOR * (1 + d), PRIOR * (1 - d)))
    )
    return constant + _log_integral(high - 1, low - 1, float(summary.ties), d)


def interval(summary: PairedSummary, alpha: float) -> Interval | NotEstimable:
    """{d : E_d < 1/α}, valid at every moment at once; it excludes 0 exactly when the paired test rejects."""
    if not summary.n:
        return NO_LABELS
    return lower_end(summary, alpha), upper_end(summary, alpha)


def lower_end(summary: PairedSummary, alpha: float) -> float:
    """The lower end of the interval alone, at half the cost; `summary` has at least one label."""
    return -upper_end(summary.swapped(), alpha)


def upper_end(summary: PairedSummary, alpha: float) -> float:
    """Where E_d rises to 1/α above the estimate; `summary` has at least one label."""
    threshold = bar(alpha)

    @cache  # the search asks again for the ends that it was given, at a quarter of its cost
    def excess(d: float) -> float:
        return log_e_at(summary, d) - threshold

    start = (summary.wins - summary.losses) / summary.n
    # The closed form at 0 splits the search, so that test and interval always agree.
    if start < 0:
        if paired.log_e(summary) >= threshold:
            return _root(excess, max(start, -_EDGE), -math.ulp(0.0), _step(summary))
        start = 0.0
    if start >= _EDGE or excess(_EDGE) < 0:
        return 1.0
    return _root(excess, start, _EDGE, _step(summary))


def _step(summary: PairedSummary) -> float:
    """About one half-width of the interval: the first step of the search."""
    return 3 * math.sqrt(summary.wins + summary.losses + 1) / summary.n


def _root(excess: Callable[[float], float], inside: float, outside: float, step: float) -> float:
    """The root above `inside`, sought outwards in growing steps and not beyond `outside`, where E is known to be high.

    `inside` is the estimate, where E ≤ 1; only at the edge of the range may it already be excluded.
    """
    if excess(inside) >= 0:
        return inside
    while inside + step < outside:
        if excess(inside + step) >= 0:
            outside = inside + step
            break
        inside, step = inside + step, 2 * step
    if excess(outside) <= 0:  # rounding on the threshold itself
        return outside
    return float(brentq(excess, inside, outside, xtol=1e-12, rtol=1e-12))


def _log_integral(p: float, q: float, ties: float, d: float) -> float:
    """ln ∫₀¹ u^p (1−u)^q (1+d−2du)^ties du for d ≥ 0, p ≥ 1, q > −1."""
    if q < 1:
        return _log_integral_rough(p, q, ties, d)

    def log_f(u: np.ndarray) -> np.ndarray:
        value: np.ndarray = p * np.log(u) + q * np.log1p(-u) + ties * np.log1p(d * (1 - 2 * u))
        return value

    return _log_area(log_f, _mode(p, q, ties, d))


def _log_integral_rough(p: float, q: float, ties: float, d: float) -> float:
    """The same where the integrand is rough or unbounded at u = 1: u = 1 − s^r with r = 4/(1+q) makes it smooth."""
    r = _SMOOTHING / (1 + q)

    def log_f(s: np.ndarray) -> np.ndarray:
        x = s**r
        value: np.ndarray = (_SMOOTHING - 1) * np.log(s) + p * np.log1p(-x) + ties * np.log1p(d * (2 * x - 1))
        return value

    peak = 1 - _mode(p, (_SMOOTHING - 1) / r, ties, d)
    return math.log(r) + _log_area(log_f, peak ** (1 / r))


def _mode(p: float, q: float, ties: float, d: float) -> float:
    """Where the log-concave integrand is largest: the root in (0, 1) of a quadratic, in its stable form."""
    squared = 2 * d * (p + q + ties)
    linear = 2 * d * (p + ties) + (1 + d) * (p + q)
    constant = p * (1 + d)
    return 2 * constant / (linear + math.sqrt(linear * linear - 4 * squared * constant))


def _log_area(log_f: Callable[[np.ndarray], np.ndarray], mode: float) -> float:
    """ln of the area under a unimodal function on (0, 1), between points where it has fallen by 60 nats."""
    reaches = log_f(np.concatenate((mode * (1 - _REACHES), mode + (1 - mode) * _REACHES, (mode,))))
    peak = float(reaches[-1])
    fallen = reaches < peak - _NEGLIGIBLE_NATS
    left = mode * (1 - _reach(fallen[: len(_REACHES)]))
    right = mode + (1 - mode) * _reach(fallen[len(_REACHES) : -1])
    width = right - left
    heights = np.exp(log_f(left + width * _ABSCISSAE) - peak)
    return peak + math.log(width * float(heights @ _WEIGHTS))


def _reach(fallen: np.ndarray) -> float:
    """The least of the growing steps from the mode at which the function has fallen; 1 (the end) where none is."""
    return float(_REACHES[np.argmax(fallen)]) if fallen[-1] else 1.0
