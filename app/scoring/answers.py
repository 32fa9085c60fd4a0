"""The logged answers of all versions to a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import msgspec
import numpy as np

from app.domain.log_columns import Block, block_of, place_in_block
from app.domain.log_event import PredictionRow
from app.domain.log_page import in_blocks
from app.scoring.contract import MISSING, Answer

Answers: TypeAlias = dict[str, Answer]
# In the place of a class id, all of which are above.
NO_ANSWER, NO_CLASS = -1, -2
_ANSWERS = msgspec.json.Decoder(Answers)


def answers_of(row: PredictionRow) -> Answers:
    """The answers of all versions to a logged row, by version; `MISSING` of those that were asked and failed.

    Not to be changed: of a row in a block they are made once, together with those of the other rows.
    """
    block = block_of(row)
    if block is None:
        return _ANSWERS.decode(row.answers) | dict.fromkeys(row.failed_versions, MISSING)
    found: list[Answers] | None = block.made.get("answers")
    if found is None:
        failed = dict.fromkeys(row.failed_versions, MISSING)
        block.made["answers"] = found = _answers_of_block(block, failed)
    return found[place_in_block(row)]


def classes_of(rows: Sequence[PredictionRow], version: str) -> np.ndarray:
    """The class ids of a version's answers, shape (n,).

    `NO_CLASS` for an answer without a class, as that of a version that failed, and `NO_ANSWER` where there is none.
    """
    found = np.full(len(rows), NO_ANSWER, np.int64)
    parts, alone = in_blocks(rows)
    for block, places, at in parts:
        if version in block.answers:
            classes = block.answers[version].classes
            found[places] = NO_CLASS if classes is None else classes[at]
        if version in block.row(0).failed_versions:
            found[places] = NO_CLASS
    for place in alone:
        answer = answers_of(rows[place]).get(version)
        if answer is not None:
            found[place] = NO_CLASS if answer.c is None else answer.c
    return found


def _answers_of_block(block: Block, failed: Answers) -> list[Answers]:
    found: list[Answers] = [{} for _ in block.seqs]
    for version, columns in block.answers.items():
        for own, (c, p, v) in zip(found, columns.values(len(found)), strict=True):
            own[version] = Answer(c, p, v)
    return [own | failed for own in found] if failed else found
