"""The probability of each class of one answer."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import altair as alt
import pandas as pd

from app.ui.charts.drawing import NEUTRAL, Drawing, spec_of
from app.ui.wording import share

LARGEST = 12


def table(probabilities: Mapping[str, float], answered: str) -> pd.DataFrame:
    """The classes, the most probable first; up to 12 of them, always with the one that was answered."""
    ranked = sorted(probabilities.items(), key=lambda item: -item[1])
    shown = [item for place, item in enumerate(ranked) if place < LARGEST or item[0] == answered]
    return pd.DataFrame(
        {
            "class": [f"{name} ◀" if name == answered else name for name, _ in shown],
            "probability": [value for _, value in shown],
        }
    )


def drawing(frame: pd.DataFrame) -> Drawing:
    """Bars with their value at the end."""
    return Drawing(_spec(len(frame)), frame.assign(label=[share(value) for value in frame["probability"]]))


@lru_cache(maxsize=16)
def _spec(classes: int) -> dict[str, Any]:
    base = alt.Chart().encode(
        y=alt.Y("class:N", sort=None, title=None, axis=alt.Axis(labelLimit=180)),
        x=alt.X("probability:Q", scale=alt.Scale(domain=[0, 1.6]), axis=None),
        tooltip=["class:N", alt.Tooltip("probability:Q", format=".4f")],
    )
    labels = base.mark_text(align="left", dx=5, fontSize=13, color=NEUTRAL).encode(text="label:N")
    return spec_of(alt.layer(base.mark_bar(height={"band": 0.6}), labels).properties(height=max(110, 36 * classes)))


def description(frame: pd.DataFrame) -> str:
    """The same as a sentence."""
    parts = [f"{name.removesuffix(' ◀')} {share(value)}" for name, value in frame.itertuples(index=False)]
    return "Probability of each class: " + ", ".join(parts) + "."
