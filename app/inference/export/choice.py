"""Choose the runtime of a version: ONNX if it gives scikit-learn's answers, else scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from app.domain.contract import FeatureContract
from app.domain.manifest import Parity
from app.domain.prediction import Outputs
from app.inference.builder import PLAN, onnx_runtime
from app.inference.estimators import parts_of, splits_text
from app.inference.export.conversion import Candidate, candidates_for, files_of
from app.inference.export.parity import Standard, measure, not_measured
from app.inference.plan import RuntimePlan, encoded_plan
from app.inference.sklearn_runtime import may_ask_once
from app.services.boundaries import attempt
from app.services.ports import Runtime


class ChosenRuntime(msgspec.Struct, frozen=True):
    """The runtime's name, its files beside the estimator's, and the comparison that decided."""

    runtime: str
    files: Mapping[str, bytes]
    parity: Parity


def choose(estimator: Any, contract: FeatureContract, standard: Standard, original: Runtime) -> ChosenRuntime:
    """The first candidate with parity, else scikit-learn. The reason tells which conversion failed and why."""
    parity = not_measured(standard, "no conversion is known for it")
    for candidate in candidates_for(estimator, contract):
        converted = attempt(_converted, candidate, contract, standard, original)
        if isinstance(converted, Exception):
            reason = f"{_described(candidate)}: {type(converted).__name__}: {_first_line(converted)}"
            parity = not_measured(standard, reason)
            continue
        if converted.parity.holds:
            return converted
        parity = msgspec.structs.replace(converted.parity, reason=f"{_described(candidate)}: {converted.parity.reason}")
    return by_sklearn(estimator, contract, standard, parity)


def by_sklearn(estimator: Any, contract: FeatureContract, standard: Standard, parity: Parity) -> ChosenRuntime:
    """scikit-learn's runtime; it asks the estimator once for a row if its answers to `standard` stay the same."""
    asks_once = attempt(may_ask_once, estimator, contract, standard.rows, standard.outputs) is True
    files = {PLAN: encoded_plan(RuntimePlan(asks_once=True))} if asks_once else {}
    return ChosenRuntime(runtime="sklearn", files=files, parity=parity)


def _converted(candidate: Candidate, contract: FeatureContract, standard: Standard, original: Runtime) -> ChosenRuntime:
    """The candidate with its measured parity. Raises whatever the converter or ONNX Runtime raises."""
    files = files_of(candidate, candidate.convert())
    parity = measure(onnx_runtime("candidate", contract, files, lambda: original), standard)
    return ChosenRuntime(runtime="onnx", files=files, parity=parity)


def only_by_sklearn(estimator: Any, contract: FeatureContract, outputs: Outputs) -> str | None:
    """Why no conversion is tried for the estimator, whose answers have the form of `outputs`; None if one may be."""
    # Nothing can be measured over texts that clients may send: each library has its own rules for what a word is.
    if any(map(splits_text, parts_of(estimator))):
        return "it splits text into words, which only scikit-learn does by scikit-learn's rules"
    if any(feature.is_text for feature in contract.features):
        names = ", ".join(feature.name for feature in contract.features if feature.is_text)
        return f"it reads texts or dates ({names}), and no sample of them shows what a conversion does with others"
    if contract.task == "regression":
        return None
    # Near-ties show in probabilities only; without them a flipped class would go unnoticed (ADR 0002).
    if outputs.probabilities is None:
        return "it answers without probabilities, so that near-ties cannot be detected"
    return "it has a single class" if len(contract.classes) < 2 else None


def _described(candidate: Candidate) -> str:
    return f"as a graph in {'double' if candidate.plan.dtype == 'float64' else 'float'}"


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason given")
