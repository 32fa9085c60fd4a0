"""The challengers in one table: a row each, with the interval drawn on one axis for all. A click opens one."""

from __future__ import annotations

import base64

import pandas as pd
import streamlit as st

from app.ui import grid, svg, tables
from app.ui.experiment_records import ApiComparison, ApiExperiment
from app.ui.views.headline import CHALLENGER
from app.ui.wording import scale_of


def show(report: ApiExperiment) -> None:
    """A row for each challenger; a click on one opens it."""
    if not report.comparisons:
        return
    scale = scale_of(report.metric)
    axis = svg.axis_of(report.comparisons)
    frame = pd.DataFrame(tables.challengers(report))
    drawn = {}
    if axis is not None:
        frame.insert(4, "drawn", [_picture(each, axis) for each in report.comparisons])
        heading = scale.changes((axis.low, axis.high))
        drawn["drawn"] = st.column_config.ImageColumn(heading, width=svg.ROW_WIDTH + 20)
    grid.show(
        frame,
        "Each challenger against the baseline: verdict, improvement with its interval, and labels left.",
        columns=drawn,
        row_height=40,
        key="challengers",
        on_select=_open,
        selection_mode="single-row",
    )
    if len(report.comparisons) > 1:
        st.caption("Select a row to open it.")
    # For the callback, which has no report.
    st.session_state["challengers-shown"] = [each.challenger for each in report.comparisons]


def _open() -> None:
    rows = st.session_state["challengers"].selection.rows
    if rows:
        st.query_params[CHALLENGER] = st.session_state["challengers-shown"][rows[0]]


def _picture(each: ApiComparison, axis: svg.Axis) -> str:
    """The interval as a picture for a table."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.interval(each, axis).encode()).decode()}"
