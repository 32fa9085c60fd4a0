"""Drift as the monitor writes it and others read it: a version's report, and the acknowledgements of its alarm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import msgspec

from app.domain.decision import Change
from app.domain.timestamps import iso_utc
from app.drift.report_types import DriftReport

# The folder's name in the store; each version's state is below it, and its report below that.
NAME = "drift"
REFERENCE_FILE = "reference.json"
ACKNOWLEDGE = "acknowledge_drift"

# Where something stands in the one total order of the log: see `app.domain.log_event`.
Place: TypeAlias = tuple[int, int, int]


class Acknowledgement(msgspec.Struct, frozen=True):
    """Somebody looks after a version's alarm. It stands after everything that was in the log when it was written.

    `seq` is the number of its audit entry. `at_us` is µs since 1970 (UTC).
    """

    seq: int
    version: str
    predictions_seen: int
    outcomes_seen: int
    at_us: int

    @property
    def place(self) -> Place:
        """What stands here or before it has been acknowledged; what comes later has not."""
        return self.predictions_seen, 1, self.outcomes_seen


class WatchedReport(msgspec.Struct, frozen=True):
    """A report as the monitor wrote it, with all acknowledgements up to `acknowledged_seq` in it."""

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
    """The course of a version's drift against the reference in a file with that checksum, by requests."""

    reference_sha256: str
    points: tuple[DriftTimelinePoint, ...] = ()


class PendingAcknowledgement(msgspec.Struct, frozen=True, kw_only=True):
    """What the audit log is to say of an acknowledgement; `at_us` is µs since 1970 (UTC)."""

    at_us: int
    actor: str
    note: str | None
    experiment_id: str
    epoch: int
    changes: Mapping[str, Change]


def report_key(version: str) -> str:
    """The name of a version's report below the folder's own."""
    return f"{version}/report"


def timeline_key(version: str) -> str:
    """The name of a version's course below the folder's own."""
    return f"{version}/course"


def standing(watched: WatchedReport, later: Sequence[Acknowledgement]) -> DriftReport:
    """The report with the acknowledgements that the monitor has `later` to take in, in order.

    The alarm that they silence is the one in the report, because they were written after all that is in it; so this
    is what `acknowledge_all` would make of it.
    """
    report = watched.report
    if not later or not report.alarm:
        return report
    return msgspec.structs.replace(report, alarm=False, acknowledged=iso_utc(later[0].at_us))
