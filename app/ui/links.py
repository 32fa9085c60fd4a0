"""A link that restores the inputs: each feature is a parameter of the address."""

from __future__ import annotations

import math
from collections.abc import Mapping
from urllib.parse import urlencode

from app.ui.records import Cell, Contract, Feature

NO_VALUE = "null"


def parameters(values: Mapping[str, Cell]) -> dict[str, str]:
    """The values as they stand in an address."""
    return {name: NO_VALUE if value is None else _text(value) for name, value in values.items()}


def link(page_url: str, values: Mapping[str, Cell]) -> str:
    """The page's address with the values."""
    return f"{page_url.split('?')[0]}?{urlencode(parameters(values))}"


def values_in(contract: Contract, query: Mapping[str, str]) -> dict[str, Cell]:
    """The values that an address gives; what does not fit the contract is passed over."""
    found: dict[str, Cell] = {}
    for feature in contract.features:
        text = query.get(feature.name)
        if text is not None and (text != NO_VALUE or feature.nullable):
            value = _value(feature, text)
            if value is not None or text == NO_VALUE:
                found[feature.name] = value
    return found


def _value(feature: Feature, text: str) -> Cell:
    if text == NO_VALUE:
        return None
    if feature.kind == "categorical":
        return text if text in feature.categories or feature.open_categories else None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _text(value: float | str) -> str:
    return value if isinstance(value, str) else repr(value)
