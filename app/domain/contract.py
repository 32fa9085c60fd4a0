"""The feature contract: the features of a row that a model answers, and its classes."""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import chain, count, pairwise
from typing import Literal

import msgspec

FeatureKind = Literal["numeric", "categorical"]
Task = Literal["classification", "regression"]

# Also the name of a folder and a label of metrics: nothing that either would have to escape.
VERSION_NAME = re.compile(r"[a-z0-9_]{1,64}")
_UNIT = re.compile(r"[(\[]([^()\[\]]*)[)\]]\s*$")


class Feature(msgspec.Struct, frozen=True, omit_defaults=True):
    """One column that the model reads.

    `minimum`, `maximum` and `median` describe the training values of a numeric feature; `categories` lists those of a
    categorical one, in the order of the reference. `nullable`: the reference column had missing values.
    `open_categories`: the pipeline accepts categories it has not seen. `choices` are the only numbers that a numeric
    feature may have, if the pipeline encodes them as categories and fails on others. `source_name` is the column's
    name in the training data, where it was changed. `boolean`: a numeric feature whose values are false (0) and true
    (1) in the training data. An open feature without `categories` is text; if it has `dates_like`, the
    pipeline fails on what is no ISO date or time, and that is one of them: all have its form.
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
    dates_like: str | None = None

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


def snake_case(name: str) -> str:
    """A feature name for JSON keys and keyword arguments: `sepal length (cm)` becomes `sepal_length`.

    A unit in parentheses at the end is removed; what is no letter, mark or digit of any script becomes an underscore,
    several of them one. The result is its own snake case.
    """
    bare = _bare_and_unit(name)[0]
    return _normalised(bare) or "feature"


def snake_case_with_unit(name: str) -> str:
    """`snake_case` that keeps the unit: `income (USD)` becomes `income_usd`, `rate (%)` becomes `rate_percent`."""
    bare, unit = _bare_and_unit(name)
    return _normalised(f"{bare} {_spelled_out(unit)}") or "feature"


def unique_snake_case(names: Sequence[str]) -> list[str]:
    """The names in snake case, in the given order; none is that of two, nor the given name of another column.

    A name that is in snake case already stays as it is. Where several others would get one name, those with a unit
    keep it; what is still taken gets a number.
    """
    short = [snake_case(name) for name in names]
    taken = {name for name, own in zip(names, short, strict=True) if name == own}
    shared = Counter(short)
    result = []
    for name, own in zip(names, short, strict=True):
        if name == own:
            result.append(own)
            continue
        base = own if shared[own] == 1 else snake_case_with_unit(name)
        numbered = (f"{base}_{number}" for number in count(2))
        result.append(next(each for each in chain((base,), numbered) if each not in taken))
        taken.add(result[-1])
    return result


def matching_columns(
    wanted: Sequence[str], offered: Sequence[str], contract_names: Sequence[str] | None = None
) -> tuple[int | None, ...]:
    """For each wanted column of training data its position among the offered names, None where it is not there.

    No offered column is taken twice. The very name counts first. Then one that is the same in snake case, with the
    unit or without, if no other wanted or offered column is and they do not name two units. `contract_names` are those
    of the wanted columns in requests (default: as `unique_snake_case` has them); a numbered or otherwise special one
    counts too.
    """
    found: list[int | None] = [None] * len(wanted)
    names = unique_snake_case(wanted) if contract_names is None else contract_names
    special = [name if name != snake_case(column) else column for name, column in zip(names, wanted, strict=True)]
    places = {name: place for place, name in enumerate(offered)}
    for keys in (wanted, special):
        for index, key in enumerate(keys):
            if found[index] is None and places.get(key) not in found:
                found[index] = places.get(key)
    for normal in (snake_case_with_unit, snake_case):
        _match_loosely(wanted, offered, normal, found)
    return tuple(found)


def _match_loosely(
    wanted: Sequence[str], offered: Sequence[str], normal: Callable[[str], str], found: list[int | None]
) -> None:
    """Fill gaps of `found` by the names in that normal form, where each is the only one of its list that has it."""
    # Among all names, not only those that are left: beside `temp (F)`, a column `temp` is not surely `temp (C)`.
    ours, theirs = [normal(name) for name in wanted], [normal(name) for name in offered]
    our_counts, their_counts = Counter(ours), Counter(theirs)
    places = {key: place for place, key in enumerate(theirs)}
    for index, key in enumerate(ours):
        if found[index] is None and our_counts[key] == their_counts[key] == 1 and places[key] not in found:
            found[index] = places[key] if _units_agree(wanted[index], offered[places[key]]) else None


def _units_agree(one: str, other: str) -> bool:
    """Whether not both name a unit, or both the same. Their case counts: `mW` is not `MW`."""
    units = {unit for unit in (_bare_and_unit(one)[1], _bare_and_unit(other)[1]) if unit}
    return len(units) <= 1


def _bare_and_unit(name: str) -> tuple[str, str]:
    """The name without a unit in parentheses at its end, and the unit; a name that is nothing else has none."""
    # Python reads keyword arguments in this form, and it makes one of the two ways of writing `é`.
    name = unicodedata.normalize("NFKC", name)
    unit = _UNIT.search(name)
    if unit is None or not name[: unit.start()].strip():
        return name, ""
    return name[: unit.start()], unit[1].strip()


def _spelled_out(unit: str) -> str:
    """The unit with the names of its signs, such as `euro` or `percent`, which snake case would drop."""
    return "".join(_sign_name(character) for character in unit)


def _sign_name(character: str) -> str:
    name = unicodedata.name(character, "")
    return f" {name.removesuffix(' SIGN')} " if name.endswith(" SIGN") else character


def _normalised(name: str) -> str:
    letters = []
    for before, character in pairwise(f" {name}"):
        # `petalWidth` and `petal width` are one name.
        if character.isupper() and (before.islower() or before.isdigit()):
            letters.append("_")
        letters.append(character if f"_{character}".isidentifier() else "_")
    # Once more: in a few scripts, lower case brings marks or another form with it.
    lower = unicodedata.normalize("NFKC", "".join(letters).lower())
    normalised = re.sub("__+", "_", lower).strip("_")
    if normalised and (keyword.iskeyword(normalised) or not normalised.isidentifier()):
        return f"f_{normalised}"
    return normalised
