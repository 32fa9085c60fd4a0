"""The task that a target implies, classification or regression, and the target in the form that the task needs."""

from __future__ import annotations

import msgspec
import numpy as np

from app.domain.contract import Task
from app.errors import DataRefused
from app.training.columns import Column
from app.training.findings import Finding

# See `task_of`: with fewer different values, numbers are more likely to be ids of classes.
_MANY_VALUES = 20
_SHARE_OF_ROWS = 0.1
# From here on a float64 cannot tell a whole number from its neighbour.
_LARGEST_WHOLE = 2.0**53
LEAST_OF_A_CLASS = 2


class Truth(msgspec.Struct, frozen=True):
    """The target in the form to fit on and in the form to score with.

    Classification: `labels` (rows,) as the estimator sees them, `class_ids` (rows,) the same as positions in
    `classes`. Regression: `labels` are the numbers, float64; there are no class ids.
    """

    task: Task
    labels: np.ndarray
    classes: tuple[str, ...] = ()
    class_ids: np.ndarray | None = None

    def take(self, positions: np.ndarray) -> Truth:
        """The truth of the rows at `positions`, in that order, of the same classes."""
        class_ids = None if self.class_ids is None else self.class_ids[positions]
        return Truth(task=self.task, labels=self.labels[positions], classes=self.classes, class_ids=class_ids)


def task_of(target: Column) -> Task:
    """Regression where the target is numbers with many different values, else classification.

    Many: more than half as many as there are rows, or more than 20 (of whole numbers, more than a tenth of the rows
    as well, since class ids are whole numbers).
    """
    if target.kind != "numeric":
        return "classification"
    distinct, rows = len(target.distinct), len(target.values)
    floor = max(_MANY_VALUES, _SHARE_OF_ROWS * rows) if _whole(target.values) else _MANY_VALUES
    return "regression" if distinct > floor or distinct > rows / 2 else "classification"


def truth_of(target: Column, task: Task, names: tuple[str, ...] | None = None) -> Truth:
    """The target in the form of `task`; `names` are those of the classes if it holds class ids.

    Raises `DataRefused` for a regression on texts, and for a single class.
    """
    if task == "regression":
        if target.kind != "numeric":
            raise DataRefused(
                f"the target {target.name!r} is not numbers, which a regression needs: correct it or name another",
                field=target.name,
            )
        return Truth(task=task, labels=target.values)
    labels = _labels(target)
    known, class_ids = np.unique(labels, return_inverse=True)
    if len(known) < 2:
        raise DataRefused(
            f"the target {target.name!r} has only the class {str(known[0])!r}: two are needed", field=target.name
        )
    classes = names or tuple(str(label) for label in known.tolist())
    return Truth(task=task, labels=labels, classes=classes, class_ids=class_ids)


def rare_classes(truth: Truth, first: np.ndarray) -> Finding | None:
    """The finding about classes that cannot be on both sides of the split; `first` as `first_copies` gives it."""
    if truth.class_ids is None:
        return None
    counts = np.bincount(truth.class_ids[np.unique(first)], minlength=len(truth.classes))
    rare = [f"{name!r}" for name, count in zip(truth.classes, counts, strict=True) if count < LEAST_OF_A_CLASS]
    if not rare:
        return None
    listed = ", ".join(rare[:5]) + (f" and {len(rare) - 5} more" if len(rare) > 5 else "")
    message = f"classes with fewer than {LEAST_OF_A_CLASS} different rows are too rare to split: {listed}"
    return Finding(
        "rare classes",
        "refused",
        message,
        "add rows or merge classes; if the target is a quantity, use --task regression",
    )


def _labels(target: Column) -> np.ndarray:
    """Whole numbers (class ids too) as integers, so that a class is called `1` and not `1.0`; the rest as text."""
    if target.kind == "numeric" and _whole(target.values):
        return target.values.astype(np.int64)
    if target.kind == "numeric":
        return np.array(_number_names(target))
    return np.array(target.values.tolist())


def _number_names(target: Column) -> list[str]:
    """The text of each number: as it is written, if a program would write it so."""
    numbers = target.values.tolist()
    if target.cells is None:
        return [str(number) for number in numbers]
    return [_plain_name(cell or "", number) for cell, number in zip(target.cells, numbers, strict=True)]


def _plain_name(cell: str, number: float) -> str:
    try:
        return cell.strip() if float(cell) == number else str(number)
    except ValueError:
        return str(number)


def _whole(values: np.ndarray) -> bool:
    return bool(((np.abs(values) <= _LARGEST_WHOLE) & (values == np.floor(values))).all())
