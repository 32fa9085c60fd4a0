"""Rows of the log as exports read them, decoded: nothing here depends on how the store keeps them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from app.domain.columns import LoggedLayout
from app.domain.experiment import Configuration
from app.domain.outcome import OutcomeKind
from app.errors import InvalidRequest


class Answer(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One version's answer: class id `c` with probabilities `p` by class id where it has them, or the number `v`."""

    c: int | None = None
    p: list[float] | None = None
    v: float | None = None


class LogRow(msgspec.Struct, frozen=True):
    """A prediction with the last value of its outcomes; what `LoggedPrediction` has too means the same here.

    `features` are values in the order of `layout`, or where that is None, of the contract of `version`. A layout
    without columns is one that the log does not know. `actual` is a class id or a number.
    """

    seq: int
    prediction_id: str
    served_at_us: int
    request_id: str
    epoch: int
    experiment_id: str | None
    version: str
    chosen: str
    assignment: str
    propensity: float | None
    counts: bool
    synthetic: bool
    user_hash: int
    latency_us: int
    own_key: str | None
    actual: int | float | None
    actual_at_us: int | None
    reward: float | None
    reward_at_us: int | None
    features: list[Any]
    answers: Mapping[str, Answer]
    failed: Sequence[str]
    lacking: Sequence[str]
    layout: LoggedLayout | None
    actual_corrected_at_us: int | None = None
    reward_corrected_at_us: int | None = None


class LogOutcome(msgspec.Struct, frozen=True):
    """An outcome as it was received. `predictions_seen` is the seq of the last prediction in the log then.

    Of a correction, `seq` and `predictions_seen` are its own, `value` is the new one, and the last two fields are set:
    the seq of the last outcome in the log then, and when it was corrected.
    """

    seq: int
    predictions_seen: int
    prediction_id: str
    kind: OutcomeKind
    value: int | float
    received_at_us: int
    version_ordinal: int
    epoch: int
    experiment_id: str | None
    counts: bool
    user_hash: int
    outcomes_seen: int = 0
    corrected_at_us: int | None = None


class Position(NamedTuple):
    """A place in the log's order of commits: the seqs of the last prediction, outcome and correction before it."""

    predictions: int = 0
    outcomes: int = 0
    corrections: int = 0

    def __str__(self) -> str:
        # Without corrections as earlier releases write and read it.
        return "-".join(map(str, self if self.corrections else self[:2]))


def position_of(text: str) -> Position:
    """The position that `seq` of a line says. Raises `InvalidRequest`."""
    parts = text.split("-")
    if len(parts) > 3 or not all(part.isascii() and part.isdigit() and len(part) < 19 for part in parts):
        raise InvalidRequest(f"--after {text!r} is not the seq of a line, such as 1200-85: give the last one, or 0")
    return Position(*map(int, parts))


class Selection(msgspec.Struct, frozen=True):
    """The rows to export: of one experiment, served from `since_us` on and before `until_us` (µs since 1970)."""

    experiment: str | None = None
    since_us: int | None = None
    until_us: int | None = None


class RowForm(NamedTuple):
    """What the columns of rows follow: the version that served, and the layout (None: the version's contract)."""

    version: str
    layout: LoggedLayout | None


class RowCount(msgspec.Struct, frozen=True):
    """How many rows of a part of the log have this form and this config revision."""

    form: RowForm
    epoch: int
    rows: int


class LogReads(Protocol):
    """The store's side of exports; each call is one short read. Raises `StoreUnavailable`."""

    def ends(self) -> tuple[int, Position]:
        """The seq of the first prediction, and the position of the log's end."""
        ...

    def counts(self, after: int, until: int, selection: Selection) -> list[RowCount]:
        """The forms of the selected rows with seqs above `after` and up to `until`."""
        ...

    def rows(self, after: int, until: int, end: Position, selection: Selection) -> list[LogRow]:
        """These rows in the order of their commits, with their outcomes as of `end`."""
        ...

    def news(self, after: Position, limit: int) -> tuple[list[LogRow], list[LogOutcome]]:
        """Up to `limit` predictions, outcomes and corrections each that follow, of one snapshot; corrections come last.

        A prediction has those of its outcomes that were written before it.
        """
        ...

    def configurations(self, epochs: Iterable[int]) -> Mapping[int, Configuration]:
        """The configurations of these revisions; unknown ones are left out."""
        ...
