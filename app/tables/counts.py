"""Counts with their noun, as sentences have them."""

from __future__ import annotations


def counted(count: int, noun: str = "row") -> str:
    """A count with its noun, such as `1 row` or `2,000 rows`: one gets no plural, thousands are apart."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
