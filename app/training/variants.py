"""The named variants of `training.toml`, and the estimators that they stand for."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from app.domain.contract import Task
from app.errors import SettingError

VARIANTS_FILE = Path(__file__).parents[2] / "training.toml"


class TrainingVariant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An estimator by dotted name with its parameters, and its counterpart for regression.

    `regressor_parameters` replace `parameters` where the two do not take the same. `scale` puts a `StandardScaler`
    before the estimator.
    """

    estimator: str
    regressor: str | None = None
    parameters: Mapping[str, Any] = msgspec.field(default_factory=dict)
    regressor_parameters: Mapping[str, Any] | None = None
    scale: bool = False
    about: str = ""


class VariantCatalogue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All variants by name, the one trained by default, and the two that an empty shelf gets."""

    default: str
    first_two: tuple[str, str]
    variants: Mapping[str, TrainingVariant]

    def variant(self, name: str) -> TrainingVariant:
        """The variant of that name. Raises `SettingError` that lists the names there are."""
        if name not in self.variants:
            raise SettingError("--variant", f"there is no {name!r}; there are: {', '.join(self.variants)}")
        return self.variants[name]


def read_catalogue(path: Path = VARIANTS_FILE) -> VariantCatalogue:
    """The variants in that file. Raises `SettingError` that names the file and the entry at fault."""
    try:
        return msgspec.toml.decode(path.read_bytes(), type=VariantCatalogue)
    except OSError as error:
        raise SettingError(path.name, f"cannot be read: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SettingError(path.name, str(error)) from error


def instantiate(name: str, variant: TrainingVariant, task: Task, seed: int) -> Any:
    """A fresh estimator of the variant, with `random_state` set to the seed where it has one and none is given.

    Raises `SettingError` where it cannot be imported, does not take the parameters, or has no regressor.
    """
    dotted, parameters = variant.estimator, variant.parameters
    if task == "regression":
        if variant.regressor is None:
            raise SettingError(f"training.toml, {name}", "has no `regressor`, and the target is a quantity")
        dotted = variant.regressor
        parameters = parameters if variant.regressor_parameters is None else variant.regressor_parameters
    try:
        module, _, attribute = dotted.rpartition(".")
        make = getattr(importlib.import_module(module), attribute)
        seeded = {"random_state": seed} if "random_state" in inspect.signature(make).parameters else {}
        return make(**{**seeded, **parameters})
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise SettingError(f"training.toml, {name}", f"{dotted}: {error}") from error
