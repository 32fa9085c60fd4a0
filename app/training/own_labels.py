"""Read the target of a reference file as the classes or the numbers of a model that was fitted elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np

from app.errors import DataRefused
from app.training.columns import Column
from app.training.own_model import OwnModel
from app.training.task import Truth, truth_of


def truth_for(model: OwnModel, target: Column) -> Truth:
    """The target by the model's classes, in the order of its ids, or as numbers for a regressor.

    Labels are compared as text, then as numbers (`1` is `1.0`), then as booleans. Raises `DataRefused` that lists
    labels which the model does not know.
    """
    if model.task == "regression":
        return truth_of(target, "regression")
    position = _positions(model.labels)
    cells = target.cells if target.cells is not None else tuple(str(value) for value in target.values.tolist())
    ids = [position.get(_key(cell or "", position)) for cell in cells]
    unknown = sorted({str(cell) for cell, known in zip(cells, ids, strict=True) if known is None})
    classes = tuple(str(label) for label in model.labels)
    if unknown:
        listed = ", ".join(map(repr, unknown[:5])) + (" …" if len(unknown) > 5 else "")
        known_ones = ", ".join(classes[:10]) + (" …" if len(classes) > 10 else "")
        raise DataRefused(
            f"the target {target.name!r} has values that are not among the model's classes: {listed}; "
            f"the classes are {known_ones}",
            field=target.name,
        )
    class_ids = np.array(ids, dtype=np.int64)
    return Truth(task="classification", labels=np.array(classes)[class_ids], classes=classes, class_ids=class_ids)


def _positions(labels: tuple[Any, ...]) -> dict[object, int]:
    """Class ids by every form in which a label may be written."""
    positions: dict[object, int] = {}
    for index, label in enumerate(labels):
        positions[str(label)] = index
        if isinstance(label, bool):
            positions[str(label).lower()] = index
        elif isinstance(label, int | float):
            positions[float(label)] = index
    return positions


def _key(cell: str, positions: dict[object, int]) -> object:
    if cell in positions:
        return cell
    try:
        return float(cell)
    except ValueError:
        return cell.lower() if cell.lower() in ("true", "false") else cell
