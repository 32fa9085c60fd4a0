"""The timeline of an experiment: shares by revision, and what happened; an event opens its entry in the audit log."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

import streamlit as st

from app.tables.counts import as_sentence
from app.ui import grid, tables
from app.ui.charts import timeline as charts
from app.ui.charts.drawing import ROWS, TALL, selectable
from app.ui.events import (
    ALARM,
    Event,
    event_of,
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
from app.ui.wording import literal, minute, moment, number, unix_of

# The event that is open, in the page's address.
EVENT = "event"
_COLUMNS_PX = {"when (UTC)": 130, "what": 700}


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
    named = {event.key: event for event in events}
    place, linked = _place(report), st.query_params.get(EVENT)
    if st.session_state.get(place) is None and linked in named:
        st.session_state[place] = linked
    chosen = st.selectbox(
        "Open what happened",
        list(named),
        index=None,
        format_func=lambda key: _line(named[key]),
        placeholder="Choose a decision, step or alarm",
        key=place,
        on_change=_leave_link,
    )
    if chosen is None:
        if audit is not None:  # until then the event of a link may be missing
            _leave_link()
    else:
        st.query_params[EVENT] = chosen
        with st.container(border=True):
            _opened(named[chosen], drift)


def _shares(report: ApiExperiment, timeline: ApiTimeline, events: Sequence[Event]) -> None:
    ended = None if report.ended is None else unix_of(report.ended)
    frame = charts.split_table(timeline.splits, events, time.time() if ended is None else ended)
    chart, place = f"timeline-chart-{report.id}", _place(report)
    act = partial(_open_marked, chart, place)
    selectable(charts.split_drawing(frame), split_rows(timeline), shares_said(timeline), chart, act)
    st.caption(
        "Target shares over time. ◆ decision, ▲ ramp step, ‖ ramp waits, ! alarm: select a sign, or an entry of the "
        "list, to open it."
    )


def _open_marked(chart: str, place: str) -> None:
    """Let the list choose the event whose sign was selected in the chart."""
    marked = st.session_state[chart].selection.get(charts.MARK)
    if marked:
        st.session_state[place] = marked[0]["event"]


def _leave_link() -> None:
    """Remove the event from the address; one that is open is put there again."""
    st.query_params.pop(EVENT, None)


def _place(report: ApiExperiment) -> str:
    """Where the list of what happened keeps its choice."""
    return f"timeline-{report.id}"


def _line(event: Event) -> str:
    return f"{moment(event.at)} · {event.sign} {event.kind} · {event.text}"


def decisions(audit: ApiAudit) -> None:
    """The audit log, which has entries, a line each; a click on one opens it."""
    if older := older_decisions(audit):
        st.caption(older)
    found = [event_of(entry) for entry in audit.entries]
    # Streamlit keeps the number of the selected row, which is another decision's once there is a newer one.
    key = f"decisions-{audit.entries[0].seq}"
    grid.show(
        [{"when (UTC)": minute(each.at), "what": each.text} for each in found],
        "Decisions, newest first. Select a row to open it.",
        columns={name: st.column_config.TextColumn(width=px) for name, px in _COLUMNS_PX.items()},
        height=TALL if len(found) > ROWS else "auto",
        key=key,
        on_select="rerun",
        selection_mode="single-row",
    )
    st.caption("Select a row to open it: all that changed, the reason, and the evidence of then.")
    for place in st.session_state[key]["selection"]["rows"][:1]:
        if place < len(found):
            with st.container(border=True):
                _opened(found[place], None)


def _opened(event: Event, drift: ApiDrift | None) -> None:
    """The entry of the audit log, and what the figures were at that moment."""
    st.markdown(f"**{moment(event.at)}: {event.kind}**")
    entry = event.entry
    if entry is None:
        _streams(event, drift)
        return
    fields = tables.decision(entry).items()
    st.markdown("\n".join(f"- {name}: {literal(str(value))}" for name, value in fields))
    evidence = evidence_of(entry)
    if evidence is None:
        st.caption("There was no report at that moment.")
        return
    st.markdown("**The evidence of then**")
    st.markdown(f"{advised(evidence)}. {as_sentence(evidence.recommendation.reason)}")
    grid.show(tables.challengers(evidence), "Each challenger against the baseline at that moment.")
    st.caption(f"As computed {moment(evidence.computed_at)}.")


def _streams(event: Event, drift: ApiDrift | None) -> None:
    """What raised the alarm that stands."""
    if event.kind != ALARM or drift is None:
        return
    rows = [
        {"stream": each.name, "evidence": number(each.evidence), "after requests": each.requests}
        for each in drift.alarm_streams
    ]
    if rows:
        grid.show(rows, "The streams that raised the alarm, with their evidence.")
    st.caption("The alarm stands: it has no entry before somebody acknowledges it, on the Drift page.")
