"""The paired test on numeric losses of both versions for the same request: Brier, log loss, absolute error.

Model: X = (loss of the baseline − loss of the challenger) / width of the loss's range, in [−1, 1], so that a positive
difference means that the challenger is better; the hypothesis is E[X | past] = 0. No propensity is needed, because both
versions answered. Assumption: whether a label arrives does not depend on which answer was served. Promise: P(E ever
reaches 1/α, or the interval ever misses) ≤ α. Source: Waudby-Smith & Ramdas, arXiv 2010.09686.
"""

from __future__ import annotations

import msgspec
import numpy as np
from scipy.special import betainc

from app.errors import InvalidRequest
from app.stats import betting, betting_interval
from app.stats.betting import Bets, Wealth
from app.stats.estimates import NO_LABELS, Interval, NotEstimable
from app.stats.strongest import Strongest, remember_path

_REACH = 1.0  # the scale of all bets


class PairedNumericState(msgspec.Struct, frozen=True):
    """All that the test keeps: constant memory. `wins` and `losses` count the X above and below 0."""

    wealth: Wealth
    n: int = 0
    wins: int = 0
    losses: int = 0
    sum_x: float = 0.0
    strongest: Strongest = Strongest()


def initial() -> PairedNumericState:
    """The state before the first label."""
    return PairedNumericState(betting.initial_wealth())


def update(state: PairedNumericState, gains: np.ndarray) -> PairedNumericState:
    """The state after a batch of X, shape (labels,), in order; the evidence is remembered as of each label.

    The same to the last bit however the labels are cut into batches. What lies outside [−1, 1] counts as the nearer
    end. Raises `InvalidRequest` on a NaN.
    """
    x = np.clip(np.asarray(gains, float), -1.0, 1.0)
    if np.isnan(x).any():
        raise InvalidRequest("a loss is not a number", field="actual")
    # |X| ≤ 1 whatever is known before it, so scale and bound are the same for all bets.
    ones = np.ones(len(x))
    wealth, path = betting.advance(state.wealth, Bets(x, ones, ones))
    return PairedNumericState(
        wealth=wealth,
        n=state.n + len(x),
        wins=state.wins + int(np.count_nonzero(x > 0)),
        losses=state.losses + int(np.count_nonzero(x < 0)),
        sum_x=float(np.cumsum(np.concatenate(([state.sum_x], x)))[-1]),
        strongest=remember_path(state.strongest, path.log_e, path.side, state.n),
    )


def log_e(state: PairedNumericState) -> float:
    """ln E against "no difference in mean loss" now."""
    return betting.log_e(state.wealth)


def difference(state: PairedNumericState) -> float | NotEstimable:
    """The mean gain of the challenger, in widths of the loss's range."""
    return state.sum_x / state.n if state.n else NO_LABELS


def interval(state: PairedNumericState, alpha: float) -> Interval | NotEstimable:
    """The confidence sequence of the mean gain now, in [−1, 1] (widths of the loss's range)."""
    return betting_interval.interval(state.wealth, alpha, _REACH) if state.n else NO_LABELS


def probability_better(state: PairedNumericState) -> float | NotEstimable:
    """The posterior chance, uniform prior, that the challenger's loss is the smaller one where they differ.

    Informative only: it keeps no promise when one stops at a chosen moment.
    """
    if not state.wins + state.losses:
        return NotEstimable("no labelled request yet on which the losses differ")
    return float(betainc(state.losses + 1, state.wins + 1, 0.5))
