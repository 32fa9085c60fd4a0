"""The two-sample test on outcomes of the served answer, with the logged probability of serving the challenger.

Model: an outcome Y in [0, 1] follows each answer; A = 1 where the challenger was served, by the server's own chance
with the logged propensity π. X = (Y − m)(A/π − (1−A)/(1−π)), m the running mean of past outcomes, has the mean
"challenger minus baseline" given the past, whatever π does (ramps, bandits) and however the base rate drifts. With
covariates m is a prediction from the row, where that is better than the mean (`app.stats.covariates`).
Assumption: π may depend on outcomes that have arrived, never on unlabelled assignments; one vote per user. Promise:
P(E ever reaches 1/α, or the interval ever misses) ≤ α. Source: betting, Waudby-Smith & Ramdas, arXiv 2010.09686; with
logged propensities, Waudby-Smith et al., arXiv 2103.06476.
"""

from __future__ import annotations

import msgspec
import numpy as np

from app.errors import InvalidRequest
from app.stats import betting, betting_interval, covariates
from app.stats.betting import Bets, Wealth
from app.stats.covariates import CovariateState
from app.stats.estimates import Interval, NotEstimable
from app.stats.strongest import Strongest, remember_path

_REACH = 0.25  # the largest scale π(1−π)
_NOTHING = NotEstimable("no outcome of a randomised answer yet")


class Outcomes(msgspec.Struct, frozen=True):
    """A batch in the order of acknowledgement, each of shape (outcomes,).

    `served_challenger`: bool. `values`: in [0, 1]; what lies outside counts as the nearer end. `propensities`: the
    logged probability of the challenger; rows at 0 or 1 are skipped. `informative`: bool, only for the triggered form,
    false where both versions gave the same answer. `columns`, shape (outcomes, columns): the covariates of each row,
    standardised or one-hot, NaN where missing; None where there are none.
    """

    served_challenger: np.ndarray
    values: np.ndarray
    propensities: np.ndarray
    informative: np.ndarray | None = None
    columns: np.ndarray | None = None


class TwoSampleState(msgspec.Struct, frozen=True):
    """All that the test keeps: constant memory.

    `n`: outcomes that entered; `skipped`: those with propensity 0 or 1. `informative` of the former made the running
    mean, with the sum `total`. `sum_x` is the sum of the X. `covariates`: None where rewards are not predicted from
    features; the releases before it decode the rest, and go on with the running mean.
    """

    wealth: Wealth
    n: int = 0
    skipped: int = 0
    informative: int = 0
    total: float = 0.0
    sum_x: float = 0.0
    strongest: Strongest = Strongest()
    covariates: CovariateState | None = None


class _Rows(msgspec.Struct, frozen=True):
    """The outcomes that chance decided, each field of shape (outcomes, …) as in `Outcomes`."""

    arms: np.ndarray
    values: np.ndarray
    propensities: np.ndarray
    informative: np.ndarray
    columns: np.ndarray | None


def initial(columns: int = 0) -> TwoSampleState:
    """The state before the first outcome; `columns`: the number of covariates."""
    return TwoSampleState(betting.initial_wealth(), covariates=covariates.initial(columns) if columns else None)


def update(state: TwoSampleState, outcomes: Outcomes) -> TwoSampleState:
    """The state after a batch; the evidence is remembered as of each outcome. The same to the last bit in any batches.

    In the triggered form (reward depends on the answer only) rows on which the versions agree have X = 0: they leave
    the test alone and keep the interval on the scale of all traffic. Raises `InvalidRequest` on a NaN.
    """
    rows = _usable(outcomes)
    # From the state on, in one running sum, so that the batches do not change the rounding.
    totals = np.cumsum(np.concatenate(([state.total], np.where(rows.informative, rows.values, 0.0))))
    counts = state.informative + np.concatenate(([0], np.cumsum(rows.informative)))
    # Of past outcomes only: the bets and their bound must be known before the outcome.
    means = (totals[:-1] + 1) / (counts[:-1] + 2)
    fit, centres, reach = _centred(state.covariates, rows, means)
    signs = np.where(rows.arms, 1 / rows.propensities, -1 / (1 - rows.propensities))
    x = np.where(rows.informative, (rows.values - centres) * signs, 0.0)
    # Times the scale this is at most 1, which the interval relies on (`betting.never_capped`).
    bounds = reach / np.minimum(rows.propensities, 1 - rows.propensities)
    scale = rows.propensities * (1 - rows.propensities)
    wealth, path = betting.advance(state.wealth, Bets(x, scale, bounds))
    return TwoSampleState(
        wealth=wealth,
        n=state.n + len(x),
        skipped=state.skipped + len(outcomes.values) - len(x),
        informative=int(counts[-1]),
        total=float(totals[-1]),
        sum_x=float(np.cumsum(np.concatenate(([state.sum_x], x)))[-1]),
        strongest=remember_path(state.strongest, path.log_e, path.side, state.n),
        covariates=fit,
    )


def log_e(state: TwoSampleState) -> float:
    """ln E against "no difference" now."""
    return betting.log_e(state.wealth)


def difference(state: TwoSampleState) -> float | NotEstimable:
    """The mean of the X: an estimate of "challenger minus baseline" that no propensities and no drift can bias.

    Held within [−1, 1], which a few outcomes of a small share can leave.
    """
    return min(1.0, max(-1.0, state.sum_x / state.n)) if state.n else _NOTHING


def interval(state: TwoSampleState, alpha: float) -> Interval | NotEstimable:
    """The confidence sequence of the difference now, in [−1, 1]."""
    return betting_interval.interval(state.wealth, alpha, _REACH) if state.n else _NOTHING


def _centred(
    fit: CovariateState | None, rows: _Rows, means: np.ndarray
) -> tuple[CovariateState | None, np.ndarray, np.ndarray]:
    """The next fit; by outcome, the centre m, and a bound of |Y − m| that does not depend on the row."""
    reach = np.maximum(means, 1 - means)
    if fit is None:
        return None, means, reach
    fit, centres = covariates.follow(fit, rows.columns, rows.values, means, rows.informative)
    return fit, centres.values, np.where(centres.regressed, 1.0, reach)


def _usable(outcomes: Outcomes) -> _Rows:
    """The rows that chance decided, with outcomes clipped to [0, 1]."""
    values, propensities = np.asarray(outcomes.values, float), np.asarray(outcomes.propensities, float)
    if np.isnan(values).any() or np.isnan(propensities).any():
        raise InvalidRequest("an outcome or a propensity is not a number", field="reward")
    random = (propensities > 0) & (propensities < 1)
    informative = np.ones(len(values), bool) if outcomes.informative is None else np.asarray(outcomes.informative, bool)
    return _Rows(
        arms=np.asarray(outcomes.served_challenger, bool)[random],
        values=np.clip(values[random], 0.0, 1.0),
        propensities=propensities[random],
        informative=informative[random],
        columns=None if outcomes.columns is None else np.asarray(outcomes.columns, float)[random],
    )
