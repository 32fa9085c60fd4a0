"""How the answers to a file are distributed."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import altair as alt
import numpy as np
import pandas as pd

from app.ui.charts.drawing import Drawing, spec_of
from app.ui.wording import number

_BINS = 20


def table(answers: Sequence[str | float]) -> pd.DataFrame:
    """How many rows got each class, or a value within each of up to 20 ranges."""
    if any(isinstance(answer, str) for answer in answers):
        counts = pd.Series([str(answer) for answer in answers]).value_counts()
        return pd.DataFrame({"answer": counts.index, "rows": counts.to_numpy()})
    values = np.asarray(answers, dtype=float)
    rows, edges = np.histogram(values, bins=min(_BINS, max(1, len(np.unique(values)))))
    names = [f"{number(low)} to {number(high)}" for low, high in itertools.pairwise(edges)]
    return pd.DataFrame({"answer": names, "rows": rows})


def drawing(frame: pd.DataFrame) -> Drawing:
    """Bars."""
    chart = (
        alt.Chart()
        .mark_bar()
        .encode(
            x=alt.X("rows:Q", title=None, axis=alt.Axis(tickCount=4)),
            y=alt.Y("answer:N", sort=None, title=None, axis=alt.Axis(labelLimit=180, labelOverlap=False)),
            tooltip=["answer:N", "rows:Q"],
        )
    )
    return Drawing(spec_of(chart.properties(height=60 + 30 * len(frame))), frame)


def description(frame: pd.DataFrame) -> str:
    """The same as a sentence."""
    parts = [f"{answer} {number(float(rows))}" for answer, rows in frame.head(12).itertuples(index=False)]
    return "Rows by their answer: " + ", ".join(parts) + "."
