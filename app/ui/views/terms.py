"""The terms of the experiment, and the form that begins another one with other terms."""

from __future__ import annotations

import streamlit as st

from app.ui.records import ApiConfiguration, ApiModels
from app.ui.session import actor, client
from app.ui.views import administration
from app.ui.views.administration import carry_out, key_of, missing
from app.ui.wording import readable, scale_of

# What the API knows; it says itself which of them fit the model, and takes others that a newer one knows.
_CLASSIFYING = ("accuracy", "balanced_accuracy", "recall", "cost", "brier", "log_loss", "reward")
_REGRESSING = ("absolute_error", "squared_error", "reward")
_UNITS = ("auto", "user", "key", "row", "request")
_RECALL = "recall"


def show(config: ApiConfiguration, models: ApiModels | None) -> None:
    """The form, below what it means."""
    with st.expander("Begin a new experiment with other terms"):
        st.caption(
            "The terms are fixed while an experiment runs. A new one ends this one with its final report, keeps the "
            "split, and starts from no outcomes; labels of earlier predictions count for the experiment that served "
            "them."
        )
        _form(config, models)


def _form(config: ApiConfiguration, models: ApiModels | None) -> None:
    first = key_of("terms-metric")
    drawn = administration.drawn_from(config, first)
    name = st.text_input("Name", key=key_of("terms-name"), max_chars=200)
    hypothesis = st.text_area("Hypothesis", key=key_of("terms-hypothesis"), max_chars=2000, height=80)
    terms: dict[str, object] = {"name": name.strip() or None, "hypothesis": hypothesis.strip() or None}
    terms |= _decided_by(drawn, models)
    note = st.text_input("Why", key=key_of("terms-note"), max_chars=2000)
    sure = st.checkbox("Yes, end this experiment and begin another", key=key_of("terms-sure"))
    if not st.button("Begin the experiment", icon=":material/restart_alt:"):
        return
    lacking = missing(sure, note)
    if lacking:
        st.error(f"Nothing was changed: {lacking}.", icon=":material/front_hand:")
        return
    asked = f"a new experiment on {readable(str(terms['metric']))}"
    carry_out(
        lambda token: client().begin_experiment(token, terms, administration.unchanged(drawn, asked), note, actor()),
        "A new experiment has begun.",
    )


def _decided_by(drawn: ApiConfiguration, models: ApiModels | None) -> dict[str, object]:
    """What decides: the metric, what it needs, the least effect, and whose outcomes vote."""
    reference = None if models is None else models.reference()
    contract = None if reference is None else reference.contract
    known = _REGRESSING if contract is not None and contract.task == "regression" else _CLASSIFYING
    metrics = list(dict.fromkeys((drawn.metric, *known)))
    metric = st.selectbox("Metric", metrics, format_func=readable, key=key_of("terms-metric"))
    found: dict[str, object] = {"metric": metric}
    if metric == _RECALL and contract is not None:
        places = {name: place for place, name in enumerate(contract.classes)}
        found["positive_class"] = st.selectbox(
            "Positive class",
            list(contract.classes),
            index=places.get(drawn.positive_class or ""),
            key=key_of("terms-positive-class"),
        )
    scale = scale_of(metric)
    least = st.number_input(
        f"Least effect that matters{', in ' + scale.points.strip() if scale.points else ''} (optional)",
        min_value=0.0,
        value=None if drawn.min_effect is None or metric != drawn.metric else scale.factor * drawn.min_effect,
        format="%g",
        key=key_of(f"terms-least-{metric}"),
    )
    unit = st.selectbox(
        "Unit: whose first outcome votes",
        _UNITS,
        index=_UNITS.index(drawn.unit) if drawn.unit in _UNITS else 0,
        key=key_of("terms-unit"),
    )
    return {**found, "min_effect": None if least is None else round(least / scale.factor, 12), "unit": unit}
