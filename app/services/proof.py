"""Prove a version by asking it for real: the only evidence of health that a flag cannot fake."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from app.domain.prediction import Outputs
from app.services.ports import Fleet, LoadedVersion
from app.services.typical import typical_row

_LONG_REASON = 200


def flaw_in(fleet: Fleet, name: str) -> str | None:
    """What is wrong with the answers of the version called `name`; None where nothing is."""
    version = fleet.versions.get(name)
    return "it is not served" if version is None else flaw_of(version)


def flaw_of(version: LoadedVersion) -> str | None:
    """What is wrong with the version's answers to its examples; None where nothing is."""
    try:
        examples = cast("Sequence[Sequence[Any]]", version.manifest.get("examples") or ())
        rows = version.parser.rows([list(row) for row in examples] or [typical_row(version.contract)])
        return _flaw_in(version.runtime.predict(rows), len(rows))
    except Exception as error:  # noqa: BLE001 - whatever a model raises is the finding
        return f"{type(error).__name__}: {error}"[:_LONG_REASON]


def _flaw_in(outputs: Outputs, rows: int) -> str | None:
    answers = outputs.class_ids if outputs.values is None else outputs.values
    if answers is None or len(answers) != rows:
        return f"{rows} rows were asked and {0 if answers is None else len(answers)} answered"
    for numbers in (outputs.values, outputs.probabilities):
        if numbers is not None and not bool(np.isfinite(numbers).all()):
            return "an answer is not a finite number"
    return None
