"""scikit-learn's tree ensembles as flat arrays, from which the ONNX graph is built and near-ties are settled.

The graph is built here and not by skl2onnx, which sums boosted trees in float32 (an error that grows with their
number), does not know scikit-learn's missing values, and takes seconds for large forests (ADR 0002).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec
import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from app.inference.near_ties import Trees
from app.inference.plan import NotExportable

Link = Literal["identity", "logistic", "softmax"]


class TreeModel(msgspec.Struct, frozen=True):
    """An ensemble: the mean of its trees' values or, if `initial` is given, the sum of `initial` and these values.

    In a sum, tree t adds to output t modulo the number of outputs, as in boosting; `link` turns sums into
    probabilities. `in_float32`: rows are rounded to float32 before trees compare them. `classes_by_sum`: the class is
    that of the largest sum; if there is one sum, the second class from 0 on.
    """

    trees: Trees
    outputs: int
    initial: np.ndarray | None = None
    link: Link = "identity"
    in_float32: bool = True
    classes_by_sum: bool = True


def tree_model(model: Any) -> TreeModel | None:
    """The ensemble as arrays; None if it is not one of scikit-learn's, or has a setting that is not exported."""
    kind = type(model)
    export = _EXPORTS.get(kind.__name__) if kind.__module__.startswith("sklearn.") else None
    try:
        return None if export is None else export(model)
    except NotExportable:
        return None


def _forest(model: Any) -> TreeModel:
    trees = _flattened(getattr(model, "estimators_", [model]), scale=1.0)
    return TreeModel(trees=trees, outputs=trees.values.shape[1])


def _boosting(model: Any) -> TreeModel:
    """Raw scores in scikit-learn's order: the initial ones, then stage by stage, each leaf times the learning rate."""
    outputs = model.estimators_.shape[1]
    return TreeModel(
        trees=_flattened(model.estimators_.ravel().tolist(), scale=model.learning_rate),
        outputs=outputs,
        initial=_initial(model, outputs),
        link=_link(model, outputs),
    )


def _histogram_boosting(model: Any) -> TreeModel:
    """Histogram-based boosting: its leaves have the learning rate in them already, and it compares in double."""
    stages = model._predictors
    if getattr(model, "_preprocessor", None) is not None:
        raise NotExportable("it encodes categories itself")
    if any((tree.nodes["is_categorical"] != 0).any() for stage in stages for tree in stage):
        raise NotExportable("splits on categories")
    if not hasattr(model, "classes_") and model.loss not in ("squared_error", "absolute_error", "quantile"):
        raise NotExportable(f"the values of the loss {model.loss!r}")
    outputs = len(stages[0])
    return TreeModel(
        trees=_numbered([_histogram_tree(tree.nodes) for stage in stages for tree in stage]),
        outputs=outputs,
        initial=np.asarray(model._baseline_prediction, dtype=np.float64).ravel(),
        link=_link(model, outputs),
        in_float32=False,
        classes_by_sum=False,
    )


def _link(model: Any, outputs: int) -> Link:
    if not hasattr(model, "classes_"):
        return "identity"
    if model.loss != "log_loss":
        raise NotExportable(f"the probabilities of the loss {model.loss!r}")
    return "logistic" if outputs == 1 else "softmax"


def _initial(model: Any, outputs: int) -> np.ndarray:
    if isinstance(model.init_, str):  # "zero"
        return np.zeros(outputs)
    if not type(model.init_).__name__.startswith("Dummy"):
        raise NotExportable("the initial scores come from a model of their own")
    scores: np.ndarray = model._raw_predict_init(np.zeros((1, model.n_features_in_), dtype=np.float32))
    return np.asarray(scores[0])


class _Tree(msgspec.Struct, frozen=True):
    """One tree's nodes; `values` of shape (nodes, outputs)."""

    leaf: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    missing_left: np.ndarray
    left: np.ndarray
    right: np.ndarray
    values: np.ndarray
    depth: int


