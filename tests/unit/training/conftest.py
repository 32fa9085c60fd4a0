from pathlib import Path

import numpy as np
import pytest

from app.inference.registry import ModelRegistry
from app.training.columns import categorical, numeric
from app.training.dataset import Dataset


@pytest.fixture
def registry(tmp_path):
    return ModelRegistry(tmp_path / "models", b"k" * 32)


@pytest.fixture
def csv_of(tmp_path):
    """Write text (or bytes) as a CSV file and give its path."""

    def write(content, name="data.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.fixture
def dataset_of():
    """Two classes in 40 rows; `extra` columns are added to an informative number `x`."""

    def make(*extra, target=None):
        labels = ["no", "yes"] * 20 if target is None else target
        x = numeric("x", np.random.default_rng(5).normal(size=len(labels)).round(6))
        return Dataset(name="made up", columns=(x, *extra), target=categorical("y", labels))

    return make
