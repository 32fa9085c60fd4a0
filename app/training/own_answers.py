"""Ask a model that was fitted elsewhere, and find out with which missing values it copes."""

from __future__ import annotations

import numpy as np

from app.domain.contract import FeatureContract
from app.domain.prediction import Outputs
from app.errors import DataRefused
from app.training.evaluate import answers
from app.training.own_model import OwnModel


def ask(model: OwnModel, contract: FeatureContract, rows: np.ndarray) -> Outputs:
    """The model's answers to the rows. Raises `DataRefused` with its reason where it cannot answer."""
    try:
        return answers(model.estimator, contract, rows)
    except Exception as error:  # whatever a foreign model raises is the reason that is reported
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        raise DataRefused(f"the model cannot answer the reference rows: {reason}") from error


def copes_without(model: OwnModel, contract: FeatureContract, row: np.ndarray, column: int) -> bool:
    """Whether the model still answers `row`, shape (1, features), when the value in that column is missing."""
    lacking = row.copy()
    lacking[0, column] = np.nan if contract.features[column].kind == "numeric" else None
    try:
        ask(model, contract, lacking)
    except DataRefused:
        return False
    return True
