"""Each version's actual share of the requests beside its target."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import altair as alt
import pandas as pd

from app.ui.charts.drawing import NEUTRAL, Drawing, spec_of
from app.ui.experiment_records import ApiVariant
from app.ui.wording import share


def table(variants: Sequence[ApiVariant]) -> pd.DataFrame:
    """One line a version; `actual` is None before the first request."""
    total = sum(variant.requests for variant in variants)
    return pd.DataFrame(
        {
            "version": [variant.version for variant in variants],
            "target now": [variant.weight for variant in variants],
            "actual": [variant.requests / total if total else None for variant in variants],
        }
    )


def drawing(frame: pd.DataFrame) -> Drawing:
    """A bar for the actual share, a tick for the target."""
    return Drawing(_spec(len(frame)), frame.rename(columns={"target now": "target"}))


@lru_cache(maxsize=16)
def _spec(versions: int) -> dict[str, Any]:
    base = alt.Chart().encode(y=alt.Y("version:N", title=None, sort=None))
    title = "actual share since the start (bar), target now (tick)"
    length = alt.X("actual:Q", title=title, axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1]))
    bars = base.mark_bar(height={"band": 0.55}).encode(x=length, tooltip=["version:N", "actual:Q"])
    strokes = base.mark_tick(thickness=4, color=NEUTRAL, size=30).encode(x="target:Q", tooltip=["target:Q"])
    return spec_of(alt.layer(bars, strokes).properties(height=60 + 44 * versions))


def description(frame: pd.DataFrame) -> str:
    """The same as a sentence."""
    parts = [
        f"{version} had {share(None if pd.isna(had) else had)} of the requests; its target is {share(planned)}"
        for version, planned, had in frame.itertuples(index=False)
    ]
    return "; ".join(parts) + "."
