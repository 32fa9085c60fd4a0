"""Derived state: the changes of one step, written in one transaction with its cursor, and what others read of it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from app.domain.disagreement import Disagreement, LabelledDisagreement
from app.domain.report import ExperimentReport, MonitorLag, TimelinePoint


class UserFact(msgspec.Struct, frozen=True, kw_only=True):
    """The state of one user in an experiment whose units are users.

    `epoch` and `version` are those of the first exposure: a config revision, or the number of a reduced split.
    `exposed`: that exposure is in the log. `moved`: another version answered the user later. `labelled`, `rewarded`:
    the user has been counted once in this way, and a user counts only once.
    """

    user_hash: int
    epoch: int
    version: str
    exposed: bool = False
    moved: bool = False
    labelled: bool = False
    rewarded: bool = False


class UnitPair(msgspec.Struct, frozen=True, array_like=True):
    """One unit's part in the comparison of a pair: seqs of predictions, None where there is none yet.

    `first`: the first row that both versions were asked. `differs`: the first row on which they differ. `voted`: an
    outcome of the unit has entered the comparison. `vote`: the row whose label that was, None where it was `first` or
    the outcome was no label. `late`: the baseline had its vote of this unit before, in another pair.
    """

    first: int | None = None
    differs: int | None = None
    voted: bool = False
    vote: int | None = None
    late: bool = False

    @property
    def voted_row(self) -> int | None:
        """The row whose label is the vote; None before it."""
        return (self.first if self.vote is None else self.vote) if self.voted else None


class UnitFact(msgspec.Struct, frozen=True, kw_only=True):
    """What an experiment knows of one unit (a user, an own key or a row; a signed 64-bit hash).

    `pairs` are in the order of the challengers, and may end early. `bad` has, as bits, the guardrails to which the unit
    has contributed its one event. `counted`: of an outcome that was corrected, the value that evidence counts.
    """

    unit: int
    pairs: tuple[UnitPair, ...] = ()
    bad: int = 0
    counted: float | None = None


class OpenWindow(msgspec.Struct, frozen=True, kw_only=True):
    """An answer whose reward window is open: it enters the comparisons when the window closes.

    `seq` is that of its prediction, `closes_at_us` the last moment (µs since 1970) at which a reward counts; `version`
    is the one that chance chose in config revision `epoch`, for a unit of this `kind`. `differs`: by challenger, in
    order, whether its answer differs from the baseline's, None where one is not known. `features` is the row's JSON.
    `reward` is None while none has come. `lacking` are the versions that took no part, because a column is missing.
    """

    seq: int
    closes_at_us: int
    epoch: int
    version: str
    kind: str = "request"
    differs: tuple[bool | None, ...] = ()
    features: str = ""
    reward: float | None = None
    lacking: tuple[str, ...] = ()


class PlacedPoint(msgspec.Struct, frozen=True):
    """A point of an experiment's timeline; `at_us` is µs since 1970."""

    experiment_id: str
    at_us: int
    point: TimelinePoint


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """The writes of a projection after some events.

    `cursor_body`: JSON stored with the projection's cursor. `states`: JSON by name, under the projection's own name.
    `users` and `units`: facts by experiment, new or replaced. `windows`: by experiment, those opened or changed;
    `closed`: by experiment, the seqs of those to delete. `disagreements`, what labels say of them, and the challengers
    whose old ones are to be removed: by experiment.
    """

    cursor_body: str = "{}"
    states: Mapping[str, str] = msgspec.field(default_factory=dict)
    points: tuple[PlacedPoint, ...] = ()
    users: Mapping[str, tuple[UserFact, ...]] = msgspec.field(default_factory=dict)
    units: Mapping[str, tuple[UnitFact, ...]] = msgspec.field(default_factory=dict)
    windows: Mapping[str, tuple[OpenWindow, ...]] = msgspec.field(default_factory=dict)
    closed: Mapping[str, tuple[int, ...]] = msgspec.field(default_factory=dict)
    disagreements: Mapping[str, tuple[Disagreement, ...]] = msgspec.field(default_factory=dict)
    labelled_disagreements: Mapping[str, tuple[LabelledDisagreement, ...]] = msgspec.field(default_factory=dict)
    trimmed_disagreements: Mapping[str, tuple[str, ...]] = msgspec.field(default_factory=dict)


class StoredReport(msgspec.Struct, frozen=True):
    """The monitor's last report of an experiment, with its present weights, state and end.

    `age_s`: seconds since the monitor last processed all of the log; None if it never has.
    """

    report: ExperimentReport
    age_s: float | None
    lag: MonitorLag | None = None


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
    since the monitor last processed all of the log; None if it never has. `lag`: what it has not processed.
    """

    feedback: Mapping[str, int] = msgspec.field(default_factory=dict)
    report: ExperimentReport | None = None
    age_s: float | None = None
    lag: MonitorLag = MonitorLag(0, 0.0)


# The projections that the monitor runs, by the names of their cursors; secondary metrics have cursors of their own.
PROJECTIONS = ("experiment", "drift", "disagreements", "breakdown2")
# States of another layout are computed anew from the log: they lack what this release's projection counts.
STATE_LAYOUT = 4


class LogTotals(msgspec.Struct):
    """Counts over the whole log, whatever the experiment: stored with the projection's cursor.

    `names` are the versions by ordinal, as far as predictions of them were logged; `feedback` counts outcomes by
    ordinal. `unattributed_*` count rows of no experiment: served or received while no configuration was known.
    `layout` is that of the states (`STATE_LAYOUT`), 0 where a release without this field has written them. `clock_us`
    is the time of the log: the latest that an event has shown. `waiting` are the experiments with open reward windows.
    """

    predictions: int = 0
    outcomes: int = 0
    # Stored under the names that earlier releases wrote and read.
    unattributed_predictions: int = msgspec.field(default=0, name="homeless_predictions")
    unattributed_outcomes: int = msgspec.field(default=0, name="homeless_outcomes")
    names: dict[int, str] = msgspec.field(default_factory=dict)
    feedback: dict[int, int] = msgspec.field(default_factory=dict)
    layout: int = 0
    clock_us: int = 0
    waiting: list[str] = msgspec.field(default_factory=list)

    def feedback_by_version(self) -> dict[str, int]:
        """Outcomes by the version that answered, without versions whose name is not known yet."""
        return {self.names[ordinal]: count for ordinal, count in self.feedback.items() if ordinal in self.names}
