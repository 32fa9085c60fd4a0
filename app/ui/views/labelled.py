"""The part of the Batch page for a file with true labels: the choice, what will be sent, what was right."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from app.tables.counts import counted
from app.tables.table import Table
from app.ui import grid
from app.ui.batch import ROWS_PER_CALL, BatchJob
from app.ui.records import ApiContract
from app.ui.true_labels import Judged, TrueLabels, by_version, true_labels
from app.ui.views.labels import refused_lines
from app.ui.wording import number, share


class NotUsable:
    """A column was chosen that cannot have the labels."""


def chosen(
    table: Table, contract: ApiContract, columns: Mapping[str, str | None], version: str | None, counts: bool
) -> TrueLabels | NotUsable | None:
    """The labels of the chosen column, after the page has said what will be sent; None where none is chosen."""
    target = contract.target
    hint = f" The model predicts {target}, and the file has a column of that name." if target in table.names else ""
    column = st.selectbox(
        "True label (optional)",
        table.names,
        index=None,
        placeholder="none: predict only",
        help=f"The column with the true answer. Its labels are sent as feedback after the predictions.{hint}",
    )
    if column is None:
        return None
    if column in columns.values():
        st.warning(f"**{column}** is a feature of the model: choose another column.", icon=":material/extension:")
        return NotUsable()
    labels = true_labels(table, column, contract)
    _what_will_be_sent(labels, version, counts)
    if labels.by_line:
        return labels
    st.warning(f"**{column}** has no label that the model knows.{_example(labels)}", icon=":material/extension:")
    return NotUsable()


def _what_will_be_sent(labels: TrueLabels, version: str | None, counts: bool) -> None:
    if version is None and counts:
        weight = (
            "**These labels count in the running experiment**, for every version that answers the row. Each batch of "
            f"{ROWS_PER_CALL:,} rows goes to one version: it is one random choice, not one for each row. Sending the "
            "file again makes new predictions, whose labels count again."
        )
    else:
        why = "the switch above is off" if version is None else f"you chose {version}"
        weight = f"**These labels do not count in the experiment**, because {why}. They are kept with the predictions."
    lacking = [f"{counted(labels.without)} without a label"] if labels.without else []
    unknown = f"{counted(len(labels.bad))} with one that the model does not know{_example(labels)}"
    lacking += [unknown] if labels.bad else []
    rest = f" Only predicted: {' and '.join(lacking)}." if lacking else ""
    st.info(
        f"Feedback with {counted(len(labels.by_line), 'label')} will be sent, by prediction id.{rest} {weight}",
        icon=":material/label:",
    )


def _example(labels: TrueLabels) -> str:
    if not labels.bad:
        return ""
    return f" (line {labels.bad[0].line}: {labels.bad[0].message})"


def unsent(job: BatchJob) -> None:
    """Say which predictions were made whose labels are not sent, because the API failed between the two."""
    if job.unsent:
        st.warning(
            f"**Not recorded yet: {counted(job.unsent, 'label')}**, though the predictions were made. Continue sends "
            "what is left without predicting again; another file drops it.",
            icon=":material/label_off:",
        )


def report(job: BatchJob) -> None:
    """Which labels were recorded, and how often each version was right."""
    if job.labels is None or not (job.labels.statuses or job.done == job.rows):
        return
    st.subheader("Right and wrong")
    refused = job.labels.not_recorded
    said = f"{counted(job.labels.recorded, 'label')} recorded, {len(refused):,} not recorded."
    if refused:
        why = ", ".join(f"{count:,} {status}" for status, count in job.labels.reasons.items())
        st.warning(f"{said} Reasons: {why}.", icon=":material/rule:")
    else:
        st.success(said, icon=":material/check_circle:")
    _versions(by_version(job.judged()))
    if refused:
        with st.expander(f"Labels that were not recorded: {len(refused):,}"):
            refused_lines(refused, "not-recorded.csv", "The lines whose label was not recorded, and why.")


def _versions(judged: list[Judged]) -> None:
    if not judged:
        return
    said = "For each version that answered, how many labels are recorded, and how good its answers were."
    grid.show([_row(each) for each in judged], said)
    st.caption(
        "Of the rows of this file that the version answered. The versions answered different rows: the Experiment page "
        "compares them."
        if len(judged) > 1
        else "Of the labelled rows of this file."
    )


def _row(each: Judged) -> dict[str, object]:
    row: dict[str, object] = {"version": each.version, "labelled": each.labelled}
    if each.right is None:
        return {**row, "mean absolute error": number(each.error)}
    wrong = each.labelled - each.right
    return {**row, "right": each.right, "wrong": wrong, "share right": share(each.right / each.labelled)}
