"""The secondary metrics of a comparison: a small table under its verdict, which decides nothing."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from app.ui.experiment_records import ApiExperiment, ApiMetric, ApiMetricComparison
from app.ui.wording import UNKNOWN, as_sentence, part, readable, scale_of


def show(challenger: str, report: ApiExperiment) -> None:
    """The table; nothing where the experiment has no secondary metric, or the API does not know of any."""
    rows = [_row(each, challenger, report.baseline or "") for each in report.metrics]
    if not rows:
        return
    st.markdown("**Other metrics** (not decided on)")
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        alt=f"The secondary metrics of {challenger}, with means, improvement and interval. They decide nothing.",
    )
    st.caption(
        "Means over all labelled rows where they are known, else as served. Improvement: positive is good for "
        f"{challenger}. The verdict, the recommendation and the guardrails do not use these metrics, and their "
        "intervals are not corrected for being several."
    )
    notes = [note for each in report.metrics for note in _notes(each, challenger)]
    if notes:
        st.markdown("\n".join(f"- {note}" for note in notes))


def _row(metric: ApiMetric, challenger: str, baseline: str) -> dict[str, object]:
    compared, scale = _compared(metric, challenger), scale_of(metric.metric)
    lower = "" if metric.higher_is_better else " (lower is better)"
    return {
        "metric": f"{_named(metric)}{lower}",
        baseline: _mean(metric, baseline),
        challenger: _mean(metric, challenger),
        "improvement": scale.change(compared.improvement, compared.interval),
        "interval": scale.changes(compared.interval),
        "outcomes": compared.n,
        "votes": compared.units,
    }


def _compared(metric: ApiMetric, challenger: str) -> ApiMetricComparison:
    of_it = (each for each in metric.comparisons if each.challenger == challenger)
    return next(of_it, ApiMetricComparison(challenger=challenger))


def _mean(metric: ApiMetric, version: str) -> str:
    for each in metric.variants:
        if each.version == version:
            return scale_of(metric.metric).mean(each.mean if each.mean_all is None else each.mean_all)
    return UNKNOWN


def _notes(metric: ApiMetric, challenger: str) -> list[str]:
    """What limits the figures of a metric."""
    name = _named(metric)
    notes = [f"**{name}** cannot be computed at present: {as_sentence(metric.error)}"] if metric.error else []
    if metric.processed < 1:
        notes.append(f"**{name}** is still being computed: {part(metric.processed)} of the log is counted.")
    return notes + [f"**{name}**: {as_sentence(warning)}" for warning in _compared(metric, challenger).warnings]


def _named(metric: ApiMetric) -> str:
    return metric.described or readable(metric.metric)
