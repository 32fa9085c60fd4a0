"""The names of a model's classes: those of the reference where the model itself has only numbers, as XGBoost wants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from app.domain.prediction import Outputs
from app.errors import DataRefused
from app.training.columns import Column
from app.training.findings import Finding
from app.training.task import Truth


def class_names(labels: Sequence[Any], target: Column) -> tuple[str, ...]:
    """The name of each class, by its id: the label as text, or a text of the target.

    Where the labels are 0 to K - 1 and the target has K texts that are no numbers, the texts are the names, in
    alphabetical order, as scikit-learn's `LabelEncoder` numbers them. `require_agreement` checks the order.
    """
    own = tuple(str(label) for label in labels)
    numbered = all(isinstance(label, int) and not isinstance(label, bool) for label in labels)
    if target.kind != "categorical" or not numbered or list(labels) != list(range(len(labels))):
        return own
    cells = target.values.tolist() if target.cells is None else target.cells
    texts = sorted({str(cell) for cell in cells if cell is not None and str(cell).strip()})
    return tuple(texts) if len(texts) == len(labels) and not set(texts) & set(own) else own


def naming(labels: Sequence[Any], names: Sequence[str]) -> list[Finding]:
    """The finding that says which class has which name, if the names are not the model's own."""
    if list(names) == [str(label) for label in labels]:
        return []
    listed = ", ".join(f"{label} is {name}" for label, name in zip(labels, names, strict=True))
    message = f"the model's classes are numbers: {listed}"
    return [Finding("class names", "noted", message, "the names of the target are used, in alphabetical order")]


def require_agreement(labels: Sequence[Any], truth: Truth, outputs: Outputs) -> None:
    """Raise `DataRefused` if another order of the names would fit the model's answers better than that of `truth`."""
    if truth.class_ids is None or outputs.class_ids is None or not naming(labels, truth.classes):
        return
    count = len(truth.classes)
    agreed = np.zeros((count, count), dtype=np.int64)
    np.add.at(agreed, (truth.class_ids, outputs.class_ids), 1)
    names, ids = linear_sum_assignment(agreed, maximize=True)
    if agreed[names, ids].sum() > np.trace(agreed):
        pairs = zip(ids.tolist(), names.tolist(), strict=True)
        fitting = ", ".join(f"{labels[number]} is {truth.classes[name]}" for number, name in sorted(pairs))
        raise DataRefused(
            f"the model's classes are numbers, and the target's names in alphabetical order do not fit its answers: "
            f"it answers as if {fitting}. Write the numbers that it was fitted on into the target column"
        )
