"""The log as the monitor reads it: rows, and the events that they make in one total order.

A prediction's place is (its seq, 0, 0, 0, 0). An outcome's place is (the last prediction's seq when it was written, 1,
its seq, 0, 0), a heartbeat's is (the last prediction's seq, 1, the last outcome's seq, its own, 0), and a correction's
(the last prediction's, 1, the last outcome's, the last heartbeat's, its own). Writers exclude each other, so this is
the order of their commits: nothing ever appears before events that have been read, and every reader gets the same
events in the same order, whatever its batches.

An outcome has the value that it has at its place in the reading: that of the last correction that the cursor has
passed. A rebuild begins behind all corrections, so that each outcome has its last value from the start.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

import msgspec

from app.domain.outcome import OutcomeKind
from app.domain.prediction import REPORTED
from app.domain.prediction_id import Marks, read_marks

_VERSIONS = msgspec.json.Decoder(tuple[str, ...])


class PredictionRow(msgspec.Struct, frozen=True, gc=False):
    """A row of `predictions`; `features`, `answers`, `failed` and `lacking` are JSON texts as in `LoggedPrediction`.

    `layout` is the id of a row of `layouts`; None: `features` are those of the contract of `version`, in its order.
    """

    seq: int
    prediction_id: str
    served_at_us: int
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
    layout: int | None = None
    lacking: str | None = None

    @property
    def marks(self) -> Marks | None:
        """What its id says of how the version was chosen; None for an id of another format."""
        return read_marks(self.prediction_id)

    @property
    def is_reported(self) -> bool:
        """Whether it is an exposure that a caller reported: it has neither features nor answers."""
        return self.assignment == REPORTED

    @property
    def failed_versions(self) -> tuple[str, ...]:
        """The versions that were asked and gave no answer."""
        return _VERSIONS.decode(self.failed) if self.failed else ()

    @property
    def lacking_versions(self) -> tuple[str, ...]:
        """The versions that took no part, because the request has not all of their columns."""
        return _VERSIONS.decode(self.lacking) if self.lacking else ()


class OutcomeRow(msgspec.Struct, frozen=True, gc=False):
    """A row of `feedback`: an outcome with the facts in its signed prediction id. `outcome` is a JSON number.

    `predictions_seen` is the seq of the last prediction when the outcome was written. `corrected` is what has replaced
    `outcome` by now, None where nothing has: the last of `corrections`, at `corrected_at_us`.
    """

    seq: int
    prediction_id: str
    kind: OutcomeKind
    outcome: str
    received_at_us: int
    version_ordinal: int
    epoch: int
    counts: bool
    randomised: bool
    answer: float
    user_hash: int
    predictions_seen: int
    corrected: str | None = None
    corrections: int = 0
    corrected_at_us: int = 0

    @property
    def present(self) -> str:
        """The value that counts by now, a JSON number."""
        return self.outcome if self.corrected is None else self.corrected


class CorrectionRow(msgspec.Struct, frozen=True, gc=False):
    """A row of `corrections`: `outcome` took the place of `replaced` (both JSON numbers).

    `*_seen` are the seqs of the last row of each kind when the correction was written.
    """

    seq: int
    prediction_id: str
    kind: OutcomeKind
    replaced: str
    outcome: str
    corrected_at_us: int
    predictions_seen: int
    outcomes_seen: int
    heartbeats_seen: int


class PredictionLogged(msgspec.Struct, frozen=True, gc=False):
    """A prediction was logged."""

    row: PredictionRow


class FeedbackReceived(msgspec.Struct, frozen=True, gc=False):
    """An outcome was logged, with or without its prediction in the log."""

    outcome: OutcomeRow


class OutcomeJoined(msgspec.Struct, frozen=True, gc=False):
    """An outcome and its prediction are both in the log; follows the event of the later of the two."""

    outcome: OutcomeRow
    row: PredictionRow

    @property
    def at_us(self) -> int:
        """The time of the later of the two, µs since 1970."""
        return max(self.outcome.received_at_us, self.row.served_at_us)


class TimePassed(msgspec.Struct, frozen=True, gc=False):
    """A row of `heartbeats`: the monitor says that time has passed, while windows are open and no traffic says it.

    `at_us` is µs since 1970. `predictions_seen` and `outcomes_seen` are the seqs of the last prediction and of the last
    outcome when it was written.
    """

    seq: int
    at_us: int
    predictions_seen: int
    outcomes_seen: int


class OutcomeCorrected(msgspec.Struct, frozen=True, gc=False):
    """An outcome was corrected; `row` is its prediction, None where that is not in the log yet."""

    correction: CorrectionRow
    outcome: OutcomeRow
    row: PredictionRow | None


Event: TypeAlias = PredictionLogged | FeedbackReceived | OutcomeJoined | TimePassed | OutcomeCorrected


class Cursor(msgspec.Struct, frozen=True):
    """How far the log has been processed: the seqs of the last row of each kind."""

    predictions: int = 0
    outcomes: int = 0
    heartbeats: int = 0
    corrections: int = 0


# Above every seq: the databases count up to 2^63 − 1.
EVERY = 2**62


class LogPage(msgspec.Struct, frozen=True):
    """The next rows after a cursor, read in one snapshot of the log, with the rows that they join.

    `early`: outcomes that were written before their predictions, which are on this page. `rows`: by id, the predictions
    on this page, and those of its outcomes and corrections. `cursor`: the end of the page. `corrected`: the outcomes of
    the `corrections`, by prediction id and kind. `unjoined`: the seqs of outcomes that came when their predictions
    were archived, and so join nothing. `erased`: the mark of erasures in that snapshot, None where there are none to be
    told apart.
    """

    predictions: Sequence[PredictionRow]
    outcomes: Sequence[OutcomeRow]
    early: Sequence[OutcomeRow]
    rows: Mapping[str, PredictionRow]
    cursor: Cursor
    heartbeats: tuple[TimePassed, ...] = ()
    corrections: tuple[CorrectionRow, ...] = ()
    corrected: dict[tuple[str, str], OutcomeRow] = {}
    unjoined: frozenset[int] = frozenset()
    erased: int | None = None

    def __len__(self) -> int:
        return len(self.predictions) + len(self.outcomes) + len(self.heartbeats) + len(self.corrections)


Place: TypeAlias = tuple[int, int, int, int, int]


def place_of_prediction(row: PredictionRow) -> Place:
    return row.seq, 0, 0, 0, 0


def place_of_outcome(row: OutcomeRow) -> Place:
    return row.predictions_seen, 1, row.seq, 0, 0


def place_of_heartbeat(row: TimePassed) -> Place:
    return row.predictions_seen, 1, row.outcomes_seen, row.seq, 0


def place_of_correction(row: CorrectionRow) -> Place:
    return row.predictions_seen, 1, row.outcomes_seen, row.heartbeats_seen, row.seq


class Found(NamedTuple):
    """Rows of each kind that were read after one cursor in one snapshot."""

    predictions: Sequence[PredictionRow]
    outcomes: Sequence[OutcomeRow]
    heartbeats: Sequence[TimePassed]
    corrections: Sequence[CorrectionRow] = ()


def consumable(found: Found, limit: int) -> Found:
    """The rows that can be processed, of up to `limit` of each kind.

    A list of `limit` rows may go on after its last one, so rows of the other lists with a later place must wait for the
    next page. At least one list is processed completely, so reading never stops.
    """
    # The first place at which a row that was not read can be. A list that is not full is complete, and limits nothing.
    unread: list[Place] = []
    if len(found.predictions) >= limit:
        unread.append((found.predictions[-1].seq + 1, 0, 0, 0, 0))
    if len(found.outcomes) >= limit:
        unread.append((found.outcomes[-1].predictions_seen, 1, found.outcomes[-1].seq + 1, 0, 0))
    if len(found.heartbeats) >= limit:
        last = found.heartbeats[-1]
        unread.append((last.predictions_seen, 1, last.outcomes_seen, last.seq + 1, 0))
    if len(found.corrections) >= limit:
        unread.append((*place_of_correction(found.corrections[-1])[:4], found.corrections[-1].seq + 1))
    if not unread:
        return found
    end = min(unread)
    return Found(
        found.predictions[: bisect_left(found.predictions, end, key=place_of_prediction)],
        found.outcomes[: bisect_left(found.outcomes, end, key=place_of_outcome)],
        found.heartbeats[: bisect_left(found.heartbeats, end, key=place_of_heartbeat)],
        found.corrections[: bisect_left(found.corrections, end, key=place_of_correction)],
    )
