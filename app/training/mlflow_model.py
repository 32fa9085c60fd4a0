"""A version as a model of MLflow."""

from __future__ import annotations

import json
import pickle  # nosec B403 - writes, and reads nothing
import platform
from typing import Any

from app.clock import now_us
from app.domain.contract import FeatureContract
from app.domain.timestamps import iso_utc
from app.inference.artefact import Artefact
from app.inference.mlflow_server import MODEL_FOLDER, RunPlace
from app.inference.model_files import estimator_of


def model_files(artefact: Artefact, place: RunPlace) -> dict[str, bytes]:
    """The estimator as a model of MLflow's flavours `sklearn` and `python_function`, by file name.

    Source: https://mlflow.org/docs/latest/ml/model/, "Storage Format".
    """
    manifest = artefact.manifest
    packages = {"scikit-learn": "", "numpy": ""} | dict(manifest.requires)
    required = [f"{name}=={manifest.libraries.get(name) or packages[name]}" for name in packages]
    described = {
        "artifact_path": MODEL_FOLDER,
        "run_id": place.id,
        "utc_time_created": iso_utc(now_us()).replace("T", " ").rstrip("Z"),
        "flavors": {
            "python_function": {
                "loader_module": "mlflow.sklearn",
                "model_path": "model.pkl",
                "predict_fn": "predict",
                "env": {"virtualenv": "python_env.yaml"},
                "python_version": platform.python_version(),
            },
            "sklearn": {
                "pickled_model": "model.pkl",
                "serialization_format": "pickle",
                "sklearn_version": manifest.libraries.get("scikit-learn"),
                "code": None,
            },
        },
        "signature": {"inputs": json.dumps(_columns(manifest.contract)), "outputs": None, "params": None},
    }
    environment = {
        "python": platform.python_version(),
        "build_dependencies": ["pip"],
        "dependencies": ["-r requirements.txt"],
    }
    return {
        # Plain, because MLflow does not read joblib's own form of arrays.
        "model.pkl": pickle.dumps(estimator_of(artefact.files)),
        "requirements.txt": "".join(f"{line}\n" for line in [*required, "pandas"]).encode(),
        # JSON is YAML.
        "python_env.yaml": json.dumps(environment, indent=2).encode(),
        "MLmodel": json.dumps(described, indent=2).encode(),
    }


def _columns(contract: FeatureContract) -> list[dict[str, Any]]:
    """The columns of MLflow's signature, by the names that the estimator was fitted with."""
    return [
        {
            "type": "double" if feature.kind == "numeric" else "string",
            "name": feature.name,
            "required": not feature.nullable,
        }
        for feature in contract.features
    ]
