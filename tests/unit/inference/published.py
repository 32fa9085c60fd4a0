"""Contracts, drafts and fitted models for the tests of `app.inference`."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from sklearn import datasets
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from app.domain.contract import Feature, FeatureContract
from app.domain.manifest import FileSum, ReferenceManifest, Source
from app.domain.manifest import Manifest as Manifest
from app.inference.publication import VersionDraft
from app.inference.registry import ModelRegistry
from app.inference.retirement import RetiredTable
from tests import builders

KEY = b"k" * 32
VARIANTS = {
    "deep_forest": lambda: RandomForestClassifier(100, random_state=0),
    "shallow_wide": lambda: RandomForestClassifier(100, max_depth=3, random_state=0),
    "conservative": lambda: RandomForestClassifier(100, min_samples_leaf=5, max_samples=0.7, random_state=0),
    "logistic_regression": lambda: make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
    "gradient_boosting": lambda: GradientBoostingClassifier(random_state=0),
}


class Doubled(BaseEstimator, TransformerMixin):
    """A transformer that no converter knows."""

    def fit(self, x, y=None):
        self.n_features_in_ = x.shape[1]
        return self

    def transform(self, x):
        return np.asarray(x) * 2


def data(name: str) -> tuple[np.ndarray, np.ndarray]:
    """The rows and the targets of a built-in data set."""
    return getattr(datasets, f"load_{name}")(return_X_y=True)


def numeric_contract(rows: np.ndarray, classes: int = 0) -> FeatureContract:
    """A contract of numeric features over the ranges of `rows`; `classes` 0 is a regression."""
    low, high = np.nanmin(rows, axis=0).tolist(), np.nanmax(rows, axis=0).tolist()
    missing = np.isnan(rows).any(axis=0).tolist()
    return FeatureContract(
        task="classification" if classes else "regression",
        target="target",
        features=tuple(
            Feature(name=f"f{i}", minimum=low[i], maximum=high[i], median=low[i], nullable=missing[i])
            for i in range(rows.shape[1])
        ),
        classes=tuple(f"class_{i}" for i in range(classes)),
    )


def draft(rows: np.ndarray, contract: FeatureContract, version: str | None = None) -> VersionDraft:
    """A draft with made-up figures, measured on `rows`."""
    examples = tuple(tuple(None if value != value else value for value in row) for row in rows[:2].tolist())
    return VersionDraft(
        version=version,
        variant="test",
        contract=contract,
        source=Source(dataset="test", target="target", rows=len(rows), sha256="0" * 64),
        metrics={"holdout": {"accuracy": np.float64(0.9)}},
        data_report={},
        reference=b"{}",
        training_rows=rows,
        examples=examples,
    )


def manifest() -> Manifest:
    """A manifest before it is published."""
    contract = numeric_contract(np.zeros((1, 2)), 2)
    return builders.manifest(contract=contract, version="", ordinal=0, estimator="Nothing", runtime="sklearn")


def reference_manifest(number: int = 1, version: str = "v1", **changes: object) -> ReferenceManifest:
    """The manifest of a later reference of a version; it counts from `number` seconds after a fixed time on."""
    values = {
        "version": version,
        "ordinal": 1,
        "model": "a" * 64,
        "number": number,
        "created_at": "2023-11-14T22:13:00Z",
        "counts_from_us": 1_700_000_000_000_000 + number * 1_000_000,
        "reference_is": "holdout",
        "rows": 60,
        "source": Source(dataset="rows.csv", target="y", rows=60, sha256="d" * 64),
        "libraries": {},
        "files": {"reference.json": FileSum(sha256="e" * 64, bytes=10)},
    }
    return ReferenceManifest(**{**values, **changes})


def uniform_rows(rows: np.ndarray, count: int, seed: int = 7) -> np.ndarray:
    """Random rows within the ranges of `rows`."""
    return np.random.default_rng(seed).uniform(rows.min(axis=0), rows.max(axis=0), (count, rows.shape[1]))


def retire(registry: ModelRegistry, versions: Collection[str], by: str, note: str | None, at: str) -> None:
    """Retire the versions, as the command does."""
    with registry.storage.writing():
        table = RetiredTable(registry)
        done = table.retire(lambda _retired: versions)
        table.write(retired=done.changed, by=by, note=note, at=at)
        registry.unpoint(done.changed)


def restore(registry: ModelRegistry, versions: Collection[str]) -> None:
    """Take the versions back into service, as the command does."""
    with registry.storage.writing():
        table = RetiredTable(registry)
        table.restore(versions)
        table.write(restored=versions, by="", note=None, at="")
