"""Decisions as the audit log keeps them: who changed what, when, why, and what was known at that moment."""

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


class Change(msgspec.Struct, frozen=True):
    """One setting before and after."""

    before: object
    after: object


class ProbeResult(msgspec.Struct, frozen=True):
    """Whether the version that a decision brought back was found to answer, and what was wrong if it did not."""

    answers: bool
    at: str
    detail: str | None = None


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One decision. Entries are numbered by `seq` and never changed; `checked` is added after a roll-back.

    `action` is `promote`, `rollback`, `keep` or `configure`; `version` serves afterwards. By the monitor also `ramp`
    (`version` is ramped) and `weights` (of the policy thompson). `experiment_id` is the
    experiment that was decided on, `epoch` the configuration that came of it. `actor` is a name that the caller gave
    (`monitor`: nobody, by AUTO_DECIDE). `evidence` is the report at that moment, null where there was none.
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
    """What is to be written in one transaction: the next configuration, and the entry that explains it.

    `experiment_id` is the experiment in force before.
    """

    configuration: Configuration
    experiment_id: str
    actor: str
    action: str
    version: str | None
    note: str | None
    changes: Mapping[str, Change]
    evidence: ExperimentReport | None


class Decided(msgspec.Struct, frozen=True):
    """What came of it: the configuration in force, and the audit entry (None: nothing was to be changed)."""

    configuration: Configuration
    entry: AuditEntry | None
