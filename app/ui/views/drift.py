"""Drift: whether the traffic still looks like the training data, and what has changed."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from app.ui.charts import drift
from app.ui.charts.drawing import beside
from app.ui.experiment_records import ApiDrift, ApiDriftTimeline, ApiStream
from app.ui.feed import TICK_S, FeedSnapshot
from app.ui.session import admin_token, client, feed
from app.ui.states import figure, known, sentence, snapshots_of
from app.ui.transport import NoResult
from app.ui.views import administration
from app.ui.wording import UNKNOWN, as_sentence, moment, number, readable, share

NAMES = ("drift", "drift_timeline")


def show() -> None:
    """The whole page."""
    st.title("ApiDrift")
    st.caption("Does the traffic still look like the data that the model was made from?")
    _live()
    report: ApiDrift | None = snapshots_of("drift", NAMES)[0].value
    if report is not None and report.alarm:
        _acknowledge()


@st.fragment(run_every=TICK_S)
def _live() -> None:
    snapshot, timeline = snapshots_of("drift", NAMES)
    report = known(snapshot, "ApiDrift", "drift")
    if report is None:
        return
    _headline(report)
    if report.note:
        st.info(f"**{as_sentence(report.note)}**", icon=":material/hourglass_empty:")
    elif not report.requests:
        st.info(
            f"**0 of {report.window or 'some'} requests** of the first window have been seen.",
            icon=":material/hourglass_empty:",
        )
    _figures(report)
    _timeline(report, timeline)
    _streams("Features", report.features, "feature")
    _joint(report)
    _streams("Answers", report.outputs, "output")


def _headline(report: ApiDrift) -> None:
    since = f" It began about {moment(report.since)}." if report.since else ""
    if report.alarm:
        st.error(
            f"**Alarm: the traffic has changed.**{since} Acknowledge it below once you know why.",
            icon=":material/notifications_active:",
        )
    elif report.acknowledged:
        st.info(
            f"**No alarm.** The last one was acknowledged {moment(report.acknowledged)}.",
            icon=":material/check_circle:",
        )
    else:
        st.success("**No alarm.** No change of the traffic is proven.", icon=":material/check_circle:")
    promise = report.false_alarm_probability
    st.caption(
        f"Against the {report.reference_rows:,} training rows of {report.version}. While nothing changes, the "
        f"chance of any alarm within {promise.requests:,} requests is at most {share(promise.at_most, 0)}. The least "
        f"shift that so many rows can prove is {number(report.least_detectable_shift_sd, 2)} standard deviations. "
        "Daily cycles and replayed requests are changes too."
    )


def _figures(report: ApiDrift) -> None:
    score, evidence, requests, alarms = st.columns(4)
    window = f"at least, of {report.window:,} requests"
    figure(score, "Displaced traffic", share(report.score), window)
    figure(evidence, "Evidence", number(report.evidence, 3), "1 is the alarm; on a log scale")
    figure(requests, "Requests seen", number(report.requests))
    figure(alarms, "Alarms so far", number(report.alarms))


def _timeline(report: ApiDrift, snapshot: FeedSnapshot[Any]) -> None:
    st.subheader("Over the requests")
    timeline: ApiDriftTimeline | None = known(snapshot, "The course", "drift-timeline")
    if timeline is None:
        return
    frame = drift.timeline_table(timeline, report)
    if frame.empty:
        st.caption(as_sentence(timeline.note or "No point of the course has been stored yet"))
        return
    fine = {name: st.column_config.NumberColumn(format="%.3f") for name in ("score", "evidence")}
    words_ = drift.timeline_description(frame, timeline.alarm_evidence)
    beside(drift.timeline_drawing(frame, timeline), frame, words_, **fine)


def _streams(title: str, streams: tuple[ApiStream, ...], kind: str) -> None:
    if not streams:
        return
    st.subheader(title)
    frame = drift.ranking_table(streams)
    fine = {name: st.column_config.NumberColumn(format="%.3f") for name in ("score", "evidence")}
    parts = {
        name: st.column_config.NumberColumn(format="percent") for name in ("outside training", "missing", "unseen")
    }
    beside(drift.ranking_drawing(frame), frame, drift.ranking_description(frame), **fine, **parts)
    by_name = {stream.name: stream for stream in streams}
    chosen = st.selectbox(f"Look into one {kind}", list(frame["feature"]), key=f"drift-{kind}")
    if chosen in by_name and by_name[chosen].reference:
        _histogram(by_name[chosen])


def _histogram(stream: ApiStream) -> None:
    frame = drift.histogram_table(stream)
    percent = {name: st.column_config.NumberColumn(format="percent") for name in ("training", "live")}
    beside(drift.histogram_drawing(frame), frame, drift.histogram_description(stream, frame), **percent)


def _joint(report: ApiDrift) -> None:
    if not report.joint:
        return
    st.subheader("Features together")
    st.caption("Each feature may look as before and their relation may not: these look at all of them at once.")
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
    st.dataframe(pd.DataFrame(rows), hide_index=True, alt="What several features say together.", column_config=fine)


def _acknowledge() -> None:
    st.subheader("Acknowledge")
    if not administration.show("drift"):
        return
    sure = st.checkbox("Yes, I know of the change; start again from here")
    if st.button("Acknowledge the alarm", icon=":material/front_hand:", disabled=not sure):
        try:
            client().acknowledge_drift(admin_token() or "")
        except NoResult as failure:
            st.error(f"The api did not do it. {sentence(failure)}", icon=":material/error:")
            return
        feed().forget(["drift"])
        st.rerun()
