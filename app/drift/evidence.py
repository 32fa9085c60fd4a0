"""The readable numbers of drift: evidence and its false-alarm bound, and the score.

The score is a lower bound of the share of the traffic that is displaced against the reference, now.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from itertools import pairwise, repeat

import numpy as np

from app.drift.bets import BETS, BEYOND, FEW_BEYOND
from app.drift.detector_state import ALARM_LEVEL, HEAD_START, DetectorState, window_rows
from app.drift.family import Family

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


# Shares of requests beyond the reference, from one in 10,000 to half of them, and numbers of such requests in a run.
_SHARES = np.geomspace(1e-4, 0.5, 120)
_RUN = np.geomspace(0.01, 1e3, 240)


@functools.lru_cache(maxsize=256)
def least_detectable_outliers(streams: int, reference_rows: int) -> float | None:
    """The least share of requests beyond all reference values that can be proven, about; None if no share can.

    A bet of b on the outermost bin, which has one of n+1 gaps, expects to gain, with a share s of outliers and
    x = s·t of them in t requests: `∫ ln(b (n + x/s)/(1 + x) + 1 − b) dx + (1/s − 1) x ln(1 − b)`. Its largest value
    must reach `ln(D·K·A/r)`. An outlier of 8 standard deviations lies beyond all values of a bell-shaped reference.
    """
    if reference_rows < 1 or streams < 1:
        return None
    needed = math.log(streams * BETS * ALARM_LEVEL / HEAD_START)
    return next((float(share) for share in _SHARES if _outlier_gain(float(share), reference_rows) >= needed), None)


def _outlier_gain(share: float, rows: int) -> float:
    """The largest expected gain, in nats, of the two bets on values beyond all known ones."""
    gains = []
    for bet in (BEYOND, FEW_BEYOND):
        # With the x-th outlier the bin has x gaps of n + x/s: sums over whole outliers, integrals between them.
        each = np.log(bet * (rows + _RUN / share) / (1 + _RUN) + 1 - bet)
        won = np.concatenate([[0.0], np.cumsum((each[1:] + each[:-1]) / 2 * np.diff(_RUN))])
        gains.append((won + (1 / share - 1) * _RUN * math.log(1 - bet)).max())
    return float(max(gains))


UNCERTAINTY = 0.01


@functools.lru_cache(maxsize=4096)
def margin(reference_rows: int, live_rows: int, streams: int) -> float:
    """The largest distance that chance gives any of `streams` streams, in all but 1 % of windows.

    `ε = √(½ ln(2d/.01) (1/n + 1/W))`: the two-sample bound of Dvoretzky, Kiefer & Wolfowitz with Massart's constant,
    with a union bound over the streams. Infinite without rows.
    """
    if reference_rows < 1 or live_rows < 1:
        return math.inf
    return math.sqrt(0.5 * math.log(2 * max(streams, 1) / UNCERTAINTY) * (1 / reference_rows + 1 / live_rows))


def distances(reference: np.ndarray | Sequence[int], live: np.ndarray | Sequence[int]) -> np.ndarray:
    """The Kolmogorov–Smirnov distance of each two histograms on the same ordered cells; 0 if one of them is empty.

    Both have shape (…, cells), or shapes that can be stretched to one, and the result has one less.
    """
    shares, totals = [], []
    for counts in (np.asarray(reference, np.float64), np.asarray(live, np.float64)):
        totals.append(counts.sum(axis=-1, keepdims=True))
        shares.append(np.cumsum(counts, axis=-1) / np.where(totals[-1], totals[-1], 1.0))
    apart: np.ndarray = np.abs(shares[0] - shares[1]).max(axis=-1) * ((totals[0] > 0) & (totals[1] > 0))[..., 0]
    return apart


def live_counts(family: Family, state: DetectorState) -> np.ndarray:
    """The window's counts of each stream, shape (streams, cells), on the cells of `family.shown_reference` and more."""
    rows, width = window_rows(state), family.compared[0].shape[1]
    streams = len(family.streams)
    found: np.ndarray = np.bincount((rows + np.arange(streams) * width).ravel(), minlength=streams * width)
    return found.reshape(streams, width)


def stream_scores(family: Family, state: DetectorState) -> list[float]:
    """The score of each stream, 0 to 1."""
    rows = window_rows(state)
    scores: list[float] = scores_of(family, rows, np.array([len(rows)]), state.window)[0].tolist()
    return scores


def scores_of(family: Family, rows: np.ndarray, ends: np.ndarray, window: int) -> np.ndarray:
    """The scores of streams at some moments, shape (moments, streams), each with a window of rows that end there.

    `rows`, shape (n, streams), as `Family.shown` gives them, in order. The first streams of a family may do. A score is
    the distance less the margin for chance, 0 to 1. The streams with cells share one allowance for chance, the joint
    streams another.
    """
    streams, shown = rows.shape[1], len(family.cells)
    groups, reference = (each[:streams] for each in family.compared)
    starts = np.maximum(ends - window, 0)
    rows, starts, ends = rows[starts[0] : ends[-1]], starts - starts[0], ends - starts[0]
    # Windows overlap: what lies between two places of any of them is counted once.
    places = np.unique(np.concatenate([starts, ends]))
    numbers = np.arange(streams)[:, None]
    found = (groups + numbers * reference.shape[1]).take(rows + numbers.T * groups.shape[1])
    found += np.searchsorted(places, np.arange(len(rows)), side="right")[:, None] * reference.size
    counts = np.bincount(found.ravel(order="K"), minlength=(len(places) + 1) * reference.size)
    counts = counts.reshape(-1, *reference.shape)
    for before, own in pairwise(counts):
        own += before
    live = counts[np.searchsorted(places, ends)] - counts[np.searchsorted(places, starts)]
    # Two families, so that features do not lose sensitivity to the joint streams, of which there may be as many.
    unions = [shown if stream < shown else len(family.streams) - shown for stream in range(streams)]
    known, sizes = reference.sum(axis=1).astype(int).tolist(), (ends - starts).tolist()
    margins = {size: [margin(*each) for each in zip(known, repeat(size), unions)] for size in {*sizes}}
    scores: np.ndarray = np.maximum(0.0, distances(reference, live) - [margins[size] for size in sizes])
    return scores
