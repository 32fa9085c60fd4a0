"""The records of predictions that pass from the response path to the log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec
import numpy as np

from app.domain.layouts import Layout

# Some runtimes answer in float32: 0.98 is 0.9800000190734863 there. Small ones keep all their digits.
DECIMALS, SMALL = 7, 1e-3
# The reason of a failure whose version was not asked.
CIRCUIT_OPEN = "circuit_open"
LONGEST_KEY = 128
# The name of this service's own calls among the protocols.
OWN_PROTOCOL = "bakeoff"
Assignment = Literal["weighted", "sticky", "forced", "fallback", "bandit"]
# What the log has in the place of an `Assignment` for an exposure that a caller reported: nothing was predicted.
REPORTED = "exposure"


class Outputs(msgspec.Struct, frozen=True):
    """One version's answers to n rows.

    Classification: `class_ids` of shape (n,) and, if the model has them, `probabilities` of shape (n, classes),
    columns by class id. Regression: `values` of shape (n,), float64. Every number is finite.
    """

    class_ids: np.ndarray | None = None
    probabilities: np.ndarray | None = None
    values: np.ndarray | None = None

    def at(self, places: slice | np.ndarray) -> Outputs:
        """The answers to some of the rows."""
        return Outputs(*(None if each is None else each[places] for each in msgspec.structs.astuple(self)))


class Failure(msgspec.Struct, frozen=True):
    """A version that could not answer, with the reason: the type of its error, or `CIRCUIT_OPEN`."""

    version: str
    reason: str


class Exposure(msgspec.Struct, frozen=True):
    """One answered request of n rows, as it waits in the recorder's queue.

    `chosen` is the policy's version, chosen with probability `propensity` (None if not by chance: forced); `version`
    is the one that answered, another one after a fallback. `counts` is false for answers that must not enter the
    experiment (forced, synthetic). `served_at_us` is µs since 1970 (UTC), `latency_s` seconds. `keys` are the caller's
    own keys, one for each row or none at all. `rows` have the columns of `layout`, in its order. `protocol` is the
    label of the call in metrics.
    """

    prediction_ids: Sequence[str]
    served_at_us: int
    request_id: str
    rows: np.ndarray
    layout: Layout
    version: str
    chosen: str
    assignment: Assignment
    propensity: float | None
    epoch: int
    counts: bool
    user_hash: int
    synthetic: bool
    outputs: Outputs
    latency_s: float
    failures: tuple[Failure, ...] = ()
    keys: tuple[str, ...] = ()
    protocol: str = OWN_PROTOCOL

    def __len__(self) -> int:
        return len(self.prediction_ids)

    def parts(self, rows: int) -> Iterator[Exposure]:
        """The same as several of up to `rows` rows each, which share its arrays."""
        for start in range(0, len(self), rows):
            own = slice(start, start + rows)
            yield msgspec.structs.replace(
                self,
                prediction_ids=self.prediction_ids[own],
                rows=self.rows[own],
                outputs=self.outputs.at(own),
                keys=self.keys[own],
            )


class ReportedExposure(msgspec.Struct, frozen=True):
    """A user met a version without asking for a prediction: a row of the log without features and answers.

    `propensity` is the probability with which the user gets `version`, None where that is not the user's version now;
    then it does not count. `served_at_us` is µs since 1970 (UTC).
    """

    prediction_id: str
    served_at_us: int
    request_id: str
    version: str
    propensity: float | None
    epoch: int
    counts: bool
    user_hash: int
    synthetic: bool

    def __len__(self) -> int:
        return 1


def readable(probability: float) -> float:
    """A probability as answers show it: rounded to 7 decimals, except small ones."""
    return round(probability, DECIMALS) if probability > SMALL else probability


def all_readable(probabilities: np.ndarray) -> np.ndarray:
    """The same of many probabilities at once."""
    return np.where(probabilities > SMALL, probabilities.round(DECIMALS), probabilities)


def is_own_key(value: object) -> bool:
    """Whether a value can be a caller's own key: a string of 1 to 128 printable characters."""
    # Surrogates and control characters are not printable: any store can keep what is left.
    return type(value) is str and 0 < len(value) <= LONGEST_KEY and value.isprintable()
