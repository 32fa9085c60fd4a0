"""The controls: split, promote, roll back, keep; each needs a note and a confirmation."""

from __future__ import annotations

import streamlit as st

from app.ui.experiment_records import ApiExperiment
from app.ui.records import ApiConfiguration
from app.ui.session import actor, client
from app.ui.views import administration, ramp
from app.ui.views.administration import carried_out, carry_out, missing
from app.ui.wording import share

MEANINGS = {
    "promote": "Promote: the version becomes champion and gets all traffic",
    "rollback": "Roll back: the previous champion gets all traffic",
    "keep": "Keep: the experiment ends with the baseline",
}


def show(config: ApiConfiguration | None, experiment: ApiExperiment | None) -> None:
    """The controls, once the visitor has signed in and the configuration is known."""
    st.subheader("Decide")
    done = carried_out()
    if done:
        st.success(done, icon=":material/check_circle:")
    if config is None or not config.weights:
        st.caption("There is no split to change yet.")
        return
    if not administration.show("decide"):
        return
    split, decision = st.columns(2, gap="large")
    with split, st.form("split"):
        _split(config)
    with decision, st.form("decision"):
        _decision(config, experiment)
    ramp.show(config)


def _split(config: ApiConfiguration) -> None:
    st.markdown("**The split**")
    st.caption(f"Now: {', '.join(f'{name} {share(weight)}' for name, weight in config.weights.items())}.")
    asked = {
        name: st.slider(f"{name}, weight", 0, 100, round(100 * weight), key=f"split-{config.epoch}-{name}")
        for name, weight in config.weights.items()
    }
    note = st.text_input("Why", key="split-note", max_chars=2000)
    sure = st.checkbox("Yes, change the split", key="split-sure")
    if st.form_submit_button("Change the split", icon=":material/balance:"):
        total = sum(asked.values())
        lacking = "all weights are 0" if not total else missing(sure, note)
        if lacking:
            st.error(f"Nothing was changed: {lacking}.", icon=":material/front_hand:")
            return
        weights = {name: part / total for name, part in asked.items()}
        carry_out(
            lambda token: client().change_split(token, weights, config.epoch, note, actor()),
            f"The split is {', '.join(f'{name} {share(weight)}' for name, weight in weights.items())}.",
        )


def _decision(config: ApiConfiguration, experiment: ApiExperiment | None) -> None:
    st.markdown("**The decision**")
    st.caption(f"Champion: {config.champion or 'none yet'}. Automatic action: {config.auto_decide or '?'}.")
    action = st.radio("What", list(MEANINGS), format_func=lambda name: MEANINGS[name], key="decision-action")
    advised = experiment.recommendation.version if experiment is not None else None
    versions = list(config.weights)
    place = versions.index(advised) if advised in versions else len(versions) - 1
    version = st.selectbox("Version to promote", versions, index=place, key="decision-version")
    note = st.text_input("Why", key="decision-note", max_chars=2000)
    sure = st.checkbox("Yes, this changes which version answers", key="decision-sure")
    if st.form_submit_button("Decide", type="primary", icon=":material/flag:"):
        lacking = missing(sure, note)
        if lacking:
            st.error(f"Nothing was decided: {lacking}.", icon=":material/front_hand:")
            return
        chosen = version if action == "promote" else None
        carry_out(
            lambda token: client().decide(token, action, chosen, note, actor()),
            f"Done: {action}{f' {chosen}' if chosen else ''}. The decision is in the audit log below.",
        )
