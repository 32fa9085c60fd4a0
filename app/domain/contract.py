"""The feature contract: what a row must look like for a model to answer it."""

from __future__ import annotations

import keyword
import re
from typing import Literal

import msgspec

FeatureKind = Literal["numeric", "categorical"]
Task = Literal["classification", "regression"]

VERSION_NAME = re.compile(r"[a-z0-9_]{1,64}")


class Feature(msgspec.Struct, frozen=True, omit_defaults=True):
    """One column that the model reads.

    `minimum`, `maximum` and `median` describe the training values of a numeric feature; `categories` lists those of
    a categorical one, in the order of the reference. `nullable` is true where the reference column had missing
    values; `open_categories` where the pipeline itself copes with categories it has not seen. `choices` are the only
    numbers that a numeric feature may have, where the pipeline encodes them as categories and fails on others.
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


class FeatureContract(msgspec.Struct, frozen=True):
    """The features in the order of the model's columns, and what the model answers with.

    `classes` are the names of the classes by class id (empty for regression). `source_name` of a feature is the
    column's name in the training data where normalising changed it: the original estimator may want it back.
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
        """Whether a row fits an array of floats."""
        return all(feature.kind == "numeric" for feature in self.features)

    def compatible_with(self, other: FeatureContract) -> bool:
        """Whether one request can be answered by models of both contracts: same columns, same task, same classes."""
        return (
            self.task == other.task
            and self.classes == other.classes
            and [(f.name, f.kind) for f in self.features] == [(f.name, f.kind) for f in other.features]
        )


def snake_case(name: str) -> str:
    """A feature name fit for JSON keys and keyword arguments: `sepal length (cm)` becomes `sepal_length`.

    A unit in parentheses at the end goes; what is not a letter or digit becomes one underscore.
    """
    bare = re.sub(r"\s*[\(\[][^\)\]]*[\)\]]\s*$", "", name)
    bare = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", bare if bare.strip() else name)
    words = re.sub(r"[^0-9a-z]+", "_", bare.lower()).strip("_")
    if not words:
        return "feature"
    return f"f_{words}" if words[0].isdigit() or keyword.iskeyword(words) else words


def unique_snake_case(names: list[str]) -> list[str]:
    """Normalised names with clashes resolved by a numeric suffix, in the given order."""
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
