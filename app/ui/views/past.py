"""Earlier predictions: of this session, and of everyone on the server."""

from __future__ import annotations

import streamlit as st

from app.ui import grid
from app.ui.records import Cell
from app.ui.session import client, session_predictions
from app.ui.states import drawn_once, explain
from app.ui.transport import NoResult
from app.ui.wording import UNKNOWN, moment

_CHOICES = ("This session", "The server")


def show() -> None:
    """The history; the server is asked only when its tab is chosen."""
    st.subheader("History")
    chosen = st.segmented_control("Whose", _CHOICES, default=_CHOICES[0], label_visibility="collapsed")
    if chosen == _CHOICES[1]:
        _of_server()
    else:
        _of_session()


def _of_session() -> None:
    asked = session_predictions()
    if not asked:
        st.caption("No predictions in this session yet.")
        return
    rows: list[dict[str, object]] = [
        {
            "when": moment(each.answer.timestamp),
            "prediction": str(each.answer.prediction),
            "confidence": each.answer.confidence,
            "version": each.answer.model_version,
            "chosen by": each.answer.assignment,
            "feedback": each.feedback or UNKNOWN,
            "inputs": _inputs(each.features),
        }
        for each in asked
    ]
    drawn_once(_table, rows, "The predictions of this session, newest first.")


def _of_server() -> None:
    try:
        page = client().history()
    except NoResult as failure:
        explain(failure, "The history", "history")
        return
    if not page.predictions:
        st.caption("The server has no predictions yet.")
        return
    rows: list[dict[str, object]] = [
        {
            "when": moment(each.timestamp),
            "prediction": str(each.prediction),
            "confidence": each.confidence,
            "version": each.model_version,
            "chosen by": each.assignment,
            "feedback": _outcome(each.actual, each.reward),
            "inputs": _inputs(each.features),
        }
        for each in page.predictions
    ]
    drawn_once(_table, rows, "The newest predictions of the server.")


def _table(rows: list[dict[str, object]], description: str) -> None:
    confidence = st.column_config.NumberColumn(format="percent")
    grid.show(rows, description, columns={"confidence": confidence})


def _outcome(actual: str | float | None, reward: float | None) -> str:
    parts = [f"it was {actual}"] if actual is not None else []
    return ", ".join([*parts, *([f"reward {reward:g}"] if reward is not None else [])]) or UNKNOWN


def _inputs(features: dict[str, Cell]) -> str:
    return ", ".join(f"{name} {UNKNOWN if value is None else value}" for name, value in features.items())
