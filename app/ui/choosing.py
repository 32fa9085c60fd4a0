"""Which model a page asks: the one whose features it shows, and the version that is to answer."""

from __future__ import annotations

import streamlit as st

from app.ui.records import Model, Models
from app.ui.states import known, looked_at

_NAMES = ("models",)
_BY_SPLIT = "the split decides"


def served_models(page: str) -> tuple[Models, Model] | None:
    """All models, and the one whose features the page shows; None after saying why there is none."""
    models = known(looked_at("models", _NAMES)[0], "The models", page)
    if models is None:
        return None
    model = models.reference()
    if model is None:
        st.info("**No model serves yet.** Run `bakeoff train`, then restart the api.", icon=":material/extension:")
        return None
    return models, model


def chosen_version(models: Models, explanation: str) -> str | None:
    """The version that somebody chose to answer; None where the split decides."""
    chosen = st.selectbox("Version", [_BY_SPLIT, *models.answering()], help=explanation)
    return None if chosen == _BY_SPLIT else chosen
