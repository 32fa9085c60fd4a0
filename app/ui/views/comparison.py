"""One challenger against the baseline: the figures, their timeline, and how many labels are left to a decision."""

from __future__ import annotations

import math

import streamlit as st

from app.ui.charts import timeline
from app.ui.charts.drawing import beside
from app.ui.experiment_records import ApiComparison, ApiExperiment, ApiPoint, ApiTimeline
from app.ui.feed import FeedSnapshot
from app.ui.states import figure, known
from app.ui.wording import UNKNOWN, interval, number, readable, share, signed

VERDICTS = {
    "better": "✔ better",
    "worse": "✖ worse",
    "equivalent": "= equivalent",
    "undecided": "… undecided",
}


def show(each: ApiComparison, report: ApiExperiment, snapshot: FeedSnapshot[ApiTimeline]) -> None:
    """The comparison; before its first outcome, how to send one."""
    baseline = report.baseline or "the baseline"
    st.subheader(f"{each.challenger} against {baseline}")
    st.markdown(_progress(each))
    if each.n == 0:
        return
    _figures(each, report)
    _evidence_bar(each, report.alpha)
    timeline = known(snapshot, "The timeline", f"timeline-{each.challenger}")
    if timeline is not None:
        _timeline(each, report, [point for point in timeline.points if point.challenger == each.challenger])
    _small_print(each)


def labels_left(each: ApiComparison) -> str | None:
    """The 80 % range of the labels left until a decision; None if it cannot be estimated yet."""
    low, high = each.remaining or (None, None)
    if low is None:
        return None
    # Beyond a million the forecast is not made: it would be as good as never.
    upper = "more than a million" if high is None else f"{math.ceil(high):,}"
    return f"{math.ceil(low):,}–{upper} more labels (80 % range)"


def _progress(each: ApiComparison) -> str:
    if each.n == 0:
        return (
            "**0 labelled outcomes.** Send true labels with `POST /feedback`, or label answers on the Playground page."
        )
    if each.verdict != "undecided":
        return f"Decided; {each.n:,} labelled outcomes so far."
    left = labels_left(each)
    if left is None:
        return f"**{each.n:,} labelled outcomes**; the number left cannot be estimated yet."
    return f"**{left}** to a decision; {each.n:,} labelled outcomes so far."


def _figures(each: ApiComparison, report: ApiExperiment) -> None:
    verdict, difference, evidence, chance = st.columns(4)
    figure(verdict, "Verdict", VERDICTS.get(each.verdict, readable(each.verdict)), f"p = {number(each.p_value, 3)}")
    figure(difference, f"Difference in {readable(report.metric)}", signed(each.difference), interval(each.interval))
    now = UNKNOWN if each.log_e is None else f"{number(math.exp(min(each.log_e, 690)), 3)} to 1"
    figure(evidence, "Evidence now", now, f"decision at {1 / report.alpha:.3g} to 1")
    tally = UNKNOWN if each.wins is None else f"{number(each.wins)} won, {number(each.losses)} lost"
    figure(chance, f"Probability {each.challenger} is better", share(each.probability_better), tally)


def _evidence_bar(each: ApiComparison, alpha: float) -> None:
    if each.log_e is None:
        return
    done = min(1.0, max(0.0, each.log_e / -math.log(alpha)))
    st.progress(done, text=f"Evidence: {share(done, 0)} of the way to the threshold (log scale)")


def _timeline(each: ApiComparison, report: ApiExperiment, points: list[ApiPoint]) -> None:
    if not points:
        st.caption("The timeline has no points yet.")
        return
    baseline = report.baseline or "the baseline"
    st.markdown("**Difference and its confidence sequence**")
    frame = timeline.difference_table(points)
    fine = st.column_config.NumberColumn(format="%+.4f")
    description = timeline.difference_description(frame, each.challenger, baseline)
    beside(
        timeline.difference_drawing(frame, baseline),
        frame,
        description,
        **dict.fromkeys(("difference", "from", "to"), fine),
    )
    st.markdown("**Evidence against the threshold**")
    frame = timeline.evidence_table(points)
    log = st.column_config.NumberColumn("log10 of e", format="%.3f")
    beside(
        timeline.evidence_drawing(frame, report.alpha),
        frame,
        timeline.evidence_description(frame, report.alpha),
        **{"log10 e": log},
    )


def _small_print(each: ApiComparison) -> None:
    with st.expander("Method and assumptions"):
        st.markdown(f"- Method: {readable(each.method)}{', approximate' if each.asymptotic else ''}.")
        st.markdown(
            f"- {each.n:,} outcomes entered; {each.unjoined:,} labels did not, because the other version's answer is "
            "unknown."
        )
        if each.worst_case is not None:
            st.markdown(
                "- Whichever requests were labelled, the difference over all requests is within "
                f"{interval(each.worst_case)}."
            )
        for assumption in each.assumptions:
            st.markdown(f"- Automatic promotion is blocked: {assumption}")
