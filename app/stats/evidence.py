"""The evidence about one challenger that a verdict is made from, and the possible verdicts."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from app.scoring.contract import Method
from app.stats.all_traffic import Coverage, Form
from app.stats.estimates import Interval, NotEstimable
from app.stats.forecast import Forecast
from app.stats.strongest import Strongest

Verdict: TypeAlias = Literal["better", "worse", "equivalent", "undecided"]
# A version that can answer this much less than all requests is not promoted without a person: it refuses the others.
MOST_LACKING = 0.01
NO_FORECAST = NotEstimable("not forecast for this metric")


class LabelArrival(msgspec.Struct, frozen=True):
    """How labels arrive, for one pair of versions.

    `splits`: the weights of the challenger and of the baseline, in each config revision with traffic. `unlabelled`:
    units whose first disagreement has no label.
    """

    splits: tuple[tuple[float, float], ...] = ()
    unlabelled: int = 0


class Present(msgspec.Struct, frozen=True):
    """The evidence of this moment for an action, adjusted for all challengers (`app.stats.strongest.adjusted`).

    `log_e`: ln E against "no difference"; `side`: 1 where it favours the challenger, −1 the baseline, 0 neither.
    `gate_log_e`: ln E⁺ for the challenger whoever was labelled (`app.stats.robust.log_e`); None where the method
    does not count wins and losses.
    """

    log_e: float = 0.0
    side: int = 0
    gate_log_e: float | None = None


class Votes(msgspec.Struct, frozen=True):
    """Whose votes a comparison rests on.

    Of `outcomes`, each `unit` (user, key, row or request) has one vote; corrections have made them `present`.
    `few_wins` and `few_losses`: (votes, rows) where they come from few different rows, else None. Of `asked` rows the
    challenger gave no answer to `missing`. `outside` of the present ones have a value outside the declared range.
    """

    unit: str = "request"
    outcomes: int = 0
    few_wins: tuple[int, int] | None = None
    few_losses: tuple[int, int] | None = None
    asked: int = 0
    missing: int = 0
    outside: int = 0
    present: int = 0


class Rewards(msgspec.Struct, frozen=True):
    """What rewards there were: how many, the least and the largest, how many are 0, outside of the range, and late.

    `late`: they came after the window of their answer had closed.
    """

    n: int = 0
    least: float | None = None
    largest: float | None = None
    zeros: int = 0
    outside: int = 0
    late: int = 0


class Conclusions(msgspec.Struct, frozen=True):
    """When to stop although no winner is proven; after how many outcomes each was first concluded, None if it is open.

    Each is a statement about the confidence sequence, so each is wrong with probability ≤ α over the whole experiment,
    and holds for good once reached. Promise and source: those of the interval that is given.

    `equivalent`: the interval lies inside (−margin, margin). `futile`: its upper end is below the least effect of
    interest. `not_worse`: its lower end is above −margin.
    """

    equivalent_at: int | None = None
    futile_at: int | None = None
    not_worse_at: int | None = None


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """One challenger against the baseline. Positive differences favour the challenger, in the units of the metric.

    `challengers` of the experiment share the error rate: the interval, and what is concluded from it, is at α over
    their number. `log_e`, `difference`, `interval` and `present` are of this moment; `strongest` (adjusted for several
    challengers), `agreement` (label-free equivalence) and `conclusions` remember. `n` are votes. `form` is that of an
    interval over all traffic (`app.stats.all_traffic`), None for one over the labelled outcomes; `coverage` counts it.
    `improvement_of_all`: the mean improvement over all outcomes, each as often as it came and with the value that it
    has, also outside the declared range; None where it is not known.
    `comparable_share` of the requests have every column that the two read; None before the first request.
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
    votes: Votes = Votes()
    form: Form | None = None
    coverage: Coverage | None = None
    improvement_of_all: float | None = None
    comparable_share: float | None = None

    @property
    def lacks_columns(self) -> bool:
        """Whether so many requests lack a column of one of the two that a decision must know of it."""
        return self.comparable_share is not None and self.comparable_share < 1 - MOST_LACKING


def conclude(
    before: Conclusions,
    n: int,
    interval: Interval | NotEstimable,
    *,
    margin: float | None = None,
    min_effect: float | None = None,
) -> Conclusions:
    """The conclusions after `n` outcomes with this interval; an earlier conclusion stays.

    Call it at fixed numbers of outcomes where a replay must give the same. `margin` and `min_effect` are in the units
    of the metric.
    """
    if isinstance(interval, NotEstimable):
        return before
    low, high = interval
    return Conclusions(
        equivalent_at=_first(before.equivalent_at, n, margin is not None and -margin < low and high < margin),
        futile_at=_first(before.futile_at, n, min_effect is not None and high < min_effect),
        not_worse_at=_first(before.not_worse_at, n, margin is not None and low > -margin),
    )


def _first(before: int | None, n: int, holds: bool) -> int | None:
    return n if before is None and holds else before


def percent(share: float) -> str:
    """A share for a sentence, in per cent with two digits; one that is neither 0 nor 1 is shown as neither."""
    if share <= 0 or share >= 1:
        return f"{100 * share:.0f} %"
    return f"{min(max(100 * share, 0.01), 99.9):.{2 if share < 0.995 else 3}g} %"
