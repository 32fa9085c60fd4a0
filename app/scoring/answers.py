"""The logged answers of all versions to a row."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from app.domain.log_columns import Block, block_of, place_in_block
from app.domain.log_event import PredictionRow
from app.scoring.contract import MISSING, Answer

Answers: TypeAlias = dict[str, Answer]
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


def _answers_of_block(block: Block, failed: Answers) -> list[Answers]:
    found: list[Answers] = [{} for _ in block.seqs]
    for version, columns in block.answers.items():
        for own, (c, p, v) in zip(found, columns.values(len(found)), strict=True):
            own[version] = Answer(c, p, v)
    return [own | failed for own in found] if failed else found
