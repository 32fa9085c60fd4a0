"""The Playground page: try the models, see which version answered, and label the answer."""

from __future__ import annotations

import time

import streamlit as st

from app.ui import inputs, sharing
from app.ui.columns import PageColumns, columns_of
from app.ui.records import ApiContract, ApiModel, ApiModels, Cell
from app.ui.session import SessionPrediction, client, remember, session_predictions
from app.ui.states import chosen_version, counts_switch, explain, served_models
from app.ui.transport import NoResult
from app.ui.views import answer, past

_TYPED = "playground.typed"
_OPTIONAL = "playground.optional"
_PRESET = "playground.preset"
_RESTORED = "playground.restored"


def show() -> None:
    """The whole page."""
    st.title("Playground")
    st.caption("Make a prediction, see which version answered, and say whether it was right.")
    served = served_models("playground")
    if served is None:
        return
    models, model = served
    _restore(models, model)
    left, right = st.columns([4, 5], gap="large")
    with left:
        _ask(model, models)
    with right:
        _newest(model)
    past.show()


def _restore(models: ApiModels, model: ApiModel) -> None:
    """Fill the inputs once per session: from the query string, else with a real row."""
    if st.session_state.get(_RESTORED) == model.version or not model.contract.features:
        return
    columns = columns_of(models, model)
    given = sharing.values_in(columns.contract, st.query_params.to_dict())
    if given or not inputs.kept():
        inputs.fill({**inputs.typical(model), **given})
        st.session_state[_TYPED] = bool(inputs.outside(columns.contract, given))
        st.session_state[_OPTIONAL] = any(name in given for name in columns.optional)
    st.session_state[_RESTORED] = model.version


def _ask(model: ApiModel, models: ApiModels) -> None:
    st.subheader("Inputs")
    _presets(model)
    # Outside the form: which inputs there are depends on it.
    with st.expander("Which version answers"):
        version = chosen_version(
            models, "A prediction by a version you choose is logged, but never counts in the experiment."
        )
    counts = counts_switch("this page's predictions", "playground.counts")
    columns = columns_of(models, model, version)
    asked = columns.only({*columns.shown, *(columns.optional if _all_wanted(columns, version) else ())})
    beyond = "Allows values outside the training range."
    typed = st.toggle("Type the numbers", _switched(_TYPED), key=_TYPED, help=beyond)
    part = inputs.search(asked)
    with st.form("playground", border=False):
        values = inputs.draw(asked, typed, part)
        with st.expander("Who asks"):
            user_id = st.text_input(
                "User id", max_chars=256, help="With the policy sticky, a user always gets the same version."
            )
        if st.form_submit_button("Predict", type="primary", icon=":material/play_arrow:"):
            _predict(models, model, asked, values, version, user_id.strip() or None, counts)


def _all_wanted(columns: PageColumns, forced: str | None) -> bool:
    """Whether the columns that only some versions read are to be asked for, too; a switch where there are any."""
    if not columns.optional:
        return False
    more = "Asks for the columns that only some versions read, too."
    wanted = st.toggle("All columns", _switched(_OPTIONAL), key=_OPTIONAL, help=more)
    readers = [
        f"{version} reads {', '.join(names)}, too" for version, names in columns.lacking(columns.optional).items()
    ]
    without = "" if forced else " A version takes part only in requests that have all of its columns."
    st.caption(f"{'; '.join(readers)}.{without}")
    return wanted


def _switched(key: str) -> bool:
    """The state of a switch, for its default: see `inputs`."""
    return bool(st.session_state.get(key, False))


def _presets(model: ApiModel) -> None:
    if not model.examples:
        return

    def fill() -> None:
        place = st.session_state[_PRESET]
        if place is not None:
            names = [feature.name for feature in model.contract.features]
            inputs.fill(dict(zip(names, model.examples[place], strict=False)))

    st.selectbox(
        "Real rows",
        range(len(model.examples)),
        index=None,
        format_func=lambda place: _preset_name(place, model.examples[place]),
        placeholder="Fill in a row of the training data",
        key=_PRESET,
        on_change=fill,
    )


def _preset_name(place: int, row: tuple[Cell, ...]) -> str:
    shown = ", ".join(
        "–" if cell is None else f"{cell:g}" if isinstance(cell, float) else str(cell) for cell in row[:4]
    )
    return f"Row {place + 1}: {shown}{' …' if len(row) > 4 else ''}"


def _predict(
    models: ApiModels,
    model: ApiModel,
    asked: ApiContract,
    values: inputs.Values,
    forced: str | None,
    user_id: str | None,
    counts: bool,
) -> None:
    began = time.perf_counter()
    try:
        given = client().predict(columns_of(models, model, forced).as_sent(values), forced, user_id, counts=counts)
    except NoResult as failure:
        st.session_state["playground.failure"] = failure
        return
    st.session_state.pop("playground.failure", None)
    round_trip_ms = 1000 * (time.perf_counter() - began)
    beyond = tuple(inputs.outside(asked, values))
    remember(
        SessionPrediction(
            features=values,
            repeated=columns_of(models, model, given.model_version).as_sent(values),
            forced=forced,
            user_id=user_id,
            counts=counts,
            answer=given,
            round_trip_ms=round_trip_ms,
            outside=beyond,
        )
    )
    st.query_params.from_dict(sharing.parameters(values))


def _newest(model: ApiModel) -> None:
    st.subheader("Answer")
    failure = st.session_state.get("playground.failure")
    if failure is not None:
        explain(failure, "The prediction", "predict")
        return
    if not session_predictions():
        st.info("No prediction yet. Press **Predict**.", icon=":material/arrow_back:")
        return
    answer.show(session_predictions()[0], model.contract)
