"""Requests and errors over the time since a page was opened."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime

import pandas as pd

from app.ui.charts import over_time
from app.ui.charts.drawing import Drawing
from app.ui.scrape import Scrape, quantile_s, rate_per_s
from app.ui.wording import number


def table(scrapes: Sequence[Scrape]) -> pd.DataFrame:
    """Rates between neighbouring scrapes, the newest first; latencies in ms of what was answered between them."""
    rows = []
    for before, after in itertools.pairwise(scrapes):
        p95 = quantile_s(after, 0.95, before)
        rows.append(
            {
                "at": datetime.fromtimestamp(after.at, UTC),
                "requests/s": rate_per_s(before, after, "requests"),
                "errors/s": rate_per_s(before, after, "errors"),
                "p95 ms": None if p95 is None else 1000 * p95,
            }
        )
    return pd.DataFrame(rows[::-1], columns=["at", "requests/s", "errors/s", "p95 ms"])


def drawing(frame: pd.DataFrame) -> Drawing:
    """Two lines."""
    return over_time.drawing(frame, ("requests/s", "errors/s"), "per second")


def description(frame: pd.DataFrame) -> str:
    """The newest rates as a sentence."""
    last = frame.iloc[0]
    return f"Requests and errors since this page was opened; now {number(last['requests/s'], 3)} requests/s and \
{number(last['errors/s'], 3)} errors/s."
