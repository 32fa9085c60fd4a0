"""Where two versions answered one request differently, and whose answer was right."""

from __future__ import annotations

from typing import Any, Literal, get_args

import msgspec

Won = Literal["baseline", "challenger", "neither", "unlabelled", "failed"]
WON: tuple[Won, ...] = get_args(Won)
# For each challenger of an experiment at least the newest so many are kept.
KEPT = 20_000
# How often one row came is counted up to this.
MOST_COUNTED = 100
# Numbers always differ a little: these are so many times as far apart as the ones before them on average.
FAR = 2.0


class Disagreement(msgspec.Struct, frozen=True):
    """A row that the baseline and the challenger answered differently; `row_hash` stands for its features."""

    challenger: str
    prediction_id: str
    won: Won
    row_hash: int


class LabelledDisagreement(msgspec.Struct, frozen=True):
    """The label of a row, which may be a disagreement: `label` is its JSON, `won` what it says of the two answers."""

    challenger: str
    prediction_id: str
    won: Won
    label: str


class Distances(msgspec.Struct):
    """How far apart the numbers of two versions were on average, over `rows` rows."""

    rows: int = 0
    mean: float = 0.0

    @property
    def margin(self) -> float:
        """The least distance of answers that are far apart."""
        return FAR * self.mean

    def add(self, distance: float) -> None:
        """Count one more row."""
        self.rows += 1
        self.mean += (distance - self.mean) / self.rows


class PairSeen(msgspec.Struct):
    """What is remembered of a challenger: the distances of numbers, and the rows since the old ones were removed."""

    distances: Distances = msgspec.field(default_factory=Distances)
    since_trim: int = 0


def who_was_right(baseline: Any, challenger: Any, label: float) -> Won:
    """Which of two different answers was right: the class that is the label, or the number that is nearer to it."""
    if isinstance(baseline, int) and isinstance(challenger, int):
        return "baseline" if baseline == label else "challenger" if challenger == label else "neither"
    one, other = abs(baseline - label), abs(challenger - label)
    return "baseline" if one < other else "challenger" if other < one else "neither"
