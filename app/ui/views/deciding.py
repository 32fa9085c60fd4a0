"""The controls: the split, promote, roll back, keep; each with a note, and a confirmation."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from app.ui.errors import NoResult
from app.ui.experiment_records import Experiment
from app.ui.records import Configuration
from app.ui.session import actor, admin_token, client, feed
from app.ui.states import sentence
from app.ui.views import signing_in
from app.ui.wording import share

_DONE = "deciding.done"
MEANINGS = {
    "promote": "Promote: the version becomes champion and gets all traffic",
    "rollback": "Roll back: the champion before this one gets all traffic",
    "keep": "Keep: the experiment ends with the baseline",
}


def show(config: Configuration | None, experiment: Experiment | None) -> None:
    """The controls, once the token was given and the configuration is known."""
    st.subheader("Decide")
    done = st.session_state.pop(_DONE, None)
    if done:
        st.success(done, icon=":material/check_circle:")
    if config is None or not config.weights:
        st.caption("There is no split to change yet.")
        return
    if not signing_in.show("decide"):
        return
    split, decision = st.columns(2, gap="large")
    with split, st.form("split"):
        _split(config)
    with decision, st.form("decision"):
        _decision(config, experiment)


def _split(config: Configuration) -> None:
    st.markdown("**The split**")
    st.caption(f"Now: {', '.join(f'{name} {share(weight)}' for name, weight in config.weights.items())}.")
    asked = {
        name: st.slider(f"{name}, in parts", 0, 100, round(100 * weight), key=f"split-{config.epoch}-{name}")
        for name, weight in config.weights.items()
    }
    note = st.text_input("Why", key="split-note", max_chars=2000)
    sure = st.checkbox("Yes, change the split", key="split-sure")
    if st.form_submit_button("Change the split", icon=":material/balance:"):
        total = sum(asked.values())
        missing = "all parts are 0" if not total else _missing(sure, note)
        if missing:
            st.error(f"Nothing was changed: {missing}.", icon=":material/front_hand:")
            return
        weights = {name: part / total for name, part in asked.items()}
        _carry_out(
            lambda token: client().change_split(token, weights, config.epoch, note, actor()),
            f"The split is {', '.join(f'{name} {share(weight)}' for name, weight in weights.items())}.",
        )


def _decision(config: Configuration, experiment: Experiment | None) -> None:
    st.markdown("**The decision**")
    st.caption(
        f"Champion: {config.champion or 'none yet'}. By itself the service decides: {config.auto_decide or '?'}."
    )
    action = st.radio("What", list(MEANINGS), format_func=lambda name: MEANINGS[name], key="decision-action")
    advised = experiment.recommendation.version if experiment is not None else None
    versions = list(config.weights)
    place = versions.index(advised) if advised in versions else len(versions) - 1
    version = st.selectbox("Version to promote", versions, index=place, key="decision-version")
    note = st.text_input("Why", key="decision-note", max_chars=2000)
    sure = st.checkbox("Yes, this changes who answers", key="decision-sure")
    if st.form_submit_button("Decide", type="primary", icon=":material/flag:"):
        missing = _missing(sure, note)
        if missing:
            st.error(f"Nothing was decided: {missing}.", icon=":material/front_hand:")
            return
        chosen = version if action == "promote" else None
        _carry_out(
            lambda token: client().decide(token, action, chosen, note, actor()),
            f"Done: {action}{f' {chosen}' if chosen else ''}. It is in the log below.",
        )


def _missing(sure: bool, note: str) -> str | None:
    if not note.strip():
        return "say why, for the audit log"
    return None if sure else "tick the box to confirm"


def _carry_out(act: Callable[[str], None], done: str) -> None:
    try:
        act(admin_token() or "")
    except NoResult as failure:
        st.error(f"The api did not do it. {sentence(failure)}", icon=":material/error:")
        feed().forget(["config"])
        return
    feed().forget()
    st.session_state[_DONE] = done
    st.rerun()
