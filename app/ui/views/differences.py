"""Why a challenger is better or worse: where the two differ, and the rows themselves. Asked for only once opened."""

from __future__ import annotations

import streamlit as st

from app.ui.experiment_records import ApiExperiment
from app.ui.records import ApiContract, ApiModels
from app.ui.session import ask_again
from app.ui.views import breakdown, disagreements, headline

_PARTS, _ROWS = "Breakdown", "Disagreements"
_CHOICES = (_PARTS, _ROWS)


@st.fragment
def show(report: ApiExperiment, models: ApiModels | None) -> None:
    """The section; nothing before there is a challenger."""
    each = headline.chosen(report)
    if each is None:
        return
    challenger = each.challenger
    st.subheader(f"Why: where {challenger} and {report.baseline or 'the baseline'} differ")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        part = st.segmented_control("Show", _CHOICES, key="differences-part", label_visibility="collapsed")
        if part is not None:
            st.button("Refresh", on_click=ask_again, icon=":material/refresh:", key="differences-refresh")
    if part is None:
        st.caption(
            "Breakdown: the comparison by class or by a feature. Disagreements: rows that were answered differently."
        )
    elif part == _PARTS:
        breakdown.show(report, challenger, _contract(models))
    else:
        disagreements.show(report, challenger, _contract(models))


def _contract(models: ApiModels | None) -> ApiContract:
    reference = models.reference() if models is not None else None
    return reference.contract if reference is not None else ApiContract()
