"""A plan's preparation in NumPy: the pipeline's steps before the model, repeated to the last bit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from app.inference.plan import Affine, Branches, Category, Impute, OneHot, Ordinal, Step

Block = Callable[[np.ndarray], np.ndarray]


def preparation_of(steps: Sequence[Step]) -> Block:
    """A function from rows (n, features), floats or objects, to the float64 matrix that the model reads."""
    run = _chain(steps)

    def prepare(rows: np.ndarray) -> np.ndarray:
        return run(rows).astype(np.float64, copy=False)

    return prepare


def _chain(steps: Sequence[Step]) -> Block:
    # Built once, when the version is loaded: a request only calls the closures.
    blocks = [_BLOCKS[type(step)](step) for step in steps]
    if len(blocks) == 1:
        return blocks[0]

    def run(rows: np.ndarray) -> np.ndarray:
        for block in blocks:
            rows = block(rows)
        return rows

    return run


def _affine(step: Affine) -> Block:
    stages = [
        (operation, np.array(operand, dtype=np.float64))
        for operation, operand in (
            (np.subtract, step.subtract),
            (np.divide, step.divide),
            (np.multiply, step.multiply),
            (np.add, step.add),
        )
        if operand is not None
    ]

    def scale(rows: np.ndarray) -> np.ndarray:
        block = rows.astype(np.float64, copy=False)
        for operation, operand in stages:
            block = operation(block, operand)
        return block

    return scale


def _impute(step: Impute) -> Block:
    textual = any(isinstance(value, str) for value in step.fill)
    fill = np.array(step.fill, dtype=np.object_ if textual else np.float64)

    def impute(rows: np.ndarray) -> np.ndarray:
        if not textual:
            rows = rows.astype(np.float64, copy=False)  # None becomes NaN
            return np.where(np.isnan(rows), fill, rows)
        return np.where(_missing(rows), fill, rows)

    return impute


def _missing(rows: np.ndarray) -> np.ndarray:
    """True where an array of objects holds None or NaN, in its shape."""
    flat = [value is None or value != value for value in rows.ravel().tolist()]
    return np.array(flat, dtype=bool).reshape(rows.shape)


def _one_hot(step: OneHot) -> Block:
    tables, width = [], 0
    for categories, dropped in zip(step.categories, step.dropped, strict=True):
        kept = [category for number, category in enumerate(categories) if number != dropped]
        positions = {category: width + number for number, category in enumerate(kept)}
        if dropped is not None:
            positions[categories[dropped]] = -1
        tables.append(positions)
        width += len(kept)
    unknown = -1 if step.ignores_unknown else None

    def encode(rows: np.ndarray) -> np.ndarray:
        # A column too many takes dropped and ignored categories (index -1 is the last), which saves a branch per value.
        block = np.zeros((len(rows), width + 1))
        numbers = np.arange(len(rows))
        for column, table in enumerate(tables):
            block[numbers, _looked_up(table, rows[:, column], unknown)] = 1.0
        return block[:, :width]

    return encode


def _ordinal(step: Ordinal) -> Block:
    tables = [{category: float(number) for number, category in enumerate(known)} for known in step.categories]

    def encode(rows: np.ndarray) -> np.ndarray:
        columns = [_looked_up(table, rows[:, column], step.unknown) for column, table in enumerate(tables)]
        return np.array(columns, dtype=np.float64).T

    return encode


def _looked_up(table: dict[Category, Any], values: np.ndarray, unknown: float | None) -> list[Any]:
    found = []
    for value in values.tolist():
        number = table.get(None if value != value else value, unknown)  # NaN is no key: it differs from itself
        if number is None:
            raise ValueError(f"the model was fitted without the category {value!r}")
        found.append(number)
    return found


def _branches(step: Branches) -> Block:
    parts = [(np.array(part.columns, dtype=np.intp), _chain(part.steps)) for part in step.parts]

    def run(rows: np.ndarray) -> np.ndarray:
        return np.concatenate([block(rows.take(columns, axis=1)) for columns, block in parts], axis=1)

    return run


_BLOCKS: dict[type, Callable[[Any], Block]] = {
    Affine: _affine,
    Impute: _impute,
    OneHot: _one_hot,
    Ordinal: _ordinal,
    Branches: _branches,
}
