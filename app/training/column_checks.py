"""Checks of one column at a time: each gives a finding, or None if the column passes."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np

from app.tables.counts import counted
from app.tables.meaning import is_ambiguous
from app.tables.numbers import writing_of
from app.training.columns import Column
from app.training.findings import Finding

# Categories are one-hot encoded: each becomes a column of the estimator, and all are listed in the contract.
MOST_CATEGORIES = 1000
# In fewer rows than this, values that all differ are ordinary.
_LEAST_ROWS_OF_AN_IDENTIFIER = 10
_IDENTIFIER_SHARE = 0.95
_FEW_QUANTITIES = 20
_DATE_SHARE = 0.95
# On average over the different values: `New York City` alone must not make a column free text.
_WORDS_OF_A_TEXT = 3
_TEXT_SHARE = 0.5
_DATE = re.compile(
    r"(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](\d{4}|\d{2}))([T ]\d{1,2}:\d{2}(:\d{2})?.*)?"
    r"|\d{1,2}:\d{2}(:\d{2})?"
)

# Possessive: a long run of spaces is read once, and not in every way in which it can be cut.
_NUMBER_AND_UNIT = re.compile(r"[+-]?\d[\d.,' ]*+\s*+(?P<unit>[^\d\s.,'+-]\D*+)")


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


def ambiguous(column: Column) -> Finding | None:
    """Texts such as `NA` in a column of text: they may be values, and a value must not be lost unseen."""
    if column.kind == "numeric" or column.cells is None:
        return None
    texts = Counter(value.strip() for value in column.values if is_ambiguous(value))
    if not texts:
        return None
    listed = ", ".join(f"{text!r} in {counted(count)}" for text, count in texts.most_common(5))
    outcome = f"taken as {'a value' if len(texts) == 1 else 'values'} (--missing {','.join(texts)!r}: as missing)"
    return Finding("missing values", "kept", f"column {column.name!r} has {listed}", outcome, column.name)


def number_forms(column: Column) -> Finding | None:
    """Numbers with thousands separators, or a sign of currency or percent: how they are read."""
    if column.written is None or column.cells is None:
        return None
    value = column.values[column.cells.index(column.written)]
    message = f"column {column.name!r} writes numbers such as {column.written!r}"
    return Finding("number forms", "mended", message, f"read as {value:.15g}", column.name)


def spaces(column: Column) -> Finding | None:
    """Texts with spaces around them: they are kept, so requests must have them, too."""
    if column.kind == "numeric" or column.boolean:
        return None
    spaced = [value for value in column.values if value is not None and value != value.strip()]
    if not spaced:
        return None
    message = f"column {column.name!r} has texts with spaces around them, such as {spaced[0]!r}"
    return Finding(
        "spaces", "kept", message, "kept as they are written, so requests and labels have them, too", column.name
    )


def constant(column: Column) -> Finding | None:
    """A column of one value, or of none: nothing can be learnt from it.

    A mark with gaps (`x` or empty) says as much as two categories, and is kept. A number with gaps is not: the pipeline
    fills them with the median, which is that number.
    """
    distinct = column.distinct
    gaps = bool(column.missing.any())
    if len(distinct) > 1 or (distinct and gaps and column.kind == "categorical"):
        return None
    what = "has no values"
    if distinct:
        what = f"is {distinct[0]!r} or missing" if gaps else f"is always {distinct[0]!r}"
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
    """A text that differs in at least 95 % of the rows: nothing can be learnt from it for a row to come.

    Numbers that are written as such texts are refused: they would be lost. So are many numbers with a unit.
    """
    if column.kind == "numeric":
        return None
    present = [value for value in column.values if value is not None]
    distinct = set(present)
    identifies = _identifies(present, distinct)
    quantity = _quantity(distinct, identifies)
    if quantity is not None:
        outcome = f"write the numbers alone, or leave it out with --drop {column.name!r}"
        return Finding("identifiers", "refused", f"column {column.name!r} {quantity}", outcome, column.name)
    if not identifies:
        return None
    message = f"column {column.name!r} seems to be an identifier ({len(distinct)} values in {len(present)} rows)"
    outcome = f"dropped (--keep {column.name!r} keeps it)"
    return Finding("identifiers", "dropped", message, outcome, column.name)


def mixed(column: Column) -> Finding | None:
    """At least 90 % numbers, but not all, or not in one form: probably mistakes, and no categories."""
    if column.unclear is not None:
        outcome = f"write all with a decimal point and nothing else, or leave it out with --drop {column.name!r}"
        return Finding("mixed columns", "refused", f"column {column.name!r} {column.unclear}", outcome, column.name)
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


def _quantity(distinct: set[str], identifies: bool) -> str | None:
    """What the column writes, if these are quantities: numbers as text, or with the same unit after each."""
    if not identifies and len(distinct) <= _FEW_QUANTITIES:
        return None  # `30 days`, `60 days`, `90 days` may well be categories
    example = min(distinct)
    if identifies and writing_of(distinct).mostly_numbers:
        return f"holds numbers as text, such as {example!r}"
    units = {found["unit"] if (found := _NUMBER_AND_UNIT.fullmatch(value.strip())) else None for value in distinct}
    return f"writes a unit with each number, such as {example!r}" if len(units) == 1 and None not in units else None


def _identifies(present: list[str], distinct: set[str]) -> bool:
    return len(present) >= _LEAST_ROWS_OF_AN_IDENTIFIER and len(distinct) >= _IDENTIFIER_SHARE * len(present)
