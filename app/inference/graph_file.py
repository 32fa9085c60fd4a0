"""The runtime of an ONNX file that was published as it is: the graph alone answers, labels included.

There is no estimator to compare with, so near-ties are not settled.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import numpy as np

from app.domain.contract import FeatureContract
from app.domain.prediction import Outputs
from app.errors import ModelFailed

GRAPH_FACTS = "graph.json"
InputType = Literal["tensor(float)", "tensor(double)", "tensor(int64)", "tensor(string)"]
_DTYPES: dict[str, Any] = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(int64)": np.int64}


class GraphFacts(msgspec.Struct, frozen=True, omit_defaults=True):
    """What reading the file found (`graph.json`): the graph's inputs and outputs, and its classes.

    One input takes the whole matrix, or each takes one column: then `columns` has their names. `classes` are in the
    order of the probabilities' columns; there are none in a regression. `probabilities` is None where there are none.
    """

    inputs: tuple[tuple[str, InputType], ...]
    answer: str
    width: int
    columns: tuple[str, ...] | None = None
    classes: tuple[int | str, ...] = ()
    probabilities: str | None = None
    zipmap: bool = False


def decoded_facts(data: bytes) -> GraphFacts:
    """The facts in `graph.json`. Raises `msgspec.DecodeError`."""
    return msgspec.json.decode(data, type=GraphFacts)


class GraphFile:
    """A graph and its facts, ready to run on one thread per call. Raises what ONNX Runtime raises for the file."""

    def __init__(self, data: bytes, facts: GraphFacts) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        # One thread: requests are parallel already, and a pool started here would not survive the fork.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        self.facts = facts
        self._outputs = [facts.answer] + ([facts.probabilities] if facts.probabilities else [])

    def run(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Labels or values (n,), and probabilities (n, classes) in the graph's order, for rows of shape (n, features).

        Raises `ValueError` for a value that the input's type cannot have.
        """
        answered = self._session.run(self._outputs, self._feed(rows))
        first = np.asarray(answered[0]).reshape(len(rows))
        if len(answered) == 1:
            return first, None
        return first, self._table(answered[1])

    def _feed(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        inputs = self.facts.inputs
        if self.facts.columns is None:
            return {inputs[0][0]: _converted(rows, inputs[0][1])}
        return {name: _converted(rows[:, [place]], kind) for place, (name, kind) in enumerate(inputs)}

    def _table(self, probabilities: Any) -> np.ndarray:
        if not self.facts.zipmap:
            return np.asarray(probabilities, dtype=np.float64)
        return np.array([[row[name] for name in self.facts.classes] for row in probabilities], dtype=np.float64)


def _converted(block: np.ndarray, kind: str) -> np.ndarray:
    if kind == "tensor(string)":
        if not all(isinstance(value, str) for value in block.ravel().tolist()):
            raise ValueError("the graph takes a text here, and has no missing value")
        return block.astype(object)
    numbers = block.astype(np.float64)
    if kind == "tensor(int64)" and not (numbers == np.floor(numbers)).all():
        raise ValueError("the graph takes whole numbers here, and has no missing value")
    return np.ascontiguousarray(numbers, dtype=_DTYPES[kind])


class GraphRuntime:
    """Answers with the graph alone. Raises `ModelFailed` if an answer is not finite or no class of the contract."""

    def __init__(self, version: str, graph: GraphFile, contract: FeatureContract) -> None:
        self._version = version
        self._graph = graph
        # A contract has the classes in the order of a sorted `classes_`; its names may be the target's for 0 to K - 1.
        labels = sorted(graph.facts.classes)
        if len(labels) != len(contract.classes):
            raise ValueError(f"the graph knows {len(labels)} classes, the contract has {len(contract.classes)}")
        self._places = {label: place for place, label in enumerate(labels)}
        self._columns = [graph.facts.classes.index(label) for label in labels]

    def predict(self, rows: np.ndarray) -> Outputs:
        """Class ids (n,) and probabilities (n, classes), or values (n,), for rows of shape (n, features)."""
        answers, probabilities = self._graph.run(rows)
        if not self._places:
            return Outputs(values=self._finite(answers.astype(np.float64)))
        try:
            class_ids = np.array([self._places[label] for label in answers.tolist()], dtype=np.intp)
        except KeyError as error:
            raise ModelFailed(self._version, f"the graph answers {error}, which is none of its classes") from None
        if probabilities is None:
            return Outputs(class_ids=class_ids)
        return Outputs(class_ids=class_ids, probabilities=self._finite(probabilities[:, self._columns]))

    def _finite(self, answers: np.ndarray) -> np.ndarray:
        if not np.isfinite(answers.sum()):
            raise ModelFailed(self._version, "the answer is not finite")
        return answers


class GraphModel:
    """A graph with the methods of a fitted estimator, which publishing asks. `classes_` are sorted, as there."""

    def __init__(self, graph: GraphFile) -> None:
        self._graph = graph
        self.facts = facts = graph.facts
        self.n_features_in_ = facts.width
        if facts.columns is not None:
            self.feature_names_in_ = np.array(facts.columns, dtype=object)
        if facts.classes:
            self.classes_ = np.array(sorted(facts.classes), dtype=object if isinstance(facts.classes[0], str) else None)
            self._order = [facts.classes.index(label) for label in self.classes_.tolist()]

    def __getattr__(self, name: str) -> Any:
        # Only where the graph has them: that a model has the method says that it has probabilities.
        if name.startswith("_"):
            raise AttributeError(name)
        if name == "predict_proba" and self._graph.facts.probabilities is not None:
            return self._probabilities
        raise AttributeError(name)

    def predict(self, rows: Any) -> np.ndarray:
        """Labels or values, for an array or a frame of shape (n, features). Raises `ValueError` for another label."""
        answers, _ = self._graph.run(np.asarray(rows))
        unknown = set(answers.tolist()) - set(self._graph.facts.classes) if self._graph.facts.classes else set()
        if unknown:
            raise ValueError(f"the graph answers {sorted(map(str, unknown))[0]}, which is none of its classes")
        return answers

    def _probabilities(self, rows: Any) -> np.ndarray:
        _, probabilities = self._graph.run(np.asarray(rows))
        assert probabilities is not None
        return probabilities[:, self._order]
