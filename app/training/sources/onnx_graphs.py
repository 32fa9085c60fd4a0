"""ONNX files as models: checked, described by their inputs, outputs and classes, and published as they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast, get_args

import msgspec
import numpy as np

from app.errors import DataRefused
from app.inference.graph_file import GRAPH_FACTS, GraphFacts, GraphFile, GraphModel, InputType
from app.inference.model_files import GRAPH
from app.training.external_model import ExternalModel, of_graph

LARGEST_BYTES = 512 * 1024**2
# The operator sets that this release was tested with; the ones before them lack what converters write today.
_OPSETS = {"ai.onnx": (9, 24), "ai.onnx.ml": (1, 5)}
_NAMED = {"": "ai.onnx"}
_TYPES = {
    1: "tensor(float)",
    6: "tensor(int32)",
    7: "tensor(int64)",
    8: "tensor(string)",
    9: "tensor(bool)",
    10: "tensor(float16)",
    11: "tensor(double)",
    16: "tensor(bfloat16)",
}
_FLOATS = ("tensor(float)", "tensor(double)")
_LABELS = ("tensor(int64)", "tensor(string)")
_CLASS_ATTRIBUTES = ("classlabels_strings", "classlabels_int64s", "classlabels_ints")


class _Value(msgspec.Struct, frozen=True):
    """An input or output: `kind` as ONNX Runtime writes it, `shape` with None for a size that is not fixed."""

    name: str
    kind: str
    shape: tuple[int | None, ...]


def read_onnx(data: bytes, origin: str, code: Mapping[str, bytes]) -> ExternalModel:
    """The graph in an ONNX file's bytes. Raises `DataRefused` with what is wrong with it, and what to do."""
    if code:
        raise DataRefused(f"{origin} is an ONNX file, which has no code of its own: leave --code out")
    try:
        facts = graph_facts(data)
        graph = GraphFile(data, facts)
    except DataRefused as error:
        raise DataRefused(f"{origin}: {error.message}") from error
    except Exception as error:  # whatever ONNX Runtime makes of a graph is the reason that is reported
        raise DataRefused(f"{origin}: ONNX Runtime does not run it: {_first_line(error)}") from error
    model = GraphModel(graph)
    return msgspec.structs.replace(of_graph(model), files={GRAPH: data, GRAPH_FACTS: msgspec.json.encode(facts)})


def graph_facts(data: bytes) -> GraphFacts:
    """The inputs, outputs and classes of the graph. Raises `DataRefused` for a graph that cannot be served."""
    import onnx  # deferred: serving an ONNX file needs only ONNX Runtime

    if len(data) > LARGEST_BYTES:
        raise DataRefused(f"it has {len(data)} bytes, more than the {LARGEST_BYTES} that are read")
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:
        raise DataRefused(f"it is not an ONNX file: {_first_line(error)}") from error
    # Before the checker, which would look for the files.
    _require_no_external_data(model)
    _require_operators(model)
    try:
        onnx.checker.check_model(model)
    except Exception as error:
        raise DataRefused(f"onnx.checker refuses it: {_first_line(error)}") from error
    return _facts(model)


def _require_no_external_data(model: Any) -> None:
    for tensor in _tensors(model):
        if tensor.data_location == 1 or tensor.external_data:
            raise DataRefused(
                f"its tensor {tensor.name!r} is in another file: save the model in one file "
                "(onnx.save without save_as_external_data)"
            )


def _require_operators(model: Any) -> None:
    foreign = sorted(
        {f"{node.op_type} of {node.domain}" for node in _nodes(model) if _domain(node.domain) not in _OPSETS}
    )
    if foreign:
        raise DataRefused(
            f"it has operators that are not of ai.onnx or ai.onnx.ml: {', '.join(foreign)}; export the model with "
            "standard operators, or publish the estimator itself"
        )
    if model.functions:
        raise DataRefused("it defines functions of its own: export the model with standard operators")
    for entry in model.opset_import:
        name = _domain(entry.domain)
        least, most = _OPSETS.get(name, (1, 0))
        if name in _OPSETS and not least <= entry.version <= most:
            raise DataRefused(
                f"it is of opset {entry.version} of {name}, and {least} to {most} are served: export it with "
                f"target_opset={most}"
            )


def _domain(domain: str) -> str:
    return _NAMED.get(domain, domain)


def _graphs(model: Any) -> Iterator[Any]:
    """The graph, and all graphs inside its nodes (branches, loops)."""
    waiting = [model.graph]
    while waiting:
        graph = waiting.pop()
        yield graph
        for node in graph.node:
            for attribute in node.attribute:
                waiting += [attribute.g] if attribute.HasField("g") else []
                waiting += attribute.graphs


def _nodes(model: Any) -> Iterator[Any]:
    for graph in _graphs(model):
        yield from graph.node


