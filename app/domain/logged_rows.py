"""Rows for the log: as columns of many, which a store packs as they are, and as single rows with texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import overload

import msgspec
import numpy as np

from app.domain.columns import LoggedLayout
from app.domain.prediction import Exposure, Outputs


class LoggedPrediction(msgspec.Struct, frozen=True):
    """One row of the `predictions` log. `features` and `answers` are JSON texts.

    `features` is an array in the order of `layout`, or where that is None, of the contract of `version`. `lacking` is a
    JSON array of the versions that took no part, because the request lacks a column that they read; None where all
    could. `answers` maps each version that answered (serving and
    shadow) to `{"c": class id, "p": [probabilities]}` or `{"v": number}`. `own_key` is the caller's key for the row.
    `failed` is a JSON array of the versions that were asked and gave no answer; None where all did.
    """

    prediction_id: str
    served_at_us: int
    request_id: str
    epoch: int
    version: str
    chosen: str
    assignment: str
    propensity: float | None
    counts: bool
    synthetic: bool
    user_hash: int
    features: str
    answers: str
    latency_us: int
    own_key: str | None = None
    failed: str | None = None
    layout: LoggedLayout | None = None
    lacking: str | None = None


class AnswersPart(msgspec.Struct, frozen=True):
    """A version's outputs for those rows of a block whose places are `places`, ascending."""

    places: np.ndarray
    outputs: Outputs


class RowBlock(msgspec.Struct, frozen=True):
    """Rows of the log as columns: those of `exposures`, which all have the same layout, in order.

    `features` has a row for each, shape (rows, columns of the layout). `answers` has what each version answered, of the
    compatible versions in their order; a row in none of a version's parts has no answer of it. `failed` has, by place,
    the versions that were asked for a row and gave no answer.
    """

    exposures: Sequence[Exposure]
    features: np.ndarray
    answers: Mapping[str, Sequence[AnswersPart]]
    failed: Mapping[int, Sequence[str]]

    def __len__(self) -> int:
        return len(self.features)

    @property
    def own_keys(self) -> Sequence[str | None]:
        """The caller's key of each row."""
        if not any(exposure.keys for exposure in self.exposures):
            return [None] * len(self)
        return [key for exposure in self.exposures for key in exposure.keys or [None] * len(exposure)]

    def rows(self) -> list[LoggedPrediction]:
        """The rows with their texts. Raises the encoder's errors for a value that JSON cannot express."""
        features, answers = _lines(self.features.tolist()), _lines(self._answers())
        failed: list[str | None] = [None] * len(self)
        for place, versions in self.failed.items():
            failed[place] = _ENCODER.encode(versions).decode()
        starts = accumulate(map(len, self.exposures), initial=0)
        return [
            row
            for start, exposure in zip(starts, self.exposures, strict=False)
            for row in _logged(exposure, slice(start, start + len(exposure)), features, answers, failed)
        ]

    def part(self, start: int, end: int) -> RowBlock:
        """The rows from place `start` up to `end`."""
        exposures, first = [], 0
        for exposure in self.exposures:
            own = slice(max(start - first, 0), max(end - first, 0))
            first += len(exposure)
            if exposure.prediction_ids[own]:
                ids, keys, rows = exposure.prediction_ids[own], exposure.keys[own], exposure.rows[own]
                exposures.append(msgspec.structs.replace(exposure, prediction_ids=ids, keys=keys, rows=rows))
        return RowBlock(
            exposures,
            self.features[start:end],
            {version: [_part(each, start, end) for each in parts] for version, parts in self.answers.items()},
            {place - start: versions for place, versions in self.failed.items() if start <= place < end},
        )

    def _answers(self) -> list[dict[str, object]]:
        """Each row's answers by version: that of the version that served it first."""
        found: list[dict[str, object]] = [
            {exposure.version: None} for exposure in self.exposures for _ in range(len(exposure))
        ]
        for version, parts in self.answers.items():
            for each in parts:
                for place, answer in zip(each.places.tolist(), _as_texts(each.outputs), strict=True):
                    found[place][version] = answer
        return found


