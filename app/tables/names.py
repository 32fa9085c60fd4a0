"""Names of columns: in the form that requests have, and matched between training data and a file."""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import chain, count, pairwise

_UNIT = re.compile(r"[(\[]([^()\[\]]*)[)\]]\s*$")


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
