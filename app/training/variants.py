"""The variants in `training.toml` and the estimators that they name."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from app.domain.contract import Task
from app.errors import SettingError

# At the top of the source tree, where people find and edit it.
VARIANTS_FILE = Path(__file__).parents[2] / "training.toml"

ALL = "all"


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
    """All variants by name, the default one, and the two that are trained for an empty registry."""

    default: str
    first_two: tuple[str, str]
    variants: Mapping[str, TrainingVariant]

    def variant(self, name: str) -> TrainingVariant:
        """The variant of that name. Raises `SettingError` that lists the known names."""
        if name not in self.variants:
            raise SettingError("--variant", f"there is no {name!r}; there are: {', '.join(self.variants)}")
        return self.variants[name]


def read_catalogue(path: Path = VARIANTS_FILE) -> VariantCatalogue:
    """The variants in the file at `path`. Raises `SettingError` with the file's name and the wrong entry."""
    try:
        return msgspec.toml.decode(path.read_bytes(), type=VariantCatalogue)
    except OSError as error:
        raise SettingError(path.name, f"cannot be read: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SettingError(path.name, str(error)) from error


def variants_named(text: str, catalogue: VariantCatalogue) -> tuple[str, ...]:
    """The variants that `--variants` names: `all`, or names separated by commas. Raises `SettingError`."""
    if text.strip() == ALL:
        return tuple(catalogue.variants)
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        if name not in catalogue.variants:
            known = ", ".join(catalogue.variants)
            raise SettingError("--variants", f"there is no {name!r}; there are: {known}, or all of them by {ALL}")
    if len(names) < 2:
        raise SettingError("--variants", f"name at least two, separated by commas, or {ALL}; for one say --variant")
    return names


def instantiate(name: str, variant: TrainingVariant, task: Task, seed: int) -> Any:
    """A new, unfitted estimator of the variant; its `random_state` is the seed unless the variant sets one.

    Raises `SettingError` if it cannot be imported, does not accept the parameters, or has no regressor.
    """
    dotted, parameters = variant.estimator, variant.parameters
    if task == "regression":
        if variant.regressor is None:
            raise SettingError(
                f"training.toml, {name}",
                "has no `regressor`, and the target is a quantity: add one, or train another --variant",
            )
        dotted = variant.regressor
        parameters = parameters if variant.regressor_parameters is None else variant.regressor_parameters
    try:
        module, _, attribute = dotted.rpartition(".")
        make = getattr(importlib.import_module(module), attribute)
        # Asked of the signature, because not every estimator has a seed, and an unknown parameter is an error.
        seeded = {"random_state": seed} if "random_state" in inspect.signature(make).parameters else {}
        return make(**{**seeded, **parameters})
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise SettingError(f"training.toml, {name}", f"{dotted}: {error}") from error