class LoggedBatch(Sequence[LoggedPrediction]):
    """Rows for the log as blocks of columns. As a sequence it has the rows themselves, made when they are asked for."""

    def __init__(self, blocks: Sequence[RowBlock]) -> None:
        self.blocks = blocks

    @property
    def prediction_ids(self) -> list[str]:
        """The id of each row."""
        return [each for block in self.blocks for exposure in block.exposures for each in exposure.prediction_ids]

    @property
    def layouts(self) -> set[LoggedLayout | None]:
        """What the log says of the columns of the rows, each once."""
        return {
            block.exposures[0].layout.logged_for(version)
            for block in self.blocks
            for version in {exposure.version for exposure in block.exposures}
        }

    def __len__(self) -> int:
        return sum(map(len, self.blocks))

    def __iter__(self) -> Iterator[LoggedPrediction]:
        return (row for block in self.blocks for row in block.rows())

    @overload
    def __getitem__(self, place: int) -> LoggedPrediction: ...

    @overload
    def __getitem__(self, place: slice) -> LoggedBatch: ...

    def __getitem__(self, place: int | slice) -> LoggedPrediction | LoggedBatch:
        """The row at a place, or the batch of some rows in a row."""
        start, end, _ = (place if isinstance(place, slice) else slice(place, place + 1)).indices(len(self))
        blocks, first = [], 0
        for block in self.blocks:
            own = max(start - first, 0), min(end - first, len(block))
            first += len(block)
            if own == (0, len(block)):
                blocks.append(block)
            elif own[0] < own[1]:
                blocks.append(block.part(*own))
        return LoggedBatch(blocks) if isinstance(place, slice) else next(iter(LoggedBatch(blocks)))


_ENCODER = msgspec.json.Encoder()


def _lines(values: list) -> list[str]:
    """Each value's JSON; one call for all is several times cheaper than one each."""
    # Not splitlines(): it also cuts at characters, such as U+2028, that JSON does not escape.
    return _ENCODER.encode_lines(values).decode().split("\n")[:-1]


def _as_texts(outputs: Outputs) -> list[dict[str, object]]:
    """The outputs row by row, as the log writes an answer."""
    if outputs.values is not None:
        return [{"v": value} for value in outputs.values.tolist()]
    assert outputs.class_ids is not None
    if outputs.probabilities is None:
        return [{"c": class_id} for class_id in outputs.class_ids.tolist()]
    pairs = zip(outputs.class_ids.tolist(), outputs.probabilities.tolist(), strict=True)
    return [{"c": class_id, "p": probabilities} for class_id, probabilities in pairs]


def _part(part: AnswersPart, start: int, end: int) -> AnswersPart:
    first, last = np.searchsorted(part.places, (start, end)).tolist()
    return AnswersPart(part.places[first:last] - start, part.outputs.at(slice(first, last)))


def _logged(
    exposure: Exposure, own: slice, features: list[str], answers: list[str], failed: list[str | None]
) -> Iterator[LoggedPrediction]:
    keys: Sequence[str | None] = exposure.keys or [None] * len(exposure)
    layout = exposure.layout.logged_for(exposure.version)
    latency_us = round(exposure.latency_s * 1e6)
    for prediction_id, row, answer, own_key, failed_versions in zip(
        exposure.prediction_ids, features[own], answers[own], keys, failed[own], strict=True
    ):
        yield LoggedPrediction(
            prediction_id,
            exposure.served_at_us,
            exposure.request_id,
            exposure.epoch,
            exposure.version,
            exposure.chosen,
            exposure.assignment,
            exposure.propensity,
            exposure.counts,
            exposure.synthetic,
            exposure.user_hash,
            row,
            answer,
            latency_us,
            own_key,
            failed_versions,
            layout,
            exposure.layout.lacking_text,
        )
