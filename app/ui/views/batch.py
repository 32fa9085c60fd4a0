"""The Batch page: upload a CSV or Parquet file, download it with predictions; its true labels can be sent in one go."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping, Sequence

import pandas as pd
import streamlit as st

from app.tables.counts import counted
from app.tables.model_columns import ModelColumn, source_of
from app.tables.table import Table, TableRefused
from app.ui import grid
from app.ui.batch import ROWS_PER_CALL, BatchJob, job_of, read_upload, template
from app.ui.charts import predictions
from app.ui.charts.drawing import drawn
from app.ui.columns import PageColumns, columns_of
from app.ui.records import ApiContract, ApiModel, ApiModels
from app.ui.states import chosen_version, counts_switch, served_models, work_on
from app.ui.true_labels import TrueLabels
from app.ui.views import labelled

_JOB = "batch.job"
_RESULT = "batch.result"
_MOST_BAD_SHOWN = 1000


def show() -> None:
    """The whole page."""
    st.title("Batch")
    st.caption(
        "Upload a CSV or Parquet file and download it, as CSV, with predictions. If the file has the true labels too, "
        "they can be sent in one go."
    )
    served = served_models("batch")
    if served is None:
        return
    models, model = served
    table = _uploaded(model, columns_of(models, model).readers)
    if table is not None:
        _prepare(table, model, models)
    job: BatchJob | None = st.session_state.get(_JOB)
    if job is not None:
        _work(job)


def _uploaded(model: ApiModel, optional: Collection[str]) -> Table | None:
    names = ", ".join(feature.name for feature in model.contract.features)
    optional_names = f" Optional: {', '.join(optional)}." if optional else ""
    st.download_button(
        "Download a template",
        template(model),
        "template.csv",
        "text/csv",
        icon=":material/download:",
        on_click="ignore",
    )
    upload = st.file_uploader(
        "A CSV file with a header, or a Parquet file",
        type=["csv", "tsv", "txt", "parquet"],
        help=f"Columns: {names}.{optional_names} Other columns are kept unchanged.",
    )
    if upload is None:
        if st.session_state.get(_JOB) is None:
            st.info(
                "**No file yet.** Each row needs a value for each feature of the model.", icon=":material/description:"
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
    if st.session_state.get("batch.digest") != digest:
        st.session_state["batch.table"] = read_upload(content)
        st.session_state["batch.digest"] = digest
        st.session_state.pop(_JOB, None)
    table: Table = st.session_state["batch.table"]
    return table


def _prepare(table: Table, model: ApiModel, models: ApiModels) -> None:
    version = chosen_version(
        models,
        f"Each batch of {ROWS_PER_CALL:,} rows goes to one version. Predictions by a version you choose never count "
        "in the experiment.",
    )
    counts = counts_switch("this file", "batch.counts")
    asked = columns_of(models, model, version)
    found = matched(asked.contract, table.names)
    unmatched = [name for name, column in found.items() if column is None]
    open_ = any(name in asked.needed for name in unmatched)
    with st.expander(f"Columns: {len(found) - len(unmatched)} of {len(found)} matched", expanded=open_):
        columns = _matching(found, table, asked.needed)
    complete = _is_complete(asked, columns)
    if version is None:
        _without(asked.lacking([name for name, column in columns.items() if column is None]))
    found_labels = labelled.chosen(table, asked.contract, columns, version, counts)
    labels = None if isinstance(found_labels, labelled.NotUsable) else found_labels
    if st.button(
        _what_happens(len(table.lines) + len(table.ragged), labels),
        type="primary",
        icon=":material/play_arrow:",
        disabled=not complete or labels is not found_labels,
    ):
        st.session_state[_JOB] = job_of(table, asked, columns, version, labels, counts=counts)
        st.session_state.pop(_RESULT, None)


def _what_happens(rows: int, labels: TrueLabels | None) -> str:
    send = "" if labels is None else f" and send {counted(len(labels.by_line), 'label')}"
    return f"Predict {counted(rows)}{send}"


def _is_complete(asked: PageColumns, columns: dict[str, str | None]) -> bool:
    """Whether each feature has a column of its own, as far as it needs one; a warning says what is to be chosen."""
    required = {feature.name for feature in asked.contract.features if not feature.nullable} & asked.needed
    lacking = [name for name, column in columns.items() if column is None and name in required]
    if lacking:
        st.warning(f"Choose a column for: {', '.join(lacking)}.", icon=":material/extension:")
    twice = chosen_twice(columns)
    for column, features in twice.items():
        st.warning(
            f"**{column}** is chosen for {' and '.join(features)}: choose one column for each.",
            icon=":material/extension:",
        )
    return not (lacking or twice)


def _without(lacking: dict[str, list[str]]) -> None:
    for version, names in lacking.items():
        st.info(
            f"**{version} takes no part in these rows:** no column is chosen for {', '.join(names)}.",
            icon=":material/group_off:",
        )


def _matching(found: dict[str, str | None], table: Table, needed: Collection[str]) -> dict[str, str | None]:
    places = st.columns(3)
    columns: dict[str, str | None] = {}
    for index, (name, column) in enumerate(found.items()):
        if name in needed:
            columns[name] = places[index % 3].selectbox(
                name,
                table.names,
                index=table.names.index(column) if column is not None else None,
                placeholder="not in the file",
                key=f"column-{name}-{column}",
            )
        else:
            # Through the state, and not as its index: what has an index cannot be cleared.
            key = f"optional-{name}-{column}"
            st.session_state.setdefault(key, column)
            columns[name] = places[index % 3].selectbox(
                f"{name} (optional)", table.names, index=None, placeholder="not used", key=key
            )
    return columns


def _work(job: BatchJob) -> None:
    work_on(job, _progress, "The predictions so far are below.")
    labelled.unsent(job)
    if job.done == job.rows and not job.cancelled:
        st.success(
            f"**Done:** {counted(len(job.answered))} predicted, {len(job.bad):,} failed.",
            icon=":material/check_circle:",
        )
    _bad_rows(job)
    labelled.report(job)
    if job.answered:
        _result(job)


def _progress(job: BatchJob) -> str:
    sent = "" if job.labels is None else f"; {counted(job.labels.recorded, 'label')} recorded"
    return f"{job.done:,} of {counted(job.rows)}; {len(job.bad):,} failed{sent}"


def _bad_rows(job: BatchJob) -> None:
    if not job.bad:
        return
    st.subheader("Rows that failed")
    frame = pd.DataFrame([{"line": row.line, "reason": row.reason} for row in job.bad[:_MOST_BAD_SHOWN]])
    grid.show(frame, "The lines of the file that failed, with the reason.")
    if len(job.bad) > _MOST_BAD_SHOWN:
        st.caption(f"The first {_MOST_BAD_SHOWN:,} of {len(job.bad):,}.")


def _result(job: BatchJob) -> None:
    st.subheader("Predictions")
    made: tuple[tuple[int, int], pd.DataFrame, bytes] | None = st.session_state.get(_RESULT)
    # The labels of a batch may come after its predictions, when the API failed between the two.
    if made is None or made[0] != (len(job.answered), job.unsent):
        frame = job.result()
        made = st.session_state[_RESULT] = ((len(job.answered), job.unsent), frame, frame.to_csv(index=False).encode())
    _, frame, content = made
    st.download_button(
        "Download the result",
        content,
        "predictions.csv",
        "text/csv",
        icon=":material/download:",
        on_click="ignore",
        type="primary",
    )
    spread = predictions.answer_table([each.answer.prediction for each in job.answered])
    drawn(predictions.answer_drawing(spread), spread, predictions.answer_description(spread))
    grid.show(frame.head(200), "The first 200 rows of the result.", are_counts=False)


_UNIT = re.compile(r"[\(\[]([^\)\]]*)[\)\]]\s*$")


def matched(contract: ApiContract, header: Sequence[str]) -> dict[str, str | None]:
    """The column for each feature; None where none is surely it. No column stands for two features.

    The name in the training data counts first, then the contract name, then either of them without regard to case and
    punctuation, as long as only one column and one feature can be meant. Two different units are never the same.
    """
    found = _named_alike(contract.features, header)
    free = [column for column in header if column not in found.values()]
    left = [feature for feature in contract.features if feature.name not in found]
    for feature in left:
        alike = [column for column in free if _is_alike(feature, column)]
        if len(alike) == 1 and sum(_is_alike(other, alike[0]) for other in left) == 1:
            found[feature.name] = alike[0]
    return {feature.name: found.get(feature.name) for feature in contract.features}


def _named_alike(features: Sequence[ModelColumn], header: Sequence[str]) -> dict[str, str]:
    """The columns that have the very name of a feature: that in the training data first, then that in requests."""
    found: dict[str, str] = {}
    given = [(feature.name, source_of(feature)) for feature in features]
    for name, column in [*given, *((feature.name, feature.name) for feature in features)]:
        if name not in found and column in header and column not in found.values():
            found[name] = column
    return found


def chosen_twice(columns: Mapping[str, str | None]) -> dict[str, list[str]]:
    """The columns that stand for more than one feature, with these features."""
    features: dict[str, list[str]] = {}
    for feature, column in columns.items():
        if column is not None:
            features.setdefault(column, []).append(feature)
    return {column: names for column, names in features.items() if len(names) > 1}


def _is_alike(feature: ModelColumn, column: str) -> bool:
    bare, unit = _bare_and_unit(column)
    for name in (source_of(feature), feature.name):
        our_bare, our_unit = _bare_and_unit(name)
        # The contract name lacks the unit of the training data: it must not hide that the column has another.
        units = {unit, our_unit, _bare_and_unit(feature.source_name or "")[1]} - {""}
        if bare == our_bare and len(units) <= 1:
            return True
    return False


def _bare_and_unit(name: str) -> tuple[str, str]:
    """The name without case and punctuation, and what it has in brackets at its end."""
    unit = _UNIT.search(name)
    bare = name if unit is None or not name[: unit.start()].strip() else name[: unit.start()]
    return _plain(bare), "" if unit is None or bare == name else unit[1].strip()


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold())
