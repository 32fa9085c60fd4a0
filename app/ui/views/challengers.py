"""The challengers in one table: a row each, with the interval drawn on one axis for all. A click opens one."""

from __future__ import annotations

import base64

import pandas as pd
import streamlit as st

from app.ui import svg, tables
from app.ui.experiment_records import ApiComparison, ApiExperiment
from app.ui.views.headline import CHALLENGER
from app.ui.wording import Scale, scale_of


def show(report: ApiExperiment) -> None:
    """A row for each challenger; a click on one opens it."""
    if not report.comparisons:
        return
    scale = scale_of(report.metric)
    axis = svg.axis_of(report.comparisons)
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
        column_config={"drawn": st.column_config.ImageColumn(_axis_name(axis, scale), width=svg.ROW_WIDTH + 20)},
    )
    if len(report.comparisons) > 1:
        st.caption("Select a row to open it.")
    # For the callback, which has no report.
    st.session_state["challengers-shown"] = [each.challenger for each in report.comparisons]


def _open() -> None:
    rows = st.session_state["challengers"].selection.rows
    if rows:
        st.query_params[CHALLENGER] = st.session_state["challengers-shown"][rows[0]]


def _axis_name(axis: svg.Axis | None, scale: Scale) -> str:
    if axis is None:
        return "drawn"
    return scale.changes((axis.low, axis.high))


def _picture(each: ApiComparison, axis: svg.Axis | None) -> str | None:
    """The interval as a picture for a table."""
    drawn = svg.interval(each, axis)
    return None if drawn is None else f"data:image/svg+xml;base64,{base64.b64encode(drawn.encode()).decode()}"
