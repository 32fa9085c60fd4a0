"""What settles a classifier's near-ties: exported arrays where the arithmetic is known, else the estimator itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from app.inference.export.tree_model import TreeModel
from app.inference.plan import Settling

_LINEAR = ("LogisticRegression", "LogisticRegressionCV")


class Settlement(msgspec.Struct, frozen=True):
    """Who settles near-ties of a model, with which arrays (none where it is the estimator itself)."""

    kind: Settling
    arrays: Mapping[str, np.ndarray]


NOBODY = Settlement(kind="none", arrays={})
BY_ESTIMATOR = Settlement(kind="estimator", arrays={})


def settlement_of(model: Any, trees: TreeModel | None) -> Settlement:
    """The exported settlement of a classifier where there is one, else the estimator's own word."""
    if trees is not None and trees.classes_by_sum:
        return _of_trees(trees)
    if type(model).__module__.startswith("sklearn.") and type(model).__name__ in _LINEAR:
        return Settlement(kind="linear", arrays={"coefficients": model.coef_, "intercept": model.intercept_})
    return BY_ESTIMATOR


def _of_trees(model: TreeModel) -> Settlement:
    arrays = model.trees.arrays()
    if model.initial is None:
        return Settlement(kind="mean_of_trees", arrays=arrays)
    return Settlement(kind="sum_of_trees", arrays={**arrays, "initial": model.initial})
