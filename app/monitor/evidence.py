"""A comparison's state as the verdict wants to see it."""

from __future__ import annotations

from app.monitor.methods.paired import PairedComparison
from app.monitor.plan import Plan
from app.monitor.state import PairState
from app.stats import robust
from app.stats.estimates import NotEstimable
from app.stats.evidence import NO_FORECAST, Evidence, LabelArrival
from app.stats.forecast import Forecast, forecast
from app.stats.strongest import decided


def evidence_of(pair: PairState, plan: Plan, challenger: str, seed: int) -> Evidence:
    """The evidence about one challenger; `seed` fixes the futures of the forecast."""
    method = pair.method
    return Evidence(
        challenger=challenger,
        baseline=plan.baseline,
        method=method.name,
        n=method.n,
        difference=method.difference(),
        interval=method.interval(plan.terms.alpha),
        log_e=method.log_e(),
        strongest=pair.adjusted,
        probability_better=method.probability_better(),
        agreement=pair.agreement.strongest,
        conclusions=pair.conclusions,
        forecast=_forecast(pair, plan, seed),
        arrival=_arrival(pair),
    )


def _forecast(pair: PairState, plan: Plan, seed: int) -> Forecast | NotEstimable:
    """How long it will take, while it is open; with several challengers it would take longer than for one alone."""
    method = pair.method
    if (
        not isinstance(method, PairedComparison)
        or len(plan.challengers) > 1
        or decided(pair.adjusted, plan.terms.alpha)
    ):
        return NO_FORECAST
    return forecast(method.summary, plan.terms.alpha, seed)


def _arrival(pair: PairState) -> LabelArrival:
    counts = [*pair.served.values()]
    favours = isinstance(pair.method, PairedComparison) and robust.side(counts) > 0
    return LabelArrival(
        shares=tuple(each.share for each in counts),
        disagreements=pair.differ,
        labelled=pair.differ_labelled,
        robust_log_e=robust.log_e(counts) if favours else None,
    )
