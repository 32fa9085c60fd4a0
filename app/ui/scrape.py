"""Requests, errors and latency from the api's metrics (Prometheus' text format)."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Mapping

import msgspec

_LINE = re.compile(r"(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>.*)\})? (?P<value>\S+)(?: \S+)?$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

Sample = tuple[str, Mapping[str, str], float]


class Scrape(msgspec.Struct, frozen=True, kw_only=True):
    """The counts of all workers at one moment.

    `buckets` counts answers by the upper end of their latency in s, ascending, each including the ones below.
    """

    at: float
    requests: float = 0.0
    errors: float = 0.0
    dropped: float = 0.0
    by_version: dict[str, float] = {}
    buckets: tuple[tuple[float, float], ...] = ()


def scrape_of(text: str, at: float | None = None) -> Scrape:
    """The counts in a scrape; a metric that is missing counts as 0."""
    totals = {"prediction_requests_total": 0.0, "prediction_errors_total": 0.0, "predictions_dropped_total": 0.0}
    by_version: dict[str, float] = {}
    buckets: dict[float, float] = {}
    for name, labels, value in _samples(text):
        if name in totals:
            totals[name] += value
        elif name == "model_version_requests_total":
            by_version[labels.get("version", "")] = value
        elif name == "prediction_latency_seconds_bucket":
            end = float(labels.get("le", "inf").replace("+", ""))
            buckets[end] = buckets.get(end, 0.0) + value
    return Scrape(
        at=time.time() if at is None else at,
        requests=totals["prediction_requests_total"],
        errors=totals["prediction_errors_total"],
        dropped=totals["predictions_dropped_total"],
        by_version=by_version,
        buckets=tuple(sorted(buckets.items())),
    )


def rate_per_s(before: Scrape, after: Scrape, counter: str) -> float | None:
    """How fast `counter` (a field of `Scrape`) grew; None where no time passed or the api began anew."""
    grown = getattr(after, counter) - getattr(before, counter)
    elapsed = after.at - before.at
    return grown / elapsed if elapsed > 0 and grown >= 0 else None


def quantile_s(scrape: Scrape, level: float, before: Scrape | None = None) -> float | None:
    """The latency in s below which a share `level` of the answers (since `before`) lie, interpolated in its bucket.

    None where there were none, or where it lies beyond the last finite bucket.
    """
    earlier = dict(before.buckets) if before is not None else {}
    counts = [(end, count - earlier.get(end, 0.0)) for end, count in scrape.buckets]
    if not counts or counts[-1][1] <= 0:
        return None
    wanted = level * counts[-1][1]
    start, below = 0.0, 0.0
    for end, count in counts:
        if count >= wanted:
            inside = (wanted - below) / (count - below) if count > below else 1.0
            return None if math.isinf(end) else start + (end - start) * inside
        start, below = end, count
    return None


def _samples(text: str) -> Iterator[Sample]:
    for line in text.splitlines():
        found = None if line.startswith("#") else _LINE.match(line)
        if found:
            yield found["name"], dict(_LABEL.findall(found["labels"] or "")), float(found["value"])
