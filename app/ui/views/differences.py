"""Why a challenger is better or worse: where the two differ, and the rows themselves. Asked for only once opened."""

from __future__ import annotations

from functools import partial

import streamlit as st

from app.ui.experiment_records import ApiExperiment
from app.ui.records import ApiContract, ApiModels
from app.ui.session import ask_again
from app.ui.views import breakdown, disagreements, headline

_PARTS, ROWS = "Breakdown", "Disagreements"
_CHOICES = (_PARTS, ROWS)
# The place of the choice, which other parts of the page set, and its name in the address.
PART = "tab"


@st.fragment
def show(report: ApiExperiment, models: ApiModels | None) -> None:
    """The section; nothing before there is a challenger."""
    each = headline.chosen(report)
    if each is None:
        return
    challenger = each.challenger
    st.subheader(f"Why: where {challenger} and {report.baseline or 'the baseline'} differ")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        part = st.segmented_control("Show", _CHOICES, key=PART, label_visibility="collapsed", bind="query-params")
        if part is not None:
            st.button("Refresh", on_click=ask_again, icon=":material/refresh:", key="differences-refresh")
    if part is None:
        st.caption(
            "Breakdown: the comparison by class, or in segments by a feature. Disagreements: rows that were answered "
            "differently, from which answer to which, and with what probabilities."
        )
    elif part == _PARTS:
        breakdown.show(report, challenger, _contract(models))
    else:
        segments = partial(breakdown.levels, report, challenger)
        disagreements.show(report, challenger, _contract(models), segments)


def _contract(models: ApiModels | None) -> ApiContract:
    reference = models.reference() if models is not None else None
    return reference.contract if reference is not None else ApiContract()
