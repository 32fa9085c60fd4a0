"""The states that every page has beside the usual one: not there yet, down, not now, and stale."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, TypeVar

import streamlit as st

from app.ui.errors import ApiDown, NoResult, NotNow, NotThere, Refused
from app.ui.feed import Look
from app.ui.session import feed
from app.ui.wording import as_sentence, clock, duration

Value = TypeVar("Value")


def looked_at(page: str, names: Sequence[str]) -> list[Look[Any]]:
    """The newest looks at `names`, with a sign that the page is busy while the api is asked."""
    with st.spinner(f"Asking the api for the {page} …", show_time=False):
        return feed().looks(names)


def known(look: Look[Value], what: str, key: str) -> Value | None:
    """The value, with a warning above it where it is old; None after saying why there is none."""
    if look.value is None:
        if look.failure is not None:
            explain(look.failure, what, key)
        return None
    if look.failure is not None:
        _stale(look, look.failure, what, key)
    return look.value


def explain(failure: NoResult, what: str, key: str) -> None:
    """Say why there is no result, and offer to try again where that may help."""
    if isinstance(failure, NotThere):
        st.info(
            f"**{what}: not there yet.** {sentence(failure)} This shows it as soon as the server has it.",
            icon=":material/extension:",
        )
        return
    if isinstance(failure, NotNow):
        st.info(f"**{what}: nothing to show yet.** {sentence(failure)}", icon=":material/hourglass_empty:")
    elif isinstance(failure, ApiDown):
        st.error(
            f"**The api does not answer.** {sentence(failure)} Start it with `bakeoff serve`.",
            icon=":material/power_off:",
        )
    else:
        st.error(f"**{what}: {_trouble(failure)}.** {sentence(failure)}", icon=":material/error:")
    retry_button(key)


def retry_button(key: str) -> None:
    """Ask the api again, for everything."""
    if st.button("Try again", key=f"retry-{key}", icon=":material/refresh:"):
        feed().forget()
        st.rerun()


def sentence(failure: NoResult) -> str:
    """The failure's message as a sentence."""
    return as_sentence(failure.message)


def _trouble(failure: NoResult) -> str:
    if isinstance(failure, Refused) and failure.status in (401, 403):
        return "the api wants a token (set API_TOKEN for the dashboard)"
    return "the api refused" if isinstance(failure, Refused) else "the answer was not understood"


def _stale(look: Look[Value], failure: NoResult, what: str, key: str) -> None:
    since = clock(look.read_at) if look.read_at is not None else "?"
    age = duration(look.age_s(time.time()))
    st.warning(f"**{what}: old figures**, of {since} ({age} ago). {sentence(failure)}", icon=":material/history:")
    retry_button(f"stale-{key}")
