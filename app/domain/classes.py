"""Classes as data sets spell them: `True` and `true` are one class, and so are `0` and `0.0`."""

from __future__ import annotations

_BOOLEANS = {"true": True, "false": False}


def boolean_of(text: str) -> bool | None:
    """The boolean that a cell spells as a word; None for anything else."""
    return _BOOLEANS.get(text.lower())
