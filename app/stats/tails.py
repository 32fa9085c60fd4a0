"""Logarithms of the beta distribution's tails, also where the probability itself is below the smallest float."""

from __future__ import annotations

import math

from scipy.special import betainc, betaincc, betaln

# Near the smallest float `betainc` loses digits, and below it gives 0.
_SAFE = 1e-280
_TINY = 1e-300
_PRECISION = 1e-15
_MOST_TERMS = 100_000


def log_beta_cdf(x: float, a: float, b: float) -> float:
    """ln P(θ ≤ x) for θ ~ Beta(a, b), finite for every 0 < x < 1 and a, b > 0."""
    below = float(betainc(a, b, x))
    # Near 1 the other tail has the digits.
    if below > 0.5:
        return math.log1p(-float(betaincc(a, b, x)))
    return math.log(below) if below > _SAFE else _log_deep_tail(x, a, b)


def log_beta_sf(x: float, a: float, b: float) -> float:
    """ln P(θ > x) for θ ~ Beta(a, b), finite for every 0 < x < 1 and a, b > 0."""
    return log_beta_cdf(1.0 - x, b, a)


def _log_deep_tail(x: float, a: float, b: float) -> float:
    """The tail by its continued fraction (Abramowitz & Stegun 26.5.8), which converges fast far below the mean."""
    front = a * math.log(x) + b * math.log1p(-x) - float(betaln(a, b)) - math.log(a)
    return front + math.log(_fraction(x, a, b))


def _fraction(x: float, a: float, b: float) -> float:
    """1/(1 + d1/(1 + d2/(1 + …))) evaluated from the front by Lentz's method."""
    value = ratio = 1.0
    inverse = 0.0
    for term in range(_MOST_TERMS):
        numerator = _numerator(term, x, a, b)
        inverse = 1.0 / _away_from_zero(1.0 + numerator * inverse)
        ratio = _away_from_zero(1.0 + numerator / ratio)
        value *= inverse * ratio
        if term and abs(inverse * ratio - 1.0) < _PRECISION:
            break
    return 1.0 / value


def _numerator(term: int, x: float, a: float, b: float) -> float:
    half, odd = divmod(term + 1, 2)
    if odd:
        return -(a + half) * (a + b + half) * x / ((a + 2 * half) * (a + 2 * half + 1))
    return half * (b - half) * x / ((a + 2 * half - 1) * (a + 2 * half))


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
