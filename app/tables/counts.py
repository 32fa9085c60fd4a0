"""Counts with their noun, as sentences have them, and sentences of texts that are none yet."""

from __future__ import annotations


def counted(count: int, noun: str = "row") -> str:
    """A count with its noun, such as `1 row` or `2,000 rows`: one gets no plural, thousands are apart."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def noun_for(figure: str, plural: str) -> str:
    """The noun behind a figure that is written already: `point` behind `+1` or `less than 1`, else `points`."""
    return plural.removesuffix("s") if figure.split()[-1].lstrip("+−") == "1" else plural


def as_sentence(text: str) -> str:
    """The text with a full stop and, unless it begins with a version's name or the like, a capital."""
    text = text.strip()
    first = text.split(" ", 1)[0]
    text = text[:1].upper() + text[1:] if first.isalpha() else text
    return text if text.endswith((".", "!", "?", ".)")) else f"{text}."
