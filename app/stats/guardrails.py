"""Guardrails: does the challenger have more than its share of errors, or of slow answers?

Model: each bad event belongs to the challenger with probability p; at equal rates p is its share π, and the hypothesis
"its rate is at most (1 + margin) times the baseline's" is p ≤ p0 = π(1+margin)/(π(1+margin)+1−π). The alternative is
uniform on (p0, 1). One factor per epoch of constant share. Where both versions were asked and exactly one failed,
chance had no part in which; at equal rates it was the challenger with probability ½, so these events are a factor of
their own, under an epoch number that no traffic has. With a margin, a row on which both failed is two events, one of
the baseline and then one of the challenger: with rows that break both left out, "1.25 times as often" would be judged
by the few others alone. (With r = p/p0, s = (1−p)/(1−p0), the mean of the factor r, s or rs is at most 1 under the
hypothesis, since rs − 1 = (r − 1) + (s − 1) − (p−p0)²/(p0(1−p0)).) Promise: P(a harmless challenger ever crosses)
≤ α = .001. Source: one-sided beta mixtures, Howard et al., arXiv 1810.08240; for quantiles, Lindon et al., arXiv
2205.14762.

An answer is slow if it is above a running estimate of a latency quantile, made from past answers only. Such a threshold
is predictable: under equal latencies each answer above it belongs to the challenger with probability π. The estimate is
stochastic approximation on the logarithm (Robbins & Monro 1951).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import msgspec
import numpy as np
from scipy.special import betaln

from app.stats.strongest import Strongest, decided, p_value
from app.stats.tails import log_beta_sf

_LEAST_STEP = 0.01  # never so small that it could not follow a change


class SlowThreshold(msgspec.Struct, frozen=True):
    """The `quantile` of latency estimated from the answers so far, as ln µs; constant memory."""

    quantile: float = 0.95
    log_us: float | None = None
    n: int = 0

    def observe(self, latency_us: float) -> SlowThreshold:
        """The threshold after one more answer of `latency_us` µs: the one for the next answer."""
        return self.observe_all([latency_us])

    def observe_all(self, latencies_us: Iterable[float]) -> SlowThreshold:
        """The threshold after answers of these latencies (µs), in order."""
        quantile, log_us, n = self.quantile, self.log_us, self.n
        for latency_us in latencies_us:
            log_latency = math.log(max(latency_us, 1.0))
            if log_us is None:
                log_us, n = log_latency, 1
                continue
            step = max(1 / math.sqrt(n + 1), _LEAST_STEP)
            # Up by `quantile`, down by the rest: in balance where that share of the answers lies below.
            log_us, n = log_us + step * (quantile - (log_latency <= log_us)), n + 1
        return SlowThreshold(quantile, log_us, n)


# Low, because a crossed guardrail takes a version out of the traffic without a person.
ALPHA = 0.001


class EpochEvents(msgspec.Struct, frozen=True):
    """The challenger's share in one epoch, the bad events in it, and how many of them were the challenger's."""

    share: float
    events: int = 0
    challenger: int = 0


class GuardrailState(msgspec.Struct, frozen=True):
    """The events of each epoch, by its number, and the strongest evidence of harm."""

    epochs: Mapping[int, EpochEvents] = msgspec.field(default_factory=dict)
    strongest: Strongest = Strongest()


class GuardrailResult(msgspec.Struct, frozen=True):
    """Whether `version` ever crossed a guardrail.

    `own` of the bad `events` were its own, and `expected` of them would be, were it as good as the baseline.
    """

    name: str
    version: str
    crossed: bool
    p_value: float
    events: int
    own: int
    expected: float


def log_e(challenger: int, events: int, share: float, margin: float = 0.0) -> float:
    """ln E that the challenger has too many of the events; 0 (nothing learned) where its share is 0 or 1."""
    if not 0 < share < 1:
        return 0.0
    p0 = share * (1 + margin) / (share * (1 + margin) + 1 - share)
    a, b = 1 + challenger, 1 + events - challenger
    # The likelihood, averaged over the alternative, which is uniform on (p0, 1).
    mass = float(betaln(a, b)) + log_beta_sf(p0, a, b) - math.log1p(-p0)
    return mass - challenger * math.log(p0) - (events - challenger) * math.log1p(-p0)


def follow(
    state: GuardrailState, epoch: int, share: float, challenger: np.ndarray, margin: float = 0.0
) -> GuardrailState:
    """The state after a run of bad events of one epoch, in order; the evidence is remembered as of each event.

    `challenger`, shape (events,), says of each event whether it was the challenger's.
    """
    counted = state.epochs.get(epoch) or EpochEvents(share)
    others = sum(
        log_e(e.challenger, e.events, e.share, margin) for number, e in state.epochs.items() if number != epoch
    )
    n = sum(e.events for e in state.epochs.values())
    memory = state.strongest
    for hit in challenger.tolist():
        counted = EpochEvents(counted.share, counted.events + 1, counted.challenger + bool(hit))
        n += 1
        memory = memory.remember(others + log_e(counted.challenger, counted.events, counted.share, margin), n, 1)
    return GuardrailState({**state.epochs, epoch: counted}, memory)


def result(name: str, version: str, state: GuardrailState, alpha: float = ALPHA) -> GuardrailResult:
    """The guardrail as reports show it; once crossed it stays crossed."""
    epochs = state.epochs.values()
    return GuardrailResult(
        name=name,
        version=version,
        crossed=decided(state.strongest, alpha),
        p_value=p_value(state.strongest),
        events=sum(e.events for e in epochs),
        own=sum(e.challenger for e in epochs),
        expected=sum(e.events * e.share for e in epochs),
    )
