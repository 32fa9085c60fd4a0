"""The readable numbers about the alarm: evidence between 0 and 1, the false-alarm bound, the least shift."""

from __future__ import annotations

import math

from app.drift.bets import BETS
from app.drift.detector_state import ALARM_LEVEL, HEAD_START

PROMISED_REQUESTS = 10_000


def alarm_wealth(streams: int) -> float:
    """The mean wealth at which one of `streams` streams that share the promise alarms: D·A."""
    return max(streams, 1) * ALARM_LEVEL


def evidence(wealth: float, requests: int, streams: int) -> float:
    """The distance of `wealth` between what chance gives (0) and the alarm (1), on a log scale.

    `ln(M/(t+r)) / ln(A/(t+r))` with M = wealth / D, clipped. Beyond A/10 requests, where the bound on the chance of any
    alarm so far would be above 10 %, t + r counts as A/10: from there on the promise is one false alarm in A requests.
    """
    chance = min(requests + HEAD_START, ALARM_LEVEL / 10)
    share = wealth / max(streams, 1) / chance
    if share <= 1:
        return 0.0
    return min(1.0, math.log(share) / math.log(ALARM_LEVEL / chance))


def false_alarm_bound(requests: int) -> float:
    """The greatest chance of any alarm within `requests` clean, exchangeable requests: (T + r) / A."""
    return min(1.0, (requests + HEAD_START) / ALARM_LEVEL)


def least_detectable_shift(streams: int, reference_rows: int) -> float | None:
    """Roughly the least shift, in standard deviations, that can be proven: `√(2 ln(D·K·A/r) / n)`, K bets, n rows."""
    if reference_rows < 1 or streams < 1:
        return None
    return math.sqrt(2 * math.log(streams * BETS * ALARM_LEVEL / HEAD_START) / reference_rows)
