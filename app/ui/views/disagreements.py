"""The rows that a challenger and the baseline answered differently: newest first, with filters and as a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

import pandas as pd
import streamlit as st

from app.tables.counts import counted
from app.ui import grid, sharing
from app.ui.client import ApiClient
from app.ui.experiment_records import ApiExperiment
from app.ui.records import ApiContract
from app.ui.row_records import ApiDisagreement, ApiDisagreements, ApiVersionAnswer
from app.ui.session import asked_once, client
from app.ui.states import drawn_once, known
from app.ui.wording import UNKNOWN, moment, number, share

PAGE = 100
MOST_IN_FILE = 1000
_MOST_COUNTED = 100
_ALL = "all"
# The places of the filters, which other parts of the page set, and their names in the address.
WON, CLASS, SEGMENT, LEVEL = "won", "class", "segment", "level"
_MOST_CLASSES = 3


def show(report: ApiExperiment, challenger: str, contract: ApiContract, segments: Callable[[str], list[str]]) -> None:
    """The filters, what changed into what, the table, and the file. `segments` returns the parts by a feature."""
    baseline = report.baseline or "the baseline"
    asked = {**_filters(baseline, challenger, contract), **_segment(contract, segments)}
    api = client()
    pages = _pages(api, report.id, asked)
    if not pages:
        return
    rows = [row for page in pages for row in page.disagreements]
    if not rows:
        _none(asked)
        return
    if contract.classes:
        drawn_once(_changes, rows, baseline, challenger)
    drawn_once(_listed, rows, baseline, challenger)
    margin = pages[0].margin
    apart = "" if margin is None else f" Rows whose answers are at least {number(margin)} apart are listed."
    st.caption(
        f"Newest first: {counted(len(rows))}{' so far' if pages[-1].next else ''}. Times it came: how often a row with "
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
    _replay(rows, baseline, challenger)


def _listed(rows: Sequence[ApiDisagreement], baseline: str, challenger: str) -> None:
    said = f"The newest rows that {baseline} and {challenger} answered differently, with the label where it is known."
    grid.show([_row(row, baseline, challenger) for row in rows], said, are_counts=False)


def _changes(rows: Sequence[ApiDisagreement], baseline: str, challenger: str) -> None:
    """From which answer to which the rows changed, the most frequent first, and who was right."""
    pairs: dict[tuple[str, str], Counter[str]] = {}
    for row in rows:
        first, second = row.answers.get(baseline), row.answers.get(challenger)
        if first is not None and second is not None:
            pairs.setdefault((_text(first.prediction), _text(second.prediction)), Counter())[row.won] += 1
    if not pairs:
        return
    ranked = sorted(pairs.items(), key=lambda item: -item[1].total())
    frame = pd.DataFrame(
        [
            {
                f"{baseline} → {challenger}": f"{before} → {after}",
                "rows": who.total(),
                f"{baseline} right": who["baseline"],
                f"{challenger} right": who["challenger"],
                "neither": who["neither"],
                "no label yet": who["unlabelled"],
            }
            for (before, after), who in ranked
        ]
    )
    said = f"How the answers changed from {baseline} to {challenger} in the rows below, and who was right."
    st.markdown(f"**What {baseline} answered → what {challenger} answered** (the rows listed below)")
    grid.show(frame, said)


def _replay(rows: Sequence[ApiDisagreement], baseline: str, challenger: str) -> None:
    """A link that opens the Playground with the inputs of a row."""

    def named(place: int) -> str:
        row = rows[place]
        answers = " → ".join(_answer(row.answers.get(version)) for version in (baseline, challenger))
        return f"{moment(row.timestamp)}: {answers}"

    with st.container(horizontal=True, vertical_alignment="bottom"):
        place = st.selectbox(
            "Replay a row in the Playground",
            range(len(rows)),
            index=None,
            format_func=named,
            placeholder="Choose a row",
            width=420,
            key="disagreements-replay",
        )
        if place is not None and place < len(rows):
            address = sharing.link("playground", rows[place].features)
            st.link_button("Open it", address, icon=":material/science:")


def _segment(contract: ApiContract, segments: Callable[[str], list[str]]) -> dict[str, object]:
    """The parameters that keep to one segment of a feature; empty for all rows."""
    names = [each.name for each in contract.features]
    if not names:
        return {}
    left, right = st.columns(2)
    feature = left.selectbox("Segment by", names, index=None, placeholder="all rows", key=SEGMENT, bind="query-params")
    if feature is None:
        return {}
    levels = segments(feature)
    level = right.selectbox("Segment", levels, index=None, placeholder="all of them", key=LEVEL, bind="query-params")
    return {} if level is None else {"by": f"feature:{feature}", "level": level}


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
    won = left.selectbox("Who was right", list(names), format_func=names.__getitem__, key=WON, bind="query-params")
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
            key=CLASS,
            bind="query-params",
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
    if asked.get("won") == "neither":
        st.info(
            "**No such row.** Rows are listed where the two answers differ: where both were wrong, they gave the same "
            "wrong answer.",
            icon=":material/filter_alt:",
        )
    elif {"won", "class", "level"} & asked.keys():
        st.info(
            "**No such row.** Choose all rows, all classes and no segment to see all.",
            icon=":material/filter_alt:",
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
    last = {
        **{f"{version} probabilities": _probabilities(row.answers.get(version)) for version in (baseline, challenger)},
        "answered by": row.model_version,
        "own key": row.id or UNKNOWN,
        "prediction id": row.prediction_id,
    }
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


def _probabilities(answer: ApiVersionAnswer | None) -> str:
    """The likeliest classes first."""
    if answer is None or not answer.probabilities:
        return UNKNOWN
    ranked = sorted(answer.probabilities.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {share(value, 0)}" for name, value in ranked[:_MOST_CLASSES])


def _came(count: int | None) -> str:
    if count is None:
        return UNKNOWN
    return f"{count} or more" if count >= _MOST_COUNTED else str(count)


def _text(value: object) -> str:
    return number(value) if isinstance(value, float) else str(value)
