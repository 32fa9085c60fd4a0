"""The administrative token: asked for once, kept in this session's memory and nowhere else.

Sending a change that needs the administrative token, a note and a confirmation, and saying what came of it.
"""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from app.ui.session import actor, admin_token, feed, forget_admin, remember_admin
from app.ui.states import sentence
from app.ui.transport import NoResult


def show(key: str) -> bool:
    """Whether there is a token; else asks for it. A wrong one shows when it is used: the api alone knows."""
    if admin_token() is not None:
        left, right = st.columns([4, 1], vertical_alignment="center")
        left.caption(f"You decide as **{actor() or 'admin'}**, until this page is closed or reloaded.")
        if right.button("Forget the token", key=f"sign-out-{key}"):
            forget_admin()
            st.rerun()
        return True
    with st.form(f"sign-in-{key}"):
        st.caption("Changes need the administrative token (ADMIN_TOKEN of the api). It stays in this session only.")
        token = st.text_input("Administrative token", type="password", autocomplete="off", key=f"token-{key}")
        name = st.text_input("Your name, for the audit log", max_chars=64, key=f"name-{key}")
        if st.form_submit_button("Use it", icon=":material/key:") and token.strip():
            remember_admin(token, name)
            st.rerun()
    return False


_DONE = "deciding.done"


def missing(sure: bool, note: str) -> str | None:
    """What a change still lacks, in words; None where nothing does."""
    if not note.strip():
        return "say why, for the audit log"
    return None if sure else "tick the box to confirm"


def carry_out(act: Callable[[str], None], done: str) -> None:
    """Do it with the token, and draw the page anew with `done` on it; or say why it was not done."""
    try:
        act(admin_token() or "")
    except NoResult as failure:
        st.error(f"The api did not do it. {sentence(failure)}", icon=":material/error:")
        feed().forget(["config"])
        return
    feed().forget()
    st.session_state[_DONE] = done
    st.rerun()


def carried_out() -> str | None:
    """What was done just before, once."""
    done: str | None = st.session_state.pop(_DONE, None)
    return done
