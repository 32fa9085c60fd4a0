"""Build a runtime from an artefact's files.

Publishing and serving both use these functions, so that parity is measured on what will answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any

import numpy as np

from app.domain.contract import FeatureContract
from app.inference.near_ties import settler_of
from app.inference.onnx_runtime import OnnxClassifier, OnnxRegressor, open_graph
from app.inference.plan import decoded_plan
from app.inference.sklearn_runtime import SklearnRuntime
from app.services.ports import Runtime

ESTIMATOR, GRAPH, PLAN, SETTLEMENT = "model.joblib", "model.onnx", "plan.json", "settle.npz"


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
    """The runtime of the original estimator, unpickled from bytes whose checksum the caller has verified."""
    return SklearnRuntime(version, unpickled(files[ESTIMATOR]), contract)


def unpickled(data: bytes) -> Any:
    """The object in a joblib file's bytes. Unpickling runs code: pass only bytes that were verified or just written."""
    import joblib  # deferred: it brings scikit-learn with it, which versions on ONNX do not need

    return joblib.load(BytesIO(data))


def _arrays(files: Mapping[str, bytes]) -> dict[str, np.ndarray]:
    if SETTLEMENT not in files:
        return {}
    with np.load(BytesIO(files[SETTLEMENT]), allow_pickle=False) as packed:
        return {name: packed[name] for name in packed.files}
