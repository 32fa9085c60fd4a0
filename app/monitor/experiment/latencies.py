"""Latencies, counted in buckets, and their quantiles."""

from __future__ import annotations

import math
from collections.abc import Mapping

# A bucket is a twelfth of an octave (6 %) wide, so its middle is within 3 % of every latency in it.
_PER_OCTAVE = 12


def bucket_of(latency_us: int) -> int:
    """The bucket of a latency in µs; all below 1 µs share the first."""
    return math.floor(_PER_OCTAVE * math.log2(max(latency_us, 1)))


def quantile_ms(buckets: Mapping[int, int], share: float) -> float | None:
    """The `share` quantile of the latencies in `buckets`, in ms: the middle of its bucket. None without latencies."""
    total = sum(buckets.values())
    seen = 0
    for bucket in sorted(buckets):
        seen += buckets[bucket]
        if seen >= share * total:
            return round(2 ** ((bucket + 0.5) / _PER_OCTAVE) / 1000, 6)
    return None
