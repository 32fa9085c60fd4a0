"""Answer with an ONNX graph, near-ties settled as scikit-learn would."""

from __future__ import annotations

from math import isfinite

import numpy as np

from app.domain.prediction import Outputs
from app.errors import ModelFailed
from app.inference.graph import Graph
from app.inference.parallel import spread
from app.inference.settling import TIE, Settler

_SMALLEST_BLOCK = 500
_FEW_CLASSES = 32


class OnnxClassifier:
    """A classifier of `classes` ≥ 2 classes. Raises `ModelFailed` where the graph's answer is not finite."""

    def __init__(self, version: str, graph: Graph, settle: Settler, classes: int) -> None:
        self._version = version
        self._graph = graph
        self._settle = settle
        self._few = classes <= _FEW_CLASSES
        self._ids = np.arange(classes).reshape(classes, 1)
        self._ids.flags.writeable = False  # single answers are views of it

    def predict(self, rows: np.ndarray) -> Outputs:
        """Class ids and probabilities of n rows; a large batch is spread over the cores."""
        count = len(rows)
        if count == 1 and self._few:
            return self._single(rows)
        if count < 2 * _SMALLEST_BLOCK:
            return self._block(rows)
        parts = spread(self._block, rows, _SMALLEST_BLOCK)
        return Outputs(
            class_ids=np.concatenate([part.class_ids for part in parts if part.class_ids is not None]),
            probabilities=np.concatenate([part.probabilities for part in parts if part.probabilities is not None]),
        )

    def _single(self, rows: np.ndarray) -> Outputs:
        probabilities = self._graph.one(rows)
        (values,) = probabilities.tolist()
        if not isfinite(sum(values)):
            raise ModelFailed(self._version, "the answer is not finite")
        second, best = sorted(values)[-2:]
        if best - second < TIE:
            return _completed(self._settle(rows), probabilities)
        return Outputs(class_ids=self._ids[values.index(best)], probabilities=probabilities)

    def _block(self, rows: np.ndarray) -> Outputs:
        probabilities = self._graph.many(rows)
        if not isfinite(probabilities.sum()):
            raise ModelFailed(self._version, "the answer is not finite")
        class_ids = probabilities.argmax(axis=1)
        best = np.take_along_axis(probabilities, class_ids[:, np.newaxis], axis=1)
        rivals = np.count_nonzero(probabilities > best - TIE, axis=1)
        near = np.flatnonzero(rivals > 1)
        if near.size:
            settled = _completed(self._settle(rows[near]), probabilities[near])
            class_ids[near], probabilities[near] = settled.class_ids, settled.probabilities
        return Outputs(class_ids=class_ids, probabilities=probabilities)


class OnnxRegressor:
    """A regressor. Raises `ModelFailed` where the graph's answer is not finite."""

    def __init__(self, version: str, graph: Graph) -> None:
        self._version = version
        self._graph = graph

    def predict(self, rows: np.ndarray) -> Outputs:
        """The values of n rows; a large batch is spread over the cores."""
        count = len(rows)
        if count < 2 * _SMALLEST_BLOCK:
            return Outputs(values=self._block(rows))
        return Outputs(values=np.concatenate(spread(self._block, rows, _SMALLEST_BLOCK)))

    def _block(self, rows: np.ndarray) -> np.ndarray:
        values = (self._graph.one(rows) if len(rows) == 1 else self._graph.many(rows))[:, 0]
        if not isfinite(values.sum()):
            raise ModelFailed(self._version, "the answer is not finite")
        return values


def _completed(settled: Outputs, probabilities: np.ndarray) -> Outputs:
    """The settled answer, with the graph's probabilities where the settler has none of its own."""
    if settled.probabilities is not None:
        return settled
    return Outputs(class_ids=settled.class_ids, probabilities=probabilities)
