"""Charts of traffic: each version's actual share beside its target, and rates over the time since a page was opened."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import altair as alt
import pandas as pd

from app.ui.charts.drawing import HEIGHT, NEUTRAL, Drawing, names_axis, spec_of, tallest_px, wrapped
from app.ui.experiment_records import ApiVariant
from app.ui.scrape import Scrape, quantile_s, rate_per_s
from app.ui.wording import number, share


def lines_drawing(frame: pd.DataFrame, columns: tuple[str, ...], title: str) -> Drawing:
    """A line for each of `columns`, distinguished by colour, dash and point."""
    long = frame.melt("at", list(columns), var_name="what", value_name="value").dropna()
    return Drawing(_lines_spec(title), long)


@lru_cache(maxsize=8)
def _lines_spec(title: str) -> dict[str, Any]:
    time = alt.X("at:T", title="UTC", axis=alt.Axis(format="%H:%M:%S", labelOverlap=True), scale=alt.Scale(type="utc"))
    lines = (
        alt.Chart()
        .mark_line(point=True, strokeWidth=2)
        .encode(
            x=time,
            y=alt.Y("value:Q", title=title),
            color=alt.Color("what:N", title=None, legend=alt.Legend(orient="top")),
            strokeDash=alt.StrokeDash("what:N", title=None),
            shape=alt.Shape("what:N", title=None),
            tooltip=["what:N", alt.Tooltip("value:Q", format=".3g"), alt.Tooltip("at:T", format="%H:%M:%S")],
        )
    )
    return spec_of(lines.properties(height=HEIGHT))


def share_table(variants: Sequence[ApiVariant]) -> pd.DataFrame:
    """One line a version; `actual` is None before the first request."""
    total = sum(variant.requests for variant in variants)
    return pd.DataFrame(
        {
            "version": [variant.version for variant in variants],
            "target share": [variant.weight for variant in variants],
            "actual share": [variant.requests / total if total else None for variant in variants],
        }
    )


def share_drawing(frame: pd.DataFrame) -> Drawing:
    """A bar for the actual share, a tick for the target."""
    named = frame.rename(columns={"target share": "target", "actual share": "actual"})
    height = 60 + max(44, 8 + tallest_px(frame["version"])) * len(frame)
    return Drawing(_share_spec(height), named.assign(version=named["version"].map(wrapped)))


@lru_cache(maxsize=16)
def _share_spec(height: int) -> dict[str, Any]:
    base = alt.Chart().encode(y=alt.Y("version:N", title=None, sort=None, axis=names_axis()))
    title = "actual share since the start (bar), target share now (tick)"
    length = alt.X("actual:Q", title=title, axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1]))
    bars = base.mark_bar(height={"band": 0.55}).encode(x=length, tooltip=["version:N", "actual:Q"])
    strokes = base.mark_tick(thickness=4, color=NEUTRAL, size=30).encode(x="target:Q", tooltip=["target:Q"])
    return spec_of(alt.layer(bars, strokes).properties(height=height))


def share_description(frame: pd.DataFrame) -> str:
    """The same as a sentence."""
    parts = [
        f"{version} had {share(None if pd.isna(had) else had)} of the requests; its target share is {share(planned)}"
        for version, planned, had in frame.itertuples(index=False)
    ]
    return "; ".join(parts) + "."


def rate_table(scrapes: Sequence[Scrape]) -> pd.DataFrame:
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


def rate_drawing(frame: pd.DataFrame) -> Drawing:
    """Two lines."""
    return lines_drawing(frame, ("requests/s", "errors/s"), "per second")


def rate_description(frame: pd.DataFrame) -> str:
    """The newest rates as a sentence."""
    last = frame.iloc[0]
    return f"Requests and errors since this page was opened; now {number(last['requests/s'], 3)} requests/s and \
{number(last['errors/s'], 3)} errors/s."
