"""Choose the runtime of a version: ONNX if it gives scikit-learn's answers, else scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from app.domain.contract import FeatureContract
from app.domain.manifest import Parity
from app.inference.builder import onnx_runtime
from app.inference.export.conversion import Candidate, candidates_for, files_of
from app.inference.export.parity import Standard, measure, not_measured
from app.services.boundaries import attempt
from app.services.ports import Runtime


class ChosenRuntime(msgspec.Struct, frozen=True):
    """The runtime's name, its files beside the estimator's, and the comparison that decided."""

    runtime: str
    files: Mapping[str, bytes]
    parity: Parity


def choose(estimator: Any, contract: FeatureContract, standard: Standard, original: Runtime) -> ChosenRuntime:
    """The first candidate with parity, else scikit-learn. The reason tells which conversion failed and why."""
    reason = _never_by_onnx(contract, standard)
    parity = not_measured(standard, reason or "no conversion is known for it")
    if reason is not None:
        return ChosenRuntime(runtime="sklearn", files={}, parity=parity)
    for candidate in candidates_for(estimator, contract):
        converted = attempt(_converted, candidate, contract, standard, original)
        if isinstance(converted, Exception):
            reason = f"{_described(candidate)}: {type(converted).__name__}: {_first_line(converted)}"
            parity = not_measured(standard, reason)
            continue
        if converted.parity.holds:
            return converted
        parity = msgspec.structs.replace(converted.parity, reason=f"{_described(candidate)}: {converted.parity.reason}")
    return ChosenRuntime(runtime="sklearn", files={}, parity=parity)


def _converted(candidate: Candidate, contract: FeatureContract, standard: Standard, original: Runtime) -> ChosenRuntime:
    """The candidate with its measured parity. Raises whatever the converter or ONNX Runtime raises."""
    files = files_of(candidate, candidate.convert())
    parity = measure(onnx_runtime("candidate", contract, files, lambda: original), standard)
    return ChosenRuntime(runtime="onnx", files=files, parity=parity)


def _never_by_onnx(contract: FeatureContract, standard: Standard) -> str | None:
    if contract.task == "regression":
        return None
    # Near-ties show in probabilities only; without them a flipped class would go unnoticed (ADR 0002).
    if standard.outputs.probabilities is None:
        return "it answers without probabilities, so that near-ties cannot be detected"
    return "it has a single class" if len(contract.classes) < 2 else None


def _described(candidate: Candidate) -> str:
    return f"as a graph in {'double' if candidate.plan.dtype == 'float64' else 'float'}"


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason given")
