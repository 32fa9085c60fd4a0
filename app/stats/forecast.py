"""How many more labelled requests a running paired comparison will need: an interval, not a number.

Model: 400 futures drawn from what is known, P(discordant) ~ Beta(w+l+½, c+½) and θ ~ Beta(w+1, l+1); each is played
until the paired test decides. Promise: none under repeated looks; about 80 % of such experiments end within the
interval. Beyond 50 discordant requests time moves in steps of 2 %, which is the grain of the answer.
"""

from __future__ import annotations

import msgspec
import numpy as np

from app.stats import paired
from app.stats.estimates import NotEstimable, bar
from app.stats.paired import PairedSummary
from app.stats.planning import boundary

PATHS = 400
# Where the forecast gives up, and says only that it is far.
_FARTHEST = 1_000_000
_GRAIN = 50
# The ends of an 80 % interval, and the median.
_LEVELS = (0.1, 0.5, 0.9)
_NEVER = np.iinfo(np.int64).max
_BEYOND = NotEstimable("likely more than a million further requests on which exactly one version is right")


class Forecast(msgspec.Struct, frozen=True, tag="forecast"):
    """Further labelled requests until the decision: the 80 % interval `low` to `high`, and the `median`.

    `undecided` is the share of the futures that had not decided when the forecast gave up.
    """

    low: int | NotEstimable
    median: int | NotEstimable
    high: int | NotEstimable
    undecided: float


def forecast(summary: PairedSummary, alpha: float, seed: int) -> Forecast | NotEstimable:
    """The further labelled requests until the paired test decides at `alpha`; the same `seed` gives the same answer."""
    if paired.log_e(summary) >= bar(alpha):
        return Forecast(0, 0, 0, 0.0)
    if summary.wins + summary.losses == 0:
        return NotEstimable("no labelled request yet on which only one version was right")
    chance = np.random.default_rng(seed)
    share = chance.beta(summary.wins + summary.losses + 0.5, summary.ties + 0.5, PATHS)
    theta = chance.beta(summary.wins + 1, summary.losses + 1, PATHS)
    further = _further_discordant(summary, theta, alpha, chance)
    done = further < _NEVER
    remaining = np.full(PATHS, _NEVER)
    # Between discordant requests come concordant ones: a negative binomial number of them.
    remaining[done] = further[done] + chance.negative_binomial(further[done], share[done])
    ordered = np.sort(remaining)
    low, median, high = (_answer(int(ordered[round(level * (PATHS - 1))])) for level in _LEVELS)
    return Forecast(low, median, high, 1 - float(done.mean()))


def _answer(requests: int) -> int | NotEstimable:
    return requests if requests < _NEVER else _BEYOND


def _further_discordant(
    summary: PairedSummary, theta: np.ndarray, alpha: float, chance: np.random.Generator
) -> np.ndarray:
    """Discordant requests until each path stops; `_NEVER` where it does not within the horizon."""
    start = summary.wins + summary.losses
    looks = _looks(start)
    bars = boundary(looks, alpha)
    wins = np.full(len(theta), summary.wins)
    further = np.full(len(theta), _NEVER)
    alive = np.arange(len(theta))
    before = start
    for look, needed in zip(looks.tolist(), bars.tolist(), strict=True):
        wins[alive] += chance.binomial(look - before, theta[alive])
        stops = np.maximum(wins[alive], look - wins[alive]) >= needed
        further[alive[stops]] = look - start
        alive, before = alive[~stops], look
        if not len(alive):
            break
    return further


def _looks(start: int) -> np.ndarray:
    """The numbers of discordant requests at which the paths are checked; each is at most 2 % beyond the last."""
    looks = [start + 1]
    while looks[-1] < start + _FARTHEST:
        looks.append(looks[-1] + max(1, looks[-1] // _GRAIN))
    return np.asarray(looks)
