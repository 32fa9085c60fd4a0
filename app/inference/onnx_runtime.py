"""The runtimes that answer with an ONNX graph; near-ties are settled as scikit-learn would.

A single row takes buffers that are bound once for each thread; a large batch is spread over the cores.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from math import isfinite
from typing import Any, Protocol, TypeVar

import numpy as np
import onnxruntime

from app.domain.contract import FeatureContract
from app.domain.prediction import Outputs
from app.errors import ModelFailed
from app.inference.near_ties import TIE, Settler
from app.inference.plan import RuntimePlan
from app.inference.preparation import preparation_of

Answer = TypeVar("Answer")


def in_parallel(answer: Callable[[np.ndarray], Answer], rows: np.ndarray, smallest: int) -> list[Answer]:
    """`answer` of consecutive blocks of the rows, in order: at least one block per core, unless they are too small.

    No block is smaller than `smallest` rows, nor larger than two thousand, which bounds the memory that a runtime
    takes for one. The caller's thread takes one part of the blocks. Threads help, because ONNX Runtime and NumPy
    release the interpreter's lock while they compute. Raises what `answer` raises.
    """
    parts = max(1, min(_cores(), len(rows) // max(smallest, 1)))
    blocks = np.array_split(rows, max(parts, -(-len(rows) // _LARGEST_BLOCK)))
    own = -(-len(blocks) // parts)
    others = [_pool(os.getpid()).submit(answer, block) for block in blocks[own:]]
    return [*map(answer, blocks[:own]), *(other.result() for other in others)]


@cache
def _cores() -> int:
    """The cores that this process may run on, which in a container are fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _pool(_process_id: int) -> ThreadPoolExecutor:
    """The threads of one process, keyed by its id: threads do not survive a fork, so a worker makes its own."""
    return ThreadPoolExecutor(max_workers=_cores(), thread_name_prefix="inference")


_LARGEST_BLOCK = 2000
_TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64}


class Graph(Protocol):
    """A graph with one output of `width` numbers per row."""

    def one(self, rows: np.ndarray) -> np.ndarray:
        """The output for a single row, shape (1, width), float64."""
        ...

    def many(self, rows: np.ndarray) -> np.ndarray:
        """The output for n rows, shape (n, width), float64. Callable from several threads at once."""
        ...

    def matrix(self, rows: np.ndarray) -> np.ndarray:
        """The rows as the model compares them, float64."""
        ...


def open_graph(model: bytes, plan: RuntimePlan, contract: FeatureContract) -> Graph:
    """The graph, ready to run on one thread per call. Raises what ONNX Runtime raises for a graph it cannot run."""
    options = onnxruntime.SessionOptions()
    # One thread: requests are parallel already, and a pool started here would not survive the fork.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 4  # errors are raised, and a caller reports them
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    width = len(contract.classes) if contract.task == "classification" else 1
    if plan.layout == "columns":
        return ColumnsGraph(session, plan, contract, width)
    return MatrixGraph(session, plan, width)


class MatrixGraph:
    """A graph that takes one matrix; `one` is the hot path, on buffers that each thread binds once."""

    def __init__(self, session: Any, plan: RuntimePlan, width: int) -> None:
        self._session = session
        self._width = width
        self._prepare = preparation_of(plan.preparation) if plan.preparation else None
        self._rounds = plan.rounds_to_float32
        self._dtype = np.float32 if plan.dtype == "float32" else np.float64
        self._input = session.get_inputs()[0].name
        self._output = [session.get_outputs()[0].name]
        self._buffers = _RowBuffers(session, self._dtype, width)

    def one(self, rows: np.ndarray) -> np.ndarray:
        """The output for a single row, shape (1, width), float64."""
        shape, source, target, binding = self._buffers.bound
        matrix = rows if self._prepare is None else self._prepare(rows)
        if matrix.shape != shape:  # NumPy would broadcast a narrower row
            raise ValueError(f"a row of shape {matrix.shape} for a graph that takes {shape}")
        source[:] = matrix
        self._session.run_with_iobinding(binding)
        return target.astype(np.float64)

    def many(self, rows: np.ndarray) -> np.ndarray:
        """The output for n rows, shape (n, width), float64."""
        matrix = rows if self._prepare is None else self._prepare(rows)
        feed = {self._input: np.ascontiguousarray(matrix, dtype=self._dtype)}
        output: np.ndarray = self._session.run(self._output, feed)[0]
        return output.reshape(len(rows), self._width).astype(np.float64, copy=False)

    def matrix(self, rows: np.ndarray) -> np.ndarray:
        """The rows as the model compares them, float64."""
        matrix = rows if self._prepare is None else self._prepare(rows)
        return matrix.astype(np.float32).astype(np.float64) if self._rounds else matrix.astype(np.float64, copy=False)


