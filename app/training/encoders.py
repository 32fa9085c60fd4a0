"""The encoders in a fitted pipeline: which columns are categories, and whether unknown categories are accepted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
from sklearn.base import OneToOneFeatureMixin
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import FeatureUnion, Pipeline

from app.inference.estimators import reads_texts, splits_text, unwrapped
from app.inference.fitted_inputs import pandas_categories


class Encoding(msgspec.Struct, frozen=True):
    """The categories of a column that an encoder was fitted on, and whether it accepts others.

    `categories` are texts; `numbers` (booleans too) are filled only if there is no text. `is_text`: the column is split
    into words.
    """

    categories: tuple[str, ...] = ()
    accepts_others: bool = True
    numbers: tuple[float, ...] = ()
    is_text: bool = False


def encodings(estimator: Any, columns: Sequence[str]) -> dict[str, Encoding]:
    """The encodings of those of `columns` (the estimator's inputs, in order) that are taken as categories or text.

    Follows pipelines, column transformers, unions and searches; encoders in anything else are not found. A column that
    several encoders take accepts other values only if all of them do.
    """
    if reads_texts(estimator):
        return {column: Encoding(is_text=True) for column in columns}
    found = dict(_categories_of_boosting(estimator, columns))
    for column, encoding in _visit(estimator, list(columns)):
        earlier = found.get(column, Encoding())
        found[column] = msgspec.structs.replace(
            encoding if encoding.categories or encoding.numbers else earlier,
            accepts_others=encoding.accepts_others and earlier.accepts_others,
            is_text=encoding.is_text or earlier.is_text,
        )
    return found


def _categories_of_boosting(estimator: Any, columns: Sequence[str]) -> Iterator[tuple[str, Encoding]]:
    """The columns that a model of LightGBM or XGBoost reads as pandas categories."""
    for index, categories in pandas_categories(estimator).items():
        texts = tuple(value for value in categories if isinstance(value, str))
        numbers = () if texts else tuple(float(value) for value in categories)
        yield columns[index], Encoding(categories=texts, numbers=numbers)


def _visit(estimator: Any, columns: list[str]) -> Iterator[tuple[str, Encoding]]:
    estimator = unwrapped(estimator)
    if hasattr(estimator, "calibrated_classifiers_"):
        # Every fold encodes the same columns; a category that one of them lacks shows when the model is asked.
        for member in estimator.calibrated_classifiers_:
            yield from _visit(member.estimator, columns)
    elif isinstance(estimator, Pipeline):
        yield from _visit_pipeline(estimator, columns)
    elif isinstance(estimator, ColumnTransformer):
        for _, part, chosen in estimator.transformers_:
            yield from _visit(part, _resolved(chosen, columns))
    elif isinstance(estimator, FeatureUnion):
        for _, part in estimator.transformer_list:
            yield from _visit(part, columns)
    else:
        yield from _visit_encoder(estimator, columns)


def _visit_pipeline(pipeline: Pipeline, columns: list[str]) -> Iterator[tuple[str, Encoding]]:
    """The encoders up to the first step after which columns are no longer those that went in."""
    for _, step in pipeline.steps:
        yield from _visit(step, columns)
        if not (step == "passthrough" or isinstance(step, OneToOneFeatureMixin | SimpleImputer)):
            return


def _visit_encoder(encoder: Any, columns: list[str]) -> Iterator[tuple[str, Encoding]]:
    if splits_text(encoder):
        yield from ((column, Encoding(is_text=True)) for column in columns[:1])
    known = getattr(encoder, "categories_", None)
    if not isinstance(known, list) or len(known) != len(columns):
        return
    # TargetEncoder has no such setting: it encodes an unknown category as the target's mean.
    accepts_others = getattr(encoder, "handle_unknown", "average") != "error"
    for column, categories in zip(columns, known, strict=True):
        values = categories.tolist()
        texts = tuple(value for value in values if isinstance(value, str))
        numbers = tuple(float(value) for value in values if isinstance(value, bool | int | float) and value == value)
        yield column, Encoding(categories=texts, accepts_others=accepts_others, numbers=() if texts else numbers)


def _resolved(chosen: Any, columns: list[str]) -> list[str]:
    """The names of the columns that a part of a column transformer takes, in any form scikit-learn accepts.

    A name or a position, a slice of either, a boolean mask, or a list of names or positions.
    """
    if isinstance(chosen, str):
        return [chosen]
    if isinstance(chosen, int | np.integer):
        return [columns[chosen]]
    if isinstance(chosen, slice):
        return _sliced(chosen, columns)
    picked = list(chosen)
    if _is_mask(picked):
        return [name for name, is_taken in zip(columns, picked, strict=True) if is_taken]
    return [entry if isinstance(entry, str) else columns[entry] for entry in picked]


def _sliced(chosen: slice, columns: list[str]) -> list[str]:
    if not isinstance(chosen.start, str) and not isinstance(chosen.stop, str):
        return columns[chosen]
    # A slice of names includes its end, as in pandas.
    first = 0 if chosen.start is None else columns.index(chosen.start)
    last = len(columns) - 1 if chosen.stop is None else columns.index(chosen.stop)
    return columns[first : last + 1]


def _is_mask(picked: list[Any]) -> bool:
    return bool(picked) and all(isinstance(entry, bool | np.bool_) for entry in picked)
