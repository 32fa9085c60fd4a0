"""A comparison in parts: one dot with its interval for each class, value or range."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import altair as alt
import pandas as pd

from app.ui.charts.drawing import NEUTRAL, Drawing, line_at, names_axis, spec_of, tallest_px, wrapped
from app.ui.row_records import ApiPart
from app.ui.wording import Scale

_ROW_PX = 28
_AXIS_PX = 70  # the height is that of the whole chart, with the axis below the rows


def part_table(rows: Sequence[ApiPart], scale: Scale) -> pd.DataFrame:
    """The parts in the API's order, in the unit of `scale`; unknown figures are empty."""
    ends = [row.interval or (None, None) for row in rows]
    frame = pd.DataFrame(
        {
            "part": [row.level for row in rows],
            "improvement": [row.improvement for row in rows],
            "from": [low for low, _ in ends],
            "to": [high for _, high in ends],
            "compared": [row.n for row in rows],
        }
    ).astype({"improvement": float, "from": float, "to": float})
    frame[["improvement", "from", "to"]] *= scale.factor
    return frame


def part_drawing(frame: pd.DataFrame, baseline: str, unit: str = "") -> Drawing:
    """The dots in the table's order, with the line of no difference."""
    height = _AXIS_PX + max(_ROW_PX, 6 + tallest_px(frame["part"])) * len(frame)
    named = frame.assign(part=frame["part"].map(wrapped))
    return Drawing(_spec(f"{baseline}{f', in{unit}' if unit else ''}", height), named)


@lru_cache(maxsize=64)
def _spec(baseline: str, height: int) -> dict[str, Any]:
    base = alt.Chart().encode(
        y=alt.Y("part:N", sort=None, title=None, axis=names_axis()),
        tooltip=[
            "part:N",
            *(alt.Tooltip(f"{name}:Q", format="+.4~g") for name in ("improvement", "from", "to")),
            alt.Tooltip("compared:Q", format=","),
        ],
    )
    title = f"improvement over {baseline}"
    ends = base.mark_rule(strokeWidth=2.5, color=NEUTRAL).encode(x=alt.X("from:Q", title=title), x2="to:Q")
    dot = base.mark_point(filled=True, size=80, opacity=1).encode(x=alt.X("improvement:Q", title=title))
    zero = line_at(0, "", horizontal=False)
    return spec_of(alt.layer(*zero[:1], ends, dot).properties(height=height))


def part_description(rows: Sequence[ApiPart], challenger: str, baseline: str, scale: Scale) -> str:
    """Each part's improvement as a sentence."""
    said = [
        f"{row.level} {scale.change(row.improvement, row.interval)} ({scale.changes(row.interval)}, {row.n:,} compared)"
        for row in rows
    ]
    return f"Improvement of {challenger} over {baseline} by part: {'; '.join(said)}."
