"""Lines over the time since a page was opened."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import altair as alt
import pandas as pd

from app.ui.charts.drawing import HEIGHT, Drawing, spec_of


def drawing(frame: pd.DataFrame, columns: tuple[str, ...], title: str) -> Drawing:
    """A line for each of `columns`, distinguished by colour, dash and point."""
    long = frame.melt("at", list(columns), var_name="what", value_name="value").dropna()
    return Drawing(_spec(title), long)


@lru_cache(maxsize=8)
def _spec(title: str) -> dict[str, Any]:
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
