"""One answer: the prediction, the version that gave it, its confidence, the label, and how to repeat it."""

from __future__ import annotations

import streamlit as st

from app.ui import sharing
from app.ui.charts import predictions
from app.ui.charts.drawing import drawn
from app.ui.records import ApiContract, ApiPrediction
from app.ui.session import SessionPrediction, client, note_feedback
from app.ui.states import drawn_once, figure, sentence
from app.ui.transport import NoResult
from app.ui.wording import number, share

ASSIGNMENTS = {
    "weighted": "chosen at random by the split",
    "sticky": "chosen by the user id",
    "forced": "chosen by you, so it does not count in the experiment",
    "fallback": "used because the chosen version could not answer, or this host cannot follow the split",
    "bandit": "chosen by the policy",
}
_MOST_BESIDE = 16


def show(asked: SessionPrediction, contract: ApiContract) -> None:
    """Show the answer."""
    given = asked.answer
    predicted = _text(given.prediction)
    # Beside each other there is no room for long names.
    short = max(len(predicted), len(given.model_version)) <= _MOST_BESIDE
    value, version, latency = st.columns(3) if short else [st.container() for _ in range(3)]
    confidence = f"{share(given.confidence)} confidence" if given.confidence is not None else None
    figure(value, "Prediction", predicted, confidence)
    figure(version, "Answered by", given.model_version, given.assignment)
    figure(latency, "Latency in ms", number(given.latency_ms, 2), f"{asked.round_trip_ms:.0f} ms round trip")
    aside = "" if asked.counts else " This prediction and its label do not count in the experiment."
    st.caption(f"{given.model_version} was {ASSIGNMENTS.get(given.assignment, given.assignment)}.{aside}")
    for sentence_ in asked.outside:
        st.warning(
            f"Outside the training data: {sentence_}. The prediction is an extrapolation.",
            icon=":material/warning:",
        )
    if given.probabilities:
        drawn_once(_probabilities, given)
    _was_it_right(asked, contract)
    _again(asked)


def _probabilities(given: ApiPrediction) -> None:
    frame = predictions.probability_table(given.probabilities, str(given.prediction))
    fine = st.column_config.NumberColumn(format="%.4f")
    drawn(predictions.probability_drawing(frame), frame, predictions.probability_description(frame), probability=fine)


def _was_it_right(asked: SessionPrediction, contract: ApiContract) -> None:
    st.markdown("**Was it right?**")
    key = asked.answer.prediction_id
    if asked.feedback is not None:
        st.success(f"Recorded: {asked.feedback}.", icon=":material/check_circle:")
        return
    if contract.task == "classification":
        _class_feedback(asked, contract, key)
    else:
        with st.form(f"true-{key}", border=False):
            true = st.number_input("The true value", value=float(asked.answer.prediction), format="%g")
            if st.form_submit_button("Send"):
                _send(asked, true)


def _class_feedback(asked: SessionPrediction, contract: ApiContract, key: str) -> None:
    if st.button(f"Yes, it was {asked.answer.prediction}", key=f"right-{key}", icon=":material/thumb_up:"):
        _send(asked, asked.answer.prediction)
    others = [name for name in contract.classes if name != asked.answer.prediction]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        other = st.selectbox("What it was", others, key=f"other-{key}", label_visibility="collapsed")
        if st.button("No, it was this", key=f"wrong-{key}", icon=":material/thumb_down:") and other is not None:
            _send(asked, other)


def _send(asked: SessionPrediction, actual: str | float) -> None:
    try:
        receipt = client().feedback(asked.answer.prediction_id, actual)
    except NoResult as failure:
        st.error(f"Not recorded. {sentence(failure)}", icon=":material/error:")
        return
    known_before = "" if receipt.accepted else " (already recorded before)"
    note_feedback(asked.answer.prediction_id, f"it was {_text(actual)}{known_before}")
    st.rerun()


def _again(asked: SessionPrediction) -> None:
    with st.expander("Repeat this prediction: curl, Python, link"):
        api = client()
        forced = asked.forced or asked.answer.model_version
        options = (api.public_url, asked.repeated, forced, asked.user_id, api.predicting_with)
        st.caption("The version is forced, so that the prediction is the same.")
        st.code(sharing.as_curl(*options, counts=asked.counts), language="bash", wrap_lines=True)
        st.code(sharing.as_python(*options, counts=asked.counts), language="python", wrap_lines=True)
        st.code(sharing.link(st.context.url or "", asked.features), language=None, wrap_lines=True)


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else number(value, 6)
