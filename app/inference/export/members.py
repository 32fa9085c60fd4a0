"""Models made of other models as one ONNX graph, in double: calibrated, voting and stacking ones, searches, pipelines.

skl2onnx knows them only around some of its own converters, in float and not around a pipeline. Here every member has
the best graph that is known for it; what the members answer is put together by scikit-learn's rule. Whether that was
done rightly is for parity to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import numpy as np
import onnx

from app.inference.estimators import by_scikit_learn, library_of, unwrapped
from app.inference.export.boosting import boosting_graph, is_boosting, lightgbm_scores
from app.inference.export.graphs import ROWS, JoinedGraph, Rows, by_skl2onnx
from app.inference.export.trees import tree_graph, tree_model
from app.inference.plan import NotExportable


def is_joined(estimator: Any) -> bool:
    """Whether its graph is joined here from those of its members."""
    model = unwrapped(estimator)
    if by_scikit_learn(model, "Pipeline"):
        last = unwrapped(model.steps[-1][1])
        return is_joined(last) or is_boosting(last) or tree_model(last) is not None
    return by_scikit_learn(model, *_JOINED)


def joined_graph(model: Any, rows: Rows, inputs: list[onnx.ValueInfoProto], width: int) -> onnx.ModelProto:
    """The graph from `inputs` to `width` probabilities, or to the value. Raises `NotExportable`."""
    graph = JoinedGraph()
    return graph.finished(_answer(graph, model, rows), inputs, width)


def _answer(graph: JoinedGraph, model: Any, rows: Rows) -> str:
    """The probabilities of a classifier or the values of a regressor, shape (n, classes) or (n, 1)."""
    model = unwrapped(model)
    join = _JOINED.get(type(model).__name__) if by_scikit_learn(model) else None
    if join is not None:
        return join(graph, model, rows)
    if by_scikit_learn(model, "Pipeline"):
        return _answer(graph, model.steps[-1][1], _prepared(graph, model, rows))
    if is_boosting(model):
        return graph.include(boosting_graph(model), rows)
    trees = tree_model(model)
    if trees is not None:
        return graph.include(onnx.load_from_string(tree_graph(trees, model.n_features_in_)), rows)
    is_classifier = hasattr(model, "predict_proba")
    return graph.include(by_skl2onnx(model, rows.inputs_of(model), has_classes=is_classifier), rows)


def _prepared(graph: JoinedGraph, pipeline: Any, rows: Rows) -> Rows:
    """What the steps before a pipeline's model make of the rows."""
    if len(pipeline.steps) == 1:
        return rows
    before = pipeline[:-1]
    made = by_skl2onnx(before, rows.inputs_of(before), has_classes=False)
    return Rows({ROWS: graph.include(made, rows)})


def _scores(graph: JoinedGraph, model: Any, rows: Rows) -> str:
    """The decision function, shape (n, classes), of two classes (n, 1). Raises `NotExportable` for unknown ones."""
    model = unwrapped(model)
    if by_scikit_learn(model, "Pipeline"):
        return _scores(graph, model.steps[-1][1], _prepared(graph, model, rows))
    if by_scikit_learn(model, *_LINEAR):
        product = graph.add("MatMul", rows.matrix, graph.constant(model.coef_.T))
        return graph.add("Add", product, graph.constant(np.atleast_1d(model.intercept_)))
    if is_boosting(model) and library_of(model) == "lightgbm":
        return graph.include(lightgbm_scores(model), rows)
    trees = tree_model(model)
    if trees is None:
        raise NotExportable(f"the decision function of {type(model).__name__}")
    raw = msgspec.structs.replace(trees, link="identity")
    return graph.include(onnx.load_from_string(tree_graph(raw, model.n_features_in_)), rows)


_LINEAR = (
    "LogisticRegression",
    "LogisticRegressionCV",
    "LinearSVC",
    "SGDClassifier",
    "RidgeClassifier",
    "RidgeClassifierCV",
    "Perceptron",
    "LinearDiscriminantAnalysis",
)


def _calibrated(graph: JoinedGraph, model: Any, rows: Rows) -> str:
    members = [_calibrated_member(graph, member, rows) for member in model.calibrated_classifiers_]
    return _mean(graph, members, None)


def _calibrated_member(graph: JoinedGraph, member: Any, rows: Rows) -> str:
    classes = len(member.classes)
    if member.method not in _CALIBRATIONS or len(member.estimator.classes_) != classes:
        raise NotExportable(f"calibration by {member.method}, or of a class that a fold lacks")
    if hasattr(member.estimator, "decision_function"):
        scores = _scores(graph, member.estimator, rows)
    else:
        scores = _answer(graph, member.estimator, rows)
        scores = graph.column(scores, 1, 2) if classes == 2 else scores
    calibrate = _CALIBRATIONS[member.method]
    columns = [
        calibrate(graph, graph.column(scores, index, index + 1), calibrator)
        for index, calibrator in enumerate(member.calibrators)
    ]
    if classes == 2:
        return graph.add("Concat", graph.add("Sub", graph.constant(1.0), columns[0]), columns[0], axis=1)
    return _shares(graph, graph.add("Concat", *columns, axis=1), classes)


