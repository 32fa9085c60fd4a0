"""Has the champion's own accuracy fallen below what was measured when it was published?

Model: each label is right with probability p0 (held out); alternatives p1 = {.94, .92, .90, .85, .75} · p0/.95. For
each, M ← max(M, 1) · likelihood ratio; the statistic is the mean of the five M. Promise: the average run of labels
until a false alarm is ≥ 1/α, if p0 is right: give a lower confidence bound where few rows were held out. Source:
e-detectors, Shin, Ramdas & Rinaldo (2022).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec

from app.stats.estimates import bar
from app.stats.strongest import Strongest, decided

_FACTORS = (0.94, 0.92, 0.90, 0.85, 0.75)
_REFERENCE = 0.95
_HIGHEST = 0.9999
_LOWEST = 0.01


class CusumState(msgspec.Struct, frozen=True):
    """ln M of each alternative, the labels seen, and the strongest alarm so far."""

    accuracy: float
    log_m: tuple[float, ...] = (0.0,) * len(_FACTORS)
    n: int = 0
    strongest: Strongest = Strongest()


def initial(accuracy: float) -> CusumState:
    """The state before the first label, for a champion of the given held-out accuracy (kept within (.01, .9999))."""
    return CusumState(min(max(accuracy, _LOWEST), _HIGHEST))


def update(state: CusumState, right: Iterable[bool]) -> CusumState:
    """The state after a batch of labels of the champion's answers, in order."""
    p0 = state.accuracy
    alternatives = [factor * p0 / _REFERENCE for factor in _FACTORS]
    if_right = [math.log(p1 / p0) for p1 in alternatives]
    if_wrong = [math.log((1 - p1) / (1 - p0)) for p1 in alternatives]
    log_m, n, memory = list(state.log_m), state.n, state.strongest
    for hit in right:
        steps = if_right if hit else if_wrong
        log_m = [max(value, 0.0) + step for value, step in zip(log_m, steps, strict=True)]
        n += 1
        memory = memory.remember(_log_mean(log_m), n, 1)
    return CusumState(p0, tuple(log_m), n, memory)


def log_m(state: CusumState) -> float:
    """ln of the mean of the five M now."""
    return _log_mean(state.log_m)


def alarm(state: CusumState, alpha: float) -> bool:
    """Whether the mean has ever reached 1/α."""
    return decided(state.strongest, alpha)


def evidence(state: CusumState, alpha: float) -> float:
    """How far the present evidence is on the way to the alarm, 0–1, on the logarithmic scale."""
    return min(1.0, max(0.0, log_m(state) / bar(alpha)))


def _log_mean(values: Iterable[float]) -> float:
    logs = list(values)
    top = max(logs)
    return top + math.log(math.fsum(math.exp(value - top) for value in logs) / len(logs))
