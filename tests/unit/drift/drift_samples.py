"""Contracts that several of the tests here share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from app.domain.contract import Feature, FeatureContract

Draw = Callable[[int], np.ndarray]
CLASSES = ("setosa", "versicolor", "virginica")


def numeric_contract(width: int) -> FeatureContract:
    names = ("length", "width", "height", "depth", "mass")
    features = tuple(Feature(name=name) for name in names[:width])
    return FeatureContract(task="classification", target="species", features=features, classes=CLASSES)
