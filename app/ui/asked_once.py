"""Answers that a visitor asked for, kept so that a click elsewhere on the page neither asks again nor redraws them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import streamlit as st

from app.ui.feed import FeedSnapshot
from app.ui.transport import NoResult

_PLACE = "asked_once"
_MOST = 40
Value = TypeVar("Value")


def asked_once(key: tuple[object, ...], ask: Callable[[], Value], what: str) -> FeedSnapshot[Value]:
    """What `ask` returns or fails with, asked the first time only; a spinner shows `what` meanwhile.

    An answer may be empty because nothing has happened yet, so it has its time, and `ask_again` drops it.
    """
    kept: dict[tuple[object, ...], FeedSnapshot[Any]] = st.session_state.setdefault(_PLACE, {})
    if key not in kept:
        with st.spinner(f"Asking the API for {what} …", show_time=False):
            snapshot: FeedSnapshot[Any] = _asked(ask)
        if snapshot.failure is not None:
            return snapshot  # asked again at the next redraw: a failure passes
        while len(kept) >= _MOST:
            kept.pop(next(iter(kept)))
        kept[key] = snapshot
    return kept[key]


def ask_again() -> None:
    """Drop all answers, so that each is asked for at its next use."""
    st.session_state.pop(_PLACE, None)


def _asked(ask: Callable[[], Value]) -> FeedSnapshot[Value]:
    try:
        return FeedSnapshot(ask(), time.time())
    except NoResult as failure:
        return FeedSnapshot(failure=failure.with_traceback(None))
