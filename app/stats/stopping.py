"""When to stop although no winner is proven: equivalent, futile, not worse.

Each is a statement about the confidence sequence, so each is wrong with probability ≤ α over the whole experiment, and
holds for good once reached. Promise and source: those of the interval that is given.
"""

from __future__ import annotations

import msgspec

from app.stats.estimates import Interval, NotEstimable


class Conclusions(msgspec.Struct, frozen=True):
    """After how many outcomes each was first concluded; None where it is still open.

    `equivalent`: the interval lies inside (−margin, margin). `futile`: its upper end is below the least effect of
    interest. `not_worse`: its lower end is above −margin.
    """

    equivalent_at: int | None = None
    futile_at: int | None = None
    not_worse_at: int | None = None


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
