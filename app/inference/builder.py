"""Build a runtime from an artefact's files.

Publishing and serving both use these functions, so that parity is measured on what will answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import BytesIO

import numpy as np

from app.domain.contract import FeatureContract
from app.inference.estimators import forget_names
from app.inference.model_files import ESTIMATOR as ESTIMATOR
from app.inference.model_files import GRAPH as GRAPH
from app.inference.model_files import PLAN as PLAN
from app.inference.model_files import estimator_of, graph_runtime, is_graph_file
from app.inference.near_ties import settler_of
from app.inference.onnx_runtime import OnnxClassifier, OnnxRegressor, open_graph
from app.inference.plan import decoded_plan
from app.inference.sklearn_runtime import SklearnRuntime
from app.services.ports import Runtime

SETTLEMENT = "settle.npz"


def onnx_runtime(
    version: str, contract: FeatureContract, files: Mapping[str, bytes], original: Callable[[], Runtime]
) -> Runtime:
    """The runtime that `model.onnx`, `plan.json` and `settle.npz` describe.

    `original` gives the estimator's own runtime. It is called now and not in a request, and only if the plan has the
    estimator settle near-ties. Raises whatever the libraries raise for files that they cannot use.
    """
    plan = decoded_plan(files[PLAN])
    graph = open_graph(files[GRAPH], plan, contract)
    if contract.task == "regression":
        return OnnxRegressor(version, graph)
    settle = settler_of(plan.settling, _arrays(files), graph.matrix) or original().predict
    return OnnxClassifier(version, graph, settle, len(contract.classes))


def sklearn_runtime(version: str, contract: FeatureContract, files: Mapping[str, bytes]) -> Runtime:
    """The runtime of the original model, loaded from bytes whose checksum the caller has verified."""
    if is_graph_file(files):
        return graph_runtime(version, contract, files)
    estimator = estimator_of(files)
    # Nobody else has this copy. Publishing compares with the estimator as it was fitted.
    if contract.all_numeric:
        forget_names(estimator)
    asks_once = PLAN in files and decoded_plan(files[PLAN]).asks_once
    return SklearnRuntime(version, estimator, contract, asks_once=asks_once)


def _arrays(files: Mapping[str, bytes]) -> dict[str, np.ndarray]:
    if SETTLEMENT not in files:
        return {}
    with np.load(BytesIO(files[SETTLEMENT]), allow_pickle=False) as packed:
        return {name: packed[name] for name in packed.files}
