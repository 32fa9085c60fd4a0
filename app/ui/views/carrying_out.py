"""Sending a change that needs the administrative token, a note and a confirmation, and saying what came of it."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from app.ui.errors import NoResult
from app.ui.session import admin_token, feed
from app.ui.states import sentence

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
