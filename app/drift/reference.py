"""The drift reference: the summary of the training rows with which live traffic is compared."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias

import msgspec
import numpy as np

from app.domain.classes import permutation
from app.domain.contract import FeatureContract
from app.domain.prediction import Outputs
from app.drift.cells import Cells, categorical_cells, numeric_cells, text_cells
from app.drift.family import Family
from app.drift.joint import DISTANCE, GIVEN_THE_OTHERS, MIN_ROWS, Joint, JointTransform, fit_joint
from app.drift.keys import FIRST_KEY, MISSING_KEY, row_keys
from app.drift.levels import LEAST_ROWS, LevelChoice, choose_levels
from app.drift.output_keys import PREDICTED_CLASS, output_columns
from app.drift.streams import Levels, Stream, categorical_stream, numeric_stream
from app.errors import DataRefused

REFERENCE_FORMAT = 1
# Rows that somebody drew with `default_rng(seed)` would otherwise be the very numbers that break their ties. What was
# drawn is in the reference, and never drawn again: those made before keep their bins.
_OWN_DRAWS = int.from_bytes(b"drift reference")
# The rows are several copies of one table where nearly all of them occur equally often. Of fewer different rows than
# these it cannot be told.
_EQUALLY_OFTEN = 0.95
_LEAST_DIFFERENT = 20
AnswersFrom: TypeAlias = Literal["holdout", "cross_fitted", "none"]


class LabelledErrors(msgspec.Struct, frozen=True):
    """The number of wrong answers among those to `rows` held-out rows."""

    errors: int
    rows: int


class ReferenceAnswers(msgspec.Struct, frozen=True):
    """The model's answers with which live ones are compared; `errors` of them were wrong (None: a regression).

    `outputs` is None where there are none, for the reason in `missing`. Of clones' answers, `digits` are those to which
    clones agree (`common_digits`).
    """

    source: AnswersFrom
    outputs: Outputs | None = None
    errors: int | None = None
    missing: str = ""
    digits: int | None = None

    @property
    def rows(self) -> int:
        """The number of answers."""
        parts = () if self.outputs is None else (self.outputs.class_ids, self.outputs.values)
        return next((len(part) for part in parts if part is not None), 0)


class DriftReference(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """Everything that drift detection needs of the data a version was made from; O(bins) in size.

    `rows` counts the reference rows, without `copies` of them that were left out. `joint` is None if no joint stream
    could be fitted, `outputs` and `errors` if there were no held-out answers. `classes` are the names of the classes by
    class id. `answers_from` says whether `outputs` and `errors` are of rows that the model was not fitted on, of
    clones, or left out, with the reason in `answers_missing`; it is None in a reference of an earlier release. Answers
    are rounded to `answer_digits`, as `output_columns` says.
    """

    format: int = REFERENCE_FORMAT
    rows: int
    inputs: Family
    joint: Joint | None = None
    outputs: Family | None = None
    errors: LabelledErrors | None = None
    classes: tuple[str, ...] = ()
    answers_from: AnswersFrom | None = None
    answers_missing: str = ""
    answer_digits: int | None = None
    copies: int = 0

    @functools.cached_property
    def transform(self) -> JointTransform | None:
        """The function of the joint streams, None without them."""
        return None if self.joint is None else JointTransform(self.joint)

    def renamed(self, names: tuple[str, ...]) -> DriftReference:
        """The reference with its classes under `names`, in that order; itself if these are not the same classes."""
        places = None if names == self.classes else permutation(self.classes, names)
        if places is None:
            return self
        given = {own: names[place] for own, place in zip(self.classes, places, strict=True)}
        outputs = self.outputs
        if outputs is not None:
            cells = tuple(_renamed(each, given) if each.name == PREDICTED_CLASS else each for each in outputs.cells)
            outputs = msgspec.structs.replace(outputs, cells=cells)
        return msgspec.structs.replace(self, classes=names, outputs=outputs)

    def to_json(self) -> bytes:
        """The reference as JSON, without loss: `from_json` gives an equal one."""
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, document: bytes) -> DriftReference:
        """The reference in `document`. Raises `DataRefused` if it is not one that this release reads."""
        try:
            reference = msgspec.json.decode(document, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise DataRefused(f"this is not a drift reference: {error}") from error
        if reference.format != REFERENCE_FORMAT:
            raise DataRefused(f"drift reference of format {reference.format}; this release reads {REFERENCE_FORMAT}")
        return reference


def build_reference(
    contract: FeatureContract,
    rows: np.ndarray,
    *,
    seed: int,
    answers: ReferenceAnswers | None = None,
) -> DriftReference:
    """The reference of `rows` (as `RowParser` gives them); the same arguments give the same reference.

    Of several copies of one table only one counts, with the `answers` to it if there are as many as rows.
    Raises `DataRefused` if there are no rows, or rows of another width than the contract's.
    """
    if rows.ndim != 2 or not len(rows) or rows.shape[1] != len(contract.features):
        raise DataRefused(f"a drift reference needs rows of {len(contract.features)} features, got {rows.shape}")
    given = len(rows)
    kept = one_copy(rows)
    rows, answers = rows[kept], _answers_to(kept, given, answers)
    chance = np.random.default_rng([seed, _OWN_DRAWS])
    streams, cells = _features(contract, rows, chance)
    joint, joint_streams = _joint(contract, row_keys(rows, [cell.ranks for cell in cells]), chance)
    return DriftReference(
        rows=len(rows),
        inputs=Family(seed=seed, streams=(*streams, *joint_streams), cells=tuple(cells)),
        joint=joint,
        outputs=None if answers.outputs is None else _output_family(contract, answers, chance, seed + 1),
        errors=None if answers.errors is None or not answers.rows else LabelledErrors(answers.errors, answers.rows),
        classes=contract.classes,
        answers_from=answers.source,
        answers_missing=answers.missing,
        answer_digits=answers.digits,
        copies=given - len(rows),
    )


def one_copy(rows: np.ndarray) -> np.ndarray:
    """The positions of the rows of one copy, if the rows are several copies of one table; else of all.

    Evidence takes each row for a draw of its own: 100 rows five times over would promise what 500 do. Rows that merely
    occur more often than others are as frequent in the traffic, and stay.
    """
    first: dict[tuple[object, ...], int] = {}
    times: Counter[int] = Counter()
    for position, row in enumerate(rows.tolist()):
        times[first.setdefault(tuple(None if value != value else value for value in row), position)] += 1
    most_often, rows_so_often = Counter(times.values()).most_common(1)[0]
    if most_often == 1 or rows_so_often < _EQUALLY_OFTEN * len(first) or len(first) < _LEAST_DIFFERENT:
        return np.arange(len(rows))
    return np.array(list(first.values()))


def _answers_to(kept: np.ndarray, rows: int, answers: ReferenceAnswers | None) -> ReferenceAnswers:
    """The answers to the rows that are kept, if they are answers to all `rows` of the reference."""
    if answers is None:
        return ReferenceAnswers("none", missing="the reference has no answers of the model")
    if answers.outputs is None or answers.rows != rows or len(kept) == rows:
        return answers
    # Copies are right or wrong together, and there are as many of each.
    errors = None if answers.errors is None else round(answers.errors * len(kept) / rows)
    parts = msgspec.structs.asdict(answers.outputs)
    outputs = Outputs(**{name: part if part is None else part[kept] for name, part in parts.items()})
    return msgspec.structs.replace(answers, outputs=outputs, errors=errors)


def _numeric(contract: FeatureContract) -> list[int]:
    return [column for column, feature in enumerate(contract.features) if feature.kind == "numeric"]


def _renamed(cells: Cells, given: Mapping[str, str]) -> Cells:
    """The cells of the predicted class under the names in `given`."""

    def named(bins: Iterable[float | str]) -> tuple[str, ...]:
        return tuple(given.get(str(name), str(name)) for name in bins)

    return msgspec.structs.replace(
        cells, bins=named(cells.bins), others=named(cells.others), latest=named(cells.latest)
    )


def _features(
    contract: FeatureContract, rows: np.ndarray, chance: np.random.Generator
) -> tuple[list[Stream], list[Cells]]:
    streams, cells = [], []
    for column, feature in enumerate(contract.features):
        if feature.is_text:
            cell, stream = _text(feature.name, rows[:, column].tolist(), chance)
        elif feature.kind == "categorical":
            cell, stream = _categorical(feature.name, rows[:, column].tolist(), feature.categories, chance)
        else:
            keys = row_keys(rows[:, column : column + 1], [None])[:, 0]
            stream = numeric_stream(feature.name, keys, chance)
            cell = numeric_cells(feature.name, stream, keys)
        streams.append(stream)
        cells.append(cell)
    return streams, cells


def _categorical(
    name: str, values: list[object], declared: tuple[str, ...], chance: np.random.Generator
) -> tuple[Cells, Stream]:
    choice = choose_levels(values, chance)
    cells, keys = categorical_cells(name, values, declared, choice)
    return cells, categorical_stream(name, keys[choice.weighed], _levels(choice, cells), chance)


def _text(name: str, values: list[object], chance: np.random.Generator) -> tuple[Cells, Stream]:
    """Cells and stream that tell missing texts from others, and no text from another."""
    cells, keys = text_cells(name, values)
    missing = int((keys == MISSING_KEY).sum())
    own = (None,) if missing >= LEAST_ROWS else ()
    choice = LevelChoice(own, (), np.arange(len(values)))
    return cells, categorical_stream(name, keys, _levels(choice, cells), chance)


def _levels(choice: LevelChoice, cells: Cells) -> Levels:
    """The bins of `choice` by the ranks of the cells."""
    ranks = cells.ranks or {}
    own = sum(level is not None for level in choice.own)
    rarest = max((float(ranks[level]) for level in choice.rare if level is not None), default=own - 0.5)
    if None in choice.own:
        return Levels(own, rarest, FIRST_KEY)
    return Levels(own, rarest, rarest if None in choice.rare else None)


def _joint(
    contract: FeatureContract, keys: np.ndarray, chance: np.random.Generator
) -> tuple[Joint | None, tuple[Stream, ...]]:
    """The transform fitted on one half of the rows, and its streams ranked against the other half."""
    # Fitted and ranked rows must differ: a row lies closer to a centre that was fitted on it, so its rank would not be
    # exchangeable with that of a live row.
    order = chance.permutation(len(keys))
    half = len(keys) // 2
    fitted, ranked = keys[order[:half]], keys[order[half:]]
    joint = fit_joint(fitted, _numeric(contract)) if len(keys) >= MIN_ROWS else None
    if joint is None:
        return None, ()
    names = [DISTANCE, *(f"{contract.features[column].name}{GIVEN_THE_OTHERS}" for column in joint.columns)]
    values = JointTransform(joint).values(ranked)
    return joint, tuple(numeric_stream(name, values[:, index], chance) for index, name in enumerate(names))


def _output_family(
    contract: FeatureContract, answers: ReferenceAnswers, chance: np.random.Generator, seed: int
) -> Family | None:
    streams, cells = [], []
    assert answers.outputs is not None
    for column in output_columns(contract.classes, answers.outputs, answers.digits):
        values = column.each(column.values)
        if not len(values):
            return None
        if column.kind == "categorical":
            cell, stream = _categorical(column.name, values.tolist(), contract.classes, chance)
            streams.append(stream)
        else:
            keys = row_keys(values[:, None], [None])[:, 0]
            streams.append(numeric_stream(column.name, keys, chance))
            cell = numeric_cells(column.name, streams[-1], keys)
        cells.append(cell)
    return Family(seed=seed, streams=tuple(streams), cells=tuple(cells))
