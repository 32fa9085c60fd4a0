"""A tree ensemble as an ONNX graph in double.

Of our own making rather than the converter's: that one sums boosted trees in float32 (an error that grows with their
number), does not know scikit-learn's missing values, and takes seconds for large forests.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from app.inference.export.tree_model import TreeModel

_OPSETS = {"": 17, "ai.onnx.ml": 3}
_IR_VERSION = 8


def tree_graph(model: TreeModel, features: int) -> bytes:
    """The serialised graph: `rows` (n, features) to `answer`, one number an output or class, in double.

    The rows' type rounds them as scikit-learn does before a comparison; thresholds and sums are in double.
    The operator sums in double and hands float32 out, so that the answer is within 6e-8 of the exact one.
    """
    links = _linked(model)
    rows = TensorProto.FLOAT if model.in_float32 else TensorProto.DOUBLE
    read = helper.make_node("Cast", ["rows"], ["cells"], to=TensorProto.DOUBLE)
    raw = helper.make_node("TreeEnsembleRegressor", ["cells"], ["sums"], domain="ai.onnx.ml", **_attributes(model))
    wide = helper.make_node("Cast", ["sums"], ["wide" if links else "answer"], to=TensorProto.DOUBLE)
    width = 2 if model.link == "logistic" else model.outputs
    graph = helper.make_graph(
        [read, raw, wide, *links],
        "trees",
        [helper.make_tensor_value_info("rows", rows, [None, features])],
        [helper.make_tensor_value_info("answer", TensorProto.DOUBLE, [None, width])],
        [numpy_helper.from_array(np.ones(1), "one")] if model.link == "logistic" else [],
    )
    opsets = [helper.make_opsetid(domain, version) for domain, version in _OPSETS.items()]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="bakeoff")
    return bytes(made.SerializeToString())


def _linked(model: TreeModel) -> list[NodeProto]:
    """From raw sums to the answer, as scikit-learn's losses do it."""
    if model.link == "softmax":
        return [helper.make_node("Softmax", ["wide"], ["answer"], axis=1)]
    if model.link == "logistic":
        return [
            helper.make_node("Sigmoid", ["wide"], ["second"]),
            helper.make_node("Sub", ["one", "second"], ["first"]),
            helper.make_node("Concat", ["first", "second"], ["answer"], axis=1),
        ]
    return []


def _attributes(model: TreeModel) -> dict[str, Any]:
    return {
        "n_targets": model.outputs,
        "aggregate_function": "AVERAGE" if model.initial is None else "SUM",
        "post_transform": "NONE",
        **_nodes(model),
        **_weights(model),
        **({} if model.initial is None else {"base_values_as_tensor": _tensor(model.initial)}),
    }


def _nodes(model: TreeModel) -> dict[str, Any]:
    trees = model.trees
    numbers = np.arange(len(trees.feature))
    tree, root = _tree_of(model), trees.roots[_tree_of(model)]
    leaf = trees.children[::2] == numbers
    return {
        "nodes_treeids": tree.tolist(),
        "nodes_nodeids": (numbers - root).tolist(),
        "nodes_featureids": trees.feature.tolist(),
        "nodes_modes": np.where(leaf, "LEAF", "BRANCH_LEQ").tolist(),
        "nodes_values_as_tensor": _tensor(np.where(leaf, 0.0, trees.threshold)),
        "nodes_truenodeids": np.where(leaf, 0, trees.children[::2] - root).tolist(),
        "nodes_falsenodeids": np.where(leaf, 0, trees.children[1::2] - root).tolist(),
        "nodes_missing_value_tracks_true": (trees.missing_left & ~leaf).astype(int).tolist(),
    }


def _weights(model: TreeModel) -> dict[str, Any]:
    """What each leaf adds to which output; zeros, which most of a pure leaf's are, are left out."""
    trees, tree = model.trees, _tree_of(model)
    leaf = trees.children[::2] == np.arange(len(trees.feature))
    present = leaf[:, np.newaxis] & (trees.values != 0)
    present[:, 0] |= leaf & ~present.any(axis=1)  # a leaf without any weight is not a leaf to the operator
    node, column = np.nonzero(present)
    target = column if model.initial is None else tree[node] % model.outputs
    return {
        "target_treeids": tree[node].tolist(),
        "target_nodeids": (node - trees.roots[tree[node]]).tolist(),
        "target_ids": target.tolist(),
        "target_weights_as_tensor": _tensor(trees.values[node, column]),
    }


def _tree_of(model: TreeModel) -> np.ndarray:
    """The number of the tree that each node belongs to."""
    trees = model.trees
    sizes = np.diff([*trees.roots.tolist(), len(trees.feature)])
    return np.repeat(np.arange(len(sizes)), sizes)


def _tensor(values: np.ndarray) -> TensorProto:
    return numpy_helper.from_array(np.ascontiguousarray(values, dtype=np.float64))
