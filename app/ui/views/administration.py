"""Sign-in with the administrative token (kept in this session's memory only), and changes made with it."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from app.ui.session import actor, admin_token, feed, forget_admin, remember_admin
from app.ui.states import sentence
from app.ui.transport import NoResult


def show(key: str) -> bool:
    """Whether the visitor has signed in; otherwise shows the form. A wrong token fails at its first use."""
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
            remember_admin(token, name)
            st.rerun()
    return False


_DONE = "deciding.done"


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
    st.session_state[_DONE] = done
    st.rerun()


def carried_out() -> str | None:
    """The message of the change just made; None the next time."""
    done: str | None = st.session_state.pop(_DONE, None)
    return done
