"""What this session asked, and what came of it."""

from __future__ import annotations

import msgspec
import streamlit as st

from app.ui.records import Cell, Prediction

_KEY = "asked"
_MOST = 50


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One prediction of this session. `forced` is the version that was asked for, None where the split chose.

    `round_trip_ms` is as seen from the dashboard; `feedback` is what was said about it, in words.
    """

    features: dict[str, Cell]
    forced: str | None
    user_id: str | None
    answer: Prediction
    round_trip_ms: float
    outside: tuple[str, ...] = ()
    feedback: str | None = None


def all_asked() -> list[Asked]:
    """The newest 50, the newest first."""
    asked: list[Asked] = st.session_state.setdefault(_KEY, [])
    return asked


def remember(asked: Asked) -> None:
    """Put one on top."""
    st.session_state[_KEY] = [asked, *all_asked()][:_MOST]


def tell(prediction_id: str, feedback: str) -> None:
    """Note what was said about one."""
    st.session_state[_KEY] = [
        msgspec.structs.replace(each, feedback=feedback) if each.answer.prediction_id == prediction_id else each
        for each in all_asked()
    ]
