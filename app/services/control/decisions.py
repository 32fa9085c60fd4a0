"""What deciding needs from outside, and what may be asked of it.

Carry a decision out: one transaction with its audit entry, then this process follows, and a version that is back is
asked whether it answers.

Decide: promote, roll back, keep, change the configuration; each in one transaction with its audit entry.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

import msgspec
from msgspec.structs import replace

from app.domain.decision import CONFIGURE, MONITOR, AuditEntry, Decided, DecisionAction, PendingDecision, ProbeResult
from app.domain.experiment import Configuration
from app.domain.report import ExperimentReport
from app.domain.timestamps import iso_utc
from app.errors import InvalidRequest, NotReady, StoreUnavailable
from app.services.control.patch import ConfigurationPatch, patched
from app.services.control.startup import AvailableVersions
from app.services.control.transitions import changes_between, kept, promoted, require_served, rolled_back, without

Decide = Callable[[Configuration | None], PendingDecision | None]


class DecisionLog(Protocol):
    """The store's side. Every call raises `StoreUnavailable`."""

    def decide(self, decide: Decide) -> Decided: ...

    def add_check(self, seq: int, checked: ProbeResult) -> None: ...

    def page(self, limit: int, before: int | None) -> list[AuditEntry]: ...

    def of_experiment(self, experiment_id: str) -> list[AuditEntry]: ...


class Decision(msgspec.Struct, frozen=True):
    """What is asked for, by whom and why."""

    action: DecisionAction
    version: str | None
    actor: str
    note: str | None = None


class WeightChange(msgspec.Struct, frozen=True):
    """What the monitor does with the weights at a person's word: `ramp` or `weights`, of which version, and why."""

    action: str
    version: str | None
    reason: str


class Dependencies(msgspec.Struct, frozen=True):
    """What deciding needs from around it.

    `report` gives the present report of an experiment, None where there is none (raises `StoreUnavailable`); `probe`
    what is wrong with a version's answers, None where it answers; `now_us` the clock; `new_id` an experiment's id;
    `follow` is called after each change, so that this process acts on it before the caller is answered.
    """

    report: Callable[[str], ExperimentReport | None]
    probe: Callable[[str], str | None]
    now_us: Callable[[], int]
    new_id: Callable[[], str]
    follow: Callable[[], None] = lambda: None


_LOG = logging.getLogger(__name__)


class DecisionCommit:
    """Makes rulings of decisions, whoever decided, and carries them out. Raises `StoreUnavailable`."""

    def __init__(self, log: DecisionLog, dependencies: Dependencies) -> None:
        self._log = log
        self._dependencies = dependencies

    def of(
        self,
        before: Configuration,
        after: Configuration,
        who: Decision | tuple[str, str, str | None],
        leader: str | None,
    ) -> PendingDecision:
        """What is to be written where `after` is to follow `before`, decided by `who`; `leader` serves afterwards."""
        action, actor, note = (who.action, who.actor, who.note) if isinstance(who, Decision) else who
        after = replace(
            after,
            epoch=0,
            experiment_id=after.experiment_id or self._dependencies.new_id(),
            created_at_us=self._dependencies.now_us(),
            source=action,
        )
        return PendingDecision(
            configuration=after,
            experiment_id=before.experiment_id,
            actor=actor,
            action=action,
            version=leader,
            note=note,
            changes=changes_between(before, after),
            evidence=self._dependencies.report(before.experiment_id),
        )

    def carry_out(self, decide: Decide) -> Decided:
        """What came of it, in force in this process and logged; a version that was brought back has been asked."""
        decided = self._log.decide(decide)
        entry = decided.entry
        if entry is None:
            return decided
        self._dependencies.follow()
        _LOG.warning("decided", extra={"event_fields": _told(entry)})
        if entry.action != "rollback" or entry.version is None:
            return decided
        return replace(decided, entry=self._checked(entry, entry.version))

    def _checked(self, entry: AuditEntry, version: str) -> AuditEntry:
        """The entry with what was found when the version that is back was asked; the decision stands in any case."""
        failure = self._dependencies.probe(version)
        checked = ProbeResult(answers=failure is None, at=iso_utc(self._dependencies.now_us()), detail=failure)
        if failure is not None:
            _LOG.error("restored_version_fails", extra={"event_fields": {"version": version, "reason": failure}})
        try:
            self._log.add_check(entry.seq, checked)
        except StoreUnavailable as error:  # the decision is made; it must not look as if it were not
            _LOG.error("check_not_recorded", extra={"event_fields": {"seq": entry.seq, "reason": error.message}})
        return replace(entry, checked=checked)


def _told(entry: AuditEntry) -> dict[str, object]:
    return {"action": entry.action, "version": entry.version, "actor": entry.actor, "epoch": entry.epoch}


LARGEST_PAGE = 1000


class AuditPage(msgspec.Struct, frozen=True):
    """Entries, newest first. `next` is the `before` of the page that follows, null on the last."""

    entries: tuple[AuditEntry, ...]
    next: int | None


