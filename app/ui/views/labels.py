"""The Labels page: upload a file of true labels or rewards, see what will be sent, and what became of each line."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Literal

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.tables.counts import counted
from app.tables.labels import BadLine, LabelColumns, LabelFile, by_of, label_file, likely_columns
from app.tables.table import Table, TableRefused
from app.ui import grid
from app.ui.batch import read_upload
from app.ui.labels import LabelJob
from app.ui.states import served_models, work_on

_JOB, _TABLE, _DIGEST = "labels.job", "labels.table", "labels.digest"
_BY: Mapping[Literal["prediction_id", "id"], str] = {"prediction_id": "prediction ids", "id": "your own keys"}
_MOST_SHOWN = 1000
_PREVIEW = 10


def show() -> None:
    """The whole page."""
    st.title("Labels")
    st.caption("Upload a CSV or Parquet file with the true labels, or the rewards, of predictions that were made.")
    served = served_models("labels")
    if served is None:
        return
    table = _uploaded()
    if table is not None:
        _prepare(table, served[1].contract.target)
    job: LabelJob | None = st.session_state.get(_JOB)
    if job is not None:
        _work(job)


def _uploaded() -> Table | None:
    upload = st.file_uploader(
        "A CSV file with a header, or a Parquet file",
        type=["csv", "tsv", "txt", "parquet"],
        help="A column with prediction ids or with your own keys, and a column with labels or with rewards.",
    )
    if upload is None:
        if st.session_state.get(_JOB) is None:
            st.info(
                "**No file yet.** Each row names a prediction, by its id or by your own key (`id`), and has its label.",
                icon=":material/label:",
            )
        return None
    try:
        return _read(upload.getvalue())
    except TableRefused as error:
        st.error(f"**The file cannot be read:** {error.message}.", icon=":material/error:")
        return None


def _read(content: bytes) -> Table:
    """The table; parsed once per file, not on every click."""
    digest = hashlib.sha256(content).hexdigest()
    if st.session_state.get(_DIGEST) != digest:
        st.session_state[_TABLE] = read_upload(content)
        st.session_state[_DIGEST] = digest
        st.session_state.pop(_JOB, None)
    table: Table = st.session_state[_TABLE]
    return table


def _prepare(table: Table, target: str) -> None:
    columns = _chosen(table, target)
    if columns is None:
        st.button("Send", disabled=True, icon=":material/send:")
        return
    labels = label_file(table, columns)
    _preview(labels)
    if st.button(f"Send {counted(len(labels.rows))}", type="primary", icon=":material/send:", disabled=not labels.rows):
        st.session_state[_JOB] = LabelJob(labels)


def _chosen(table: Table, target: str) -> LabelColumns | None:
    """The columns as the page has them; None, with a warning, until they are enough."""
    name, label, reward = likely_columns(table.names, target or None)
    places = st.columns(4)
    name = _column(places[0], "Prediction", table, name)
    kinds = list(_BY)
    by = places[1].radio(
        "It has", kinds, format_func=_BY.__getitem__, index=kinds.index(by_of(name or "")), key=f"labels-by-{name}"
    )
    label = _column(places[2], "Label", table, label)
    reward = _column(places[3], "Reward", table, reward)
    if name is None or (label is None and reward is None):
        st.warning(
            "Choose the column that names the prediction, and one with labels or rewards.", icon=":material/extension:"
        )
        return None
    columns = LabelColumns(name, by, label, reward)
    if len(set(columns.chosen)) < len(columns.chosen):
        st.warning("One column is chosen twice: choose one column for each.", icon=":material/extension:")
        return None
    return columns


def _column(place: DeltaGenerator, what: str, table: Table, likely: str | None) -> str | None:
    # Through the state, and not as its index: what has an index cannot be cleared.
    key = f"labels-{what}-{st.session_state[_DIGEST]}"
    st.session_state.setdefault(key, likely)
    chosen: str | None = place.selectbox(what, table.names, index=None, placeholder="not in the file", key=key)
    return chosen


def _preview(labels: LabelFile) -> None:
    """What will be sent."""
    st.caption(
        f"{counted(len(labels.rows))} will be sent, by {_BY[labels.columns.by]}. Left out: {counted(labels.without)} "
        f"without a label, and {counted(len(labels.bad), 'broken one')}. Sending a row again is safe: it counts once."
    )
    frame = pd.DataFrame(
        [(row.line, *row.cells) for row in labels.rows[:_PREVIEW]], columns=["line", *labels.columns.chosen]
    )
    grid.show(frame, "The first rows that will be sent.", are_counts=False)


def _work(job: LabelJob) -> None:
    work_on(job, _progress, "What was accepted stays.")
    _report(job)


def _progress(job: LabelJob) -> str:
    return f"{job.done:,} of {counted(job.rows)}; {len(job.refused):,} not accepted"


def _report(job: LabelJob) -> None:
    refused = job.refused
    said = (
        f"{counted(job.accepted, 'outcome')} accepted, {job.duplicates:,} known already, "
        f"{counted(len(refused), 'line')} not accepted."
    )
    if job.done == job.rows and not refused:
        st.success(f"**Done:** {said}", icon=":material/check_circle:")
    elif job.done == job.rows:
        why = ", ".join(f"{count:,} {status}" for status, count in job.reasons.items())
        st.warning(f"**Done, with lines that were not accepted:** {said} Reasons: {why}.", icon=":material/rule:")
    else:
        st.info(said, icon=":material/label:")
    if refused:
        st.subheader("Lines that were not accepted")
        refused_lines(refused, "not-accepted.csv", "The lines that were not accepted, with the reason.")


def refused_lines(refused: list[BadLine], file_name: str, alt: str) -> None:
    """The first of these lines with their reasons, and a file of all; `alt` is the table's text for screen readers."""
    frame = pd.DataFrame([{"line": each.line, "status": each.status, "reason": each.message} for each in refused])
    st.download_button(
        "Download the list",
        frame.to_csv(index=False).encode(),
        file_name,
        "text/csv",
        icon=":material/download:",
        on_click="ignore",
    )
    grid.show(frame.head(_MOST_SHOWN), alt)
    if len(refused) > _MOST_SHOWN:
        st.caption(f"The first {_MOST_SHOWN:,} of {len(refused):,}.")
