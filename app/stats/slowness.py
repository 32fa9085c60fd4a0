"""A running estimate of a latency quantile: the threshold for a slow answer, fixed before the answer is timed.

A threshold made from past answers only is predictable. So under equal latencies each answer above it belongs to the
challenger with probability π, which is what `app.stats.guardrails` needs. Source: Lindon et
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

    def observe(self, latency_us: float) -> SlowThreshold:
        """The threshold after one more answer of `latency_us` µs: the one for the next answer."""
        log_latency = math.log(max(latency_us, 1.0))
        if self.log_us is None:
            return SlowThreshold(self.quantile, log_latency, 1)
        step = max(1 / math.sqrt(self.n + 1), _LEAST_STEP)
        # Up by `quantile`, down by the rest: in balance where that share of the answers lies below.
        moved = self.log_us + step * (self.quantile - (log_latency <= self.log_us))
        return SlowThreshold(self.quantile, moved, self.n + 1)
