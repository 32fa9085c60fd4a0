"""The logged answers of all versions to a row."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from app.domain.log_columns import Block, block_of, place_in_block
from app.domain.log_event import PredictionRow
from app.scoring.contract import MISSING, Answer, Metric

Answers: TypeAlias = dict[str, Answer]
_ANSWERS = msgspec.json.Decoder(Answers)


def answers_of(row: PredictionRow) -> Answers:
    """The answers of all versions to a logged row, by version; `MISSING` of those that were asked and failed.

    Not to be changed: of a row in a block they are made once, together with those of the other rows.
    """
    return _made(row, "answers")


def answers_for(metric: Metric, row: PredictionRow) -> Answers:
    """The same for a metric: probabilities may be left out if it reads none."""
    block = block_of(row)
    whole = metric.reads_probabilities or block is None or "answers" in block.made
    return _made(row, "answers" if whole else "classes")


def _made(row: PredictionRow, kind: str) -> Answers:
    block = block_of(row)
    if block is None:
        return _ANSWERS.decode(row.answers) | dict.fromkeys(row.failed_versions, MISSING)
    found: list[Answers] | None = block.made.get(kind)
    if found is None:
        failed = dict.fromkeys(row.failed_versions, MISSING)
        block.made[kind] = found = _answers_of_block(block, failed, shares=kind == "answers")
    return found[place_in_block(row)]


def _answers_of_block(block: Block, failed: Answers, *, shares: bool) -> list[Answers]:
    found: list[Answers] = [{} for _ in block.seqs]
    for version, columns in block.answers.items():
        if not shares and columns.classes is not None:
            columns = columns._replace(shares=None)
        for own, (c, p, v) in zip(found, columns.values(len(found)), strict=True):
            own[version] = Answer(c, p, v)
    return [own | failed for own in found] if failed else found
