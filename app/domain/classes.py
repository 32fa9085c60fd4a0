"""Classes and booleans as data sets spell them: `True` and `true` are one class, and so are `0` and `0.0`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import TypeAlias

import msgspec

from app.domain.contract import Feature

_BOOLEANS = {"true": True, "false": False}
# Codes such as `007` are texts, as they are in training data.
_NUMBER = re.compile(r"[+-]?(0?\.\d+|(0|[1-9]\d*)(\.\d*)?)([eE][+-]?\d{1,4})?", re.ASCII)
_LONGEST_NUMBER = 64
# The kind goes first: `True`, 1 and 1.0 are one key of a Python dictionary.
_Meaning: TypeAlias = tuple[str, bool | Decimal | str]


def boolean_of(text: str) -> bool | None:
    """The boolean that a cell spells as a word; None for anything else."""
    return _BOOLEANS.get(text.lower())


def boolean_values(feature: Feature) -> Mapping[bool, float | str] | None:
    """The values of false and true of a boolean feature; None for any other.

    Manifests of earlier releases do not mark numeric features as boolean: one that takes 0 and 1 alone is used as such.
    """
    if feature.kind == "numeric":
        return {False: 0.0, True: 1.0} if feature.boolean or set(feature.choices) == {0.0, 1.0} else None
    flags = [(boolean_of(category), category) for category in feature.categories]
    if not flags or any(flag is None for flag, _ in flags):
        return None
    known = {bool(flag): category for flag, category in flags}
    example = next(iter(known.values()))
    spelled = {flag: str(flag).lower() if example.islower() else str(flag) for flag in (False, True)}
    return {**spelled, **known} if len(flags) == len(known) else None


def permutation(ours: Sequence[str], theirs: Sequence[str]) -> tuple[int, ...] | None:
    """For each of our class ids the id of the same class in `theirs`; None if they are not the same set of classes.

    Equal names count first. Where the names differ, numbers are compared as numbers (`0`, `0.0`), booleans as booleans
    (`True`, `true`), and the two classes 0 and 1 are the booleans false and true. Text must be equal.
    """
    return _matched(ours, theirs) or _matched(_meanings(tuple(ours)), _meanings(tuple(theirs)))


def _matched(ours: Sequence[object], theirs: Sequence[object]) -> tuple[int, ...] | None:
    places = {name: place for place, name in enumerate(theirs)}
    one_to_one = len(places) == len(theirs) == len(ours) == len(set(ours))
    return tuple(places[name] for name in ours) if one_to_one and places.keys() == set(ours) else None


class ClassNames(msgspec.Struct, frozen=True):
    """Finds the class that a label means. `ids` are by name; `by_meaning` are those of numbers and booleans.

    `binary`: the classes are false and true, or 0 and 1. `like_numbers`: a class is a number, or a text that looks like
    one, such as a code with leading zeros.
    """

    ids: Mapping[str, int]
    by_meaning: Mapping[_Meaning, int]
    binary: bool
    like_numbers: bool

    def of_text(self, text: str) -> int | None:
        """The id of the class that the text names; None for none, and where it means several."""
        return self.ids[text] if text in self.ids else self.by_meaning.get(self._key(_meaning(text)))

    def of_boolean(self, flag: bool) -> int | None:
        """The id of the class false or true (0 or 1 where the classes are these two); None where there is none."""
        return self.by_meaning.get(("boolean", flag))

    def of_number(self, number: float) -> int | None:
        """The id of the class that a number names, or where no class is a number, of the class with that id.

        None for none, and where a class is the boolean that the number may mean and another class has that id.
        """
        exact = _exact(number)
        if exact is None:
            return None
        named = self.by_meaning.get(self._key(("number", exact)))
        if named is not None or self.like_numbers:
            return named
        as_id = int(exact) if 0 <= exact < len(self.ids) and exact == int(exact) else None
        flag = self.by_meaning.get(("boolean", bool(exact))) if exact in (0, 1) else None
        return as_id if flag in (None, as_id) else None

    @property
    def values(self) -> tuple[float | bool, ...]:
        """The numbers and booleans that name a class, for clients that send JSON."""
        flags = [bool(value) for kind, value in self.by_meaning if kind == "boolean"]
        numbers = [float(value) for kind, value in self.by_meaning if kind == "number"]
        whole = [int(number) if number.is_integer() else number for number in numbers]
        return (*flags, *map(int, flags if self.binary else ()), *whole)

    def _key(self, meaning: _Meaning) -> _Meaning:
        return _as_boolean(meaning) if self.binary else meaning


@lru_cache(maxsize=64)
def class_names(names: tuple[str, ...]) -> ClassNames:
    """The classes with these names, in the order of their ids."""
    meanings = _meanings(names)
    times = Counter(meanings)
    return ClassNames(
        ids={name: class_id for class_id, name in enumerate(names)},
        # Two names of one number (`1` and `1.0`): which of them a number means is unknown.
        by_meaning={
            meaning: class_id
            for class_id, meaning in enumerate(meanings)
            if meaning[0] != "text" and times[meaning] == 1
        },
        binary=all(kind == "boolean" for kind, _ in meanings),
        like_numbers=any(_looks_like_a_number(name) for name in names),
    )


def _meanings(names: tuple[str, ...]) -> tuple[_Meaning, ...]:
    """What each name means. Where all are 0 and 1, these are booleans."""
    meanings = tuple(_meaning(name) for name in names)
    flags = tuple(_as_boolean(meaning) for meaning in meanings)
    return flags if all(kind == "boolean" for kind, _ in flags) else meanings


def _meaning(name: str) -> _Meaning:
    flag = boolean_of(name)
    if flag is not None:
        return "boolean", flag
    if len(name) <= _LONGEST_NUMBER and _NUMBER.fullmatch(name):
        return "number", Decimal(name)
    return "text", name


def _as_boolean(meaning: _Meaning) -> _Meaning:
    kind, value = meaning
    return ("boolean", bool(value)) if kind == "number" and value in (0, 1) else meaning


def _exact(number: float) -> Decimal | None:
    """The number that a JSON document has; None for one that is not finite, or too long to be a class."""
    if isinstance(number, int):
        return Decimal(number) if number.bit_length() <= 256 else None
    exact = Decimal(repr(number))
    return exact if exact.is_finite() else None


def _looks_like_a_number(name: str) -> bool:
    try:
        float(name.replace(",", "."))
    except ValueError:
        return False
    return True
