"""The controls: the advised decision or another one, the split, a ramp. Each needs a reason and a confirmation."""

from __future__ import annotations

import streamlit as st

from app.ui.events import shares
from app.ui.experiment_records import ApiExperiment
from app.ui.feed import FeedSnapshot
from app.ui.records import ApiAudit, ApiConfiguration, ApiModels
from app.ui.session import actor, client
from app.ui.states import known
from app.ui.views import administration, drift, ramp, terms, timeline
from app.ui.views.administration import (
    carried_out,
    carry_out,
    changed_since,
    decided_since,
    key_of,
    missing,
    now_champion,
    split_of,
)
from app.ui.wording import UNKNOWN

Choice = tuple[str, str | None]
_CHOSEN = "decision.chosen"
_OTHER = "decision.other"
_NAMES = {"promote": "Promote", "rollback": "Roll back", "keep": "Keep"}
_MEANINGS = {
    "promote": "{version} becomes champion and gets all traffic. A new experiment begins with it as the baseline.",
    "rollback": "The previous champion gets all traffic again. A new experiment begins with it as the baseline.",
    "keep": "The experiment ends and {baseline} gets all traffic.",
}
AUTOMATIC = {
    "off": "off",
    "rollback": "rollback only",
    "promote": "promotion only",
    "both": "rollback and promotion",
}
_STOPS = "a version that crosses a guardrail gets no more traffic"
_PROMOTES = "a version that is proven better, with nothing left to assume, is promoted"
_ACTS = {"rollback": f"; {_STOPS}", "promote": f"; {_PROMOTES}", "both": f"; {_STOPS}, and {_PROMOTES}"}
# A sum of percentages that were rounded to one decimal.
_ROUNDED = 0.3


def offer(config: ApiConfiguration | None, report: ApiExperiment | None) -> None:
    """One button for what is advised, the other decisions in a list, and the form of the one that was chosen."""
    done = carried_out()
    if done:
        st.session_state.pop(_CHOSEN, None)
        st.success(done, icon=":material/check_circle:")
    if config is None or not config.weights:
        return
    advised = _advised(report)
    with st.container(horizontal=True, vertical_alignment="center"):
        if advised is not None:
            st.button(_name(advised), type="primary", icon=":material/flag:", on_click=_choose, args=(advised,))
        elif report is not None and _drifted(report):
            st.page_link(drift.page(), label="See what has drifted")
        st.selectbox(
            "Another decision",
            [choice for choice in _choices(config) if choice != advised],
            index=None,
            format_func=_name,
            placeholder="Decide otherwise …" if advised else "Decide now …",
            label_visibility="collapsed",
            width=240,
            key=_OTHER,
            on_change=_choose_other,
        )
        automatic = AUTOMATIC.get(config.auto_decide, config.auto_decide or UNKNOWN)
        st.caption(f"Champion: {config.champion or 'none yet'}. Automatic action: {automatic}. {_undecided(config)}")
    chosen: Choice | None = st.session_state.get(_CHOSEN)
    if chosen is not None:
        with st.container(border=True):
            _confirm(chosen, advised, config, report)


def _advised(report: ApiExperiment | None) -> Choice | None:
    """What the report advises, where that is a decision."""
    advice = None if report is None else report.recommendation
    if advice is None or advice.action not in _NAMES:
        return None
    return advice.action, advice.version if advice.action == "promote" else None


def _drifted(report: ApiExperiment) -> bool:
    """Whether the first thing to do is to find out what a drift alarm is about."""
    failed = any(check.name == "drift" and check.ok is False for check in report.checks)
    return failed and report.recommendation.action == "investigate"


def _undecided(config: ApiConfiguration) -> str:
    """What happens if nobody decides."""
    stays = "the ramp goes on" if config.ramp is not None else "the split stays as it is"
    stays = "the weights follow the outcomes" if config.policy == "thompson" else stays
    return f"If nobody decides, {stays}{_ACTS.get(config.auto_decide, '')}."


def _choices(config: ApiConfiguration) -> list[Choice]:
    promotions: list[Choice] = [("promote", version) for version in config.weights if version != config.champion]
    return [*promotions, ("rollback", None), ("keep", None)]


def _name(choice: Choice) -> str:
    action, version = choice
    return f"{_NAMES[action]} {version}" if version else _NAMES[action]


def _choose(choice: Choice | None) -> None:
    st.session_state[_CHOSEN] = choice
    administration.drop_inputs()


def _choose_other() -> None:
    _choose(st.session_state[_OTHER])
    st.session_state[_OTHER] = None


