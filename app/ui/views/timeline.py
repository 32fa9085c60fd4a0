"""The timeline of an experiment: shares by revision, and what happened; an event opens its entry in the audit log."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pandas as pd
import streamlit as st

from app.ui import tables
from app.ui.charts import timeline as charts
from app.ui.charts.drawing import drawn
from app.ui.events import (
    ALARM,
    Event,
    events_of,
    evidence_of,
    nothing_decided,
    older_decisions,
    shares_said,
    split_rows,
)
from app.ui.experiment_records import ApiDrift, ApiExperiment, ApiTimeline
from app.ui.findings import advised
from app.ui.records import ApiAudit
from app.ui.wording import as_sentence, moment, number, unix_of


def show(report: ApiExperiment, timeline: ApiTimeline | None, audit: ApiAudit | None, drift: ApiDrift | None) -> None:
    """The chart, and a list that opens what happened."""
    st.subheader("Timeline")
    events = events_of(report, () if audit is None else audit.entries, drift)
    if timeline is not None and timeline.splits and timeline.experiment_id in ("", report.id):
        _shares(report, timeline, events)
    if audit is not None and (older := older_decisions(audit, report.id)):
        st.caption(older)
    if not events:
        if audit is not None:
            st.caption(nothing_decided(report))
        return
    named = {_key(event): event for event in events}
    chosen = st.selectbox(
        "Open what happened",
        list(named),
        index=None,
        format_func=lambda key: _line(named[key]),
        placeholder="Open a decision, a step or an alarm, with the evidence of then …",
        key=f"timeline-{report.id}",
    )
    if chosen is not None:
        with st.container(border=True):
            _opened(named[chosen], drift)


def _shares(report: ApiExperiment, timeline: ApiTimeline, events: Sequence[Event]) -> None:
    ended = None if report.ended is None else unix_of(report.ended)
    frame = charts.split_table(timeline.splits, events, time.time() if ended is None else ended)
    drawn(charts.split_drawing(frame), pd.DataFrame(split_rows(timeline)), shares_said(timeline))
    st.caption("Target shares over time. ◆ decision, ▲ ramp step, ‖ ramp waits, ! alarm.")


def _key(event: Event) -> tuple[str, str, int]:
    return event.at, event.kind, 0 if event.entry is None else event.entry.seq


def _line(event: Event) -> str:
    return f"{moment(event.at)} · {event.sign} {event.kind} · {event.text}"


def _opened(event: Event, drift: ApiDrift | None) -> None:
    """The entry of the audit log, and what the figures were at that moment."""
    st.markdown(f"**{moment(event.at)}: {event.kind}**")
    entry = event.entry
    if entry is None:
        _streams(event, drift)
        return
    st.dataframe(
        pd.DataFrame([{"field": name, "value": str(value)} for name, value in tables.decision(entry).items()]),
        hide_index=True,
        alt=f"The entry {entry.seq} of the audit log: {event.text}",
    )
    evidence = evidence_of(entry)
    if evidence is None:
        st.caption("There was no report at that moment.")
        return
    st.markdown("**The evidence of then**")
    st.markdown(f"{advised(evidence)}. {as_sentence(evidence.recommendation.reason)}")
    st.dataframe(
        pd.DataFrame(tables.challengers(evidence)),
        hide_index=True,
        alt="Each challenger against the baseline at that moment.",
    )
    st.caption(f"As computed {moment(evidence.computed_at)}.")


def _streams(event: Event, drift: ApiDrift | None) -> None:
    """What raised the alarm that stands."""
    if event.kind != ALARM or drift is None:
        return
    rows = [
        {"stream": each.name, "evidence": number(each.evidence), "after requests": number(each.requests)}
        for each in drift.alarm_streams
    ]
    if rows:
        st.dataframe(pd.DataFrame(rows), hide_index=True, alt="The streams that raised the alarm, with their evidence.")
    st.caption("The alarm stands: it has no entry before somebody acknowledges it, on the Drift page.")
