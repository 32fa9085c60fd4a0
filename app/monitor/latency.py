"""Latencies in buckets that grow by a twelfth of an octave: quantiles within 3 % from constant memory."""

from __future__ import annotations

import math
from collections.abc import Mapping

_PER_OCTAVE = 12


def bucket_of(latency_us: int) -> int:
    """The bucket of a latency; all below one µs share the first."""
    return math.floor(_PER_OCTAVE * math.log2(max(latency_us, 1)))


def quantile_ms(buckets: Mapping[int, int], share: float) -> float | None:
    """The least bucket below which at least `share` of the latencies lie, by its middle, in ms; None of nothing."""
    total = sum(buckets.values())
    seen = 0
    for bucket in sorted(buckets):
        seen += buckets[bucket]
        if seen >= share * total:
            return round(2 ** ((bucket + 0.5) / _PER_OCTAVE) / 1000, 6)
    return None
