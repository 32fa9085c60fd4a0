"""The fallback for numbers with no declared range: an asymptotic confidence sequence, always flagged as such.

Model: X_t with the mean "challenger minus baseline" and a finite variance, which is estimated. Promise: P(the
interval ever misses) ≤ α only in the limit of many outcomes; heavy tails break it (33 % were seen), so it is never
enough for an automatic promotion. Source: Waudby-Smith et al., arXiv 2103.06476 (Gaussian mixture boundary, tuned to
n = 5,000).
"""

from __future__ import annotations

import math

import msgspec
import numpy as np

from app.errors import InvalidRequest
from app.stats.estimates import Interval, NotEstimable
from app.stats.strongest import Strongest
from app.stats.two_sample import Outcomes

TUNED_FOR = 5000
# Below, the variance is too uncertain for a boundary that holds only in the limit.
LEAST = 100
# One tuning for every α, so that evidence and interval agree whatever α is asked for.
_TUNED_ALPHA = 0.05
_TOO_FEW = NotEstimable(f"fewer than {LEAST} outcomes, too few for a test without a declared range")
_CONSTANT = NotEstimable("all outcomes so far are equal")


class AsymptoticState(msgspec.Struct, frozen=True):
    """The `n` X with their `mean` and sum of squared deviations `squares`.

    `outcomes` and `total` give the running mean of the raw outcomes. `skipped`: outcomes with propensity 0 or 1.
    """

    n: int = 0
    mean: float = 0.0
    squares: float = 0.0
    outcomes: int = 0
    total: float = 0.0
    skipped: int = 0
    strongest: Strongest = Strongest()


def rho_squared(alpha: float, tuned_for: int = TUNED_FOR) -> float:
    """The mixture's precision that makes the boundary tightest at `tuned_for` outcomes (arXiv 2103.06476, app. B.2)."""
    spent = -2 * math.log(alpha)
    return (spent + math.log(1 + spent)) / tuned_for


def radius(sd: float, n: int, alpha: float, rho2: float | None = None) -> float:
    """The half-width after `n` outcomes of standard deviation `sd`, in their units; `rho2` as of `rho_squared`."""
    rho2 = rho_squared(alpha) if rho2 is None else rho2
    spread = n * rho2 + 1
    return sd * math.sqrt(2 * spread / (n * n * rho2) * math.log(math.sqrt(spread) / alpha))


def update_paired(state: AsymptoticState, gains: np.ndarray) -> AsymptoticState:
    """The state after a batch of paired gains, shape (labels,), in order and in the metric's units.

    A positive gain is good for the challenger. Raises `InvalidRequest` on a number that is not finite.
    """
    for gain in _numbers(gains):
        state = _observe(state, gain)
    return state


def update_two_sample(state: AsymptoticState, outcomes: Outcomes) -> AsymptoticState:
    """The state after a batch of outcomes of any size, in order; rows whose propensity is 0 or 1 are skipped.

    Raises `InvalidRequest` on an outcome that is not finite.
    """
    arms, values = outcomes.served_challenger.tolist(), _numbers(outcomes.values)
    for arm, value, share in zip(arms, values, outcomes.propensities.tolist(), strict=True):
        if not 0 < share < 1:
            state = msgspec.structs.replace(state, skipped=state.skipped + 1)
            continue
        # Any centre known before the outcome keeps the mean of X; the running mean makes its variance small.
        centre = state.total / state.outcomes if state.outcomes else 0.0
        observed = _observe(state, (value - centre) * (1 / share if arm else -1 / (1 - share)))
        state = msgspec.structs.replace(observed, outcomes=state.outcomes + 1, total=state.total + value)
    return state


def log_e(state: AsymptoticState) -> float | NotEstimable:
    """ln E against "no difference" now; it is ln(1/α) where the interval at α touches 0."""
    return _problem(state) or _log_e(state)


def difference(state: AsymptoticState) -> float | NotEstimable:
    """The mean of the X, in the metric's units."""
    return state.mean if state.n else _TOO_FEW


def interval(state: AsymptoticState, alpha: float) -> Interval | NotEstimable:
    """The asymptotic confidence sequence of the difference now, in the metric's units."""
    problem = _problem(state)
    if problem:
        return problem
    reach = radius(_sd(state), state.n, alpha, rho_squared(_TUNED_ALPHA))
    return state.mean - reach, state.mean + reach


def _problem(state: AsymptoticState) -> NotEstimable | None:
    if state.n < LEAST:
        return _TOO_FEW
    return None if state.squares > 0 else _CONSTANT


def _sd(state: AsymptoticState) -> float:
    return math.sqrt(state.squares / state.n)


def _log_e(state: AsymptoticState) -> float:
    rho2 = rho_squared(_TUNED_ALPHA)
    spread = state.n * rho2 + 1
    z_squared = state.n * state.n * state.mean**2 / (state.squares / state.n)
    return rho2 * z_squared / (2 * spread) - math.log(spread) / 2


def _observe(state: AsymptoticState, x: float) -> AsymptoticState:
    """The state after one X, by Welford's update."""
    # One at a time also for a batch: sums of a whole batch would round differently from those of its parts.
    n = state.n + 1
    step = x - state.mean
    mean = state.mean + step / n
    after = msgspec.structs.replace(state, n=n, mean=mean, squares=state.squares + step * (x - mean))
    if _problem(after):
        return after
    side = (mean > 0) - (mean < 0)
    return msgspec.structs.replace(after, strongest=state.strongest.remember(_log_e(after), n, side))


def _numbers(values: np.ndarray) -> list[float]:
    numbers: list[float] = np.asarray(values, float).tolist()
    if not all(map(math.isfinite, numbers)):
        raise InvalidRequest("an outcome is not a finite number", field="reward")
    return numbers
