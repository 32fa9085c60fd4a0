"""The stored records of drift, which the monitor writes and the api reads: reports, timelines, acknowledgements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import msgspec

from app.domain.decision import Change
from app.domain.timestamps import iso_utc
from app.drift.report_types import DriftReport

# The projection's name in the store; each version's state is below it, and its report below that.
NAME = "drift"
ACKNOWLEDGE = "acknowledge_drift"

# Where something stands in the one total order of the log: see `app.domain.log_event`.
Place: TypeAlias = tuple[int, int, int]


class Acknowledgement(msgspec.Struct, frozen=True):
    """A person acknowledged a version's alarm. In the log's order it comes after everything that was written before.

    `seq` is the number of its audit entry. `at_us` is µs since 1970 (UTC).
    """

    seq: int
    version: str
    predictions_seen: int
    outcomes_seen: int
    at_us: int

    @property
    def place(self) -> Place:
        """Its place in the order of the log: drift up to here is acknowledged, later drift is not."""
        return self.predictions_seen, 1, self.outcomes_seen


class WatchedReport(msgspec.Struct, frozen=True):
    """A report as the monitor wrote it; it includes all acknowledgements up to `acknowledged_seq`."""

    acknowledged_seq: int
    report: DriftReport


class DriftTimelinePoint(msgspec.Struct, frozen=True, array_like=True):
    """The drift after the first `requests` requests, the last of which was served at `at_us` (µs since 1970)."""

    requests: int
    at_us: int
    score: float
    evidence: float
    alarm: bool


class DriftTimelineState(msgspec.Struct, frozen=True):
    """A version's timeline by number of requests, against the reference in the file with that checksum."""

    reference_sha256: str
    points: tuple[DriftTimelinePoint, ...] = ()


class PendingAcknowledgement(msgspec.Struct, frozen=True, kw_only=True):
    """The audit entry of an acknowledgement that is to be written; `at_us` is µs since 1970 (UTC)."""

    at_us: int
    actor: str
    note: str | None
    experiment_id: str
    epoch: int
    changes: Mapping[str, Change]


def report_key(version: str) -> str:
    """The name of a version's report below the projection's own."""
    return f"{version}/report"


def timeline_key(version: str) -> str:
    """The name of a version's timeline below the projection's own."""
    # "course" is the name in stores that earlier releases wrote.
    return f"{version}/course"


def standing(watched: WatchedReport, later: Sequence[Acknowledgement]) -> DriftReport:
    """The report after the `later` acknowledgements, in order, which the monitor has not processed yet.

    They were written after everything in the report, so they silence the alarm that is in it: the monitor comes to the
    same result through `acknowledge_all`.
    """
    report = watched.report
    if not later or not report.alarm:
        return report
    acknowledged = iso_utc(later[0].at_us)
    return msgspec.structs.replace(report, alarm=False, acknowledged=acknowledged, alarm_streams=(), assumption=None)
