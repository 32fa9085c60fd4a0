"""Find features that give the target away."""

from __future__ import annotations

import numpy as np

from app.domain.contract import Task
from app.training.columns import Column
from app.training.findings import Finding


def leak(column: Column, target: Column, task: Task) -> Finding | None:
    """A feature that is the target again: the same values, or for classes the same under other names."""
    if task == "regression":
        copied = column.kind == "numeric" and np.array_equal(column.values, target.values)
    else:
        copied = one_to_one(column, target)
    if not copied:
        return None
    message = f"column {column.name!r} is a copy of the target {target.name!r}"
    outcome = f"leave it out with --drop {column.name!r}, or insist with --keep {column.name!r}"
    return Finding("target leaks", "refused", message, outcome, column.name)


def one_to_one(column: Column, other: Column) -> bool:
    """Whether each value of one column goes with one value of the other, and the other way round."""
    if bool(column.missing.any()):
        return False
    pairs = set(zip(column.values.tolist(), other.values.tolist(), strict=True))
    return len(pairs) == len(column.distinct) == len(other.distinct)
