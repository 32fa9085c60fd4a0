"""The values that a fitted model answers although its reference lacks them: found by asking it, no attribute tells."""

from __future__ import annotations

import re
import warnings
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Literal, TypeAlias

import msgspec
import numpy as np

from app.domain.contract import Feature, FeatureContract
from app.domain.timestamps import is_iso_date
from app.errors import DataRefused
from app.tables.model_columns import source_of
from app.training.column_checks import MOST_CATEGORIES
from app.training.external_model import ExternalModel, ask
from app.training.features import missing_in
from app.training.findings import Finding

_Takes: TypeAlias = Literal["known", "any", "dates", "alike"]
_OPENED: tuple[tuple[_Takes, str, str], ...] = (
    ("any", "the model answers texts that the reference does not have", "any text is accepted"),
    (
        "dates",
        "the model answers dates that the reference does not have",
        "any ISO date or time of their form is accepted",
    ),
    (
        "alike",
        "the model answers texts that the reference does not have, and fails on texts of another form",
        "any text is accepted",
    ),
)
# No data set has them as categories, and no parser takes them for dates or numbers.
_UNSEEN = ("a text that is in no reference", "another text that is in no reference")
_MOST_TRIED = 4
_NUMBER = re.compile(r"[0-9]{1,9}")
# A reference in which nearly every text is another one lists texts, not categories.
_SHARE_OF_TEXTS = 0.5
_LEAST_TEXTS = 10


class Opened(msgspec.Struct, frozen=True):
    """The contract as the model's answers make it, and the findings that say what was opened."""

    contract: FeatureContract
    findings: tuple[Finding, ...] = ()


def opened(model: ExternalModel, contract: FeatureContract, rows: np.ndarray, texts: Collection[str] = ()) -> Opened:
    """The contract with every categorical feature open for which the model answers a text that is new to it.

    `rows`, shape (n, features), are those of the reference, `texts` the features that are known to be read as text.
    The contract stays as it is where the model does not even answer a row of the reference.
    """
    row = complete_row(contract, rows)
    if not _answers(model, contract, row):
        return Opened(contract)
    features, names = list(contract.features), defaultdict(list)
    for column, feature in enumerate(contract.features):
        if feature.kind != "categorical":
            continue
        present = [value for value in rows[:, column].tolist() if value is not None]
        takes = _taken(model, contract, row, column, present)
        features[column] = _settled(feature, takes, present, is_text=feature.name in texts)
        names[takes].append(source_of(feature))
    findings = [
        Finding("unknown categories", "noted", message, f"{outcome} in {', '.join(names[takes])}")
        for takes, message, outcome in _OPENED
        if names[takes]
    ]
    return Opened(msgspec.structs.replace(contract, features=tuple(features)), tuple(findings))


def complete_row(contract: FeatureContract, rows: np.ndarray) -> np.ndarray:
    """The row with the fewest gaps, shape (1, features), of known categories; gaps are filled from other rows."""
    row = rows[np.argsort(missing_in(rows).sum(axis=1), kind="stable")[:1]].copy()
    for column, feature in enumerate(contract.features):
        known = feature.choices or feature.categories
        if missing_in(row[:, [column]]).all() or (known and row[0, column] not in known):
            row[0, column] = next(_usable(rows[:, column], known), row[0, column])
    return row


def _usable(values: np.ndarray, known: Sequence[float | str]) -> Iterator[float | str]:
    """The values of a feature that its model takes: those of the rows first, then all known ones."""
    for value in values.tolist():
        if value is not None and value == value and (not known or value in known):
            yield value
    yield from known


def answers_without(model: ExternalModel, contract: FeatureContract, row: np.ndarray, column: int) -> bool:
    """Whether the model still answers `row`, shape (1, features), if the value in that column is missing."""
    return _answers(
        model, contract, _with(row, column, np.nan if contract.features[column].kind == "numeric" else None)
    )


def _taken(model: ExternalModel, contract: FeatureContract, row: np.ndarray, column: int, present: list[str]) -> _Takes:
    """The texts, beside those of the reference, with which the model answers `row` in that column."""
    known = frozenset((*contract.features[column].categories, *present))

    def answers_any(texts: Iterable[str]) -> bool:
        return any(_answers(model, contract, _with(row, column, text)) for text in texts if text not in known)

    if answers_any(_UNSEEN):
        return "any"
    if not answers_any(_neighbours(present)):
        return "known"
    return "dates" if all(is_iso_date(value, present[0]) for value in present) else "alike"


def _settled(feature: Feature, takes: _Takes, present: list[str], *, is_text: bool) -> Feature:
    """The feature as the model takes it; where its values are no categories but texts or dates, it lists none."""
    if takes == "known":
        return msgspec.structs.replace(feature, open_categories=False)
    listed = not (is_text or takes == "dates" or _are_texts(present))
    categories = tuple(sorted({*feature.categories, *present})) if listed else ()
    example = max(present) if takes == "dates" else None
    return msgspec.structs.replace(feature, categories=categories, open_categories=True, dates_like=example)


def _neighbours(present: list[str]) -> Iterator[str]:
    """Texts of the form of the values: one of the numbers in them is one more or less, so `2026-03-31` gives dates."""
    ordered = sorted(set(present))
    # From both ends, where neighbours are new: the days in between may all be in the reference.
    for value in (*ordered[-1:], *ordered[:1], *ordered[:: max(1, len(ordered) // _MOST_TRIED)][:_MOST_TRIED]):
        for number in reversed(list(_NUMBER.finditer(value))):
            for step in (1, -1):
                changed = str(max(int(number[0]) + step, 0)).zfill(len(number[0]))
                yield f"{value[: number.start()]}{changed}{value[number.end() :]}"


def _are_texts(present: list[str]) -> bool:
    distinct = len(set(present))
    return distinct > MOST_CATEGORIES or (distinct >= _LEAST_TEXTS and distinct > _SHARE_OF_TEXTS * len(present))


def _with(row: np.ndarray, column: int, value: float | str | None) -> np.ndarray:
    changed = row.copy()
    changed[0, column] = value
    return changed


def _answers(model: ExternalModel, contract: FeatureContract, row: np.ndarray) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # encoders warn of what is tried here
        try:
            ask(model, contract, row)
        except DataRefused:
            return False
    return True
