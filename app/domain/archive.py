"""Which part of the log is archived: marks, each with its place in the order of events."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

# The clocks of hosts may differ by less: an outcome may seem to have come before its prediction was served.
_CLOCKS_US = 3_600 * 1_000_000


class ArchiveMark(msgspec.Struct, frozen=True):
    """Rows with seqs up to `predictions`, and outcomes with seqs up to `outcomes`, are in the archive at `place`.

    They are removed from the log some time after the mark was written, which was at `at_us` (µs since 1970).
    `outcomes_seen` is the seq of the last outcome then: later ones do not join an archived prediction. That depends on
    the mark alone, and not on how much is removed by now, so that every reading of the log gives the same events.
    `newest_us` is the time of the newest row in the archive, of serving or of arrival. `log` is the number of this log,
    which its archive has too; None where no archive was written since logs have one.
    """

    number: int
    at_us: int
    place: str
    predictions: int
    outcomes: int
    outcomes_seen: int
    newest_us: int
    log: int | None = None

    def may_have(self, served_at_us: int) -> bool:
        """Whether an outcome of a prediction that was served then (µs since 1970) may be archived."""
        return served_at_us <= self.newest_us + _CLOCKS_US


def joins(marks: Sequence[ArchiveMark], outcome: int, prediction: int) -> bool:
    """Whether the outcome with this seq joins the logged prediction with that seq. `marks` are all marks, in order."""
    return not any(mark.outcomes_seen < outcome and prediction <= mark.predictions for mark in marks)
