"""The feature contract: the features of a row that a model answers, and its classes."""

from __future__ import annotations

import keyword
import re
from typing import Literal

import msgspec

FeatureKind = Literal["numeric", "categorical"]
Task = Literal["classification", "regression"]

# Also the name of a folder and a label of metrics: nothing that either would have to escape.
VERSION_NAME = re.compile(r"[a-z0-9_]{1,64}")


class Feature(msgspec.Struct, frozen=True, omit_defaults=True):
    """One column that the model reads.

    `minimum`, `maximum` and `median` describe the training values of a numeric feature; `categories` lists those of a
    categorical one, in the order of the reference. `nullable`: the reference column had missing values.
    `open_categories`: the pipeline accepts categories it has not seen. `choices` are the only numbers that a numeric
    feature may have, if the pipeline encodes them as categories and fails on others. `source_name` is the column's
    name in the training data, where it was changed. `boolean`: a numeric feature whose values are false (0) and true
    (1) in the training data.
    """

    name: str
    kind: FeatureKind = "numeric"
    minimum: float | None = None
    maximum: float | None = None
    median: float | None = None
    categories: tuple[str, ...] = ()
    choices: tuple[float, ...] = ()
    nullable: bool = False
    open_categories: bool = False
    source_name: str | None = None
    boolean: bool = False


class FeatureContract(msgspec.Struct, frozen=True):
    """The features in the order of the model's columns, the task, and for a classification the classes.

    `classes` are the names of the classes by class id (empty for a regression).
    """

    task: Task
    target: str
    features: tuple[Feature, ...]
    classes: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The feature names, in column order."""
        return tuple(feature.name for feature in self.features)

    @property
    def all_numeric(self) -> bool:
        """Whether all features are numeric, so that rows fit a float64 array."""
        return all(feature.kind == "numeric" for feature in self.features)

    def compatible_with(self, other: FeatureContract) -> bool:
        """Whether one request can be answered by models of both contracts: same columns, same task, same classes."""
        return (
            self.task == other.task
            and self.classes == other.classes
            and [(f.name, f.kind) for f in self.features] == [(f.name, f.kind) for f in other.features]
        )


def snake_case(name: str) -> str:
    """A feature name for JSON keys and keyword arguments: `sepal length (cm)` becomes `sepal_length`.

    A unit in parentheses at the end is removed; other characters than letters and digits become one underscore.
    """
    bare = re.sub(r"\s*[\(\[][^\)\]]*[\)\]]\s*$", "", name)
    # `petalWidth` and `petal width` are one name.
    bare = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", bare if bare.strip() else name)
    normalised = re.sub(r"[^0-9a-z]+", "_", bare.lower()).strip("_")
    if not normalised:
        return "feature"
    return f"f_{normalised}" if normalised[0].isdigit() or keyword.iskeyword(normalised) else normalised


def unique_snake_case(names: list[str]) -> list[str]:
    """The names in snake case, in the given order; a name that is taken gets a numeric suffix."""
    taken: set[str] = set()
    result = []
    for name in names:
        base = candidate = snake_case(name)
        number = 2
        while candidate in taken:
            candidate, number = f"{base}_{number}", number + 1
        taken.add(candidate)
        result.append(candidate)
    return result
