"""Sign-in with the administrative token (kept in this session's memory only), and changes made with it."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from app.ui.events import shares
from app.ui.records import ApiConfiguration
from app.ui.session import actor, admin_token, client, feed, forget_admin, remember_admin
from app.ui.states import sentence
from app.ui.transport import CallRefused, NoResult


def show(key: str) -> bool:
    """Whether the visitor has signed in; otherwise shows the form."""
    if admin_token() is not None:
        left, right = st.columns([4, 1], vertical_alignment="center")
        left.caption(f"Signed in as **{actor() or 'admin'}** until this page is closed or reloaded.")
        if right.button("Sign out", key=f"sign-out-{key}"):
            forget_admin()
            st.rerun()
        return True
    with st.form(f"sign-in-{key}"):
        st.caption("Changes need the administrative token (ADMIN_TOKEN of the API). It is kept in this session only.")
        token = st.text_input("Administrative token", type="password", autocomplete="off", key=f"token-{key}")
        name = st.text_input("Your name, for the audit log", max_chars=64, key=f"name-{key}")
        if st.form_submit_button("Sign in", icon=":material/key:") and token.strip():
            _sign_in(token.strip(), name)
    return False


def _sign_in(token: str, name: str) -> None:
    try:
        client().check_token(token)
    except NoResult as failure:
        st.error(f"Not signed in. {sentence(failure)}", icon=":material/key_off:")
        return
    remember_admin(token, name)
    st.rerun()


_DONE = "deciding.done"
_CHANGES = "deciding.changes"


def key_of(name: str) -> str:
    """The key of an input of a change. After each change it is another: a tick and a reason serve once."""
    return f"{name}-{st.session_state.get(_CHANGES, 0)}"


def drop_inputs() -> None:
    """Begin all changes anew, with what is in force."""
    st.session_state[_CHANGES] = st.session_state.get(_CHANGES, 0) + 1


def missing(sure: bool, note: str) -> str | None:
    """What a change still needs; None when it is complete."""
    if not note.strip():
        return "enter a reason for the audit log"
    return None if sure else "tick the box to confirm"


def carry_out(act: Callable[[str], None], done: str) -> None:
    """Make the change with the token and redraw the page with the message `done`; or show why it failed."""
    try:
        act(admin_token() or "")
    except NoResult as failure:
        st.error(f"Change rejected. {sentence(failure)}", icon=":material/error:")
        feed().forget(["config"])
        return
    feed().forget()
    drop_inputs()
    st.session_state[_DONE] = done
    st.rerun()


def carried_out() -> str | None:
    """The message of the change just made; None the next time."""
    done: str | None = st.session_state.pop(_DONE, None)
    return done


def drawn_from(config: ApiConfiguration, key: str) -> ApiConfiguration:
    """The configuration that the inputs of a change were made from: the one of their first drawing.

    `key` is that of one of them. Later redraws must not change what somebody is about to send.
    """
    place = f"{key}-drawn"
    if key not in st.session_state or place not in st.session_state:
        st.session_state[place] = config
    drawn: ApiConfiguration = st.session_state[place]
    return drawn


def changed_since(drawn: ApiConfiguration, present: ApiConfiguration) -> bool:
    """Whether somebody changed the split: a revision may change other settings."""
    return _in_force(drawn) != _in_force(present)


def decided_since(drawn: ApiConfiguration, present: ApiConfiguration) -> bool:
    """Whether somebody ended the experiment that a decision is about."""
    return (drawn.experiment_id, drawn.champion) != (present.experiment_id, present.champion)


def now_champion(present: ApiConfiguration) -> str:
    """What is in force after somebody's decision, as a clause."""
    return f"{present.champion or 'no version'} is champion now, in experiment {present.experiment_id}"


def same_experiment(drawn: ApiConfiguration) -> None:
    """Raises `CallRefused` where somebody ended the experiment of `drawn`: a second rollback would go back one more."""
    present = client().configuration()
    if decided_since(drawn, present):
        raise CallRefused(
            409,
            "conflict",
            f"somebody decided while this form was open: {now_champion(present)}. The decisions below say who and why",
        )


def unchanged(drawn: ApiConfiguration, asked: str) -> int:
    """The revision in force, to send a change with. Raises `CallRefused` where the split is not that of `drawn`; both
    are named, and `asked`, what the visitor wanted."""
    present = client().configuration()
    if changed_since(drawn, present):
        raise CallRefused(
            409,
            "conflict",
            f"somebody changed the split while you were editing it: it was {split_of(drawn)} (revision "
            f"{drawn.epoch}) and is {split_of(present)} now (revision {present.epoch}). Yours, {asked}, was not saved. "
            "The audit log says who changed it",
        )
    return present.epoch


def split_of(config: ApiConfiguration) -> str:
    """The target shares in words."""
    return shares(config.weights)


def _in_force(config: ApiConfiguration) -> tuple[object, ...]:
    ramp = config.ramp
    weights = {version: round(weight, 9) for version, weight in config.weights.items()}
    return config.experiment_id, config.champion, weights, None if ramp is None else (ramp.version, ramp.step)
