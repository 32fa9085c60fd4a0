"""First screen of the experiment: what to do, by how much on the same rows, how sure that is, the cost of waiting."""

from __future__ import annotations

import time
from collections.abc import Sequence

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.ui.experiment_records import ApiComparison, ApiDrift, ApiExperiment, ApiPoint
from app.ui.findings import advised, chosen_of, cost_of, labels_to_come, same_rows, small_print, trust_in
from app.ui.states import fact
from app.ui.wording import as_sentence, scale_of, share

_LOOKS = {
    "continue": ("info", ":material/hourglass_empty:"),
    "promote": ("success", ":material/flag:"),
    "keep": ("success", ":material/anchor:"),
    "rollback": ("error", ":material/undo:"),
    "investigate": ("warning", ":material/search:"),
}
CHALLENGER = "challenger"


def show(report: ApiExperiment, drift: ApiDrift | None, points: Sequence[ApiPoint]) -> None:
    """The callout with its figures."""
    advice = report.recommendation
    kind, icon = _LOOKS.get(advice.action, ("info", ":material/info:"))
    getattr(st, kind)(f"**{advised(report)}.** {as_sentence(advice.reason)}", icon=icon)
    each = chosen(report)
    if each is not None and each.n:
        size, trust, left, cost = st.columns(4)
        _size(size, each, report)
        fact(trust, "Can it be trusted?", *trust_in(each, report, drift))
        fact(left, "Labels left", *labels_to_come(each, points))
        fact(cost, "Waiting costs", *cost_of(each, report, time.time()))
    st.caption(small_print(report))


def chosen(report: ApiExperiment) -> ApiComparison | None:
    """The comparison that the page shows: the one in the address, else the advised one, else the first."""
    return chosen_of(report, st.query_params.get(CHALLENGER))


def _size(place: DeltaGenerator, each: ApiComparison, report: ApiExperiment) -> None:
    scale = scale_of(report.metric)
    fact(
        place,
        f"{each.challenger} against {report.baseline}, same rows",
        scale.change(each.difference, each.interval),
        f"{share(1 - report.alpha, 0)} interval {scale.changes(each.interval)}. {same_rows(each, report)}",
    )
