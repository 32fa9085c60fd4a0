"""Lines over the time that a page was open."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import altair as alt
import pandas as pd

from app.ui.charts.beside import HEIGHT, Drawing, line_at, spec_of


def drawing(
    frame: pd.DataFrame, columns: tuple[str, ...], title: str, highest: float | None = None, alarm: str | None = None
) -> Drawing:
    """A line for each of `columns`, told apart by colour, dash and point; `alarm` names a line at 1."""
    long = frame.melt("at", list(columns), var_name="what", value_name="value").dropna()
    return Drawing(_spec(title, highest, alarm), long)


@lru_cache(maxsize=8)
def _spec(title: str, highest: float | None, alarm: str | None) -> dict[str, Any]:
    scale = alt.Scale() if highest is None else alt.Scale(domain=[0, highest])
    time = alt.X("at:T", title="UTC", axis=alt.Axis(format="%H:%M:%S", labelOverlap=True), scale=alt.Scale(type="utc"))
    lines = (
        alt.Chart()
        .mark_line(point=True, strokeWidth=2)
        .encode(
            x=time,
            y=alt.Y("value:Q", title=title, scale=scale),
            color=alt.Color("what:N", title=None, legend=alt.Legend(orient="top")),
            strokeDash=alt.StrokeDash("what:N", title=None),
            shape=alt.Shape("what:N", title=None),
            tooltip=["what:N", alt.Tooltip("value:Q", format=".3g"), alt.Tooltip("at:T", format="%H:%M:%S")],
        )
    )
    layers = [lines, *(line_at(1, alarm) if alarm is not None else [])]
    return spec_of(alt.layer(*layers).properties(height=HEIGHT))
