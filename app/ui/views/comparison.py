"""One challenger against the baseline: the figures, their timeline, and how many labels are left to a decision."""

from __future__ import annotations

import math

import pandas as pd
import streamlit as st

from app.tables.counts import as_sentence
from app.ui import grid, tables
from app.ui.charts import timeline
from app.ui.charts.drawing import drawn
from app.ui.experiment_records import ApiComparison, ApiExperiment, ApiPoint, ApiTimeline
from app.ui.feed import FeedSnapshot
from app.ui.findings import points_of, progress
from app.ui.states import drawn_once, figure, known
from app.ui.views import differences, disagreements, secondary
from app.ui.wording import Scale, number, scale_of, share

# Whose rows a cell of the square opens; rows on which both are right are not kept.
_WON = (None, "baseline", "challenger", "neither")


def show(each: ApiComparison, report: ApiExperiment, snapshot: FeedSnapshot[ApiTimeline]) -> None:
    """The comparison; before its first outcome, how to send one."""
    drawn_once(_verdict, each, report)
    if each.n:
        _rows(each, report.baseline or "the baseline")
    _warnings(each)
    if not each.n:
        return
    timeline = known(snapshot, "The timeline", f"timeline-{each.challenger}")
    if timeline is not None:
        drawn_once(_timeline, each, report, points_of(each, report, timeline))
    _small_print(each, report)


def _verdict(each: ApiComparison, report: ApiExperiment) -> None:
    st.subheader(f"{each.challenger} against {report.baseline or 'the baseline'}")
    st.markdown(progress(each, report))
    if each.n:
        _figures(each, report)
        _evidence_bar(each, report.alpha)
        secondary.show(each.challenger, report)


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
    known_counts = tables.other_counts(each)
    if known_counts:
        said = "; ".join(f"{name}: {count}" for name, count in known_counts.items())
        table = pd.DataFrame({"what else to know": known_counts.keys(), "count": known_counts.values()})
        grid.show(table, said, place=others)


def _square(each: ApiComparison, baseline: str) -> None:
    """How many labelled rows each version got right. Rows are kept where the answers differ: those can be opened."""
    cells = tables.square(each, baseline)
    if all(count is None for _, count in cells):
        return
    places = [place for _ in range(2) for place in st.columns(2)]
    for place, (said, count), won in zip(places, cells, _WON, strict=True):
        name = f"{said}: {number(count)}"
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
    description = tables.improvement_description(points, each.challenger, baseline, scale)
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


def _figures(each: ApiComparison, report: ApiExperiment) -> None:
    # The widest word, "equivalent", must not be cut off.
    for place, found in zip(st.columns([4, 3, 3, 3]), tables.figures(each, report), strict=True):
        figure(place, *found)


def _small_print(each: ApiComparison, report: ApiExperiment) -> None:
    with st.expander("Method and assumptions"):
        st.markdown("\n".join(f"- {said}" for said in tables.assumptions(each, report)))