def _tensors(model: Any) -> Iterator[Any]:
    for graph in _graphs(model):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
        for node in graph.node:
            for attribute in node.attribute:
                yield from [attribute.t, *attribute.tensors]
                for sparse in [attribute.sparse_tensor, *attribute.sparse_tensors]:
                    yield from (sparse.values, sparse.indices)


def _facts(model: Any) -> GraphFacts:
    held = {tensor.name for tensor in model.graph.initializer}
    inputs = [_value(each) for each in model.graph.input if each.name not in held]
    outputs = [_value(each) for each in model.graph.output]
    for each in inputs:
        _require_input(each)
    columns, width = _columns(inputs)
    described = GraphFacts(
        inputs=tuple((each.name, cast(InputType, each.kind)) for each in inputs),
        answer=outputs[0].name,
        width=width,
        columns=columns,
    )
    if len(outputs) == 1 and outputs[0].kind in _FLOATS and _last(outputs[0]) in (None, 1):
        return described
    return _classification(model, described, outputs)


def _classification(model: Any, described: GraphFacts, outputs: list[_Value]) -> GraphFacts:
    if len(outputs) > 2 or outputs[0].kind not in _LABELS:
        listed = ", ".join(f"{each.name} ({each.kind})" for each in outputs)
        raise DataRefused(
            f"its outputs are {listed}: a classifier needs a label (int64 or string) first and then its probabilities, "
            "a regressor one number for each row"
        )
    labels, *rest = outputs
    zipmap = bool(rest) and rest[0].kind == "seq(map)"
    if rest and not zipmap and rest[0].kind not in _FLOATS:
        raise DataRefused(f"its output {rest[0].name} is {rest[0].kind}: probabilities are a float tensor or a zipmap")
    classes = _classes(model, labels, _last(rest[0]) if rest else None)
    if rest and not zipmap and _last(rest[0]) not in (None, len(classes)):
        raise DataRefused(f"its output {rest[0].name} has {_last(rest[0])} columns for {len(classes)} classes")
    return msgspec.structs.replace(
        described, classes=classes, probabilities=rest[0].name if rest else None, zipmap=zipmap
    )


def _value(each: Any) -> _Value:
    if each.type.HasField("sequence_type"):
        return _Value(each.name, "seq(map)", ())
    tensor = each.type.tensor_type
    sizes = [dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None for dim in tensor.shape.dim]
    return _Value(each.name, _TYPES.get(tensor.elem_type, f"a tensor of type {tensor.elem_type}"), tuple(sizes))


def _last(value: _Value) -> int | None:
    return value.shape[-1] if len(value.shape) > 1 else None


def _require_input(each: _Value) -> None:
    if each.kind not in get_args(InputType):
        raise DataRefused(f"its input {each.name} is {each.kind}: float, double, int64 and string are served")
    if len(each.shape) != 2:
        raise DataRefused(f"its input {each.name} has {len(each.shape)} dimensions: it must be (rows, columns)")
    if each.shape[0] is not None:
        raise DataRefused(
            f"its input {each.name} takes {each.shape[0]} rows at a time: export it with a variable number of rows"
        )


def _columns(inputs: list[_Value]) -> tuple[tuple[str, ...] | None, int]:
    """The names of the columns, if each has an input of its own, and their number."""
    if not inputs:
        raise DataRefused("it has no input")
    if len(inputs) == 1 and inputs[0].shape[1] != 1:
        width = inputs[0].shape[1]
        if width is None:
            raise DataRefused(f"its input {inputs[0].name} does not say how many columns it takes: export it with them")
        return None, width
    wide = [each.name for each in inputs if each.shape[1] != 1]
    if wide:
        raise DataRefused(f"its inputs {', '.join(wide)} take several columns each: one matrix or one input per column")
    return tuple(each.name for each in inputs), len(inputs)


def _classes(model: Any, labels: _Value, width: int | None) -> tuple[int | str, ...]:
    """The classes, in the order of the probabilities: as a node lists them, else 0 to one less than their number."""
    for node in reversed(model.graph.node):
        for attribute in node.attribute:
            found = [*attribute.strings, *attribute.ints] if attribute.name in _CLASS_ATTRIBUTES else []
            if found:
                return tuple(label.decode() if isinstance(label, bytes) else int(label) for label in found)
    listed = _looked_up(model)
    if listed:
        return listed
    if labels.kind == "tensor(int64)" and width is not None and width > 1:
        return tuple(range(width))
    raise DataRefused(
        "it does not say which classes it knows: export it with scikit-learn's converter (skl2onnx), or with a zipmap"
    )


def _looked_up(model: Any) -> tuple[int | str, ...]:
    """The classes of a graph that takes its label out of a constant list of them."""
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in reversed(model.graph.node):
        if node.op_type == "ArrayFeatureExtractor" and node.input[0] in constants:
            values = np.ravel(numpy_helper.to_array(constants[node.input[0]])).tolist()
            return tuple(value.decode() if isinstance(value, bytes) else value for value in values)
    return ()


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0][:300]}"