class Decisions:
    """The use cases behind `POST /experiment/decision`, `PATCH /config`, `GET /audit` and the monitor's own decisions.

    Of several that decide at once each sees what the one before did. All raise `StoreUnavailable`; then nothing was
    changed, or, where only the answer was lost, all of it was.
    """

    def __init__(self, log: DecisionLog, dependencies: Dependencies) -> None:
        self._log = log
        self._now_us = dependencies.now_us
        self._commit = DecisionCommit(log, dependencies)

    def decide(self, decision: Decision, registry: AvailableVersions) -> Decided:
        """Carry out a person's decision among the versions on `registry`.

        Raises `UnknownVersion`, `InvalidRequest`, and `Contradiction` where it contradicts what is in force.
        """

        def decide(latest: Configuration | None) -> PendingDecision:
            before = _required(latest)
            after = _decided(before, decision, registry)
            return self._commit.of(before, after, decision, after.champion)

        return self._commit.carry_out(decide)

    def configure(self, patch: ConfigurationPatch, actor: str, registry: AvailableVersions) -> Decided:
        """Change the configuration; without an entry where the patch changes nothing.

        Raises `InvalidRequest`, `UnknownVersion`, and `Contradiction` where another epoch is in force than it says.
        """

        def decide(latest: Configuration | None) -> PendingDecision | None:
            before = _required(latest)
            after = patched(before, patch, registry, self._now_us())
            return None if after is before else self._commit.of(before, after, (CONFIGURE, actor, patch.note), None)

        return self._commit.carry_out(decide)

    def stop(self, experiment_id: str, offender: str, reason: str) -> Decided | None:
        """Take a version that broke a guardrail out of the traffic, once in an experiment; None where that is done.

        Once: where a person gives it traffic again, the person's word is the more recent one. Nothing happens where
        another experiment has begun, or AUTO_DECIDE does not allow it (any more).
        """

        def decide(latest: Configuration | None) -> PendingDecision | None:
            if not _allowed(latest, experiment_id, "rollback") or latest is None:
                return None
            after = without(latest, offender)
            if after is None or self._stopped_before(experiment_id, offender):
                return None
            return self._commit.of(latest, after, ("rollback", MONITOR, reason), _leader(after))

        decided = self._commit.carry_out(decide)
        return decided if decided.entry else None

    def promote(self, experiment_id: str, version: str, reason: str) -> Decided | None:
        """Promote by AUTO_DECIDE; None where it is champion, another experiment has begun, or it is not allowed."""

        def decide(latest: Configuration | None) -> PendingDecision | None:
            if not _allowed(latest, experiment_id, "promote") or latest is None or latest.champion == version:
                return None
            return self._commit.of(latest, promoted(latest, version), ("promote", MONITOR, reason), version)

        decided = self._commit.carry_out(decide)
        return decided if decided.entry else None

    def change_weights(self, seen: Configuration, after: Configuration, what: WeightChange) -> Decided | None:
        """Carry out what a person asked for beforehand (a ramp, the policy thompson), whatever AUTO_DECIDE says.

        None where another configuration is in force than the one that the monitor has `seen`.
        """

        def decide(latest: Configuration | None) -> PendingDecision | None:
            if latest is None or latest.epoch != seen.epoch:
                return None
            return self._commit.of(latest, after, (what.action, MONITOR, what.reason), what.version)

        decided = self._commit.carry_out(decide)
        return decided if decided.entry else None

    def audit(self, limit: int = 100, before: int | None = None) -> AuditPage:
        """Up to `limit` (1 to 1,000) entries, newest first, older than the entry `before`. Raises `InvalidRequest`."""
        if not 1 <= limit <= LARGEST_PAGE:
            raise InvalidRequest(f"limit must be from 1 to {LARGEST_PAGE}", field="limit")
        entries = self._log.page(limit + 1, before)
        following = entries[limit - 1].seq if len(entries) > limit else None
        return AuditPage(tuple(entries[:limit]), following)

    def _stopped_before(self, experiment_id: str, offender: str) -> bool:
        entries = self._log.of_experiment(experiment_id)
        return any(entry.actor == MONITOR and _took_out(entry, offender) for entry in entries)


def _took_out(entry: AuditEntry, version: str) -> bool:
    change = entry.changes.get("weights")
    return change is not None and isinstance(change.after, dict) and not change.after.get(version)


def _decided(latest: Configuration, decision: Decision, registry: AvailableVersions) -> Configuration:
    version = decision.version
    if version is not None:
        require_served(version, registry.versions, registry.eligible)
    if decision.action == "promote":
        if version is None:
            raise InvalidRequest("say which version to promote", field="version")
        return promoted(latest, version)
    after = rolled_back(latest, version) if decision.action == "rollback" else kept(latest, version)
    require_served(str(after.champion), registry.versions, registry.eligible)
    return after


def _required(latest: Configuration | None) -> Configuration:
    if latest is None:
        raise NotReady("there is no experiment yet: no model is on the shelf (bakeoff train)", retry_after_s=5)
    return latest


def _allowed(latest: Configuration | None, experiment_id: str, what: str) -> bool:
    return latest is not None and latest.experiment_id == experiment_id and latest.auto_decide in (what, "both")


def _leader(configuration: Configuration) -> str:
    return max(configuration.weights, key=lambda name: (configuration.weights[name], name == configuration.champion))
