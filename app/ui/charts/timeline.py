"""Timelines: the improvement and the evidence of a comparison over its votes, and the shares over time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import altair as alt
import msgspec
import pandas as pd

from app.tables.counts import counted
from app.ui.charts.drawing import HEIGHT, NEUTRAL, Drawing, line_at, spec_of
from app.ui.events import Event
from app.ui.experiment_records import ApiPoint, ApiSplit
from app.ui.wording import Scale, number

_LN10 = math.log(10)
_AS_IT_IS = Scale()
# The selection of an event in the chart of the shares, and where the signs are.
MARK = "mark"
_SIGN_Y_PX = -10
# Below this, several ticks of an axis are in the same minute.
_SHORT_S = 600.0
_N = alt.X("votes:Q", title="votes", scale=alt.Scale(nice=False))


def improvement_table(points: Sequence[ApiPoint], scale: Scale = _AS_IT_IS) -> pd.DataFrame:
    """The newest point first, in the unit of `scale`; points without an interval have empty ends."""
    newest_first = list(reversed(points))
    ends = [point.interval or (None, None) for point in newest_first]
    frame = pd.DataFrame(
        {
            "votes": [point.n for point in newest_first],
            "improvement": [point.difference for point in newest_first],
            "from": [low for low, _ in ends],
            "to": [high for _, high in ends],
        }
    ).astype({"improvement": float, "from": float, "to": float})
    frame[["improvement", "from", "to"]] *= scale.factor
    return frame


def improvement_drawing(frame: pd.DataFrame, baseline: str, unit: str = "") -> Drawing:
    """A line with its confidence sequence as a band, and the line of no difference."""
    return Drawing(_improvement_spec(f"{baseline}{f', in{unit}' if unit else ''}", _range_worth_seeing(frame)), frame)


@lru_cache(maxsize=64)
def _improvement_spec(baseline: str, domain: tuple[float, float]) -> dict[str, Any]:
    base = alt.Chart().encode(x=_N)
    kept = alt.Scale(domain=list(domain), clamp=True, nice=False)
    low, middle = (
        alt.Y(name, title=f"improvement over {baseline}", scale=kept) for name in ("from:Q", "improvement:Q")
    )
    band = base.mark_area(opacity=0.25, clip=True).encode(y=low, y2="to:Q")
    tooltip = ["votes:Q", *(alt.Tooltip(f"{name}:Q", format="+.4~g") for name in ("improvement", "from", "to"))]
    line = base.mark_line(strokeWidth=2.5, clip=True).encode(y=middle, tooltip=tooltip)
    zero = line_at(0, "no difference", below=True)
    return spec_of(alt.layer(band, line, *zero).properties(height=HEIGHT))


def _range_worth_seeing(frame: pd.DataFrame) -> tuple[float, float]:
    """The range of the interval after the first fifth of the votes: before that it fills any chart.

    To two digits, so that few specifications are needed.
    """
    later = frame[frame["votes"] >= frame["votes"].max() / 5]
    ends = later[["from", "to", "improvement"]].astype(float)
    low, high = min(0.0, ends.min().min(skipna=True)), max(0.0, ends.max().max(skipna=True))
    if not (math.isfinite(low) and math.isfinite(high)) or low == high:
        return -1.0, 1.0
    margin = 0.1 * (high - low)
    return float(f"{low - margin:.2g}"), float(f"{high + margin:.2g}")


def evidence_table(points: Sequence[ApiPoint]) -> pd.DataFrame:
    """The newest point first; evidence as powers of ten, which never overflow."""
    newest_first = list(reversed(points))
    return pd.DataFrame(
        {
            "votes": [point.n for point in newest_first],
            "log10 e": [None if point.log_e is None else point.log_e / _LN10 for point in newest_first],
        }
    )


def evidence_drawing(frame: pd.DataFrame, alpha: float) -> Drawing:
    """A line, with the threshold at which the error rate is spent."""
    return Drawing(_evidence_spec(alpha), frame.rename(columns={"log10 e": "evidence"}))


@lru_cache(maxsize=8)
def _evidence_spec(alpha: float) -> dict[str, Any]:
    line = (
        alt.Chart()
        .mark_line(strokeWidth=2.5, interpolate="step-after")
        .encode(
            x=_N,
            y=alt.Y("evidence:Q", title="evidence (log10 of the e-value)"),
            tooltip=["votes:Q", alt.Tooltip("evidence:Q", format=".3f")],
        )
    )
    threshold = line_at(-math.log10(alpha), f"decision at {number(1 / alpha, 3)} to 1")
    return spec_of(alt.layer(line, *threshold).properties(height=HEIGHT))


def evidence_description(frame: pd.DataFrame, alpha: float) -> str:
    """The newest point as a sentence."""
    last = frame.iloc[0]
    newest = None if pd.isna(last["log10 e"]) else 10 ** min(300.0, float(last["log10 e"]))
    needed = number(1 / alpha, 3)
    votes = counted(int(last["votes"]), "vote")
    return f"Evidence: {number(newest)} to 1 after {votes}; a decision needs {needed} to 1."


def split_table(splits: Sequence[ApiSplit], events: Sequence[Event], end_s: float) -> pd.DataFrame:
    """A row for each share from its moment on, repeated at `end_s` (Unix), and a row for each event."""
    end = datetime.fromtimestamp(end_s, UTC).isoformat()
    last = [] if not splits else [msgspec.structs.replace(splits[-1], at=end)]
    rows: list[tuple[object, ...]] = [
        (split.at, version, float(weight), None, None, None)
        for split in (*splits, *last)
        for version, weight in split.weights.items()
    ]
    begun = splits[0].at if splits else ""
    shown = [each for each in reversed(events) if each.at >= begun]
    rows += [(each.at, None, math.nan, each.sign, each.text, each.key) for each in shown]
    return pd.DataFrame(rows, columns=["at", "version", "share", "sign", "what", "event"])


def split_drawing(frame: pd.DataFrame) -> Drawing:
    """Steps that differ in colour and dash, and a line with a sign for each event, which can be selected."""
    at = pd.to_datetime(frame["at"], format="ISO8601", utc=True)
    short = not at.empty and (at.max() - at.min()).total_seconds() < _SHORT_S
    return Drawing(_split_spec("%H:%M:%S" if short else "%m-%d %H:%M"), frame)


@lru_cache(maxsize=2)
def _split_spec(time_format: str) -> dict[str, Any]:
    axis = alt.Axis(format=time_format, labelOverlap=True, tickCount=6)
    at = alt.X("at:T", title="UTC", axis=axis, scale=alt.Scale(type="utc"))
    when = alt.Tooltip("at:T", title="when", format="%Y-%m-%d %H:%M:%S")
    steps = (
        alt.Chart()
        .transform_filter("isValid(datum.share)")
        .mark_line(interpolate="step-after", strokeWidth=2.5)
        .encode(
            x=at,
            y=alt.Y("share:Q", title="target share", axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1])),
            color=alt.Color("version:N", title=None, legend=alt.Legend(orient="top")),
            strokeDash=alt.StrokeDash("version:N", title=None),
            tooltip=["version:N", alt.Tooltip("share:Q", format=".1%"), when],
        )
    )
    events = alt.Chart().transform_filter("isValid(datum.sign)").encode(x=at, tooltip=[when, "what:N"])
    lines = events.mark_rule(color=NEUTRAL, strokeDash=[2, 3])
    signs = events.mark_text(color=NEUTRAL, fontSize=15, baseline="bottom", dy=-2).encode(text="sign:N", y=alt.value(0))
    # A sign is too small for a finger: what takes the click is a circle that nobody sees.
    chosen = alt.selection_point(name=MARK, fields=["event"])
    round_it = events.mark_point(filled=True, opacity=0, size=700, cursor="pointer", aria=False)
    targets = round_it.encode(y=alt.value(_SIGN_Y_PX)).add_params(chosen)
    return spec_of(alt.layer(lines, steps, signs, targets).properties(height=HEIGHT))
