"""The candidates for serving an estimator by ONNX Runtime, best first; parity decides which of them is used.

A candidate is a plan, the conversion to its graph, and what settles its near-ties: exported arrays if the model's
arithmetic is repeated here, else the estimator itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from io import BytesIO
from typing import Any

import msgspec
import numpy as np
from onnx import TensorProto, ValueInfoProto, helper

from app.domain.contract import FeatureContract
from app.inference.builder import GRAPH, PLAN, SETTLEMENT
from app.inference.estimators import by_scikit_learn, unwrapped
from app.inference.export.boosting import boosting_graph, is_boosting
from app.inference.export.graphs import ROWS, Rows, by_skl2onnx, keep_last_output
from app.inference.export.members import is_joined, joined_graph
from app.inference.export.steps import split_pipeline
from app.inference.export.trees import TreeModel, tree_graph, tree_model
from app.inference.fitted_inputs import fitted_names
from app.inference.plan import Layout, NotExportable, RuntimePlan, Settling, Step, encoded_plan

_LINEAR = ("LogisticRegression", "LogisticRegressionCV")


class Settlement(msgspec.Struct, frozen=True):
    """The way of settling a model's near-ties and its arrays, none if the estimator settles them itself."""

    kind: Settling
    arrays: Mapping[str, np.ndarray]


NO_SETTLEMENT = Settlement(kind="none", arrays={})
BY_ESTIMATOR = Settlement(kind="estimator", arrays={})


def settlement_of(model: Any, trees: TreeModel | None) -> Settlement:
    """The settlement of a classifier from exported arrays if there is one, else by the estimator."""
    if trees is not None and trees.classes_by_sum:
        return _of_trees(trees)
    if by_scikit_learn(model, *_LINEAR):
        return Settlement(kind="linear", arrays={"coefficients": model.coef_, "intercept": model.intercept_})
    return BY_ESTIMATOR


def _of_trees(model: TreeModel) -> Settlement:
    arrays = model.trees.arrays()
    if model.initial is None:
        return Settlement(kind="mean_of_trees", arrays=arrays)
    return Settlement(kind="sum_of_trees", arrays={**arrays, "initial": model.initial})


_TYPES = ("float64", "float32")


class Candidate(msgspec.Struct, frozen=True):
    """A plan, a function that makes its graph (and may raise anything), and what settles its near-ties."""

    plan: RuntimePlan
    convert: Callable[[], bytes]
    settlement: Settlement


def candidates_for(estimator: Any, contract: FeatureContract) -> Iterator[Candidate]:
    """The candidates: the model alone after steps repeated in NumPy, then the whole estimator as one graph.

    Double before float, because a graph in double stays within 1e-7 however many terms it sums.
    """
    estimator = unwrapped(estimator)
    try:
        steps, model = split_pipeline(estimator)
    except NotExportable:
        steps, model = None, None
    if steps is not None and (steps or contract.all_numeric or is_boosting(model)):
        yield from _prepared(steps, model, contract)
    if (steps != () or not contract.all_numeric) and not is_boosting(estimator):
        settlement = NO_SETTLEMENT if contract.task == "regression" else BY_ESTIMATOR
        for layout in _layouts(estimator, contract):
            yield from _in_both_types(RuntimePlan(layout=layout), estimator, contract, settlement)


def _prepared(steps: tuple[Step, ...], model: Any, contract: FeatureContract) -> Iterator[Candidate]:
    trees = tree_model(model)
    settlement = NO_SETTLEMENT if contract.task == "regression" else settlement_of(model, trees)
    rounds = trees is not None and trees.in_float32
    plan = RuntimePlan(preparation=steps, rounds_to_float32=rounds, settling=settlement.kind)
    if trees is not None:
        typed = msgspec.structs.replace(plan, dtype="float32" if rounds else "float64")
        yield Candidate(plan=typed, convert=partial(tree_graph, trees, model.n_features_in_), settlement=settlement)
    if is_boosting(model):
        typed = msgspec.structs.replace(plan, dtype="float32")
        yield Candidate(plan=typed, convert=partial(_boosting, model), settlement=settlement)
        return
    yield from _in_both_types(plan, model, contract, settlement)


def _boosting(model: Any) -> bytes:
    graph = boosting_graph(model)
    keep_last_output(graph.graph)
    return bytes(graph.SerializeToString())


def _layouts(estimator: Any, contract: FeatureContract) -> tuple[Layout, ...]:
    """The layouts to try: strings need one input per column, steps that name columns may; one matrix is faster."""
    if not contract.all_numeric:
        return ("columns",)
    return ("matrix", "columns") if hasattr(estimator, "feature_names_in_") else ("matrix",)


def files_of(candidate: Candidate, graph: bytes) -> dict[str, bytes]:
    """The artefact's files for ONNX Runtime, by name: graph, plan and, if there are any, the settlement's arrays."""
    files = {GRAPH: graph, PLAN: encoded_plan(candidate.plan)}
    if candidate.settlement.arrays:
        packed = BytesIO()
        np.savez_compressed(packed, allow_pickle=False, **candidate.settlement.arrays)
        files[SETTLEMENT] = packed.getvalue()
    return files


def _in_both_types(
    plan: RuntimePlan, model: Any, contract: FeatureContract, settles: Settlement
) -> Iterator[Candidate]:
    double = msgspec.structs.replace(plan, settling=settles.kind)
    if is_joined(model):
        yield Candidate(plan=double, convert=partial(_joined, model, double, contract), settlement=settles)
    for dtype in _TYPES:
        typed = msgspec.structs.replace(double, dtype=dtype)
        yield Candidate(plan=typed, convert=partial(_graph, model, typed, contract), settlement=settles)


def _graph(model: Any, plan: RuntimePlan, contract: FeatureContract) -> bytes:
    """The model as an ONNX graph of a single output: the probabilities, or the values of a regression."""
    made = by_skl2onnx(model, _inputs(model, plan, contract), has_classes=contract.task == "classification")
    return bytes(made.SerializeToString())


def _inputs(model: Any, plan: RuntimePlan, contract: FeatureContract) -> list[tuple[str, Any]]:
    """The graph's inputs as skl2onnx takes them: one matrix, or the columns under the names that the model has."""
    # Deferred: slow to import, and not needed for trees.
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, StringTensorType

    number = DoubleTensorType if plan.dtype == "float64" else FloatTensorType
    if plan.layout == "matrix":
        return [(ROWS, number([None, model.n_features_in_]))]
    names = fitted_names(model) or contract.names
    kinds = [number if feature.kind == "numeric" else StringTensorType for feature in contract.features]
    return [(name, kind([None, 1])) for name, kind in zip(names, kinds, strict=True)]


def _joined(model: Any, plan: RuntimePlan, contract: FeatureContract) -> bytes:
    """The graph of a model that is made of others, in double."""
    types = _inputs(model, plan, contract)
    columns = plan.layout == "columns"
    rows = Rows({name: name for name, _ in types}, tuple(types) if columns else None)
    return bytes(
        joined_graph(
            model, rows, [_as_onnx(name, kind) for name, kind in types], max(1, len(contract.classes))
        ).SerializeToString()
    )


def _as_onnx(name: str, kind: Any) -> ValueInfoProto:
    is_text = type(kind).__name__ == "StringTensorType"
    return helper.make_tensor_value_info(name, TensorProto.STRING if is_text else TensorProto.DOUBLE, kind.shape)
