"""An outcome of one prediction: its true label, or the reward of the served answer."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from app.domain.contract import FeatureContract
from app.domain.prediction_id import ServedFact
from app.errors import InvalidRequest

OutcomeKind = Literal["actual", "reward"]
_SHOWN_CLASSES = 20


class Outcome(msgspec.Struct, frozen=True):
    """An outcome; `fact` is what the signed prediction id says of the answer.

    `value` is canonical, so that one outcome reported in two forms counts once: a class id (int) for the label of a
    classification, a float for a number. `item` is its position in the list of the request.
    """

    prediction_id: str
    kind: OutcomeKind
    value: int | float
    fact: ServedFact
    item: int = 0


def label_of(actual: object, contract: FeatureContract) -> int | float:
    """The canonical value of a true label: the id of a class, given by name or id, or the number of a regression.

    Raises `InvalidRequest` that lists the classes.
    """
    if contract.task == "regression":
        return number_of(actual, "actual")
    if isinstance(actual, str):
        if actual not in contract.classes:
            raise InvalidRequest(f"actual {actual[:60]!r} is no class; {_classes(contract)}", field="actual")
        return contract.classes.index(actual)
    if isinstance(actual, bool) or not isinstance(actual, int | float):
        raise InvalidRequest(f"actual must be a class name or a class id; {_classes(contract)}", field="actual")
    # `2.0 in range(3)` is true and 1.5 is not, which is what a class id in JSON needs.
    if actual != actual or actual not in range(len(contract.classes)):
        raise InvalidRequest(f"actual {_shown(actual)} is no class id; {_classes(contract)}", field="actual")
    return int(actual)


def reward_of(reward: object) -> float:
    """The reward as a float. Raises `InvalidRequest` if it is not a finite number.

    A reward outside `REWARD_RANGE` is kept as it is: the comparisons count it as the nearer end of the range.
    """
    return number_of(reward, "reward")


def number_of(value: object, field: str) -> float:
    """A finite float, never -0.0. Raises `InvalidRequest` that names `field`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidRequest(f"{field} must be a number", field=field)
    try:
        number = float(value) + 0.0  # -0.0 is the same outcome as 0.0
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise InvalidRequest(f"{field} must be a finite number", field=field)
    return number


def _classes(contract: FeatureContract) -> str:
    names = [f"{name} ({class_id})" for class_id, name in enumerate(contract.classes[:_SHOWN_CLASSES])]
    return f"classes are {', '.join(names)}" + (", …" if len(contract.classes) > _SHOWN_CLASSES else "")


def _shown(number: float) -> str:
    text = repr(number)
    return text if len(text) <= 24 else text[:24] + "…"
