"""Checks of one column at a time: each gives a finding, or None if the column passes."""

from __future__ import annotations

import re

import numpy as np

from app.training.columns import Column
from app.training.findings import Finding, counted

# Categories are one-hot encoded: each becomes a column of the estimator, and all are listed in the contract.
MOST_CATEGORIES = 1000
# In fewer rows than this, values that all differ are ordinary.
_LEAST_ROWS_OF_AN_IDENTIFIER = 10
_IDENTIFIER_SHARE = 0.95
_DATE_SHARE = 0.95
# On average over the different values: `New York City` alone must not make a column free text.
_WORDS_OF_A_TEXT = 3
_TEXT_SHARE = 0.5
_DATE = re.compile(
    r"(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](\d{4}|\d{2}))([T ]\d{1,2}:\d{2}(:\d{2})?.*)?"
    r"|\d{1,2}:\d{2}(:\d{2})?"
)


def infinities(column: Column) -> Finding | None:
    """Infinite values, and numbers beyond float32: no request may carry them."""
    count = int(column.infinite.sum())
    if not count:
        return None
    message = f"column {column.name!r} has {counted(count, 'infinite value')}"
    return Finding("infinite values", "mended", message, "treated as missing", column.name)


def missing_values(column: Column) -> Finding | None:
    """Missing values: the pipeline fills them in, and the contract allows null for this feature."""
    count = int(column.missing.sum())
    if not count:
        return None
    message = f"column {column.name!r} lacks {count} of {len(column.values)} values"
    fill = "filled with the median" if column.kind == "numeric" else "taken as a category of their own"
    return Finding("missing values", "mended", message, fill, column.name)


def constant(column: Column) -> Finding | None:
    """A column of one value, or of none: nothing can be learnt from it."""
    distinct = column.distinct
    if len(distinct) > 1:
        return None
    what = f"is always {distinct[0]!r}" if distinct else "has no values"
    return Finding("constant columns", "dropped", f"column {column.name!r} {what}", "dropped", column.name)


def row_number(column: Column) -> Finding | None:
    """0, 1, 2, … or 1, 2, 3, … in the order of the rows: if the file is sorted by the target, it gives it away.

    Gaps are allowed up to twice the number of rows, because rows may have been left out.
    """
    values = column.values
    if column.kind != "numeric" or len(values) < _LEAST_ROWS_OF_AN_IDENTIFIER or bool(column.missing.any()):
        return None
    counts_up = bool((np.diff(values) >= 1).all() and (values == np.floor(values)).all())
    if not counts_up or not 0 <= values[0] <= _LEAST_ROWS_OF_AN_IDENTIFIER or values[-1] > 2 * len(values):
        return None
    outcome = f"dropped (--keep {column.name!r} keeps it)"
    return Finding("row numbers", "dropped", f"column {column.name!r} numbers the rows", outcome, column.name)


def text(column: Column) -> Finding | None:
    """Dates, free text, and more categories than `MOST_CATEGORIES`: no estimator here can use them."""
    if column.kind == "numeric":
        return None
    present = [value for value in column.values if value is not None]
    distinct = set(present)
    if _share_of_dates(present) >= _DATE_SHARE:
        what, advice = "holds dates or times, which no model here reads", "turn it into numbers, or "
    elif _is_prose(present, distinct):
        what, advice = f"is free text ({len(distinct)} different ones), which no model here reads", ""
    elif len(distinct) > MOST_CATEGORIES and not _identifies(present, distinct):
        what, advice = f"has {len(distinct)} categories, more than {MOST_CATEGORIES}", "merge some, or "
    else:
        return None
    outcome = f"{advice}leave it out with --drop {column.name!r}"
    return Finding("dates and free text", "refused", f"column {column.name!r} {what}", outcome, column.name)


def identifier(column: Column) -> Finding | None:
    """A text that differs in at least 95 % of the rows: nothing can be learnt from it for a row to come."""
    if column.kind == "numeric":
        return None
    present = [value for value in column.values if value is not None]
    distinct = set(present)
    if not _identifies(present, distinct):
        return None
    message = f"column {column.name!r} seems to be an identifier ({len(distinct)} values in {len(present)} rows)"
    outcome = f"dropped (--keep {column.name!r} keeps it)"
    return Finding("identifiers", "dropped", message, outcome, column.name)


def mixed(column: Column) -> Finding | None:
    """At least 90 % numbers, but not all: probably a typing error, so it is not turned into categories silently."""
    if column.stray is None:
        return None
    message = f"column {column.name!r} holds numbers, except cells such as {column.stray!r}"
    outcome = f"correct them, empty them, or leave the column out with --drop {column.name!r}"
    return Finding("mixed columns", "refused", message, outcome, column.name)


def _share_of_dates(present: list[str]) -> float:
    return sum(bool(_DATE.fullmatch(value)) for value in present) / max(len(present), 1)


def _is_prose(present: list[str], distinct: set[str]) -> bool:
    words_per_value = sum(len(value.split()) for value in distinct) / max(len(distinct), 1)
    return len(present) > 1 and words_per_value >= _WORDS_OF_A_TEXT and len(distinct) > _TEXT_SHARE * len(present)


def _identifies(present: list[str], distinct: set[str]) -> bool:
    return len(present) >= _LEAST_ROWS_OF_AN_IDENTIFIER and len(distinct) >= _IDENTIFIER_SHARE * len(present)
