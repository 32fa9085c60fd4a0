"""The data sets that come with scikit-learn, read from disk."""

from __future__ import annotations

import msgspec
from sklearn import datasets

from app.training.columns import Column, numeric

_SETS = {
    "iris": (datasets.load_iris, "species"),
    "wine": (datasets.load_wine, "cultivar"),
    "digits": (datasets.load_digits, "digit"),
    "breast_cancer": (datasets.load_breast_cancer, "diagnosis"),
}
NAMES = tuple(_SETS)


class Loaded(msgspec.Struct, frozen=True):
    """A built-in set: the target holds class ids, `classes` their names by id."""

    columns: tuple[Column, ...]
    target: Column
    classes: tuple[str, ...]


def load(name: str) -> Loaded:
    """The built-in set of that name (one of `NAMES`)."""
    read, target = _SETS[name]
    bunch = read()
    return Loaded(
        columns=tuple(numeric(column, bunch.data[:, index]) for index, column in enumerate(bunch.feature_names)),
        target=numeric(target, bunch.target),
        classes=tuple(str(label) for label in bunch.target_names),
    )
