"""Ramps: a version's share raised step by step. The running one as a sentence, and forms to end or start one."""

from __future__ import annotations

import itertools

import streamlit as st

from app.tables.counts import as_sentence
from app.ui.records import ApiConfiguration, ApiRamp
from app.ui.session import actor, client
from app.ui.views import administration
from app.ui.views.administration import carry_out, key_of, missing
from app.ui.wording import duration, moment, share


def sentence_of(ramp: ApiRamp) -> str:
    """The ramp's present step and the next one."""
    steps, place = ramp.steps, ramp.step - 1
    now = share(steps[place]) if 0 <= place < len(steps) else "an unknown share"
    begun = f"**Ramp of {ramp.version}:** step {ramp.step} of {len(steps)}, {now} of the requests"
    if ramp.held:
        return f"{begun}. Waiting: {as_sentence(ramp.held)}"
    if ramp.step >= len(steps):
        return f"{begun}; this is the last step. The ramp ends no earlier than {moment(ramp.next_step_at)}."
    return f"{begun}; {share(steps[place + 1])} follows no earlier than {moment(ramp.next_step_at)}."


def steps_in(text: str) -> list[float]:
    """The shares in a list of percentages such as `1, 5, 25`. Raises `ValueError` with what is wrong, in words."""
    try:
        steps = [float(part.strip().removesuffix("%")) / 100 for part in text.split(",")]
    except ValueError:
        raise ValueError("enter the steps as percentages separated by commas, such as 1, 5, 25, 50") from None
    rising = all(low < high for low, high in itertools.pairwise(steps))
    if not rising or not all(0 < step <= 1 for step in steps):
        raise ValueError("each step must be greater than the one before it, above 0 and at most 100")
    return steps


def show(config: ApiConfiguration) -> None:
    """The form that ends the running ramp or, if none runs, starts one."""
    if config.ramp is not None:
        with st.form("end-ramp"):
            _end(config.ramp)
        return
    challengers = [version for version in config.weights if version != (config.baseline or config.champion)]
    if challengers:
        with st.expander("Raise a version's share step by step"), st.form("ramp", border=False):
            _start(config, challengers)


def _end(ramp: ApiRamp) -> None:
    st.markdown(f"**The ramp of {ramp.version}**")
    st.caption(f"A step every {duration(ramp.every_seconds)}. Ending the ramp keeps the present split.")
    note = st.text_input("Why", key=key_of("end-ramp-note"), max_chars=2000)
    sure = st.checkbox("Yes, end the ramp", key=key_of("end-ramp-sure"))
    if st.form_submit_button("End the ramp", icon=":material/front_hand:"):
        lacking = missing(sure, note)
        if lacking:
            st.error(f"Nothing was changed: {lacking}.", icon=":material/front_hand:")
            return
        carry_out(
            lambda token: client().end_ramp(token, note, actor()),
            f"The ramp of {ramp.version} has ended.",
        )


def _start(config: ApiConfiguration, challengers: list[str]) -> None:
    st.caption(
        "The first step takes effect at once. Each further step waits until harm is ruled out; if a guardrail is "
        "crossed, the split before the ramp is restored."
    )
    drawn = administration.drawn_from(config, key_of("ramp-version"))
    version = st.selectbox("Version to raise", challengers, key=key_of("ramp-version"))
    text = st.text_input("Steps, in percent", "1, 5, 25, 50", key="ramp-steps")
    minutes = st.number_input("Minutes between steps", 1, 43_200, 60, key="ramp-minutes")
    note = st.text_input("Why", key=key_of("ramp-note"), max_chars=2000)
    sure = st.checkbox("Yes, start the ramp", key=key_of("ramp-sure"))
    if not st.form_submit_button("Start the ramp", icon=":material/stairs:"):
        return
    try:
        steps = steps_in(text)
        lacking = missing(sure, note)
    except ValueError as error:
        steps, lacking = [], str(error)
    if lacking:
        st.error(f"Nothing was changed: {lacking}.", icon=":material/front_hand:")
        return
    asked = f"a ramp of {version} from {share(steps[0])}"
    carry_out(
        lambda token: client().start_ramp(
            token, version, steps, 60 * int(minutes), administration.unchanged(drawn, asked), note, actor()
        ),
        f"The ramp of {version} has started at {share(steps[0])}.",
    )
