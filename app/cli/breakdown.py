"""`bakeoff report --by`: a comparison in parts as text, from `GET /experiment/{id}/breakdown`."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from app.cli.comparison import UNKNOWN, number, signed
from app.cli.table import table_lines

# A narrow terminal loses the columns after these, the last one first.
_REQUIRED_COLUMNS = 5


def path_of(experiment_id: str, asked: Mapping[str, str | None]) -> str:
    """The path of the call, with what is asked for as its query."""
    query = {name: value for name, value in asked.items() if value is not None}
    return f"/experiment/{experiment_id}/breakdown?{urlencode(query)}"


def breakdown_lines(found: Mapping[str, Any], width: int) -> list[str]:
    """The breakdown as lines of at most `width` characters."""
    baseline, challenger = found["baseline"], found["challenger"]
    head = (
        f"Experiment {found['experiment']}: {found['metric']} of {challenger} against {baseline} by {found['by']}, "
        "exploratory: nothing is decided on it"
    )
    headings = ("PART", "LABELLED", baseline, challenger, "IMPROVEMENT", "INTERVAL", "REQUESTS")
    rows = [_row(row) for row in (*found["rows"], found["all"])]
    note = f"Computed from {found['computed_from']}. Intervals at alpha {found['row_alpha']:.4g}; {found['note']}"
    lines = [*textwrap.wrap(head, width), ""]
    lines += table_lines(rows, headings, numeric=range(1, len(headings)), width=width, required=_REQUIRED_COLUMNS)
    for version in found["versions"] or ():
        lines += ["", *_classes(version, found["classes"], width)]
    return [*lines, "", *textwrap.wrap(note, width)]


def _row(row: Mapping[str, Any]) -> tuple[str, ...]:
    interval = row["interval"]
    return (
        row["level"],
        f"{row['labelled']:,}",
        number(row["baseline_mean"]),
        number(row["challenger_mean"]),
        signed(row["improvement"]),
        UNKNOWN if interval is None else f"{signed(interval[0])} … {signed(interval[1])}",
        UNKNOWN if row["requests"] is None else f"{row['requests']:,}",
    )


def _classes(version: Mapping[str, Any], classes: list[str], width: int) -> list[str]:
    """Precision, recall and F1 of each class, with the answers to its rows."""
    name = version["version"]
    headings = (f"{name}: TRUE CLASS", "PRECISION", "RECALL", "F1", *(f"AS {each}" for each in classes), "NO ANSWER")
    rows = [
        (
            each,
            *(number(version[score][place]) for score in ("precision", "recall", "f1")),
            *(f"{count:,}" for count in version["confusion"][place]),
            f"{version['missing'][place]:,}",
        )
        for place, each in enumerate(classes)
    ]
    return table_lines(rows, headings, numeric=range(1, len(headings)), width=width, required=4)
