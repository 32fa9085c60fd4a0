"""First screen of the experiment: what to do, by how much on the same rows, how sure that is, the cost of waiting."""

from __future__ import annotations

import time
from collections.abc import Sequence

import streamlit as st

from app.tables.counts import as_sentence
from app.ui.experiment_records import ApiComparison, ApiDrift, ApiExperiment, ApiPoint
from app.ui.findings import advised, chosen_of, facts_of, small_print
from app.ui.states import fact
from app.ui.wording import literal, moment

_LOOKS = {
    "continue": ("info", ":material/hourglass_empty:"),
    "promote": ("success", ":material/flag:"),
    "keep": ("success", ":material/anchor:"),
    "rollback": ("error", ":material/undo:"),
    "investigate": ("warning", ":material/search:"),
}
CHALLENGER = "challenger"


def show(report: ApiExperiment, drift: ApiDrift | None, points: Sequence[ApiPoint], ending: str = "") -> None:
    """What the experiment is called and expects, and the callout with its figures; `ending` is what ended it."""
    if report.name:
        st.markdown(f"**{literal(report.name)}**")
    if report.hypothesis:
        st.caption(f"Hypothesis: {literal(report.hypothesis)}")
    advice = report.recommendation
    kind, icon = _LOOKS.get(advice.action, ("info", ":material/info:"))
    getattr(st, kind)(f"**{advised(report)}.** {as_sentence(advice.reason)}", icon=icon)
    if ending:
        st.markdown(f"**Ended {moment(report.ended)}:** {literal(ending)}")
    each = chosen(report)
    if each is not None and each.n:
        found = facts_of(each, report, drift, points, time.time())
        for place, said in zip(st.columns(len(found)), found, strict=True):
            fact(place, *said)
    st.caption(small_print(report))


def chosen(report: ApiExperiment) -> ApiComparison | None:
    """The comparison that the page shows: the one in the address, else the advised one, else the first."""
    return chosen_of(report, st.query_params.get(CHALLENGER))
