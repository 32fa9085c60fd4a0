"""Tables: long texts and names are whole, counts have thousands apart, what is unknown is a dash."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.ui.wording import UNKNOWN

# A text of more characters is wrapped, in a column that a phone shows as a whole.
LONG = 40
_WRAPPED_PX = 300
# Less than a line has, because lines end with a word.
_PER_LINE = 32
_LINE_PX, _PADDING_PX = 20, 14
# Streamlit wraps texts only where rows are higher than 64 pixels. What has more lines than this, a click shows.
_LOWEST_PX, _MOST_LINES = 66, 8
# A heading is one line. Streamlit measures it for up to 500 pixels, and makes no column wider than 1,000.
_LONG_HEADING, _HEADING_PX, _WIDEST_PX = 50, 8.5, 1000
# Commas between thousands for every reader, as in the texts of the page; "localized" would follow the browser.
_COUNT = st.column_config.NumberColumn(format="accounting", step=1)


def show(
    rows: pd.DataFrame | Sequence[Mapping[str, object]],
    alt: str,
    *,
    place: DeltaGenerator | None = None,
    columns: Mapping[str, Any] | None = None,
    are_counts: bool = True,
    **options: Any,
) -> None:
    """A table; `alt` is its text for screen readers. `columns` and `options` are those of `st.dataframe`.

    `are_counts`: whole numbers are counts; somebody's own, such as years, stay as they are.
    """
    frame = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(rows)
    given = columns or {}
    lengths = {name: _longest(frame[name]) for name in frame.columns if name not in given}
    lines = max((math.ceil(length / _PER_LINE) for length in lengths.values() if length > LONG), default=0)
    found = {name: _config(frame[name], length, are_counts) for name, length in lengths.items()}
    if lines:
        options["row_height"] = max(_LOWEST_PX, _PADDING_PX + _LINE_PX * min(lines, _MOST_LINES))
    (st if place is None else place).dataframe(
        frame,
        hide_index=True,
        alt=alt,
        column_config={**{name: each for name, each in found.items() if each is not None}, **given} or None,
        placeholder=UNKNOWN,
        **options,
    )


def _config(column: pd.Series[Any], longest: int, are_counts: bool) -> Any:
    """How a column is shown; None where Streamlit's own choice is right."""
    if column.dtype.kind != "O":
        return _COUNT if are_counts and _is_whole(column) else None
    heading = _columns_of(str(column.name))
    heading_px = round(_HEADING_PX * heading) + 40 if heading > _LONG_HEADING else 0
    width = max(_WRAPPED_PX if longest > LONG else 0, min(heading_px, _WIDEST_PX))
    return st.column_config.TextColumn(width=width) if width else None


def _is_whole(column: pd.Series[Any]) -> bool:
    """Whether the column has whole numbers; missing ones make its type a float."""
    if column.dtype.kind != "f":
        return column.dtype.kind in "iu"
    values = column.to_numpy()
    known = values[np.isfinite(values)]
    return bool((known == np.floor(known)).all())


def _longest(column: pd.Series[Any]) -> int:
    """The length of the longest text in the column, 0 where it has none."""
    if column.dtype.kind != "O":
        return 0
    return max((_columns_of(value) for value in column if isinstance(value, str)), default=0)


def _columns_of(text: str) -> int:
    """How many Latin characters are as wide as the text: a character of East Asia has the width of two."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text)
