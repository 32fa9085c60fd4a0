"""A running, pooled estimate of a latency quantile: what counts as a slow answer, fixed before the answer is timed.

A threshold made of past answers only, of both versions together, is predictable; so under equal latencies each answer
above it belongs to the challenger with probability π, which is what `app.stats.guardrails` needs. Source: Lindon et
al., arXiv 2205.14762; the estimate is stochastic approximation on the logarithm (Robbins & Monro 1951).
"""

from __future__ import annotations

import math

import msgspec

_LEAST_STEP = 0.01  # never so small that it could not follow a change


class SlowThreshold(msgspec.Struct, frozen=True):
    """The `quantile` of latency estimated from the answers so far, as ln µs; constant memory."""

    quantile: float = 0.95
    log_us: float | None = None
    n: int = 0

    def is_slow(self, latency_us: float) -> bool:
        """Whether an answer lies above the threshold as it was before it; the first answer never does."""
        return self.log_us is not None and math.log(max(latency_us, 1.0)) > self.log_us

    def observe(self, latency_us: float) -> SlowThreshold:
        """The threshold for the next answer."""
        log_latency = math.log(max(latency_us, 1.0))
        if self.log_us is None:
            return SlowThreshold(self.quantile, log_latency, 1)
        step = max(1 / math.sqrt(self.n + 1), _LEAST_STEP)
        moved = self.log_us + step * (self.quantile - (log_latency <= self.log_us))
        return SlowThreshold(self.quantile, moved, self.n + 1)
