"""The answer of a statistic that cannot be computed: the reason, never a neutral number."""

from __future__ import annotations

import math
from typing import TypeAlias

import msgspec

Interval: TypeAlias = tuple[float, float]


class NotEstimable(msgspec.Struct, frozen=True, tag="not_estimable"):
    """The quantity has no value on these data; `reason` is a clause for a person ("no labelled request yet")."""

    reason: str


NO_LABELS = NotEstimable("no labelled request yet")


def bar(alpha: float) -> float:
    """The ln E at which an error rate of `alpha` is spent: ln(1/alpha), by Ville's inequality."""
    return -math.log(alpha)
