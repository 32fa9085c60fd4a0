"""The feature contract: the features of a row that a model answers, and its classes."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from app.tables.model_columns import ModelColumn

Task = Literal["classification", "regression"]

# Also the name of a folder and a label of metrics: nothing that either would have to escape.
VERSION_NAME = re.compile(r"[a-z0-9_]{1,64}")
# A part of a path that no client has to escape, and in which `:predict` can follow.
MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


class Feature(ModelColumn, frozen=True, omit_defaults=True):
    """One column that the model reads."""

    @property
    def is_text(self) -> bool:
        """Whether its values are texts or dates, of which nearly every one is new, and no categories."""
        return self.kind == "categorical" and self.open_categories and not self.categories


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
