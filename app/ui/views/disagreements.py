"""The rows that a challenger and the baseline answered differently: newest first, with filters and as a file."""

from __future__ import annotations

from functools import partial

import pandas as pd
import streamlit as st

from app.ui.client import ApiClient
from app.ui.experiment_records import ApiExperiment
from app.ui.records import ApiContract
from app.ui.row_records import ApiDisagreement, ApiDisagreements, ApiVersionAnswer
from app.ui.session import asked_once, client
from app.ui.states import known
from app.ui.wording import UNKNOWN, moment, number, share

PAGE = 100
MOST_IN_FILE = 1000
_MOST_COUNTED = 100
_ALL = "all"


def show(report: ApiExperiment, challenger: str, contract: ApiContract) -> None:
    """The filters, the table, and the file."""
    baseline = report.baseline or "the baseline"
    asked = _filters(baseline, challenger, contract)
    api = client()
    pages = _pages(api, report.id, asked)
    if not pages:
        return
    rows = [row for page in pages for row in page.disagreements]
    if not rows:
        _none(asked)
        return
    st.dataframe(
        pd.DataFrame([_row(row, baseline, challenger) for row in rows]),
        hide_index=True,
        alt=f"The newest rows that {baseline} and {challenger} answered differently, with the label where it is known.",
    )
    margin = pages[0].margin
    apart = "" if margin is None else f" Rows whose answers are at least {number(margin)} apart are listed."
    st.caption(
        f"Newest first: {len(rows):,} rows{' so far' if pages[-1].next else ''}. Times it came: how often a row with "
        f"the same features is among the disagreements.{apart}"
    )
    with st.container(horizontal=True):
        if pages[-1].next:
            st.button("Show older rows", on_click=_one_more, args=(_key(asked),), icon=":material/expand_more:")
        st.download_button(
            f"Download the rows (CSV, the newest {MOST_IN_FILE:,})",
            partial(_file, api, report.id, {**asked, "limit": MOST_IN_FILE}),
            f"disagreements-{challenger}.csv",
            "text/csv",
            icon=":material/download:",
            on_click="ignore",
        )


def _filters(baseline: str, challenger: str, contract: ApiContract) -> dict[str, object]:
    """The parameters of the call, as the page has them."""
    names = {
        _ALL: "all rows",
        "baseline": f"{baseline} was right",
        "challenger": f"{challenger} was right",
        "neither": "neither was right",
        "unlabelled": "no label yet",
        "failed": "one gave no answer",
    }
    if contract.task == "regression":
        names |= {"baseline": f"{baseline} was nearer", "challenger": f"{challenger} was nearer"}
    left, right = st.columns(2)
    won = left.selectbox("Who was right", list(names), format_func=names.__getitem__, key="disagreements-won")
    asked: dict[str, object] = {"challenger": challenger, "limit": PAGE}
    if won != _ALL:
        asked["won"] = won
    if contract.classes:
        chosen = right.selectbox(
            "True class",
            contract.classes,
            index=None,
            placeholder="all classes",
            disabled=won == "unlabelled",
            key="disagreements-class",
        )
        if chosen is not None and won != "unlabelled":
            asked["class"] = chosen
    return asked


def _key(asked: dict[str, object]) -> str:
    return f"disagreements-pages-{sorted(asked.items())}"


def _one_more(key: str) -> None:
    st.session_state[key] = st.session_state.get(key, 1) + 1


def _pages(api: ApiClient, experiment: str, asked: dict[str, object]) -> list[ApiDisagreements]:
    """The pages that were asked for; those before a failure, which the page has then explained."""
    pages: list[ApiDisagreements] = []
    before: str | None = None
    for _ in range(st.session_state.get(_key(asked), 1)):
        query = {**asked, **({"before": before} if before else {})}
        snapshot = asked_once(
            ("disagreements", api.public_url, experiment, *sorted(query.items())),
            partial(api.disagreements, experiment, query),
            "the disagreements",
        )
        page = known(snapshot, "Disagreements", "disagreements")
        if page is None:
            break
        pages.append(page)
        before = page.next
        if before is None:
            break
    return pages


def _none(asked: dict[str, object]) -> None:
    if "won" in asked or "class" in asked:
        st.info(
            "**No such row.** Choose all rows and all classes to see every disagreement.", icon=":material/filter_alt:"
        )
    else:
        st.info(
            "**No disagreement yet.** A request is listed here within seconds once the two versions answer it "
            "differently.",
            icon=":material/check_circle:",
        )


def _file(api: ApiClient, experiment: str, asked: dict[str, object]) -> bytes:
    return api.disagreements_csv(experiment, asked)


def _row(row: ApiDisagreement, baseline: str, challenger: str) -> dict[str, object]:
    first = {
        "when (UTC)": moment(row.timestamp).removesuffix(" UTC"),
        "right": _right(row.won, baseline, challenger),
        "label": UNKNOWN if row.actual is None else _text(row.actual),
        baseline: _answer(row.answers.get(baseline)),
        challenger: _answer(row.answers.get(challenger)),
        "times it came": _came(row.came),
    }
    last = {"answered by": row.model_version, "own key": row.id or UNKNOWN, "prediction id": row.prediction_id}
    features = {
        f"feature {name}" if name in first or name in last else name: UNKNOWN if value is None else _text(value)
        for name, value in row.features.items()
    }
    return {**first, **features, **last}


def _right(won: str, baseline: str, challenger: str) -> str:
    words = {
        "baseline": f"✔ {baseline}",
        "challenger": f"✔ {challenger}",
        "neither": "✖ neither",
        "unlabelled": "… no label yet",
        "failed": "– one gave no answer",
    }
    return words.get(won, won)


def _answer(answer: ApiVersionAnswer | None) -> str:
    if answer is None:
        return "no answer"
    sure = "" if answer.confidence is None else f" ({share(answer.confidence, 0)})"
    return f"{_text(answer.prediction)}{sure}"


def _came(count: int | None) -> str:
    if count is None:
        return UNKNOWN
    return f"{count} or more" if count >= _MOST_COUNTED else str(count)


def _text(value: object) -> str:
    return number(value) if isinstance(value, float) else str(value)
