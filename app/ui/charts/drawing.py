"""A chart with a table of the same figures below it, behind a switch."""

from __future__ import annotations

import copy
import textwrap
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import altair as alt
import pandas as pd
import streamlit as st

from app.ui import grid
from app.ui.states import drawn_once

# Between the backgrounds of both themes, at 3:1 or more from each.
NEUTRAL = "#7d8590"
HEIGHT = 280
TALL = 320
ROWS = 8
# How many Latin characters a line of a name has beside a chart; a character of East Asia has the width of two.
COLUMNS = 28
_LINE_PX = 13
# Altair's placeholder for missing data. A layer that keeps it would ignore the data of the whole chart.
_NO_DATA = {"name": "empty"}
_ONE_ROW = alt.InlineData(values=[{}], name="one_row")


class Drawing(NamedTuple):
    """A Vega-Lite specification without data, and its data.

    Altair takes some 80 ms to make and check a layered chart: the specification is made once and kept, and only the
    data are new each time a page is drawn.
    """

    spec: dict[str, Any]
    data: pd.DataFrame


def drawn(drawing: Drawing, table: pd.DataFrame, description: str, **columns: Any) -> None:
    """Show the chart, and its figures as a table where somebody opens that; `description` is for screen readers."""
    st.vega_lite_chart(drawing.data, copy.deepcopy(drawing.spec), alt=description)
    _figures(table, description, columns)


def selectable(
    drawing: Drawing, rows: Sequence[Mapping[str, object]], description: str, key: str, act: Callable[[], None]
) -> None:
    """The same, of a chart with a selection: `act` is called when it changes, and finds it in the state under `key`."""
    st.vega_lite_chart(drawing.data, copy.deepcopy(drawing.spec), alt=description, key=key, on_select=act)
    drawn_once(_figures, rows, description, {})


def _figures(
    table: pd.DataFrame | Sequence[Mapping[str, object]], description: str, columns: Mapping[str, Any]
) -> None:
    with st.expander("The figures of this chart as a table", type="compact"):
        height = TALL if len(table) > ROWS else "auto"
        grid.show(table, f"Table: {description}", columns=columns, height=height)


def wrapped(name: object) -> str:
    """The name in short lines, for an axis of `names_axis`: nothing of it is cut off."""
    text = str(name)
    wide = any(unicodedata.east_asian_width(character) in "WF" for character in text)
    return "\n".join(textwrap.wrap(text, COLUMNS // 2 if wide else COLUMNS)) or text


def tallest_px(names: Iterable[object]) -> int:
    """The height of the name with the most lines."""
    return _LINE_PX * max((wrapped(name).count("\n") + 1 for name in names), default=1)


def names_axis() -> alt.Axis:
    """An axis of `wrapped` names, all of them shown."""
    return alt.Axis(labelExpr="split(datum.label, '\\n')", labelLimit=0, labelOverlap=False)


def spec_of(chart: alt.LayerChart | alt.Chart | alt.FacetChart) -> dict[str, Any]:
    """The chart's specification; every field in it must have a type, for there are no data to infer it from."""
    found: dict[str, Any] = chart.to_dict()
    for key in ("config", "datasets", "data"):
        found.pop(key, None)
    for layer in found.get("layer", ()):
        if layer.get("data") == _NO_DATA:
            del layer["data"]
    return found


def line_at(value: float, name: str, *, horizontal: bool = True, below: bool = False) -> list[alt.Chart]:
    """A dashed line with its name on it; `below`: under its right end, because a timeline starts at the left."""
    place: Any = {"y": alt.datum(value)} if horizontal else {"x": alt.datum(value)}
    base = alt.Chart(_ONE_ROW).encode(**place)
    # The text beside it, or the description of the chart, says what it is.
    rule = base.mark_rule(strokeDash=[6, 4], color=NEUTRAL, strokeWidth=1.5, aria=False)
    if below:
        return [rule, base.mark_text(text=name, color=NEUTRAL, fontSize=12, align="right", x="width", dx=-4, dy=9)]
    if horizontal:
        return [rule, base.mark_text(text=name, color=NEUTRAL, fontSize=12, align="left", x=4, dy=-8)]
    return [rule, base.mark_text(text=name, color=NEUTRAL, fontSize=12, align="left", dx=4, y=8)]
