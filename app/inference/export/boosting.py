"""ONNX graphs of XGBoost, LightGBM and CatBoost, by onnxmltools or by the library's own export.

These libraries are extras (`requirements-boosting.txt`). The module of the estimator says which one it is, and so is
loaded already where one of these functions runs: nothing is imported here that may be absent, except onnxmltools.
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from app.inference.estimators import library_of
from app.inference.plan import NotExportable

# The newest opset that onnxmltools writes.
_OPSET = 15
_ADDED_IN_FLOAT = 5


def is_boosting(model: Any) -> bool:
    """Whether it is a model of one of these libraries itself; a subclass may compute something else."""
    return library_of(model) in _CONVERTERS


def boosting_graph(model: Any) -> onnx.ModelProto:
    """The graph of a fitted model: float32 rows (n, features) to labels and, last, probabilities or values.

    Raises `NotExportable` without onnxmltools, and whatever the converter raises for settings that it does not know.
    """
    made = _CONVERTERS[library_of(model)](model)
    _without_zipmap(made.graph)
    # CatBoost declares one dimension for values and gives two, which ONNX Runtime refuses for a bound output.
    made.graph.output[-1].type.tensor_type.ClearField("shape")
    return made


def _lightgbm(model: Any) -> onnx.ModelProto:
    if _takes_zeros_for_missing(model.booster_.model_to_string()):
        raise NotExportable("LightGBM takes zeros for missing values here (zero_as_missing), which no graph says")
    inputs = _inputs(model.n_features_in_)
    # A regression adds up a few trees at a time in float32, and these sums in double. A single sum is not converted.
    few = model.booster_.num_trees() <= _ADDED_IN_FLOAT
    split = None if few or hasattr(model, "predict_proba") else _ADDED_IN_FLOAT
    made: onnx.ModelProto = _tools("lightgbm").convert(
        model, initial_types=inputs, target_opset=_OPSET, zipmap=False, split=split
    )
    return made


def _takes_zeros_for_missing(text: str) -> bool:
    """Whether a split of the trees does, by LightGBM's text of them: bits 2 and 3 of a decision are 1 for zeros."""
    decisions = (line.partition("=")[2].split() for line in text.splitlines() if line.startswith("decision_type="))
    return any(int(decision) >> 2 & 3 == 1 for tree in decisions for decision in tree)


def lightgbm_scores(model: Any) -> onnx.ModelProto:
    """The graph of a LightGBM classifier's decision function: its trees' sums, shape (n, classes), of two (n, 1)."""
    made = _lightgbm(model)
    trees = next(node for node in made.graph.node if node.op_type == "TreeEnsembleClassifier")
    given = {attribute.name: helper.get_attribute_value(attribute) for attribute in trees.attribute}
    settings = {
        f"target_{name.removeprefix('class_')}" if name.startswith("class_") else name: value
        for name, value in given.items()
        if not name.startswith("classlabels") and name != "post_transform"
    }
    classes = len(model.classes_)
    sums = helper.make_node(
        "TreeEnsembleRegressor",
        list(trees.input),
        ["sums"],
        domain="ai.onnx.ml",
        **{**settings, "n_targets": classes if classes > 2 else 1},
    )
    output = helper.make_tensor_value_info("sums", TensorProto.FLOAT, None)
    graph = helper.make_graph([sums], "sums", list(made.graph.input), [output])
    return helper.make_model(graph, opset_imports=list(made.opset_import), ir_version=made.ir_version)


def _xgboost(model: Any) -> onnx.ModelProto:
    if "c" in (model.get_booster().feature_types or ()):
        raise NotExportable("onnxmltools reads XGBoost's splits on categories from models without names only")
    if not np.isnan(model.missing):
        raise NotExportable(f"XGBoost takes {model.missing!r} for a missing value here, which no graph says")
    # The converter reads column numbers off names of the form f0, f1: the copy forgets the names of the data frame.
    plain = copy.deepcopy(model)
    booster = plain.get_booster()
    booster.feature_names = booster.feature_types = None
    made: onnx.ModelProto = _tools("xgboost").convert(
        plain, initial_types=_inputs(model.n_features_in_), target_opset=_OPSET
    )
    for node in made.graph.node:
        if node.op_type == "TreeEnsembleRegressor":
            _begin_with_base(node)
    return made


def _begin_with_base(node: onnx.NodeProto) -> None:
    """Move the base value into the first tree: XGBoost begins its sum in float32 with it, the operator would end so."""
    attributes = {attribute.name: attribute for attribute in node.attribute}
    base = attributes.get("base_values")
    if base is None or len(base.floats) != 1:
        return
    (value,) = base.floats
    weights, trees = attributes["target_weights"], attributes["target_treeids"].ints
    begun = [
        float(np.float32(weight) + np.float32(value)) if tree == trees[0] else weight
        for weight, tree in zip(weights.floats, trees, strict=True)
    ]
    del weights.floats[:]
    weights.floats.extend(begun)
    node.attribute.remove(base)


def _tools(module: str) -> Any:
    try:
        return importlib.import_module(f"onnxmltools.convert.{module}")
    except ModuleNotFoundError as error:
        raise NotExportable(f"{error.name} is not installed: pip install -r requirements-boosting.txt") from error


def _inputs(features: int) -> list[Any]:
    types = _tools("common.data_types")
    return [("rows", types.FloatTensorType([None, features]))]


def _catboost(model: Any) -> onnx.ModelProto:
    if model.get_cat_feature_indices():
        raise NotExportable("CatBoost exports no graph of a model with categories")
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        model.save_model(str(path), format="onnx")
        return onnx.load(path)


_CONVERTERS: dict[str, Callable[[Any], onnx.ModelProto]] = {
    "lightgbm": _lightgbm,
    "xgboost": _xgboost,
    "catboost": _catboost,
}


def _without_zipmap(graph: onnx.GraphProto) -> None:
    """Replace a last output of maps, one from class to probability for each row, by the matrix that it is made of."""
    maps = next((node for node in graph.node if node.op_type == "ZipMap"), None)
    if maps is None:
        return
    graph.node.remove(maps)
    del graph.output[-1]
    graph.output.append(helper.make_tensor_value_info(maps.input[0], TensorProto.FLOAT, [None, None]))
