"""Find rows that repeat an earlier one."""

from __future__ import annotations

import numpy as np

from app.training.dataset import Dataset
from app.training.findings import Finding, counted

ORDINARY_SHARE = 0.2


def first_copies(dataset: Dataset) -> np.ndarray:
    """For each row the position of the first row that equals it, target included; shape (rows,)."""
    columns = [*dataset.columns, dataset.target]
    filled = [np.where(column.missing, np.inf, column.values).tolist() for column in columns]
    first: dict[tuple[object, ...], int] = {}
    return np.array([first.setdefault(row, position) for position, row in enumerate(zip(*filled, strict=True))])


def repeats(first: np.ndarray) -> Finding | None:
    """What becomes of rows that repeat an earlier one: all are kept, for how often a row occurs is information.

    Where they are few they are likely recorded twice, and a copy in the hold-out of a row that was trained on would
    flatter the model: then copies stay on one side of the split. Where they are many, equal rows are ordinary.
    """
    count = len(first) - len(np.unique(first))
    if not count:
        return None
    how = "copies stay on the same side of the split" if are_few(first) else "equal rows are ordinary in these data"
    return Finding("duplicates", "kept", f"{counted(count)} the same as an earlier one", f"kept, {how}")


def are_few(first: np.ndarray) -> bool:
    """Whether the copies are few enough to be accidents."""
    return len(first) - len(np.unique(first)) <= ORDINARY_SHARE * len(first)
