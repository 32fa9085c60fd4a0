"""Charts of predictions: the class probabilities of one answer, and the answers to a file."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from app.ui.charts.drawing import NEUTRAL, Drawing, names_axis, spec_of, tallest_px, wrapped
from app.ui.wording import number, share

_BINS = 20


def answer_table(answers: Sequence[str | float]) -> pd.DataFrame:
    """How many rows got each class, or a value within each of up to 20 ranges."""
    if any(isinstance(answer, str) for answer in answers):
        counts = pd.Series([str(answer) for answer in answers]).value_counts()
        return pd.DataFrame({"answer": counts.index, "rows": counts.to_numpy()})
    values = np.asarray(answers, dtype=float)
    rows, edges = np.histogram(values, bins=min(_BINS, max(1, len(np.unique(values)))))
    names = [f"{number(low)} to {number(high)}" for low, high in itertools.pairwise(edges)]
    return pd.DataFrame({"answer": names, "rows": rows})


def answer_drawing(frame: pd.DataFrame) -> Drawing:
    """Bars."""
    chart = (
        alt.Chart()
        .mark_bar()
        .encode(
            x=alt.X("rows:Q", title=None, axis=alt.Axis(tickCount=4)),
            y=alt.Y("answer:N", sort=None, title=None, axis=names_axis()),
            tooltip=["answer:N", "rows:Q"],
        )
    )
    height = 60 + max(30, 6 + tallest_px(frame["answer"])) * len(frame)
    return Drawing(spec_of(chart.properties(height=height)), frame.assign(answer=frame["answer"].map(wrapped)))


def answer_description(frame: pd.DataFrame) -> str:
    """The same as a sentence."""
    parts = [f"{answer} {number(float(rows))}" for answer, rows in frame.head(12).itertuples(index=False)]
    return "Rows by their answer: " + ", ".join(parts) + "."


LARGEST = 12


def probability_table(probabilities: Mapping[str, float], answered: str) -> pd.DataFrame:
    """The classes, the most probable first; up to 12 of them, always with the one that was answered."""
    ranked = sorted(probabilities.items(), key=lambda item: -item[1])
    shown = [item for place, item in enumerate(ranked) if place < LARGEST or item[0] == answered]
    return pd.DataFrame(
        {
            "class": [f"{name} ◀" if name == answered else name for name, _ in shown],
            "probability": [value for _, value in shown],
        }
    )


def probability_drawing(frame: pd.DataFrame) -> Drawing:
    """Bars with their value at the end."""
    height = max(110, max(36, 8 + tallest_px(frame["class"])) * len(frame))
    labels = [share(value) for value in frame["probability"]]
    return Drawing(_probability_spec(height), frame.assign(label=labels, **{"class": frame["class"].map(wrapped)}))


@lru_cache(maxsize=16)
def _probability_spec(height: int) -> dict[str, Any]:
    base = alt.Chart().encode(
        y=alt.Y("class:N", sort=None, title=None, axis=names_axis()),
        x=alt.X("probability:Q", scale=alt.Scale(domain=[0, 1.6]), axis=None),
        tooltip=["class:N", alt.Tooltip("probability:Q", format=".4f")],
    )
    labels = base.mark_text(align="left", dx=5, fontSize=13, color=NEUTRAL).encode(text="label:N")
    return spec_of(alt.layer(base.mark_bar(height={"band": 0.6}), labels).properties(height=height))


def probability_description(frame: pd.DataFrame) -> str:
    """The same as a sentence."""
    parts = [f"{name.removesuffix(' ◀')} {share(value)}" for name, value in frame.itertuples(index=False)]
    return "Probability of each class: " + ", ".join(parts) + "."
