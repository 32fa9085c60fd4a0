"""A small reference to compare with, and traffic that is exchangeable with it."""

from __future__ import annotations

import numpy as np
import pytest

from app.domain.prediction import Outputs
from app.drift.reference import DriftReference, ReferenceAnswers, build_reference
from tests.unit.drift.drift_samples import Draw, numeric_contract


@pytest.fixture
def draw() -> Draw:
    """Rows of three features, the first two of them correlated."""
    chance = np.random.default_rng(7)
    mixing = np.array([[1.0, 0.9, 0.0], [0.0, 0.4, 0.0], [0.0, 0.0, 1.0]])
    return lambda rows: chance.normal(size=(rows, 3)) @ mixing


@pytest.fixture
def reference(draw: Draw) -> DriftReference:
    """200 rows, and 60 held-out answers of which 6 were wrong."""
    chance = np.random.default_rng(8)
    outputs = Outputs(class_ids=chance.integers(0, 3, 60), probabilities=chance.dirichlet([1, 1, 1], 60))
    return build_reference(numeric_contract(3), draw(200), seed=3, answers=ReferenceAnswers("holdout", outputs, 6))
