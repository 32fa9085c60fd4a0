"""Installations for `bench/serving.py`: Iris, larger ensembles, many versions, many features."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
from load import IRIS, Traffic
from servers import bakeoff, train
from sklearn.datasets import load_digits, make_classification
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

VERSIONS = 8


@dataclass(frozen=True)
class Installation:
    """A folder with models/ and data/, the joblib file of one of its versions, and rows for it."""

    folder: Path
    model: Path
    traffic: Traffic


def iris(folder: Path) -> Installation:
    """v1 and v2, as `bakeoff train` makes them."""
    train(folder)
    return Installation(folder, folder / "models" / "v1" / "model.joblib", IRIS)


def versions(folder: Path) -> Installation:
    """Eight versions of the forest on Iris, of which one answers and seven run in shadow."""
    made = iris(folder)
    for seed in range(VERSIONS - 2):
        bakeoff(folder, "train", "--variant", "deep_forest", "--seed", str(seed), "--min-accuracy", "0")
    return made


def forest(folder: Path) -> Installation:
    """500 trees of depth 20 on the digits: 64 features, 10 classes."""
    rows, labels = load_digits(return_X_y=True)

    def model(seed: int) -> RandomForestClassifier:
        return RandomForestClassifier(500, max_depth=20, random_state=seed, n_jobs=2)

    return _published(folder, model, rows, labels, decimals=0)


def boosting(folder: Path) -> Installation:
    """Gradient boosting of 200 trees on 100 features, 2 classes."""
    rows, labels = make_classification(6000, 100, n_informative=30, random_state=1)
    return _published(
        folder, lambda seed: HistGradientBoostingClassifier(max_iter=200, random_state=seed), rows, labels, decimals=2
    )


def wide(folder: Path) -> Installation:
    """A forest of 100 trees on 500 features, 2 classes."""
    rows, labels = make_classification(3000, 500, n_informative=50, random_state=1)
    return _published(
        folder, lambda seed: RandomForestClassifier(100, max_depth=8, random_state=seed), rows, labels, decimals=2
    )


def _published(
    folder: Path, model: Callable[[int], object], rows: np.ndarray, labels: np.ndarray, decimals: int
) -> Installation:
    """Two versions, fitted with different seeds on most of the rows; the others are their reference."""
    folder.mkdir(parents=True, exist_ok=True)
    rows, kept, holdout = rows.round(decimals), len(rows) * 3 // 4, folder / "holdout.csv"
    with holdout.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow([*(f"f{at}" for at in range(rows.shape[1])), "label"])
        out.writerows([*row, label] for row, label in zip(rows[kept:].tolist(), labels[kept:].tolist(), strict=True))
    for number in (1, 2):
        fitted = model(number).fit(rows[:kept], labels[:kept])
        if hasattr(fitted, "n_jobs"):
            fitted.n_jobs = 1  # the workers take all cores
        file_of_it = folder / f"v{number}.joblib"
        joblib.dump(fitted, file_of_it)
        words = ["--reference", str(holdout), "--target", "label", "--reference-is", "holdout"]
        bakeoff(folder, "publish", str(file_of_it), "--version", f"v{number}", *words)
    traffic = Traffic(rows.min(axis=0).tolist(), rows.max(axis=0).tolist(), decimals=decimals)
    return Installation(folder, folder / "v1.joblib", traffic)
