"""One challenger against the baseline: the figures, their timeline, and how many labels are left to a decision."""

from __future__ import annotations

import math

import pandas as pd
import streamlit as st

from app.ui.charts import timeline
from app.ui.charts.drawing import drawn
from app.ui.experiment_records import ApiComparison, ApiExperiment, ApiPoint, ApiTimeline
from app.ui.feed import FeedSnapshot
from app.ui.findings import REWARD, VERDICTS, evidence_now, points_of, progress
from app.ui.states import figure, known
from app.ui.views import differences, disagreements, secondary
from app.ui.wording import Scale, as_sentence, chance, number, p_value, readable, scale_of, share


def show(each: ApiComparison, report: ApiExperiment, snapshot: FeedSnapshot[ApiTimeline]) -> None:
    """The comparison; before its first outcome, how to send one."""
    baseline = report.baseline or "the baseline"
    st.subheader(f"{each.challenger} against {baseline}")
    st.markdown(progress(each, report.metric))
    if each.n:
        _figures(each, report)
        _evidence_bar(each, report.alpha)
        secondary.show(each.challenger, report)
        _rows(each, baseline)
    _warnings(each)
    if not each.n:
        return
    timeline = known(snapshot, "The timeline", f"timeline-{each.challenger}")
    if timeline is not None:
        _timeline(each, report, points_of(each, report, timeline))
    _small_print(each, report)


def _figures(each: ApiComparison, report: ApiExperiment) -> None:
    # The widest word, "equivalent", must not be cut off.
    verdict, difference, evidence, last = st.columns([4, 3, 3, 3])
    figure(verdict, "Verdict", VERDICTS.get(each.verdict, readable(each.verdict)), p_value(each.p_value))
    scale = scale_of(report.metric)
    size = scale.change(each.difference, each.interval)
    figure(difference, f"Improvement in {readable(report.metric)}", size, scale.changes(each.interval))
    figure(evidence, "Evidence now", evidence_now(each), f"decision at {number(1 / report.alpha, 3)} to 1")
    if each.wins is None:
        # Of losses the api gives the chance to win most rows, which says nothing of the mean.
        figure(last, "Votes", number(each.units if each.units is not None else each.n), f"of {each.n:,} outcomes")
        return
    tally = f"votes: {number(each.wins)} won, {number(each.losses)} lost"
    figure(last, f"Probability {each.challenger} is better", chance(each.probability_better), tally)


def _evidence_bar(each: ApiComparison, alpha: float) -> None:
    log_e = each.present_log_e
    if log_e is None:
        return
    done = min(1.0, max(0.0, log_e / -math.log(alpha)))
    st.progress(done, text=f"Evidence: {share(done, 0)} of the way to the threshold (log scale)")


def _rows(each: ApiComparison, baseline: str) -> None:
    """The square of right and wrong, whose cells open their rows, and where an answer or a label is missing."""
    square, others = st.columns([3, 2], gap="medium")
    with square:
        _square(each, baseline)
    counts = {
        "different rows among the wins and losses": each.distinct_rows,
        f"rows that {each.challenger} failed to answer": each.missing,
        "disagreements without a label": each.unlabelled_disagreements,
    }
    known_counts = {name: number(count) for name, count in counts.items() if count is not None}
    if known_counts:
        said = "; ".join(f"{name}: {count}" for name, count in known_counts.items())
        table = pd.DataFrame({"what else to know": known_counts.keys(), "count": known_counts.values()})
        others.dataframe(table, hide_index=True, alt=said)


def _square(each: ApiComparison, baseline: str) -> None:
    """How many labelled rows each version got right. Rows are kept where the answers differ: those can be opened."""
    cells = (
        (f"Both right: {number(each.both_right)}", each.both_right, None),
        (f"Only {baseline} right: {number(each.only_baseline)}", each.only_baseline, "baseline"),
        (f"Only {each.challenger} right: {number(each.only_challenger)}", each.only_challenger, "challenger"),
        (f"Both wrong: {number(each.both_wrong)}", each.both_wrong, "neither"),
    )
    if all(count is None for _, count, _ in cells):
        return
    places = [place for _ in range(2) for place in st.columns(2)]
    for place, (name, count, won) in zip(places, cells, strict=True):
        if won is None or not count:
            place.container(border=True).markdown(name)
        elif place.button(name, key=f"square-{won}", icon=":material/table_rows:", width="stretch"):
            st.session_state.update({differences.PART: differences.ROWS, disagreements.WON: won})
            st.rerun()
    st.caption("Labelled rows. A button lists, under *Why* below, those on which the two answers differ.")


def _warnings(each: ApiComparison) -> None:
    if each.warnings:
        st.markdown("**What limits this comparison**")
        st.markdown("\n".join(f"- {as_sentence(warning)}" for warning in each.warnings))


def _timeline(each: ApiComparison, report: ApiExperiment, points: list[ApiPoint]) -> None:
    if not points:
        st.caption("The timeline has no points yet.")
        return
    baseline = report.baseline or "the baseline"
    st.markdown(f"**Improvement and its confidence sequence** (above 0: {each.challenger} is better)")
    scale = scale_of(report.metric)
    frame = timeline.improvement_table(points, scale)
    description = timeline.improvement_description(points, each.challenger, baseline, scale)
    drawn(timeline.improvement_drawing(frame, baseline, scale.points), _in_words(points, scale), description)
    # The timeline has each challenger's own evidence; the threshold is for the adjusted one.
    several = len(report.comparisons) > 1
    st.markdown(f"**Evidence against the threshold**{' (not adjusted for the other challengers)' if several else ''}")
    frame = timeline.evidence_table(points)
    log = st.column_config.NumberColumn("log10 of e", format="%.3f")
    drawn(
        timeline.evidence_drawing(frame, report.alpha),
        frame,
        timeline.evidence_description(frame, report.alpha),
        **{"log10 e": log},
    )


def _in_words(points: list[ApiPoint], scale: Scale) -> pd.DataFrame:
    """The newest point first."""
    return pd.DataFrame(
        {
            "votes": [point.n for point in reversed(points)],
            "improvement": [scale.change(point.difference, point.interval) for point in reversed(points)],
            "interval": [scale.changes(point.interval) for point in reversed(points)],
        }
    )


def _small_print(each: ApiComparison, report: ApiExperiment) -> None:
    with st.expander("Method and assumptions"):
        st.markdown(f"- Method: {readable(each.method)}{', approximate' if each.asymptotic else ''}.")
        st.markdown(_level(report))
        if report.metric == REWARD:
            entered = f"- {each.n:,} answers entered; {each.unjoined:,} rewards wait for their row in the log."
        else:
            entered = (
                f"- {each.n:,} labelled outcomes entered; {each.unjoined:,} labels did not, because the answer of one "
                "of the two versions is unknown."
            )
        st.markdown(entered)
        if each.worst_case is not None:
            st.markdown(
                "- Whichever requests were labelled, the improvement over all requests is within "
                f"{scale_of(report.metric).changes(each.worst_case)}."
            )
        for assumption in each.assumptions:
            st.markdown(f"- Automatic promotion is blocked: {assumption}")


def _level(report: ApiExperiment) -> str:
    """What the interval promises."""
    several = len(report.comparisons)
    joint = f", for the {several} challengers together" if several > 1 else ""
    return (
        "- Improvement: positive is good for the challenger, whatever the metric. Its interval misses the truth at any "
        f"time with a probability of at most {share(report.alpha)}{joint}."
    )
