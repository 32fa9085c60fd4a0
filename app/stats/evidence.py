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

    `splits`: the weights of the challenger and of the baseline, in each config revision with traffic. `unlabelled`:
    requests on which the answers differ and that have no label.
    """

    splits: tuple[tuple[float, float], ...] = ()
    unlabelled: int = 0


class Present(msgspec.Struct, frozen=True):
    """The evidence of this moment for an action, adjusted for all challengers (`app.stats.closed_testing`).

    `log_e`: ln E against "no difference"; `side`: 1 where it favours the challenger, −1 the baseline, 0 neither.
    `gate_log_e`: ln E⁺ for the challenger whoever was labelled (`app.stats.robust.log_e`); None where the method
    does not count wins and losses.
    """

    log_e: float = 0.0
    side: int = 0
    gate_log_e: float | None = None


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """One challenger against the baseline. Positive differences favour the challenger, in the units of the metric.

    `challengers` of the experiment share the error rate: the interval, and what is concluded from it, is at α over
    their number. `log_e`, `difference`, `interval` and `present` are of this moment; `strongest` (adjusted for several
    challengers), `agreement` (label-free equivalence) and `conclusions` remember.
    """

    challenger: str
    baseline: str
    method: Method
    n: int
    difference: float | NotEstimable
    interval: Interval | NotEstimable
    log_e: float | NotEstimable
    strongest: Strongest
    present: Present = Present()
    challengers: int = 1
    probability_better: float | NotEstimable
    agreement: Strongest = Strongest()
    conclusions: Conclusions = Conclusions()
    forecast: Forecast | NotEstimable = NO_FORECAST
    arrival: LabelArrival = LabelArrival()
