"""An outcome of one prediction: its true label, or the reward of the served answer."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from app.domain.classes import ClassNames, class_names
from app.domain.contract import FeatureContract
from app.domain.prediction_id import ServedFact
from app.errors import InvalidRequest

OutcomeKind = Literal["actual", "reward"]
_SHOWN_CLASSES = 20
_LONG_TEXT = 60
_LONGEST_NUMBER = 400  # of a float in full


class Outcome(msgspec.Struct, frozen=True):
    """An outcome; `fact` is what the signed prediction id says of the answer.

    `value` is canonical, so that one outcome reported in two forms counts once: a class id (int) for the label of a
    classification, a float for a number. `item` is its position in the list of the request. `corrected_by`: the
    administrator who says that it replaces what is recorded; None: nothing may be replaced. `classes` name class ids.
    """

    prediction_id: str
    kind: OutcomeKind
    value: int | float
    fact: ServedFact
    item: int = 0
    corrected_by: str | None = None
    classes: tuple[str, ...] = ()

    def named(self, value: int | float) -> str | int | float:
        """A value of this kind as people read it: a class by its name."""
        return self.classes[value] if isinstance(value, int) and 0 <= value < len(self.classes) else value


def label_of(actual: object, contract: FeatureContract) -> int | float:
    """The canonical value of a true label: the id of a class, or the number of a regression.

    A class is named as the training data names it, by a string, a number or a boolean: 3 is the class 3, whatever its
    id. Only where no class is a number is a number a class id. Raises `InvalidRequest` that lists the classes.
    """
    if contract.task == "regression":
        return number_of(actual, "actual")
    names = class_names(contract.classes)
    class_id = None
    if isinstance(actual, str):
        class_id = names.of_text(actual)
    elif isinstance(actual, bool):
        class_id = names.of_boolean(actual)
    elif isinstance(actual, int | float):
        class_id = names.of_number(actual)
    if class_id is None:
        raise InvalidRequest(f"actual {_refusal(actual, contract, names)}; {_classes(contract, names)}", field="actual")
    return class_id


def label_in_text(text: str, contract: FeatureContract) -> int | float:
    """The canonical value of a label in a file, whose cells are texts: `label_of` the text, or of the number in it.

    Spaces around it count only where a class has them. Raises `InvalidRequest` that lists the classes.
    """
    if contract.task == "regression":
        return number_in_text(text, "actual")
    for name in (text, text.strip()):
        class_id = class_names(contract.classes).of_text(name)
        if class_id is not None:
            return class_id
    number = _number(text)
    return label_of(text if number is None else number, contract)


def number_in_text(text: str, field: str) -> float:
    """A finite float, as `number_of`, from a cell of a file."""
    number = _number(text)
    return number_of(text if number is None else number, field)


def _number(text: str) -> int | float | None:
    """The number that a cell holds, None for none; Python's own underscores are no digits."""
    bare = text.strip()
    if "_" in bare or len(bare) > _LONGEST_NUMBER:
        return None
    try:
        return int(bare) if bare.isascii() and bare.isdigit() else float(bare)
    except ValueError:
        return None


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


def _refusal(actual: object, contract: FeatureContract, names: ClassNames) -> str:
    """Why the label means none of the classes."""
    if isinstance(actual, str):
        return f"{actual[:_LONG_TEXT]!r} is no class"
    if isinstance(actual, bool):
        return f"{str(actual).lower()} is no class: none is a boolean"
    if not isinstance(actual, int | float):
        return "must be the name of a class: a string, a number or a boolean"
    if names.like_numbers:
        return f"{_shown(actual)} is no class: a number is read as the name of a class here, never as a class id"
    if not 0 <= actual < len(contract.classes) or actual != int(actual):
        return f"{_shown(actual)} is no class and no class id"
    return f"{_shown(actual)} may mean more than one class: give its name as a string"


def _classes(contract: FeatureContract, names: ClassNames) -> str:
    """The classes, with their ids where a number may be one."""
    shown = contract.classes[:_SHOWN_CLASSES]
    listed = [f"{name} ({class_id})" for class_id, name in enumerate(shown)]
    if names.like_numbers or names.binary:
        listed = list(shown)
    return f"classes are {', '.join(listed)}" + (", …" if len(contract.classes) > _SHOWN_CLASSES else "")


def _shown(number: float) -> str:
    text = repr(number) if not isinstance(number, int) or number.bit_length() <= 256 else "with so many digits"
    return text if len(text) <= 24 else text[:24] + "…"
