"""An ONNX graph in ONNX Runtime, fed with rows: one matrix, or one input a feature."""

from __future__ import annotations

import threading
from typing import Any, Protocol

import numpy as np
import onnxruntime

from app.domain.contract import FeatureContract
from app.inference.plan import Plan
from app.inference.preparation import preparation_of

_TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64}


class Graph(Protocol):
    """A graph with one output of `width` numbers a row."""

    def one(self, rows: np.ndarray) -> np.ndarray:
        """The output for a single row, shape (1, width), float64."""
        ...

    def many(self, rows: np.ndarray) -> np.ndarray:
        """The output for n rows, shape (n, width), float64. Callable from several threads at once."""
        ...

    def matrix(self, rows: np.ndarray) -> np.ndarray:
        """The rows as the model compares them, float64."""
        ...


def opened(model: bytes, plan: Plan, contract: FeatureContract) -> Graph:
    """The graph, ready to run on one thread a call. Raises what ONNX Runtime raises for a graph it cannot run."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    width = len(contract.classes) if contract.task == "classification" else 1
    if plan.layout == "columns":
        return ColumnsGraph(session, plan, contract, width)
    return MatrixGraph(session, plan, width)


class MatrixGraph:
    """A graph that takes one matrix; `one` is the hot path, on buffers that each thread binds once."""

    def __init__(self, session: Any, plan: Plan, width: int) -> None:
        self._session = session
        self._width = width
        self._prepare = preparation_of(plan.preparation) if plan.preparation else None
        self._rounds = plan.rounds_to_float32
        self._dtype = np.float32 if plan.dtype == "float32" else np.float64
        self._input = session.get_inputs()[0].name
        self._output = [session.get_outputs()[0].name]
        self._lanes = _Lanes(session, self._dtype, width)

    def one(self, rows: np.ndarray) -> np.ndarray:
        """The output for a single row, shape (1, width), float64."""
        shape, source, target, binding = self._lanes.lane
        matrix = rows if self._prepare is None else self._prepare(rows)
        if matrix.shape != shape:  # an assignment would stretch a narrower row
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


class _Lanes(threading.local):
    """Each thread's buffers for one row, bound to the session: copying in and out is all that a call then costs.

    They are one tuple because looking up an attribute of a thread's own is slow.
    """

    def __init__(self, session: Any, dtype: Any, width: int) -> None:
        source, target = session.get_inputs()[0], session.get_outputs()[0]
        shape = (1, int(source.shape[1]))
        filled, answered = np.zeros(shape, dtype=dtype), np.zeros((1, width), dtype=_TYPES[target.type])
        binding = session.io_binding()
        binding.bind_cpu_input(source.name, filled)
        binding.bind_output(target.name, "cpu", 0, answered.dtype.type, answered.shape, answered.ctypes.data)
        self.lane = (shape, filled, answered, binding)


class ColumnsGraph:
    """A graph that takes one input a feature: strings for categories, numbers of one type for the rest."""

    def __init__(self, session: Any, plan: Plan, contract: FeatureContract, width: int) -> None:
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
        """The rows themselves: nothing exported compares them."""
        return rows
