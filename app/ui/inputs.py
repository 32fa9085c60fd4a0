"""Input widgets built from the served feature contract, and their values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import streamlit as st

from app.tables.model_columns import ModelColumn
from app.ui.records import ApiContract, ApiModel, Cell

Values = dict[str, Cell]
_KEPT = "inputs"
_WIDE_FROM = 9
_TALL_FROM = 25
_BOOLEANS = {0.0: "false", 1.0: "true"}


def key_of(name: str) -> str:
    """The key of a feature's input."""
    return f"input.{name}"


def typical(model: ApiModel) -> Values:
    """The row that the inputs begin with: the first example of the manifest, else a typical value per feature."""
    if model.examples:
        return dict(zip([feature.name for feature in model.contract.features], model.examples[0], strict=False))
    return {feature.name: _typical_value(feature) for feature in model.contract.features}


def fill(values: Mapping[str, Cell]) -> None:
    """Put values into the inputs: before they are drawn, or in a callback."""
    kept = st.session_state.setdefault(_KEPT, {})
    kept.update(values)
    for name, value in values.items():
        st.session_state[_none_key(name)] = value is None
        if value is not None:
            st.session_state[key_of(name)] = value


def kept() -> Values:
    """The last values of the inputs, also from an earlier visit to the page; empty at first."""
    values: Values = st.session_state.setdefault(_KEPT, {})
    return values


def search(contract: ApiContract) -> str:
    """What the names of the inputs to draw must contain; a field where there are many, otherwise empty."""
    if len(contract.features) < _TALL_FROM:
        return ""
    return st.text_input(
        f"Search the {len(contract.features)} features",
        key="inputs.search",
        placeholder="a part of a name",
        help="The others keep their values.",
    ).strip()


def draw(contract: ApiContract, typed: bool, part: str = "") -> Values:
    """Draw the inputs whose names contain `part` and return the values of all.

    `typed`: number fields instead of sliders over the training range.
    """
    drawn = [feature for feature in contract.features if part.lower() in feature.name.lower()]
    count = len(drawn)
    if not drawn:
        st.caption(f"No feature has “{part}” in its name.")
    columns = 3 if count >= _WIDE_FROM else 2 if count > 1 else 1
    values = {feature.name: kept().get(feature.name, _typical_value(feature)) for feature in contract.features}
    with st.container(height=460 if count >= _TALL_FROM else "content", border=False):
        places = st.columns(columns)
        for index, feature in enumerate(drawn):
            with places[index % columns]:
                values[feature.name] = _draw_one(feature, typed)
    kept().update(values)
    return values


def outside(contract: ApiContract, values: Mapping[str, Cell]) -> list[str]:
    """A sentence for each value outside the training data."""
    found = []
    for feature in contract.features:
        value = values.get(feature.name)
        if isinstance(value, str) and feature.categories and value not in feature.categories:
            found.append(f"{feature.name} = {value} was not in the training data")
        elif _beyond(feature, value):
            found.append(f"{feature.name} = {value:g} is outside {feature.minimum:g} to {feature.maximum:g}")
    return found


def decimals(feature: ModelColumn) -> int:
    """How many decimals a step through the feature's range has, of about a hundredth of the range."""
    low, high = feature.minimum, feature.maximum
    if low is None or high is None or high <= low:
        return 3
    if low.is_integer() and high.is_integer() and high - low >= 10:
        return 0
    return max(0, min(8, 2 - math.floor(math.log10(high - low))))


def _beyond(feature: ModelColumn, value: Cell) -> bool:
    if not isinstance(value, float | int) or feature.minimum is None or feature.maximum is None:
        return False
    return not feature.minimum <= value <= feature.maximum


def _typical_value(feature: ModelColumn) -> Cell:
    """A value that the model accepts; the rule of `app.domain.typical_row`, which the dashboard may not import."""
    if feature.kind == "categorical":
        if feature.categories:
            return feature.categories[0]
        return feature.dates_like or (None if feature.nullable else "")
    # Before the median: of the choices 1 and 3 it may be 2, on which the model fails.
    if feature.choices:
        return feature.choices[0]
    if feature.boolean:
        return float((feature.median or 0.0) > 0.5)
    if feature.median is not None:
        return feature.median
    known = [bound for bound in (feature.minimum, feature.maximum) if bound is not None]
    return sum(known) / len(known) if known else 0.0


def _draw_one(feature: ModelColumn, typed: bool) -> Cell:
    """Draw the input, with its value in the session's state and as its default, too.

    A page may be drawn twice before a browser shows it. It learns of a value that was put into the state the first time
    only, and would show, and send back, the default: the first category.
    """
    key = key_of(feature.name)
    if key not in st.session_state:
        # Streamlit forgets a widget's value when another page is shown, and when its kind changes.
        value = kept().get(feature.name)
        st.session_state[key] = _typical_value(feature) if value is None else value
    if isinstance(st.session_state[key], str) != (feature.kind == "categorical"):
        # A forced version may read as text what the others read as a number.
        st.session_state[key] = _typical_value(feature)
    drawn: Cell = _widget(feature, typed, key)
    if not feature.nullable:
        return drawn
    st.session_state.setdefault(_none_key(feature.name), kept().get(feature.name, 0) is None)
    none = _none_key(feature.name)
    return None if st.checkbox("no value", st.session_state[none], key=none) else drawn


def _widget(feature: ModelColumn, typed: bool, key: str) -> Any:
    if feature.kind == "categorical" and feature.open_categories and not feature.categories:
        shown = f"A date or time like {feature.dates_like}" if feature.dates_like else None
        return st.text_input(feature.name, st.session_state[key], key=key, help=shown)
    if feature.kind == "categorical" or feature.choices:
        return _choice(feature, key)
    if feature.boolean:
        st.session_state[key] = float(st.session_state[key] == 1)
        return st.selectbox(feature.name, (0.0, 1.0), key=key, format_func=_BOOLEANS.__getitem__)
    return _number(feature, typed, key)


def _choice(feature: ModelColumn, key: str) -> Any:
    """A list of the known values, to which one may be added where the model takes any."""
    options: tuple[Any, ...] = feature.categories or feature.choices
    if st.session_state[key] not in options and not feature.open_categories:
        st.session_state[key] = options[0] if options else None
    value = st.session_state[key]
    if value is not None and value not in options:
        options = (*options, value)
    place = None if value is None else options.index(value)
    return st.selectbox(feature.name, options, place, key=key, accept_new_options=feature.open_categories)


def _number(feature: ModelColumn, typed: bool, key: str) -> float:
    """A slider over the training range; a field where it is to be typed, or no range is known."""
    st.session_state[key] = float(st.session_state[key])
    places = decimals(feature)
    step = 10.0**-places
    low, high = feature.minimum, feature.maximum
    if typed or low is None or high is None or high <= low:
        return st.number_input(feature.name, step=step, format=f"%.{places}f", key=key, help=_range(feature))
    st.session_state[key] = min(max(st.session_state[key], low), high)
    return st.slider(feature.name, low, high, step=step, format=f"%.{places}f", key=key, help=_range(feature))


def _none_key(name: str) -> str:
    return f"{key_of(name)}.none"


def _range(feature: ModelColumn) -> str | None:
    if feature.minimum is None or feature.maximum is None:
        return None
    return f"In the training data: {feature.minimum:g} to {feature.maximum:g}, half of it below {feature.median:g}."
