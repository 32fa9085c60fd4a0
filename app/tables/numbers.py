"""Numbers as people write them: `1234.5`, `1.234,56`, `1 234,5`, `1'234.5`, `€ 12`, `7 %`, `(5.00)`.

How a cell is to be read may follow only from its whole column, or from the other columns of its file: `1.234` is 1234
where decimals have a comma. What stays unclear is said, and never guessed.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import msgspec

MOSTLY_NUMBERS = 0.9
_LONGEST = 400  # of a float in full: what is longer is no number, unless a program has written it
# (thousands separator, decimal mark)
_FORMS = ((",", "."), (" ", "."), ("'", "."), (".", ","), (" ", ","), ("'", ","))
_POINT = frozenset(index for index, (_, mark) in enumerate(_FORMS) if mark == ".")
_COMMA = frozenset(range(len(_FORMS))) - _POINT
# No-break, thin and figure spaces, the typographic apostrophe, the real minus sign.
_ALIKE = str.maketrans("\u00a0\u2007\u2009\u202f\u2019\u2212", "    '-")
_WITHOUT_COMMAS = str.maketrans("", "", ",' ")
_WITHOUT_POINTS = str.maketrans(",", ".", ".' ")
# The form of a number depends on where it has digits, and on a leading zero: a column has few forms, however long.
_DIGITS_ALIKE = str.maketrans("012345678", "999999999")
_LEADING_ZERO = re.compile(r"\D*0")
_SIGNS = "".join(map(chr, filter(lambda code: unicodedata.category(chr(code)) == "Sc", range(0x20, 0xFFFF))))
_CODES = "AUD BRL CAD CHF CNY CZK DKK EUR GBP HUF INR JPY KRW MXN NOK NZD PLN RUB SEK SGD TRY USD ZAR Fr. kr zł Kč Ft"
_CURRENCY = rf"(?:[A-Z]{{0,2}}[{re.escape(_SIGNS)}]|{'|'.join(map(re.escape, _CODES.split()))})"
# Possessive, because cells come from strangers: a run of spaces matches in one way only.
_NUMBER = re.compile(
    rf"(?P<open>\()? *+(?P<sign>[+-]?) *+(?P<before>{_CURRENCY})? *+(?P<sign_after>[+-]?)"
    r"(?P<body>[\d.,](?:[\d.,']| ++(?=[\d.,']))*+)(?P<exponent>[eE][+-]?\d++)?"
    rf" *+(?P<after>{_CURRENCY}|%|‰)? *+(?P<close>\))?"
)
_INFINITE = re.compile(r"[+-]?inf(inity)?", re.IGNORECASE)
# Postcodes and article numbers: as numbers they would lose their zeros, and their order means nothing.
_CODE = re.compile(r"[+-]?0\d+")


def _body(group: str, mark: str) -> re.Pattern[str]:
    group, mark = re.escape(group), re.escape(mark)
    thousands = rf"[1-9]\d{{0,2}}(?:{group}\d{{3}})+"
    # India writes 12,34,567.
    lakhs = r"|[1-9]\d?(?:,\d{2})+,\d{3}" if group == "," else ""
    return re.compile(rf"(?:\d+|{thousands}{lakhs})(?:{mark}\d*)?|{mark}\d+")


_BODIES = tuple(_body(group, mark) for group, mark in _FORMS)
_ALL = _POINT | _COMMA


class _Shape(msgspec.Struct, frozen=True):
    """A form of cells: the forms of numbers it may be (none: it is no number), its sign of currency or percent."""

    forms: frozenset[int] = frozenset()
    unit: str = ""
    marks: str = ""


class _Found(msgspec.Struct, frozen=True):
    """The distinct forms of a column's cells, in the order in which they occur.

    For each form the number of cells that have it and the first of these; for a form of numbers also its shape.
    """

    counts: Counter[str]
    firsts: dict[str, str]
    shapes: dict[str, _Shape]

    @property
    def share_of_numbers(self) -> float:
        total = self.counts.total()
        return sum(self.counts[key] for key in self.shapes) / total if total else 0.0

    @property
    def unit(self) -> str:
        return next((shape.unit for shape in self.shapes.values()), "")

    @property
    def example(self) -> str | None:
        """The number that tells most: one that suits the fewest forms."""
        telling = min(self.shapes, key=lambda key: len(self.shapes[key].forms), default=None)
        return None if telling is None else self.firsts[telling]

    @property
    def stray(self) -> str | None:
        return next((first for key, first in self.firsts.items() if key not in self.shapes), None)


class Writing(msgspec.Struct, frozen=True):
    """How the cells of a column are written, as far as they are numbers.

    `decimals` are the decimal marks that suit all of them: one, or both where nothing tells (`1.234`), or none where
    the cells contradict each other; then `clash` has two of these. `share` of the cells are numbers, `stray` is one
    that is not. `marks` are the commas, points, apostrophes and spaces among the digits; `unit` is a sign of currency
    or percent, which all have. `code`: a number has leading zeros.
    """

    share: float
    decimals: frozenset[str]
    marks: frozenset[str]
    unit: str = ""
    example: str | None = None
    stray: str | None = None
    clash: tuple[str, str] | None = None
    code: bool = False

    @property
    def all_numbers(self) -> bool:
        """Whether every cell is a number of its own."""
        return self.share == 1.0 and not self.code

    @property
    def mostly_numbers(self) -> bool:
        """Whether at least 90 % of the cells are numbers: then the others are probably mistakes."""
        return self.share >= MOSTLY_NUMBERS and not self.code

    @property
    def proven(self) -> str | None:
        """The decimal mark, where the column alone shows it."""
        return next(iter(self.decimals)) if len(self.decimals) == 1 else None


def writing_of(cells: Iterable[str]) -> Writing:
    """How these cells, none of which is missing, are written."""
    found = _found(cells)
    shapes = found.shapes
    clash = _clash(shapes, found.firsts)
    forms = _ALL.intersection(*(shape.forms for shape in shapes.values())) if clash is None else frozenset()
    return Writing(
        share=found.share_of_numbers,
        decimals=frozenset(_FORMS[form][1] for form in forms),
        marks=frozenset("".join(shape.marks for shape in shapes.values())),
        unit=found.unit,
        example=found.example,
        stray=found.stray,
        clash=clash,
        code=any(_CODE.fullmatch(key) for key in shapes),
    )


def _found(cells: Iterable[str]) -> _Found:
    counts: Counter[str] = Counter()
    firsts: dict[str, str] = {}
    for cell in cells:
        key = _key(cell)
        counts[key] += 1
        if key not in firsts:
            firsts[key] = cell
    return _Found(counts, firsts, {key: shape for key in counts if (shape := _shape(key)).forms})


def _clash(shapes: Mapping[str, _Shape], firsts: Mapping[str, str]) -> tuple[str, str] | None:
    """Two cells that no one form suits, or of which one has a unit and the other another or none."""
    forms, before, first = _ALL, None, None
    for key, shape in shapes.items():
        first = first or key
        if shape.unit != shapes[first].unit:
            return firsts[first], firsts[key]
        if not forms & shape.forms:
            return firsts[before or first], firsts[key]
        before = key if shape.forms < forms else before
        forms &= shape.forms
    return None


def number_of(cell: str, decimal: str) -> float | None:
    """The number that a cell is, with that decimal mark; None if it is none. `7 %` is 7."""
    if decimal == ".":
        number = _plain(cell)
        if number is not None:
            return number
    text = cell.strip().translate(_ALIKE)
    if not _shape(_digits_alike(text)).forms & (_POINT if decimal == "." else _COMMA):
        return None
    found = _NUMBER.fullmatch(text)
    if found is None:
        return float(text)  # infinite
    body = found["body"].translate(_WITHOUT_POINTS if decimal == "," else _WITHOUT_COMMAS)
    number = float(body + (found["exponent"] or ""))
    negative = "-" in (found["sign"], found["sign_after"]) or found["open"] is not None
    return -number if negative else number


def decimal_of(writing: Writing, file_decimal: str | None, separator: str | None) -> str | None:
    """The decimal mark of a column of numbers; None where it stays unclear.

    `file_decimal` is the mark that the other columns of the file tell, `separator` that of its cells.
    """
    if writing.clash is not None:
        return None
    marks = writing.marks & {".", ","}
    if writing.proven is not None or not marks:
        return writing.proven or "."
    if separator == ",":
        # Programs write such files with a decimal point; a quoted 1,234 among them has a thousands separator.
        return "." if file_decimal != "," else None
    if file_decimal is not None:
        return file_decimal
    # Spreadsheets separate by semicolons where the decimal mark is a comma; programs write a decimal point everywhere.
    usual = "," if separator == ";" else "."
    return usual if marks == {usual} else None


def file_decimal_of(writings: Sequence[Writing]) -> str | None:
    """The decimal mark that columns of one file agree on; None where none tells, or they contradict each other."""
    proven = {writing.proven for writing in writings if writing.all_numbers} - {None}
    return proven.pop() if len(proven) == 1 else None


def unclear(writing: Writing) -> str:
    """Why the numbers of the column cannot be read, to be said after its name."""
    if writing.clash is not None:
        return f"writes numbers in several forms, such as {writing.clash[0]!r} and {writing.clash[1]!r}"
    return (
        f"writes numbers that can be read in two ways, such as {writing.example!r}: is the mark for decimals or for "
        "thousands?"
    )


def _plain(cell: str) -> float | None:
    """The number that a program has written; None for anything else, although `float` may read it."""
    try:
        number = float(cell)
    except ValueError:
        return None
    return None if number != number or "_" in cell else number


def _key(cell: str) -> str:
    """What the form of a number depends on: where it has digits, and a leading zero. All plain numbers have few."""
    text = cell.strip()
    if _plain(text) is not None:
        whole, point, decimals = text.partition(".")
        if point and (len(decimals) != 3 or len(whole) > 4):
            return "9.9"  # `1.234` could be 1234
        if not point and text[0] in "123456789":
            return "9"
    return _digits_alike(text)


def _digits_alike(text: str) -> str:
    shape = text.translate(_DIGITS_ALIKE)
    return shape.replace("9", "0", 1) if _LEADING_ZERO.match(text) else shape


def _shape(text: str) -> _Shape:
    # Nor is a longer one kept.
    return _shape_of_short(text) if len(text) <= _LONGEST else _Shape()


@lru_cache(maxsize=4096)
def _shape_of_short(text: str) -> _Shape:
    text = text.translate(_ALIKE)
    if _INFINITE.fullmatch(text):
        return _Shape(_ALL)
    found = _NUMBER.fullmatch(text)
    if found is None:
        return _Shape()
    body = found["body"]
    marks = "".join(symbol for symbol in ".,' " if symbol in body)
    return _Shape(_forms_of(found), found["before"] or found["after"] or "", marks)


def _forms_of(found: re.Match[str]) -> frozenset[int]:
    """The forms that suit the match; none if it only looks like a number."""
    signs = bool(found["sign"]) + bool(found["sign_after"]) + bool(found["open"])
    if bool(found["open"]) != bool(found["close"]) or signs > 1 or (found["before"] and found["after"]):
        return frozenset()
    return frozenset(index for index, body in enumerate(_BODIES) if body.fullmatch(found["body"]))
