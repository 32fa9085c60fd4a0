"""ONNX graphs of a single output: made by skl2onnx, or joined from the graphs of several models."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, compose, helper, numpy_helper

from app.inference.estimators import parts_of
from app.inference.plan import NotExportable

_OPSETS = {"": 21, "ai.onnx.ml": 3}
_IR_VERSION = 10
ROWS = "rows"
_DOUBLE = TensorProto.DOUBLE


def by_skl2onnx(model: Any, inputs: Sequence[tuple[str, Any]], *, has_classes: bool) -> onnx.ModelProto:
    """The model's (or transformer's) graph with one output: probabilities, values or columns.

    `inputs` are names and types of skl2onnx. Raises `NotExportable`, and whatever the converter raises.
    """
    from skl2onnx import to_onnx  # deferred: slow to import, and not needed for trees

    if any(map(_splits_on_gaps, parts_of(model))):
        raise NotExportable("a tree splits on missing values alone, and the converter does not end on such a split")
    options = {"zipmap": False} if has_classes else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made: onnx.ModelProto = to_onnx(model, initial_types=list(inputs), options=options, target_opset=_OPSETS)
    keep_last_output(made.graph)
    return made


def _splits_on_gaps(part: Any) -> bool:
    """Whether it is a tree in which a split has no threshold: there, scikit-learn compares with infinity."""
    tree = getattr(part, "tree_", None)
    return tree is not None and not np.isfinite(tree.threshold).all()


def keep_last_output(graph: Any) -> None:
    """Remove the output of class labels and the nodes that compute it: labels follow from the probabilities."""
    del graph.output[:-1]
    needed = {graph.output[0].name}
    for node in reversed(graph.node):  # nodes come in order of use
        if needed.intersection(node.output):
            needed.update(node.input)
    for node in [node for node in graph.node if not needed.intersection(node.output)]:
        graph.node.remove(node)


class Rows(msgspec.Struct, frozen=True):
    """What a model in a joined graph reads: one tensor for each of its inputs.

    `types` are skl2onnx's, by input; None for a matrix of as many columns as the model takes.
    """

    tensors: Mapping[str, str]
    types: tuple[tuple[str, Any], ...] | None = None

    def inputs_of(self, model: Any) -> tuple[tuple[str, Any], ...]:
        """The inputs of a model's graph, as skl2onnx takes them."""
        from skl2onnx.common.data_types import DoubleTensorType  # deferred, as above

        return self.types or ((ROWS, DoubleTensorType([None, model.n_features_in_])),)

    @property
    def matrix(self) -> str:
        """The only tensor. Raises `NotExportable` if there is one for each column."""
        if self.types is not None:
            raise NotExportable("a part that reads columns by name")
        return self.tensors[ROWS]


class JoinedGraph:
    """A graph in the making, in double. Its methods add nodes and give the name of what they compute."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[TensorProto] = []
        self._count = 0

    def add(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """One node."""
        output = self._name()
        self._nodes.append(helper.make_node(operator, list(inputs), [output], domain=domain, **attributes))
        return output

    def constant(self, values: Any) -> str:
        """Numbers in double; integers stay integers."""
        array = np.asarray(values)
        name = self._name()
        self._constants.append(
            numpy_helper.from_array(array if array.dtype == np.int64 else array.astype(np.float64), name)
        )
        return name

    def include(self, model: onnx.ModelProto, rows: Rows) -> str:
        """All nodes of a graph that reads `rows`; its last output in double."""
        keep_last_output(model.graph)
        prefix = f"{self._name()}_"
        graph = compose.add_prefix(model, prefix).graph
        read = rows.tensors
        single = len(read) == 1
        for source in graph.input:
            given = next(iter(read.values())) if single else read[source.name.removeprefix(prefix)]
            kind = source.type.tensor_type.elem_type
            same = helper.make_node("Identity", [given], [source.name])
            self._nodes.append(
                same if kind == TensorProto.STRING else helper.make_node("Cast", [given], [source.name], to=kind)
            )
        self._nodes.extend(graph.node)
        self._constants.extend(graph.initializer)
        return self.add("Cast", graph.output[0].name, to=_DOUBLE)

    def column(self, matrix: str, first: int, after: int) -> str:
        """The columns from `first` to before `after`."""
        return self.add(
            "Slice", matrix, *(self.constant(np.array([value], dtype=np.int64)) for value in (first, after, 1))
        )

    def finished(self, output: str, inputs: Sequence[onnx.ValueInfoProto], width: int) -> onnx.ModelProto:
        """The graph with that output, of `width` columns."""
        answer = helper.make_tensor_value_info("answer", _DOUBLE, [None, width])
        last = helper.make_node("Reshape", [output, self.constant(np.array([-1, width], dtype=np.int64))], ["answer"])
        graph = helper.make_graph([*self._nodes, last], "joined", list(inputs), [answer], self._constants)
        opsets = [helper.make_opsetid(domain, version) for domain, version in _OPSETS.items()]
        return helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="bakeoff")

    def _name(self) -> str:
        self._count += 1
        return f"t{self._count}"
