"""Drift charts: the timeline, the features ranked, and one feature's live values in its reference bins."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import altair as alt
import pandas as pd

from app.tables.counts import counted
from app.ui.charts.drawing import HEIGHT, NEUTRAL, Drawing, line_at, names_axis, spec_of, tallest_px, wrapped
from app.ui.experiment_records import ApiDrift, ApiDriftPoint, ApiDriftTimeline, ApiStream
from app.ui.wording import moment, number, share

# So many names a chart has at most; its table has all.
MOST = 20
# The height of a chart is that of the whole: its legend and its axis take this.
_AROUND_PX = 160
ALARMS = {True: "✖ alarm", False: "–"}


def timeline_table(timeline: ApiDriftTimeline, report: ApiDrift) -> pd.DataFrame:
    """Score and evidence after so many requests, the newest first: what the report says now is the last point."""
    points = list(timeline.points)
    if report.requests > (points[-1].requests if points else 0):
        now = ApiDriftPoint(requests=report.requests, score=report.score, evidence=report.evidence, alarm=report.alarm)
        points.append(now)
    rows = [
        (point.requests, point.evidence, point.score, ALARMS[point.alarm], moment(point.timestamp))
        for point in reversed(points)
    ]
    return pd.DataFrame(rows, columns=["requests", "evidence", "score", "alarm", "last request"])


def timeline_drawing(frame: pd.DataFrame, timeline: ApiDriftTimeline) -> Drawing:
    """Two lines, distinguished by colour and dash, and the alarm line with its promise."""
    promise = timeline.false_alarm_probability
    name = f"alarm: by chance at most {share(promise.at_most, 0)} within {counted(promise.requests, 'request')}"
    long = frame.melt("requests", ["evidence", "score"], var_name="what", value_name="value").dropna()
    return Drawing(_timeline_spec(timeline.alarm_evidence, name), long)


@lru_cache(maxsize=8)
def _timeline_spec(alarm: float, name: str) -> dict[str, Any]:
    what = alt.Scale(domain=["evidence", "score"])
    lines = (
        alt.Chart()
        .mark_line(strokeWidth=2)
        .encode(
            x=alt.X("requests:Q", title="requests", scale=alt.Scale(nice=False)),
            y=alt.Y("value:Q", title="evidence (log scale), score", scale=alt.Scale(domain=[0, 1.15 * alarm])),
            color=alt.Color("what:N", title=None, scale=what, legend=alt.Legend(orient="top")),
            strokeDash=alt.StrokeDash("what:N", title=None, scale=what),
            tooltip=["what:N", alt.Tooltip("value:Q", format=".3f"), "requests:Q"],
        )
    )
    return spec_of(alt.layer(lines, *line_at(alarm, name)).properties(height=HEIGHT))


def timeline_description(frame: pd.DataFrame, alarm: float) -> str:
    """The newest point, and the first alarm, as a sentence."""
    last = frame.iloc[0]
    alarms = frame[frame["alarm"] == ALARMS[True]]
    first = (
        f" The first point with an alarm is {counted(int(alarms['requests'].min()), 'request')}." if len(alarms) else ""
    )
    return (
        f"Evidence and score over the requests: after {number(float(last['requests']))} the evidence is "
        f"{number(last['evidence'], 3)} and the score {number(last['score'], 3)}; {number(alarm)} of evidence is the "
        f"alarm.{first}"
    )


def ranked(streams: Sequence[ApiStream]) -> list[ApiStream]:
    """Features by evidence, then by score."""
    return sorted(streams, key=lambda stream: (-(stream.evidence or 0), -(stream.score or 0), stream.name))


def ranking_table(streams: Sequence[ApiStream]) -> pd.DataFrame:
    """A row for each feature, in their order by evidence."""
    order = ranked(streams)
    return pd.DataFrame(
        {
            "feature": [stream.name for stream in order],
            "score": [stream.score for stream in order],
            "evidence": [stream.evidence for stream in order],
            "outside training": [stream.out_of_range for stream in order],
            "missing": [stream.missing for stream in order],
            "unseen": [stream.unseen for stream in order],
        }
    )


def ranking_drawing(frame: pd.DataFrame) -> Drawing:
    """A bar for the evidence and a tick for the score of each feature, of the first 20."""
    first = frame[["feature", "evidence", "score"]].head(MOST)
    height = 60 + max(34, 6 + tallest_px(first["feature"])) * len(first)
    return Drawing(_ranking_spec(height), first.assign(feature=first["feature"].map(wrapped)))


@lru_cache(maxsize=16)
def _ranking_spec(height: int) -> dict[str, Any]:
    base = alt.Chart().encode(y=alt.Y("feature:N", sort=None, title=None, axis=names_axis()))
    length = alt.X("evidence:Q", title="evidence (bar), score (tick)", scale=alt.Scale(domain=[0, 1.4]))
    tooltip = ["feature:N", "evidence:Q", "score:Q"]
    bars = base.mark_bar(height={"band": 0.55}).encode(x=length, tooltip=tooltip)
    strokes = base.mark_tick(thickness=4, color=NEUTRAL, size=22).encode(x="score:Q", tooltip=tooltip)
    return spec_of(alt.layer(bars, strokes, *line_at(1, "alarm", horizontal=False)).properties(height=height))


def ranking_description(frame: pd.DataFrame) -> str:
    """The first five as a sentence."""
    parts = [f"{row['feature']} {number(row['evidence'], 3)}" for _, row in frame.head(5).iterrows()]
    return "Features by evidence of a change: " + ", ".join(parts) + "."


def histogram_table(stream: ApiStream) -> pd.DataFrame:
    """The shares of the same cells in training and live."""
    names = cell_names(stream)
    live = stream.live if stream.live is not None else (None,) * len(names)
    return pd.DataFrame({"values": names, "training": list(stream.reference), "live": list(live)})


def histogram_drawing(frame: pd.DataFrame, kind: str = "numeric") -> Drawing:
    """Two bars in each cell; live ones have an outline besides their colour.

    Of more than 20 categories, those whose share changed most.
    """
    where = ["training", "live"]
    if kind != "categorical":
        return Drawing(_histogram_spec(), frame.melt("values", where, "where", "share").dropna())
    change = (frame["live"].astype(float) - frame["training"]).abs().fillna(0)
    first = frame.loc[change.sort_values(ascending=False, kind="stable").index[:MOST]] if len(frame) > MOST else frame
    height = _AROUND_PX + max(40, 6 + tallest_px(first["values"])) * len(first)
    named = first.assign(values=first["values"].map(wrapped))
    return Drawing(_category_spec(height), named.melt("values", where, "where", "share").dropna())


@lru_cache(maxsize=1)
def _histogram_spec() -> dict[str, Any]:
    chart = _bars().encode(
        x=alt.X("values:N", sort=None, title=None, axis=alt.Axis(labelAngle=-50)),
        xOffset=alt.XOffset("where:N", sort=["training", "live"]),
        y=alt.Y("share:Q", title="share of the rows", axis=alt.Axis(format="%")),
    )
    return spec_of(chart.properties(height=HEIGHT + 60))


@lru_cache(maxsize=16)
def _category_spec(height: int) -> dict[str, Any]:
    chart = _bars().encode(
        y=alt.Y("values:N", sort=None, title=None, axis=names_axis()),
        yOffset=alt.YOffset("where:N", sort=["training", "live"]),
        x=alt.X("share:Q", title="share of the rows", axis=alt.Axis(format="%", tickCount=5)),
    )
    return spec_of(chart.properties(height=height))


def _bars() -> alt.Chart:
    order = ["training", "live"]
    bars: alt.Chart = (
        alt.Chart()
        .mark_bar(stroke=NEUTRAL)
        .encode(
            color=alt.Color("where:N", sort=order, title=None, legend=alt.Legend(orient="top")),
            strokeWidth=alt.condition(alt.datum.where == "live", alt.value(2), alt.value(0)),
            tooltip=["values:N", "where:N", alt.Tooltip("share:Q", format=".1%")],
        )
    )
    return bars


def histogram_description(stream: ApiStream, frame: pd.DataFrame) -> str:
    """The cell that grew most as a sentence."""
    if stream.live is None or frame.empty:
        return f"The training values of {stream.name} on their bins; nothing live yet."
    grown = (frame["live"] - frame["training"]).idxmax()
    row = frame.loc[grown]
    return (
        f"{stream.name}, training and live on the same bins. The cell {row['values']} grew most: "
        f"{share(row['training'])} of the rows in training, {share(row['live'])} live."
    )


def cell_names(stream: ApiStream) -> list[str]:
    """A name for each cell: its category, or its ends; an end that is missing is open."""
    if stream.kind == "categorical":
        return [str(category) for category in stream.bins]
    ends = [end if isinstance(end, float | int) else None for end in stream.bins]
    names = []
    for low, high in itertools.pairwise(ends):
        if low is None:
            names.append(f"below {number(high)}")
        else:
            names.append(f"{number(low)} to {number(high)}" if high is not None else f"from {number(low)}")
    return names
