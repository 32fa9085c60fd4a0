"""Derived state: the changes of one step, written in one transaction with its cursor, and what others read of it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from app.domain.report import ExperimentReport, TimelinePoint


class UserFact(msgspec.Struct, frozen=True, kw_only=True):
    """The state of one user in an experiment whose units are users.

    `epoch` and `version` are those of the first exposure. `exposed`: that exposure is in the log. `moved`: another
    version answered the user later. `labelled`, `rewarded`: the user has been counted once in this way, and a user
    counts only once.
    """

    user_hash: int
    epoch: int
    version: str
    exposed: bool = False
    moved: bool = False
    labelled: bool = False
    rewarded: bool = False


class PlacedPoint(msgspec.Struct, frozen=True):
    """A point of an experiment's timeline; `at_us` is µs since 1970."""

    experiment_id: str
    at_us: int
    point: TimelinePoint


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """The writes of a projection after some events.

    `cursor_body`: JSON stored with the projection's cursor. `states`: JSON by name, under the projection's own name.
    `users`: facts by experiment.
    """

    cursor_body: str = "{}"
    states: Mapping[str, str] = msgspec.field(default_factory=dict)
    points: tuple[PlacedPoint, ...] = ()
    users: Mapping[str, tuple[UserFact, ...]] = msgspec.field(default_factory=dict)


class StoredReport(msgspec.Struct, frozen=True):
    """The monitor's last report of an experiment, with its present weights, state and end.

    `age_s`: seconds since the monitor last processed all of the log; None if it never has.
    """

    report: ExperimentReport
    age_s: float | None


class ExperimentSummary(msgspec.Struct, frozen=True):
    """One experiment of the store. Times are µs since 1970 (UTC); `ended_at_us` is None while it runs."""

    id: str
    ordinal: int
    started_at_us: int
    ended_at_us: int | None
    ended_by: str | None


class MonitorSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The monitor's derived state at one moment, as `GET /metrics` reads it.

    `feedback` counts the accepted outcomes of every kind, forced ones included, by the version that answered and over
    all experiments, so it never falls. `report` is the latest experiment's, None where there is none. `age_s`: seconds
    since the monitor last processed all of the log; None if it never has.
    """

    feedback: Mapping[str, int] = msgspec.field(default_factory=dict)
    report: ExperimentReport | None = None
    age_s: float | None = None


class LogTotals(msgspec.Struct):
    """Counts over the whole log, whatever the experiment: stored with the projection's cursor.

    `names` are the versions by ordinal, as far as predictions of them were logged; `feedback` counts outcomes by
    ordinal. `unattributed_*` count rows of no experiment: served or received while no configuration was known.
    """

    predictions: int = 0
    outcomes: int = 0
    # Stored under the names that earlier releases wrote and read.
    unattributed_predictions: int = msgspec.field(default=0, name="homeless_predictions")
    unattributed_outcomes: int = msgspec.field(default=0, name="homeless_outcomes")
    names: dict[int, str] = msgspec.field(default_factory=dict)
    feedback: dict[int, int] = msgspec.field(default_factory=dict)

    def feedback_by_version(self) -> dict[str, int]:
        """Outcomes by the version that answered, without versions whose name is not known yet."""
        return {self.names[ordinal]: count for ordinal, count in self.feedback.items() if ordinal in self.names}
