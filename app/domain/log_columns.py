"""Rows of the log as columns: those of one form together, with objects and texts made only where they are asked for.

A `RowOfBlock` has the fields and properties of a `PredictionRow`, and takes its place in events. Whoever works on many
rows takes the columns of their blocks (`in_blocks` in `log_page.py`) instead.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, cast

import msgspec
import numpy as np

from app.domain.log_event import PredictionRow
from app.domain.prediction import REPORTED
from app.domain.prediction_id import marks_of_raw, texts_of_ids

_ENCODER = msgspec.json.Encoder()
_ENCODE = _ENCODER.encode
_VERSIONS = msgspec.json.Decoder(tuple[str, ...])
_SELDOM = 1_000_000  # objects that were made and are still there
# The fields of a `PredictionRow` that a block has as lists, with their names there.
_COLUMNS = {
    "seq": "seqs",
    "prediction_id": "ids",
    "served_at_us": "at_us_list",
    "user_hash": "user_list",
    "latency_us": "latencies",
    "own_key": "own_keys",
}


class AnswerColumns(NamedTuple):
    """A version's answers to the rows of a block: class ids, shape (n,), with shares, shape (n, classes), or numbers.

    What the answers do not have is None.
    """

    classes: np.ndarray | None = None
    shares: np.ndarray | None = None
    numbers: np.ndarray | None = None

    def values(self, rows: int) -> Iterator[tuple[int | None, tuple[float, ...] | None, float | None]]:
        """Class id, shares and number of each of the rows."""
        nothing = [None] * rows
        shares = nothing if self.shares is None else map(tuple, self.shares.tolist())
        return zip(
            nothing if self.classes is None else self.classes.tolist(),
            shares,
            nothing if self.numbers is None else self.numbers.tolist(),
            strict=True,
        )


class Block:
    """Rows that share a form. `shared` has those fields of a `PredictionRow` that are the same for all.

    `numbers`, shape (n, numeric columns), float64: the features; `texts` has for each place of a text, in ascending
    order, the values of the rows (text or null). `raw_ids`, shape (n, 48), are the bytes of the prediction ids.
    """

    def __init__(
        self,
        shared: Shared,
        *,
        seqs: list[int],
        raw_ids: np.ndarray,
        at_us: np.ndarray,
        users: np.ndarray,
        latencies: list[int],
        own_keys: list[str | None],
        numbers: np.ndarray,
        texts: tuple[tuple[int, list[Any]], ...],
        answers: dict[str, AnswerColumns],
    ) -> None:
        self.shared = shared
        self.seqs, self.raw_ids = seqs, raw_ids
        self.at_us, self.users = at_us, users
        self.at_us_list: list[int] = at_us.tolist()
        self.user_list: list[int] = users.tolist()
        self.latencies, self.own_keys = latencies, own_keys
        self.numbers, self.texts, self.answers = numbers, texts, answers
        # What readers have made of the whole block, by a name of theirs.
        self.made: dict[str, Any] = {}
        self._features: dict[int, str] = {}

    @property
    def width(self) -> int:
        """The number of features."""
        return int(self.numbers.shape[1]) + len(self.texts)

    @functools.cached_property
    def seq_array(self) -> np.ndarray:
        """The seqs as an array."""
        return np.array(self.seqs, np.int64)

    @functools.cached_property
    def rows(self) -> list[RowOfBlock]:
        """The rows, in order."""
        return [RowOfBlock(self, at, seq) for at, seq in enumerate(self.seqs)]

    def row(self, at: int) -> RowOfBlock:
        """A row: to make all of them for one takes long."""
        made: list[RowOfBlock] | None = self.__dict__.get("rows")
        return RowOfBlock(self, at, self.seqs[at]) if made is None else made[at]

    def column(self, name: str) -> Sequence[Any]:
        """A field of a `PredictionRow` of each row."""
        own = _COLUMNS.get(name)
        return [getattr(row, name) for row in self.rows] if own is None else cast("Sequence[Any]", getattr(self, own))

    @functools.cached_property
    def ids(self) -> list[str]:
        """The prediction ids."""
        return texts_of_ids(self.raw_ids.tobytes())

    @functools.cached_property
    def cells(self) -> list[list[Any]]:
        """The features of each row."""
        return [self._cells(at, numbers) for at, numbers in enumerate(self.numbers.tolist())]

    def _cells(self, at: int, numbers: list[Any]) -> list[Any]:
        cells = [None if math.isnan(each) else each for each in numbers] if math.isnan(sum(numbers)) else numbers
        for place, values in self.texts:
            # In ascending order, so that each finds its place.
            cells.insert(place, values[at])
        return cells

    def features(self, at: int) -> str:
        """The features of a row as JSON, as they were logged."""
        found = self._features.get(at)
        if found is None:
            # Of this row alone: few are asked for, and those of all may be many.
            self._features[at] = found = _ENCODE(self._cells(at, self.numbers[at].tolist())).decode()
        return found

    def features_of(self, at: np.ndarray) -> list[bytes]:
        """The features of some rows as JSON, as they were logged."""
        numbers = self.numbers[at]
        cells: list[list[Any]] = numbers.tolist()
        if self.texts or np.isnan(numbers).any():
            cells = [self._cells(*each) for each in zip(at.tolist(), cells, strict=True)]
        return _ENCODER.encode_lines(cells).split(b"\n")[:-1]

    @functools.cached_property
    def answer_texts(self) -> list[str]:
        """The answers of each row as JSON, as they were logged."""
        found: list[dict[str, Any]] = [{} for _ in self.seqs]
        for version, columns in self.answers.items():
            named = {"c": columns.classes, "p": columns.shares, "v": columns.numbers}
            kept = {name: column.tolist() for name, column in named.items() if column is not None}
            for own, values in zip(found, zip(*kept.values(), strict=True), strict=True):
                own[version] = dict(zip(kept, values, strict=True))
        return [_ENCODE(each).decode() for each in found]


class Shared(NamedTuple):
    """The fields of a `PredictionRow` that the rows of a block share."""

    epoch: int
    version: str
    chosen: str
    assignment: str
    propensity: float | None
    counts: bool
    synthetic: bool
    failed: str | None
    layout: int | None
    lacking: str | None


class RowOfBlock:
    """A row of a block; its fields are those of a `PredictionRow`."""

    __slots__ = ("at", "block", "seq")

    def __init__(self, block: Block, at: int, seq: int) -> None:
        self.block, self.at, self.seq = block, at, seq

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RowOfBlock | PredictionRow):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in PredictionRow.__struct_fields__)

    def __hash__(self) -> int:
        return hash((self.seq, self.prediction_id))

    def __repr__(self) -> str:
        return f"RowOfBlock(seq={self.seq}, prediction_id={self.prediction_id!r})"

    prediction_id = property(lambda self: self.block.ids[self.at])
    served_at_us = property(lambda self: self.block.at_us_list[self.at])
    epoch = property(lambda self: self.block.shared.epoch)
    version = property(lambda self: self.block.shared.version)
    chosen = property(lambda self: self.block.shared.chosen)
    assignment = property(lambda self: self.block.shared.assignment)
    propensity = property(lambda self: self.block.shared.propensity)
    counts = property(lambda self: self.block.shared.counts)
    synthetic = property(lambda self: self.block.shared.synthetic)
    user_hash = property(lambda self: self.block.user_list[self.at])
    features = property(lambda self: self.block.features(self.at))
    answers = property(lambda self: self.block.answer_texts[self.at])
    latency_us = property(lambda self: self.block.latencies[self.at])
    own_key = property(lambda self: self.block.own_keys[self.at])
    failed = property(lambda self: self.block.shared.failed)
    layout = property(lambda self: self.block.shared.layout)
    lacking = property(lambda self: self.block.shared.lacking)
    marks = property(lambda self: marks_of_raw(self.block.raw_ids[self.at].tobytes()))
    is_reported = property(lambda self: self.block.shared.assignment == REPORTED)

    @property
    def failed_versions(self) -> tuple[str, ...]:
        """The versions that were asked and gave no answer."""
        failed = self.block.shared.failed
        return _VERSIONS.decode(failed) if failed else ()

    @property
    def lacking_versions(self) -> tuple[str, ...]:
        """The versions that took no part, because the request has not all of their columns."""
        lacking = self.block.shared.lacking
        return _VERSIONS.decode(lacking) if lacking else ()


def block_of(row: PredictionRow) -> Block | None:
    """The block of a row, None where it is in none."""
    found: Block | None = getattr(row, "block", None)
    return found


def place_in_block(row: PredictionRow) -> int:
    """The place of a row in its block."""
    return cast("RowOfBlock", row).at


@contextlib.contextmanager
def few_collections() -> Iterator[None]:
    """Within the block cycles of objects are looked for seldom: decoded rows are many, and have none."""
    before = gc.get_threshold()
    gc.set_threshold(_SELDOM, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
