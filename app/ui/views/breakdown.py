"""A comparison by true class or by a feature: where the challenger is better or worse. Nothing is decided on it."""

from __future__ import annotations

from functools import partial

import pandas as pd
import streamlit as st

from app.tables.counts import as_sentence
from app.ui import grid
from app.ui.charts import parts
from app.ui.charts.drawing import drawn
from app.ui.experiment_records import ApiExperiment
from app.ui.findings import REWARD
from app.ui.records import ApiContract
from app.ui.row_records import ApiBreakdown, ApiPart, ApiVersionClasses
from app.ui.session import asked_once, client
from app.ui.states import drawn_once, known
from app.ui.views import disagreements
from app.ui.wording import readable, scale_of, share

_CLASS = "class"
_FEATURE = "feature:"
_FAILED = "no answer"
_LONGEST_HEADING = 24
# So many choices stand side by side.
_MOST_SEEN = 8


def show(report: ApiExperiment, challenger: str, contract: ApiContract) -> None:
    """The choice of what to split by, and the figures."""
    first = asked_by(report, challenger, first_by(report, contract))
    if first is None:
        return
    options = list(dict.fromkeys([first.by, *(f"{_FEATURE}{name}" for name in first.features)]))
    by = _split_by(options)
    found = first if by == first.by else asked_by(report, challenger, by)
    if found is None:
        return
    if not found.all.labelled:
        _empty(report)
    else:
        drawn_once(_figures, found)
        if found.by != _CLASS:
            _open_rows(found)
        if found.versions and found.classes:
            drawn_once(_classes, found.versions, found.classes)
    _refused(first)


def _split_by(options: list[str]) -> str:
    """What is chosen of the options: all are seen where they are few, a list takes a click more."""
    if len(options) > _MOST_SEEN:
        return st.selectbox("Split by", options, format_func=_said, key="by", width=320, bind="query-params")
    chosen = st.segmented_control(
        "Split by", options, default=options[0], format_func=_said, key="by", required=True, bind="query-params"
    )
    return chosen or options[0]


def first_by(report: ApiExperiment, contract: ApiContract) -> str | None:
    """What to ask for first: the API's own choice, or a feature where there are no classes, or none that count."""
    if contract.task != "regression" and report.metric != REWARD:
        return None
    likely = (each.name for each in contract.features if each.kind == "numeric" or not each.open_categories)
    name = next(likely, None)
    return None if name is None else f"{_FEATURE}{name}"


def _open_rows(found: ApiBreakdown) -> None:
    """A list of the segments: the chosen one's disagreements are shown instead of this part."""

    def open_chosen() -> None:
        level = st.session_state["breakdown-level"]
        st.session_state.update(
            {
                "tab": "Disagreements",
                disagreements.SEGMENT: found.by.removeprefix(_FEATURE),
                disagreements.LEVEL: level,
            }
        )

    st.selectbox(
        "Rows of one segment",
        _levels(found),
        index=None,
        placeholder="Choose a segment to see its disagreements",
        key="breakdown-level",
        on_change=open_chosen,
        width=420,
    )


def levels(report: ApiExperiment, challenger: str, feature: str) -> list[str]:
    """The segments by a feature in which there are rows; empty after the page has explained why there are none."""
    found = asked_by(report, challenger, f"{_FEATURE}{feature}")
    return [] if found is None else _levels(found)


def _levels(found: ApiBreakdown) -> list[str]:
    return [row.level for row in found.rows if row.labelled or row.requests]


def asked_by(report: ApiExperiment, challenger: str, by: str | None) -> ApiBreakdown | None:
    """The breakdown; None after the page has explained why there is none."""
    query = {"challenger": challenger, **({"by": by} if by else {})}
    api = client()
    snapshot = asked_once(
        ("breakdown", api.public_url, report.id, challenger, by),
        partial(api.breakdown, report.id, query),
        "the breakdown",
    )
    return known(snapshot, "The breakdown", "breakdown")


def _said(by: str) -> str:
    return "true class" if by == _CLASS else by.removeprefix(_FEATURE)