def _flattened(members: Sequence[Any], scale: float) -> Trees:
    """The trees of fitted `DecisionTree…` members, values times `scale`."""
    # A forest of several targets has a class list for each, which no contract here describes.
    if any(member.tree_.n_outputs != 1 for member in members):
        raise NotExportable("several targets")
    return _numbered([_tree(member.tree_, scale) for member in members])


def _tree(tree: Any, scale: float) -> _Tree:
    return _Tree(
        leaf=tree.children_left < 0,
        feature=tree.feature,
        threshold=tree.threshold,
        missing_left=tree.missing_go_to_left.astype(bool),
        left=tree.children_left,
        right=tree.children_right,
        values=tree.value[:, 0, :] * scale,
        depth=tree.max_depth,
    )


def _histogram_tree(nodes: np.ndarray) -> _Tree:
    return _Tree(
        leaf=nodes["is_leaf"].astype(bool),
        feature=nodes["feature_idx"],
        threshold=nodes["num_threshold"],
        missing_left=nodes["missing_go_to_left"].astype(bool),
        left=nodes["left"].astype(np.int64),
        right=nodes["right"].astype(np.int64),
        values=nodes["value"][:, np.newaxis],
        depth=int(nodes["depth"].max()),
    )


def _numbered(trees: Sequence[_Tree]) -> Trees:
    """The trees in one numbering of all nodes; a leaf becomes its own child."""
    roots = np.cumsum([0, *(len(tree.leaf) for tree in trees[:-1])])
    leaf = np.concatenate([tree.leaf for tree in trees])
    own = np.arange(len(leaf))
    left = np.concatenate([tree.left + root for tree, root in zip(trees, roots, strict=True)])
    right = np.concatenate([tree.right + root for tree, root in zip(trees, roots, strict=True)])
    return Trees(
        feature=np.where(leaf, 0, np.concatenate([tree.feature for tree in trees])).astype(np.int32),
        threshold=np.where(leaf, np.inf, np.concatenate([tree.threshold for tree in trees])),
        # At a leaf every value goes left, to the leaf itself: threshold infinite, missing left.
        missing_left=np.concatenate([tree.missing_left for tree in trees]) | leaf,
        children=np.stack([np.where(leaf, own, left), np.where(leaf, own, right)], axis=1).ravel().astype(np.int32),
        values=np.concatenate([tree.values for tree in trees]),
        roots=roots.astype(np.int32),
        depth=max(tree.depth for tree in trees),
    )


_EXPORTS: dict[str, Callable[[Any], TreeModel]] = {
    **{
        f"{family}{task}": _forest
        for family in ("RandomForest", "ExtraTrees", "DecisionTree", "ExtraTree")
        for task in ("Classifier", "Regressor")
    },
    "GradientBoostingClassifier": _boosting,
    "GradientBoostingRegressor": _boosting,
    "HistGradientBoostingClassifier": _histogram_boosting,
    "HistGradientBoostingRegressor": _histogram_boosting,
}


_OPSETS = {"": 17, "ai.onnx.ml": 3}
# The one of opset 17, and not the `onnx` package's newest, which the installed ONNX Runtime may refuse.
_IR_VERSION = 8


def tree_graph(model: TreeModel, features: int) -> bytes:
    """The serialised graph: `rows` (n, features) to `answer`, one number per output or class, in double.

    The rows' type rounds them as scikit-learn does before a comparison; thresholds and sums are in double. The
    operator outputs float32, so a probability is within 6e-8 of the exact one.
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
    """The nodes from raw sums to the answer, in the arithmetic of scikit-learn's losses; none for the identity."""
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
    """The weight that each leaf adds to each output; zeros, which most of a pure leaf's values are, are left out."""
    trees, tree = model.trees, _tree_of(model)
    leaf = trees.children[::2] == np.arange(len(trees.feature))
    present = leaf[:, np.newaxis] & (trees.values != 0)
    present[:, 0] |= leaf & ~present.any(axis=1)  # the operator needs a weight to recognise a leaf
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