def _shares(graph: JoinedGraph, values: str, classes: int) -> str:
    """Each row divided by its sum; equal shares where that is zero."""
    total = graph.add("ReduceSum", values, graph.constant(np.array([1], dtype=np.int64)), keepdims=1)
    zero = graph.add("Equal", total, graph.constant(0.0))
    divided = graph.add("Div", values, graph.add("Where", zero, graph.constant(1.0), total))
    return graph.add("Where", zero, graph.constant(1.0 / classes), divided)


def _sigmoid(graph: JoinedGraph, scores: str, calibrator: Any) -> str:
    product = graph.add("Mul", scores, graph.constant(-calibrator.a_))
    return graph.add("Sigmoid", graph.add("Sub", product, graph.constant(calibrator.b_)))


def _isotonic(graph: JoinedGraph, scores: str, calibrator: Any) -> str:
    """A broken line: the first value and, for each piece, its slope times the way that was gone along it."""
    at = np.asarray(calibrator.X_thresholds_, dtype=np.float64)
    values = np.asarray(calibrator.y_thresholds_, dtype=np.float64)
    if len(at) < 2:
        raise NotExportable("an isotonic calibration of one value")
    widths = np.diff(at)
    # Shape (n, pieces): how far a score has come along each piece, at most to its end.
    gone = graph.add("Max", graph.add("Sub", scores, graph.constant(at[:-1])), graph.constant(0.0))
    gone = graph.add("Min", gone, graph.constant(widths))
    risen = graph.add("MatMul", gone, graph.constant((np.diff(values) / widths)[:, np.newaxis]))
    return graph.add("Add", risen, graph.constant(values[0]))


_CALIBRATIONS: dict[str, Callable[[JoinedGraph, str, Any], str]] = {"sigmoid": _sigmoid, "isotonic": _isotonic}


def _voting(graph: JoinedGraph, model: Any, rows: Rows) -> str:
    if getattr(model, "voting", "soft") != "soft":
        raise NotExportable("it counts votes")
    named = zip(model.estimators, _weights(model), strict=True)
    weights = [weight for (_, member), weight in named if not isinstance(member, str)]  # "drop"
    return _mean(graph, [_answer(graph, member, rows) for member in model.estimators_], weights)


def _weights(model: Any) -> list[float]:
    return [1.0] * len(model.estimators) if model.weights is None else [float(weight) for weight in model.weights]


def _mean(graph: JoinedGraph, members: list[str], weights: list[float] | None) -> str:
    shares = np.ones(len(members)) if weights is None else np.array(weights)
    weighted = [graph.add("Mul", member, graph.constant(share)) for member, share in zip(members, shares, strict=True)]
    return graph.add("Div", graph.add("Sum", *weighted), graph.constant(shares.sum()))


def _stacking(graph: JoinedGraph, model: Any, rows: Rows) -> str:
    columns = list(_stacked(graph, model, rows))
    if model.passthrough:
        columns.append(rows.matrix)
    return _answer(graph, model.final_estimator_, Rows({ROWS: graph.add("Concat", *columns, axis=1)}))


def _stacked(graph: JoinedGraph, model: Any, rows: Rows) -> Iterator[str]:
    classes = getattr(model, "classes_", ())
    for member, method in zip(model.estimators_, model.stack_method_, strict=True):
        if method == "decision_function":
            yield _scores(graph, member, rows)
        elif method == "predict" and len(classes):
            raise NotExportable("it stacks classes")
        else:
            answer = _answer(graph, member, rows)
            yield graph.column(answer, 1, 2) if len(classes) == 2 else answer


def _transformed(graph: JoinedGraph, model: Any, rows: Rows) -> str:
    inverse = _INVERSES.get(getattr(model, "inverse_func", None))
    if inverse is None or model.transformer is not None:
        raise NotExportable("the way back of its target")
    return inverse(graph, _answer(graph, model.regressor_, rows))


def _expm1(graph: JoinedGraph, values: str) -> str:
    return graph.add("Sub", graph.add("Exp", values), graph.constant(1.0))


_INVERSES: dict[Any, Callable[[JoinedGraph, str], str]] = {
    np.exp: lambda graph, values: graph.add("Exp", values),
    np.expm1: _expm1,
    np.square: lambda graph, values: graph.add("Mul", values, values),
    np.sqrt: lambda graph, values: graph.add("Sqrt", values),
}
_JOINED: dict[str, Callable[[JoinedGraph, Any, Rows], str]] = {
    "CalibratedClassifierCV": _calibrated,
    "VotingClassifier": _voting,
    "VotingRegressor": _voting,
    "StackingClassifier": _stacking,
    "StackingRegressor": _stacking,
    "TransformedTargetRegressor": _transformed,
}
