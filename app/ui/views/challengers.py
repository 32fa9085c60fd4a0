"""The challengers in one table: a row each, with the interval drawn on one axis for all. A click opens one."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
import streamlit as st

from app.ui import tables
from app.ui.charts.drawing import NEUTRAL
from app.ui.experiment_records import ApiComparison, ApiExperiment
from app.ui.views.headline import CHALLENGER
from app.ui.wording import Scale, scale_of


class _Axis(NamedTuple):
    low: float
    high: float

    def place(self, value: float) -> float:
        """In pixels of the drawing, kept inside it."""
        return _LEFT + (_WIDTH - 2 * _LEFT) * min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))


_WIDTH, _HEIGHT, _LEFT = 240, 32, 6
_DOT = "#2b87d1"


def show(report: ApiExperiment) -> None:
    """A row for each challenger; a click on one opens it."""
    if not report.comparisons:
        return
    scale = scale_of(report.metric)
    axis = _axis(report.comparisons)
    frame = pd.DataFrame(tables.challengers(report))
    frame.insert(4, "drawn", [_picture(each, axis) for each in report.comparisons])
    st.dataframe(
        frame,
        hide_index=True,
        row_height=40,
        key="challengers",
        on_select=_open,
        selection_mode="single-row",
        alt="Each challenger against the baseline: verdict, improvement with its interval, and labels left.",
        column_config={"drawn": st.column_config.ImageColumn(_axis_name(axis, scale), width=_WIDTH + 20)},
    )
    if len(report.comparisons) > 1:
        st.caption("Select a row to open it.")
    # For the callback, which has no report.
    st.session_state["challengers-shown"] = [each.challenger for each in report.comparisons]


def _open() -> None:
    rows = st.session_state["challengers"].selection.rows
    if rows:
        st.query_params[CHALLENGER] = st.session_state["challengers-shown"][rows[0]]


def _axis(comparisons: Sequence[ApiComparison]) -> _Axis | None:
    """From the lowest to the highest end, with 0; None without any interval."""
    ends = [end for each in comparisons for end in each.interval or ()]
    if not ends:
        return None
    low, high = min(0.0, *ends), max(0.0, *ends)
    return _Axis(low, high) if high > low else _Axis(-1.0, 1.0)


def _axis_name(axis: _Axis | None, scale: Scale) -> str:
    if axis is None:
        return "drawn"
    return scale.changes((axis.low, axis.high))


def _picture(each: ApiComparison, axis: _Axis | None) -> str | None:
    """The interval as a drawing, with a dashed line at no difference."""
    if axis is None or each.interval is None or each.difference is None:
        return None
    low, high, middle, zero = (axis.place(value) for value in (*each.interval, each.difference, 0.0))
    centre = _HEIGHT / 2
    drawn = (
        f'<line x1="{zero:.1f}" x2="{zero:.1f}" y1="0" y2="{_HEIGHT}" stroke="{NEUTRAL}" stroke-dasharray="4 3"/>'
        f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{centre}" y2="{centre}" stroke="{NEUTRAL}" stroke-width="3"/>'
        f'<circle cx="{middle:.1f}" cy="{centre}" r="5.5" fill="{_DOT}"/>'
    )
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}">{drawn}</svg>'
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"
