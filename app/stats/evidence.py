"""The evidence about one challenger that a verdict is made from, and the possible verdicts."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from app.scoring.contract import Method
from app.stats.estimates import Interval, NotEstimable
from app.stats.forecast import Forecast
from app.stats.stopping import Conclusions
from app.stats.strongest import Strongest

Verdict: TypeAlias = Literal["better", "worse", "equivalent", "undecided"]
NO_FORECAST = NotEstimable("not forecast for this metric")


class LabelArrival(msgspec.Struct, frozen=True):
    """How labels arrive, for one pair of versions.

    `shares`: the challenger's share of the pair's traffic, in each config revision with labelled answers.
    `disagreements`: requests on which the answers differ, `labelled` of them with a label. `robust_log_e`: ln E of
    `app.stats.robust` where it favours the challenger; None where it was not computed or favours the baseline.
    """

    shares: tuple[float, ...] = ()
    disagreements: int = 0
    labelled: int = 0
    robust_log_e: float | None = None


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """One challenger against the baseline. Positive differences favour the challenger, in the units of the metric.

    `log_e`, `difference` and `interval` are of this moment; `strongest` (adjusted for several challengers),
    `agreement` (label-free equivalence) and `conclusions` remember.
    """

    challenger: str
    baseline: str
    method: Method
    n: int
    difference: float | NotEstimable
    interval: Interval | NotEstimable
    log_e: float | NotEstimable
    strongest: Strongest
    probability_better: float | NotEstimable
    agreement: Strongest = Strongest()
    conclusions: Conclusions = Conclusions()
    forecast: Forecast | NotEstimable = NO_FORECAST
    arrival: LabelArrival = LabelArrival()
