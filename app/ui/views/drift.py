"""The Drift page: whether the traffic still looks like the training data, and what has changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from app.tables.counts import as_sentence, counted
from app.ui import grid
from app.ui.charts import drift
from app.ui.charts.drawing import drawn
from app.ui.experiment_records import ApiDrift, ApiDriftTimeline, ApiStream
from app.ui.feed import TICK_S, FeedSnapshot
from app.ui.session import admin_token, client, feed
from app.ui.states import drawn_once, figure, known, refreshed, sentence, snapshots_of
from app.ui.transport import NoResult
from app.ui.views import administration
from app.ui.wording import UNKNOWN, moment, number, readable, share

NAMES = ("drift", "drift_timeline")
SHOWN = "drift-alarm-shown"
_KINDS = {
    "inputs": "the inputs",
    "joint": "the relations between the inputs",
    "outputs": "the answers",
    "errors": "the errors",
}
# What the `requests` of a stream count.
_COUNTED = {"outputs": "answer", "errors": "label"}


def page() -> st.Page:
    """The page for the navigation and for links to it."""
    return st.Page(show, title="Drift", icon=":material/trending_up:", url_path="drift")


def show() -> None:
    """The whole page."""
    st.title("Drift")
    st.caption("Does the traffic still look like the data the model was trained on?")
    report: ApiDrift | None = refreshed("drift", NAMES)[0].value
    alarm = report is not None and report.alarm
    st.session_state[SHOWN] = alarm
    _live()
    if alarm:
        _acknowledge()


@st.fragment(run_every=TICK_S)
def _live() -> None:
    snapshot, timeline = snapshots_of("drift", NAMES)
    report = known(snapshot, "Drift", "drift")
    if report is None:
        return
    if report.alarm != st.session_state.get(SHOWN):
        st.rerun()  # the button that acknowledges it is outside of this part
    drawn_once(_summary, report)
    _timeline(report, timeline)
    _streams("Features", report.features, "feature")
    drawn_once(_joint, report)
    _streams("Answers", report.outputs, "output")


def _summary(report: ApiDrift) -> None:
    _headline(report)
    if report.note:
        st.info(f"**{as_sentence(report.note)}**", icon=":material/hourglass_empty:")
    elif not report.requests:
        st.info(
            f"**0 of {report.window or 'some'} requests** in the first window so far.",
            icon=":material/hourglass_empty:",
        )
    for note in report.notes:
        st.info(note, icon=":material/info:")
    _figures(report)


def _headline(report: ApiDrift) -> None:
    since = f" It began about {moment(report.since)}." if report.since else ""
    if report.alarm:
        kinds = [word for kind, word in _KINDS.items() if any(each.kind == kind for each in report.alarm_streams)]
        # An API of an earlier release names no streams.
        what = f"a change is proven in {_listed(kinds)}" if kinds else "the traffic has changed"
        st.error(
            f"**Alarm: {what}.**{since} Find the cause below, then acknowledge the alarm.",
            icon=":material/notifications_active:",
        )
    elif report.alarm_streams:
        st.info(
            "**No alarm.** The last one ended before anybody acknowledged it: what raised it has been clean since.",
            icon=":material/history:",
        )
    elif report.acknowledged:
        st.info(
            f"**No alarm.** The last one was acknowledged {moment(report.acknowledged)}.",
            icon=":material/check_circle:",
        )
    else:
        st.success("**No alarm.** No change in the traffic has been proven.", icon=":material/check_circle:")
    _alarm_streams(report)
    promise = report.false_alarm_probability
    st.caption(
        f"Compared with {counted(report.reference_rows, 'reference row')} of {report.version}. If nothing changes, the "
        f"chance of any alarm within {counted(promise.requests, 'request')} is at most {share(promise.at_most, 0)}. "
        f"The smallest shift these rows can prove is {number(report.least_detectable_shift_sd, 2)} standard "
        "deviations, and the smallest share of outliers (at 8 standard deviations) is "
        f"{share(report.least_detectable_outlier_share)}. Daily cycles and replayed requests count as changes. "
        f"{_who_counts(report)}"
    )


def _alarm_streams(report: ApiDrift) -> None:
    """The streams of the alarm as they were when they raised it, and what the alarm rests on."""
    if not report.alarm_streams:
        return
    rows = [
        {
            "raised by": readable(each.name),
            "kind": _KINDS.get(each.kind, each.kind),
            "evidence then": each.evidence,
            "after": counted(each.requests, _COUNTED.get(each.kind, "request")),
            "at": UNKNOWN if each.at is None else moment(each.at),
        }
        for each in report.alarm_streams
    ]
    fine = {"evidence then": st.column_config.NumberColumn(format="%.3f")}
    grid.show(rows, "The streams that raised the alarm.", columns=fine)
    if report.assumption:
        st.caption(report.assumption)


def _who_counts(report: ApiDrift) -> str:
    """How many rows are no evidence, and why; empty where all are."""
    crowds = report.crowds
    counts = {
        "wait (one row of a caller counts at a time)": crowds.waiting,
        "of large requests and returning users do not count": crowds.skipped,
        "came while it was not known whether a name is a service": crowds.unlearnt,
        "repeat a case and count once": crowds.repeated,
    }
    parts = [f"{number(count)} {what}" for what, count in counts.items() if count]
    heaviest = crowds.heaviest_share
    most = f" The most active user sent {share(heaviest, 0)} of the last requests." if heaviest >= 0.1 else ""
    return f"Of the rows {_listed(parts)}.{most}" if parts else most.strip()


def _listed(parts: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:])))


def _figures(report: ApiDrift) -> None:
    score, evidence, requests, alarms = st.columns(4)
    window = f"lower bound over {counted(report.window, 'request')}"
    figure(score, "Displaced traffic", share(report.score), window)
    figure(evidence, "Evidence", number(report.evidence, 3), "alarm at 1; log scale")
    figure(requests, "Requests processed", number(report.requests))
    figure(alarms, "Alarms so far", number(report.alarms))


def _timeline(report: ApiDrift, snapshot: FeedSnapshot[Any]) -> None:
    st.subheader("Timeline")
    timeline: ApiDriftTimeline | None = known(snapshot, "The timeline", "drift-timeline")
    if timeline is None:
        return
    drawn_once(_over_requests, timeline, report)


def _over_requests(timeline: ApiDriftTimeline, report: ApiDrift) -> None:
    frame = drift.timeline_table(timeline, report)
    if frame.empty:
        st.caption(as_sentence(timeline.note or "The timeline has no points yet"))
        return
    fine = {name: st.column_config.NumberColumn(format="%.3f") for name in ("score", "evidence")}
    description = drift.timeline_description(frame, timeline.alarm_evidence)
    drawn(drift.timeline_drawing(frame, timeline), frame, description, **fine)


def _streams(title: str, streams: tuple[ApiStream, ...], kind: str) -> None:
    if not streams:
        return
    st.subheader(title)
    drawn_once(_ranking, streams)
    by_name = {stream.name: stream for stream in streams}
    names = [stream.name for stream in drift.ranked(streams)]
    chosen = st.selectbox(f"Inspect one {kind}", names, key=f"drift-{kind}")
    if chosen in by_name and by_name[chosen].reference:
        drawn_once(_histogram, by_name[chosen])


def _ranking(streams: Sequence[ApiStream]) -> None:
    frame = drift.ranking_table(streams)
    fine = {name: st.column_config.NumberColumn(format="%.3f") for name in ("score", "evidence")}
    parts = {
        name: st.column_config.NumberColumn(format="percent") for name in ("outside training", "missing", "unseen")
    }
    if len(frame) > drift.MOST:
        st.caption(f"The {drift.MOST} with the most evidence of {len(frame)}; the table has all.")
    drawn(drift.ranking_drawing(frame), frame, drift.ranking_description(frame), **fine, **parts)


def _histogram(stream: ApiStream) -> None:
    frame = drift.histogram_table(stream)
    percent = {name: st.column_config.NumberColumn(format="percent") for name in ("training", "live")}
    if stream.kind == "categorical" and len(frame) > drift.MOST:
        st.caption(f"The {drift.MOST} whose share changed most of {len(frame)}; the table has all.")
    drawn(drift.histogram_drawing(frame, stream.kind), frame, drift.histogram_description(stream, frame), **percent)


def _joint(report: ApiDrift) -> None:
    if not report.joint:
        return
    st.subheader("Features together")
    st.caption(
        "Each feature can look unchanged while their relation changes: these streams cover all features at once."
    )
    rows = [
        {
            "what": readable(each.name),
            "evidence": each.evidence,
            "score": each.score,
            "meaning": each.explanation or UNKNOWN,
        }
        for each in sorted(report.joint, key=lambda each: -(each.evidence or 0))
    ]
    fine = {name: st.column_config.NumberColumn(format="%.3f") for name in ("score", "evidence")}
    grid.show(rows, "Evidence from several features together.", columns=fine)


def _acknowledge() -> None:
    st.subheader("Acknowledge")
    if not administration.show("drift"):
        return
    sure = st.checkbox("Yes, I know the cause; restart detection from here")
    if st.button("Acknowledge the alarm", icon=":material/front_hand:", disabled=not sure):
        try:
            client().acknowledge_drift(admin_token() or "")
        except NoResult as failure:
            st.error(f"The alarm was not acknowledged. {sentence(failure)}", icon=":material/error:")
            return
        feed().forget(["drift"])
        st.rerun()
