"""Checks of one column at a time: each says what is wrong with the column, or nothing."""

from __future__ import annotations

import re

import numpy as np

from app.training.columns import Column
from app.training.findings import Finding, counted

MOST_CATEGORIES = 1000
_LEAST_ROWS_OF_AN_IDENTIFIER = 10
_IDENTIFIER_SHARE = 0.95
_DATE_SHARE = 0.95
_WORDS_OF_A_TEXT = 3
_TEXT_SHARE = 0.5
_DATE = re.compile(
    r"(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](\d{4}|\d{2}))([T ]\d{1,2}:\d{2}(:\d{2})?.*)?"
    r"|\d{1,2}:\d{2}(:\d{2})?"
)


def infinities(column: Column) -> Finding | None:
    """Numbers that no request could carry."""
    count = int(column.infinite.sum())
    if not count:
        return None
    message = f"column {column.name!r} has {counted(count, 'infinite value')}"
    return Finding("infinite values", "mended", message, "treated as missing", column.name)


def missing_values(column: Column) -> Finding | None:
    """Missing values: filled in by the pipeline, and requests may have null there."""
    count = int(column.missing.sum())
    if not count:
        return None
    message = f"column {column.name!r} lacks {count} of {len(column.values)} values"
    fill = "filled with the median" if column.kind == "numeric" else "taken as a category of their own"
    return Finding("missing values", "mended", message, fill, column.name)


def constant(column: Column) -> Finding | None:
    """Not more than one value."""
    distinct = column.distinct
    if len(distinct) > 1:
        return None
    what = f"is always {distinct[0]!r}" if distinct else "has no values"
    return Finding("constant columns", "dropped", f"column {column.name!r} {what}", "dropped", column.name)


def row_number(column: Column) -> Finding | None:
    """0, 1, 2, … or 1, 2, 3, … in the order of the rows: where the file is sorted, it gives the target away.

    Some numbers may be skipped, for rows may have been left out.
    """
    values = column.values
    if column.kind != "numeric" or len(values) < _LEAST_ROWS_OF_AN_IDENTIFIER or bool(column.missing.any()):
        return None
    counts_up = bool((np.diff(values) >= 1).all() and (values == np.floor(values)).all())
    if not counts_up or not 0 <= values[0] <= _LEAST_ROWS_OF_AN_IDENTIFIER or values[-1] > 2 * len(values):
        return None
    return Finding("row numbers", "dropped", f"column {column.name!r} numbers the rows", "dropped", column.name)


def text(column: Column) -> Finding | None:
    """Dates, free text, and more categories than a model can use."""
    if column.kind == "numeric":
        return None
    present = [value for value in column.values if value is not None]
    distinct = set(present)
    if _share_of_dates(present) >= _DATE_SHARE:
        what, mend = "holds dates or times, which no model here reads", "turn it into numbers, or "
    elif _is_prose(present, distinct):
        what, mend = f"is free text ({len(distinct)} different ones), which no model here reads", ""
    elif len(distinct) > MOST_CATEGORIES and not _identifies(present, distinct):
        what, mend = f"has {len(distinct)} categories, more than {MOST_CATEGORIES}", "merge some, or "
    else:
        return None
    outcome = f"{mend}leave it out with --drop {column.name!r}"
    return Finding("dates and free text", "refused", f"column {column.name!r} {what}", outcome, column.name)


def identifier(column: Column) -> Finding | None:
    """A category of its own in (nearly) every row: nothing can be learnt from it."""
    if column.kind == "numeric":
        return None
    present = [value for value in column.values if value is not None]
    distinct = set(present)
    if not _identifies(present, distinct):
        return None
    message = f"column {column.name!r} looks like an identifier ({len(distinct)} values in {len(present)} rows)"
    return Finding("identifiers", "dropped", message, "dropped", column.name)


def mixed(column: Column) -> Finding | None:
    """Nearly all numbers, but not all."""
    if column.stray is None:
        return None
    message = f"column {column.name!r} holds numbers, but for cells such as {column.stray!r}"
    outcome = f"correct them, empty them, or leave the column out with --drop {column.name!r}"
    return Finding("mixed columns", "refused", message, outcome, column.name)


def _share_of_dates(present: list[str]) -> float:
    return sum(bool(_DATE.fullmatch(value)) for value in present) / max(len(present), 1)


def _is_prose(present: list[str], distinct: set[str]) -> bool:
    words = sum(len(value.split()) for value in distinct) / max(len(distinct), 1)
    return len(present) > 1 and words >= _WORDS_OF_A_TEXT and len(distinct) > _TEXT_SHARE * len(present)


def _identifies(present: list[str], distinct: set[str]) -> bool:
    return len(present) >= _LEAST_ROWS_OF_AN_IDENTIFIER and len(distinct) >= _IDENTIFIER_SHARE * len(present)