def _empty(report: ApiExperiment) -> None:
    if report.metric == REWARD:
        st.info("**No rewards yet:** send them with `POST /feedback`.", icon=":material/label:")
        return
    st.info(
        "**No labels yet:** send true labels with `POST /feedback`, or a file of them on the Labels page.",
        icon=":material/label:",
    )


def _figures(found: ApiBreakdown) -> None:
    rows = [row for row in found.rows if row.labelled or row.requests]
    lower = "" if found.higher_is_better else " (lower is better)"
    st.markdown(f"**{readable(found.metric)[:1].upper()}{readable(found.metric)[1:]} by {_said(found.by)}**{lower}")
    scale = scale_of(found.metric)
    table = pd.DataFrame(
        {
            "part": [row.level for row in rows],
            "improvement": [scale.change(row.improvement, row.interval) for row in rows],
            "interval": [scale.changes(row.interval) for row in rows],
        }
    )
    drawing = parts.part_drawing(parts.part_table(rows, scale), found.baseline, scale.points)
    drawn(drawing, table, parts.part_description(rows, found.challenger, found.baseline, scale))
    st.caption(_meaning(found, rows))
    counted = [_row(row, found) for row in [found.all, *rows]]
    said = "For each part and for all, how many requests and labels there are, both means, and who was right."
    grid.show(counted, said)


def _meaning(found: ApiBreakdown, rows: list[ApiPart]) -> str:
    said = [f"Exploratory: nothing is decided on it. Above 0, {found.challenger} is better."]
    if any(row.interval for row in rows):
        said.append(
            f"All intervals together miss the truth with a probability of at most {share(found.alpha)}, if each "
            "request is a case of its own."
        )
    return " ".join([*said, as_sentence(found.note)] if found.note else said)


def _row(row: ApiPart, found: ApiBreakdown) -> dict[str, object]:
    shown: dict[str, object] = {"part": row.level}
    if found.all.requests is not None and found.by != _CLASS:
        shown["requests"] = row.requests
    shown |= {
        "labelled": row.labelled,
        found.baseline: scale_of(found.metric).mean(row.baseline_mean),
        found.challenger: scale_of(found.metric).mean(row.challenger_mean),
    }
    if found.all.both_right is not None:
        shown |= {
            "both right": row.both_right,
            f"only {found.baseline} right": row.only_baseline,
            f"only {found.challenger} right": row.only_challenger,
            "both wrong": row.both_wrong,
        }
    return shown


def _classes(versions: tuple[ApiVersionClasses, ...], classes: tuple[str, ...]) -> None:
    """What each version answered to each true class, side by side, and its figures by class."""
    st.markdown("**Answers by true class** (all labelled rows on which the version's answer is known)")
    for place, version in zip(st.columns(len(versions)), versions, strict=True):
        said = f"Confusion matrix of {version.version}: true classes are rows, answers are columns."
        grid.show(_confusion(version, classes), said, place=place)
    table = pd.DataFrame({"true class": classes})
    for name in ("precision", "recall", "f1"):
        for version in versions:
            values = getattr(version, name)
            table[f"{'F1' if name == 'f1' else name} {version.version}"] = [share(value) for value in values]
    grid.show(table, "Precision, recall and F1 of each version by class.")


def _confusion(version: ApiVersionClasses, classes: tuple[str, ...]) -> pd.DataFrame:
    """The matrix with the true classes down and the answers across; the corner says so, and names the version.

    A heading is one line: long names have numbers there, which the rows explain.
    """
    down, across = list(classes), list(classes)
    if any(len(name) > _LONGEST_HEADING for name in classes):
        down = [f"{place}: {name}" for place, name in enumerate(classes, 1)]
        across = [str(place) for place, _ in enumerate(classes, 1)]
    frame = pd.DataFrame(version.confusion, columns=across)
    if any(version.missing):
        frame[_FAILED] = version.missing
    frame.insert(0, f"{version.version}: true ↓ answered →", down)
    return frame


def _refused(found: ApiBreakdown) -> None:
    if found.refused:
        with st.expander(f"Columns that cannot be split by: {len(found.refused)}"):
            st.markdown("\n".join(f"- **{name}** {reason}" for name, reason in found.refused.items()))
