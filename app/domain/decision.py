"""Decisions, and their entries in the audit log: actor, time, change, reason, and the report at that moment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from app.domain.experiment import Configuration
from app.domain.report import ExperimentReport

DecisionAction = Literal["promote", "rollback", "keep"]
CONFIGURE = "configure"
MONITOR = "monitor"
RAMP, WEIGHTS = "ramp", "weights"
RETIRE, RESTORE = "retire", "restore"
CORRECT = "correct"
ERASE = "erase"


class Change(msgspec.Struct, frozen=True):
    """The value of one setting before and after a decision."""

    before: object
    after: object


class ProbeResult(msgspec.Struct, frozen=True):
    """The health probe of the version that a decision brought back: whether it answers, and the failure if not."""

    answers: bool
    at: str
    detail: str | None = None


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the audit log, for one decision. `seq` numbers the entries.

    An entry never changes, except that `checked` is added after a roll-back, and that outcomes of an erased person are
    taken out. `action` is `promote`, `rollback`, `keep` or `configure`; the monitor also writes `ramp` and `weights`
    (of the policy thompson), and `bakeoff retire` writes `retire` and `restore`; `correct` is a call that replaced
    outcomes, with old and new values as changes, and `erase` that of `bakeoff erase`. `version` is the champion
    afterwards, or the version that is ramped, retired or restored. `experiment_id` is the experiment that was decided,
    `epoch` the config revision that the decision created, or that a ramp waits in. `actor` is a name that the
    caller gave, or `monitor` for automatic decisions; a start or a reload that changed the split is `environment` or
    `shelf`. `evidence` is the report at that moment, None if there was none.
    """

    seq: int
    at: str
    actor: str
    action: str
    version: str | None = None
    note: str | None = None
    experiment_id: str | None = None
    epoch: int | None = None
    changes: Mapping[str, Change] = msgspec.field(default_factory=dict)
    evidence: ExperimentReport | None = None
    checked: ProbeResult | None = None


class PendingDecision(msgspec.Struct, frozen=True, kw_only=True):
    """A decision before it is committed: the next configuration and the audit entry, written in one transaction.

    `experiment_id` is the experiment in force before. With `revision` false the entry is all that is written: its
    change of the ramp, which says why a step waits, belongs to the revision in force.
    """

    configuration: Configuration
    experiment_id: str
    actor: str
    action: str
    version: str | None
    note: str | None
    changes: Mapping[str, Change]
    evidence: ExperimentReport | None
    revision: bool = True


class AuditNote(msgspec.Struct, frozen=True, kw_only=True):
    """An audit entry to write for something that changes no configuration, and belongs to no experiment."""

    actor: str
    action: str
    version: str
    note: str | None


class Decided(msgspec.Struct, frozen=True):
    """A decision's result: the configuration in force, and the audit entry (None: there was nothing to change)."""

    configuration: Configuration
    entry: AuditEntry | None
