"""The file that holds a version's model, as it was given: a pickle, a skops file or an ONNX graph."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from io import BytesIO
from typing import Any

from app.domain.contract import FeatureContract
from app.domain.manifest import MODEL_FILES, Manifest
from app.errors import BakeoffError
from app.inference.graph_file import GRAPH_FACTS, GraphFile, GraphModel, GraphRuntime, decoded_facts
from app.inference.own_code import code_of
from app.inference.pickle_facts import pickle_facts
from app.inference.plan import decoded_plan

(ESTIMATOR, SKOPS, GRAPH), PLAN = MODEL_FILES, "plan.json"
# What every installation has.
_BASE = frozenset({"scikit-learn", "numpy", "scipy", "joblib", "pandas", "threadpoolctl", "skops"})


class MissingLibrary(BakeoffError):
    """The model cannot be loaded here, because a package that it needs is not installed."""


def estimator_of(files: Mapping[str, bytes]) -> Any:
    """The model in a version's files, with the methods of an estimator.

    Unpickling runs code: pass only bytes that were verified, that were just written, or whose source is trusted.
    Raises `MissingLibrary`, `DataRefused` for a skops file, and whatever the libraries raise.
    """
    if ESTIMATOR in files:
        return unpickled(files[ESTIMATOR], files)
    if SKOPS in files:
        from app.inference.skops_file import read_skops  # deferred: it brings scikit-learn with it

        return read_skops(files[SKOPS])
    return GraphModel(graph_file(files))


def unpickled(data: bytes, files: Mapping[str, bytes] | None = None) -> Any:
    """The object in a pickle's bytes, joblib's or plain, with the modules of its own that are among `files`."""
    import joblib  # deferred: it brings scikit-learn with it, which versions on ONNX do not need

    with code_of(files or {}).importable():
        return joblib.load(BytesIO(data))


def is_graph_file(files: Mapping[str, bytes]) -> bool:
    """Whether the version was published from an ONNX file, and has no estimator."""
    return GRAPH_FACTS in files


def graph_file(files: Mapping[str, bytes]) -> GraphFile:
    """The graph of a version that was published from an ONNX file."""
    return GraphFile(files[GRAPH], decoded_facts(files[GRAPH_FACTS]))


def graph_runtime(version: str, contract: FeatureContract, files: Mapping[str, bytes]) -> GraphRuntime:
    """The runtime of such a version."""
    return GraphRuntime(version, graph_file(files), contract)


def loads_model(manifest: Manifest, files: Mapping[str, bytes]) -> bool:
    """Whether serving the version loads its model file, and so needs the libraries that it names."""
    if manifest.runtime == "sklearn":
        return True
    if PLAN not in files or manifest.contract.task == "regression":
        return False
    return decoded_plan(files[PLAN]).settling in ("none", "estimator")


def requirements_of(files: Mapping[str, bytes]) -> dict[str, str]:
    """The installed packages, beyond those that every installation has, that loading the model needs; with versions."""
    if ESTIMATOR in files:
        modules = set(pickle_facts(files[ESTIMATOR]).packages)
    else:
        modules = {"skops"} if SKOPS in files else set()
    code = code_of(files)
    modules |= code.imported()
    packages = importlib.metadata.packages_distributions()
    found = {package for module in modules - code.names for package in packages.get(module, ())[:1]}
    return {package: importlib.metadata.version(package) for package in sorted(found - _BASE)}


def missing_libraries(manifest: Manifest, files: Mapping[str, bytes]) -> tuple[str, ...]:
    """The packages, with their versions of then, that serving the version needs and that are not installed here.

    None where a graph serves it and the model file is not loaded.
    """
    if not manifest.requires or not loads_model(manifest, files):
        return ()
    return tuple(f"{package} {version}" for package, version in manifest.requires.items() if not _is_installed(package))


def require_libraries(manifest: Manifest, files: Mapping[str, bytes]) -> None:
    """Raise `MissingLibrary` where serving the version loads the model and a package that it needs is not installed."""
    missing = missing_libraries(manifest, files)
    if missing:
        raise MissingLibrary(f"needs {', '.join(missing)}, not installed here: install that where the API runs")


def _is_installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