def _confirm(choice: Choice, advised: Choice | None, config: ApiConfiguration, report: ApiExperiment | None) -> None:
    """What the decision means, what speaks against it, and what it needs."""
    action, version = choice
    drawn = administration.drawn_from(config, key_of("decision-note"))
    baseline = drawn.baseline or (report.baseline if report is not None else None) or "the baseline"
    st.markdown(f"**{_name(choice)}.** {_MEANINGS[action].format(version=version, baseline=baseline)}")
    if decided_since(drawn, config):
        st.warning(f"Somebody has decided since this form was opened: {now_champion(config)}.", icon=":material/group:")
    against = None if choice == advised else _against(choice, report)
    if against:
        st.warning(against, icon=":material/warning:")
    if not administration.show("confirm"):
        st.button("Cancel", on_click=_choose, args=(None,), key="decision-cancel-before")
        return
    note = st.text_input("Why", key=key_of("decision-note"), max_chars=2000)
    if action == "promote" and choice != advised:
        typed = st.text_input(f"Type {version} to confirm", key=key_of("decision-typed"))
        sure, confirm = typed.strip() == version, f"type the version's name, {version}"
    else:
        sure = st.checkbox("Yes, this changes which version answers", key=key_of("decision-sure"))
        confirm = "tick the box to confirm"
    with st.container(horizontal=True):
        pressed = st.button(_name(choice), type="primary", key="decision-do")
        st.button("Cancel", on_click=_choose, args=(None,), key="decision-cancel")
    if not pressed:
        return
    lacking = missing(True, note) or (None if sure else confirm)
    if lacking:
        st.error(f"Nothing was decided: {lacking}.", icon=":material/front_hand:")
        return

    def decide(token: str) -> None:
        administration.same_experiment(drawn)
        client().decide(token, action, version, note, actor())

    carry_out(
        decide,
        f"Done: {_name(choice)}. The decision is in the audit log below.",
    )


def _against(choice: Choice, report: ApiExperiment | None) -> str | None:
    """Why a decision should be thought over, in a sentence; None where nothing speaks against it."""
    action, version = choice
    if report is None:
        return "There is no report on the experiment: nothing is known of the versions."
    compared = next((each for each in report.comparisons if each.challenger == version), None)
    if action == "promote" and (compared is None or not compared.n):
        return f"No outcome has entered yet: nothing is known of how good {version} is."
    advice = report.recommendation
    return f"This is not what the figures advise: {advice.reason}" if advice.reason else None


def changes(config: ApiConfiguration | None, models: ApiModels | None) -> None:
    """The split, a ramp and another experiment, once the visitor has signed in and the configuration is known."""
    st.subheader("Change the split")
    if config is None or not config.weights:
        st.caption("There is no split to change yet.")
        return
    if not administration.show("decide"):
        return
    _split(config)
    ramp.show(config)
    terms.show(config, models)


def _split(config: ApiConfiguration) -> None:
    first = key_of(f"split-{_ordered(config)[-1]}")
    drawn = administration.drawn_from(config, first)
    st.caption(f"Target share now: {split_of(config)}.")
    if changed_since(drawn, config):
        st.warning(
            f"Somebody has changed the split. This form was made from {split_of(drawn)} (revision {drawn.epoch}); now "
            f"{split_of(config)} is in force (revision {config.epoch}).",
            icon=":material/group:",
        )
        _begin_anew("split-anew-before")
    weights = _asked_weights(drawn)
    if weights is not None:
        st.caption(f"Target share after: **{shares(weights)}**.")
    note = st.text_input("Why", key=key_of("split-note"), max_chars=2000)
    sure = st.checkbox("Yes, change the split", key=key_of("split-sure"))
    if not st.button("Change the split", icon=":material/balance:"):
        return
    lacking = missing(sure, note) if weights else "make the percentages sum to 100"
    if lacking or weights is None:
        st.error(f"Nothing was changed: {lacking}.", icon=":material/front_hand:")
        return
    carry_out(
        lambda token: client().change_split(
            token, weights, administration.unchanged(drawn, shares(weights)), note, actor()
        ),
        f"The target share is {shares(weights)}.",
    )
    _begin_anew("split-anew")


def _begin_anew(key: str) -> None:
    st.button("Start again from the split in force", on_click=administration.drop_inputs, key=key)


def _ordered(config: ApiConfiguration) -> list[str]:
    """The versions with the baseline first."""
    baseline = config.baseline or config.champion
    return sorted(config.weights, key=lambda version: version != baseline)


def _asked_weights(drawn: ApiConfiguration) -> dict[str, float] | None:
    """The shares that the inputs say, which sum to 1; None, after saying so, where they do not."""
    versions = _ordered(drawn)
    if len(versions) == 2:
        first, second = versions
        percent = st.slider(
            f"{second}: percent of the requests",
            0.0,
            100.0,
            100 * drawn.weights[second],
            step=1.0,
            format="%g",
            key=key_of(f"split-{second}"),
        )
        return {first: (100 - percent) / 100, second: percent / 100}
    asked = {
        version: st.number_input(
            f"{version}: percent of the requests",
            0.0,
            100.0,
            100 * drawn.weights[version],
            step=1.0,
            format="%.1f",
            key=key_of(f"split-{version}"),
        )
        for version in versions
    }
    total = sum(asked.values())
    if abs(total - 100) > _ROUNDED:
        st.warning(f"The percentages sum to {total:.1f}, not to 100.", icon=":material/balance:")
        return None
    return {version: percent / total for version, percent in asked.items()}


@st.fragment
def audit(snapshot: FeedSnapshot[ApiAudit]) -> None:
    """Who decided what, when and why."""
    st.subheader("Decisions")
    log = known(snapshot, "The audit log", "audit")
    if log is not None and not log.entries:
        st.caption("No decisions yet.")
    elif log is not None:
        timeline.decisions(log)