class _RowBuffers(threading.local):
    """Each thread's buffers for one row, bound to the session: a call only copies the row in and the answer out.

    They are one tuple because reading an attribute of a `threading.local` is slow.
    """

    def __init__(self, session: Any, dtype: Any, width: int) -> None:
        source, target = session.get_inputs()[0], session.get_outputs()[0]
        shape = (1, int(source.shape[1]))
        filled, answered = np.zeros(shape, dtype=dtype), np.zeros((1, width), dtype=_TYPES[target.type])
        binding = session.io_binding()
        binding.bind_cpu_input(source.name, filled)
        binding.bind_output(target.name, "cpu", 0, answered.dtype.type, answered.shape, answered.ctypes.data)
        self.bound = (shape, filled, answered, binding)


class ColumnsGraph:
    """A graph that takes one input per feature: strings for categories, numbers of one type for the rest."""

    def __init__(self, session: Any, plan: RuntimePlan, contract: FeatureContract, width: int) -> None:
        self._session = session
        self._width = width
        self._dtype = np.float32 if plan.dtype == "float32" else np.float64
        self._output = [session.get_outputs()[0].name]
        self._columns = [
            (source.name, feature.kind == "numeric")
            for source, feature in zip(session.get_inputs(), contract.features, strict=True)
        ]

    def one(self, rows: np.ndarray) -> np.ndarray:
        """The output for a single row, shape (1, width), float64."""
        return self.many(rows)

    def many(self, rows: np.ndarray) -> np.ndarray:
        """The output for n rows, shape (n, width), float64."""
        feed = {
            name: rows[:, [index]].astype(self._dtype) if numeric else rows[:, [index]]
            for index, (name, numeric) in enumerate(self._columns)
        }
        output: np.ndarray = self._session.run(self._output, feed)[0]
        return output.reshape(len(rows), self._width).astype(np.float64, copy=False)

    def matrix(self, rows: np.ndarray) -> np.ndarray:
        """The rows themselves: no exported arrays go with this layout."""
        return rows


# Smaller blocks take longer to hand to another thread than to compute.
_SMALLEST_BLOCK = 500
# Up to here a Python sort of one row's probabilities is faster than NumPy's calls.
_FEW_CLASSES = 32


class OnnxClassifier:
    """A classifier of `classes` ≥ 2 classes. Raises `ModelFailed` if the graph's answer is not finite."""

    def __init__(self, version: str, graph: Graph, settle: Settler, classes: int) -> None:
        self._version = version
        self._graph = graph
        self._settle = settle
        self._few = classes <= _FEW_CLASSES
        self._ids = np.arange(classes).reshape(classes, 1)
        self._ids.flags.writeable = False  # single answers are views of it

    def predict(self, rows: np.ndarray) -> Outputs:
        """Class ids (n,) and probabilities (n, classes) of n rows; a large batch is spread over the cores."""
        count = len(rows)
        if count == 1 and self._few:
            return self._single(rows)
        if count < 2 * _SMALLEST_BLOCK:
            return self._block(rows)
        parts = in_parallel(self._block, rows, _SMALLEST_BLOCK)
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
        best = probabilities.max(axis=1, keepdims=True)
        rivals = (probabilities > best - TIE).sum(axis=1)
        (near,) = (rivals > 1).nonzero()
        if near.size:
            settled = _completed(self._settle(rows[near]), probabilities[near])
            class_ids[near], probabilities[near] = settled.class_ids, settled.probabilities
        return Outputs(class_ids=class_ids, probabilities=probabilities)


class OnnxRegressor:
    """A regressor. Raises `ModelFailed` if the graph's answer is not finite."""

    def __init__(self, version: str, graph: Graph) -> None:
        self._version = version
        self._graph = graph

    def predict(self, rows: np.ndarray) -> Outputs:
        """The values (n,) of n rows; a large batch is spread over the cores."""
        count = len(rows)
        if count < 2 * _SMALLEST_BLOCK:
            return Outputs(values=self._block(rows))
        return Outputs(values=np.concatenate(in_parallel(self._block, rows, _SMALLEST_BLOCK)))

    def _block(self, rows: np.ndarray) -> np.ndarray:
        values = (self._graph.one(rows) if len(rows) == 1 else self._graph.many(rows))[:, 0]
        if not isfinite(values.sum()):
            raise ModelFailed(self._version, "the answer is not finite")
        return values


def _completed(settled: Outputs, probabilities: np.ndarray) -> Outputs:
    """The settled answer, with the graph's probabilities if the settler has none of its own."""
    if settled.probabilities is not None:
        return settled
    return Outputs(class_ids=settled.class_ids, probabilities=probabilities)
