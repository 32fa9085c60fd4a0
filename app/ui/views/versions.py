"""The versions of an experiment: their shares, means, requests and latency; the checks and guardrails."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from app.tables.counts import as_sentence
from app.ui import findings, grid, tables
from app.ui.charts import traffic
from app.ui.charts.drawing import drawn
from app.ui.experiment_records import ApiExperiment
from app.ui.states import drawn_once
from app.ui.wording import lower_is_better, readable


def show(report: ApiExperiment, retired: Sequence[str]) -> None:
    """Each version's share, means, requests, outcomes, errors and latency, and which take no part; then the checks."""
    drawn_once(_versions, report, retired)
    drawn_once(_checks, report)


def _versions(report: ApiExperiment, retired: Sequence[str]) -> None:
    st.subheader("Versions")
    if not report.variants:
        st.info("No version is in the experiment yet.", icon=":material/extension:")
        return
    frame = traffic.share_table(report.variants)
    percent = st.column_config.NumberColumn(format="percent")
    drawn(
        traffic.share_drawing(frame),
        frame,
        traffic.share_description(frame),
        **{"actual share": percent, "target share": percent},
    )
    for version, reason in report.excluded.items():
        st.warning(f"**{version} takes no part.** {as_sentence(reason)}", icon=":material/block:")
    for version in (variant.version for variant in report.variants if variant.version in retired):
        st.info(
            f"**{version} is retired.** It gets no more requests; labels of its past predictions still count.",
            icon=":material/inventory_2:",
        )
    rewarded = report.metric == findings.REWARD
    _means(report, rewarded)
    grid.show(tables.versions(report), "Each version with its requests, outcomes, errors and latency.")
    if tables.some_lack(report):
        st.caption(
            "Could take part: the share of the requests that have every column that the version reads. Versions are "
            "compared only on the requests that both of them could have answered."
        )


def _means(report: ApiExperiment, rewarded: bool) -> None:
    """Each version's mean over all labelled rows beside that over the answers it served."""
    known_all = any(variant.mean_all is not None for variant in report.variants)
    grid.show(tables.means(report), f"Each version's mean {readable(report.metric)}.")
    name = f"{readable(report.metric)}{' (lower is better)' if lower_is_better(report.metric) else ''}"
    if rewarded:
        st.caption(f"Mean {name} of the answers that the version served.")
    elif known_all:
        st.caption(
            f"Mean {name} over all labelled rows, also those that another version served. As served: over the labelled "
            f"rows that this version served.{_once(report)}"
        )


def _once(report: ApiExperiment) -> str:
    """Why the comparison is not the difference of the two means, where it is not."""
    if all(each.units is None or each.units >= each.n for each in report.comparisons):
        return ""
    return (
        " Some units (users, own keys or rows) come again. The means have all their rows; the interval and the "
        "comparison have one vote of each. So the improvement need not be the difference of the means, and the mean as "
        "served has no interval."
    )


def _checks(report: ApiExperiment) -> None:
    st.subheader("Checks and guardrails")
    rows = tables.checks(report)
    if not rows:
        st.caption("No check has started yet.")
        return
    grid.show(rows, "Each check and guardrail with its state.")
