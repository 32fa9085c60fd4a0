"""Decisions about the experiment: promote, roll back, keep, configure, and what the monitor decides on its own.

Each use case is a pure transition of the configuration in force, with who decided and why. `Decisions._commit` writes
the next configuration and its audit entry in one transaction and applies them in this process.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from app.domain.decision import CONFIGURE, MONITOR, AuditEntry, Decided, DecisionAction, PendingDecision, ProbeResult
from app.domain.experiment import Configuration
from app.domain.report import ExperimentReport
from app.domain.timestamps import iso_utc
from app.errors import NotReady, StoreUnavailable
from app.services.control.patch import ConfigurationPatch, patched
from app.services.control.startup import AvailableVersions
from app.services.control.transitions import (
    changes_between,
    decided_by_person,
    leader,
    promoted,
    require_loaded_everywhere,
    without,
)
from app.services.pages import LARGEST_PAGE, require_number

_LOG = logging.getLogger(__name__)
# The next configuration; None, or the same object, where nothing is to be changed.
Transition = Callable[[Configuration], Configuration | None]
Proposal = Callable[[Configuration | None], PendingDecision | None]


class DecisionLog(Protocol):
    """The store's side. Every call raises `StoreUnavailable`."""

    def commit(self, propose: Proposal) -> Decided: ...

    def add_check(self, seq: int, checked: ProbeResult) -> None: ...

    def page(self, limit: int, before: int | None, experiment_id: str | None) -> list[AuditEntry]: ...

    def of_experiment(self, experiment_id: str) -> list[AuditEntry]: ...


class Decision(msgspec.Struct, frozen=True):
    """A person's decision about the experiment: the action, for which version, by whom and why."""

    action: DecisionAction
    version: str | None
    actor: str
    note: str | None = None


class WeightChange(msgspec.Struct, frozen=True):
    """Why the monitor changes the weights: `ramp` or `weights` (the policy thompson), for which version, and the
    reason for the audit log."""

    action: str
    version: str | None
    reason: str


class AuditPage(msgspec.Struct, frozen=True):
    """Entries, newest first. `next` is the `before` of the page that follows, null on the last."""

    entries: tuple[AuditEntry, ...]
    next: int | None


class Dependencies(msgspec.Struct, frozen=True):
    """The effects that deciding needs, as functions.

    `report` returns the current report of an experiment, None if there is none (raises `StoreUnavailable`). `probe`
    returns what is wrong with a version's answers, None if it answers. `now_us` is the clock (µs since 1970, UTC);
    `new_id` makes an experiment's id. `follow` is called after each change, so that this process applies it before
    the caller is answered. `nothing_loaded` returns why no version is loaded, None if one is. `lacking` returns, by
    host, the versions that only other hosts have loaded (raises `StoreUnavailable`).
    """

    report: Callable[[str], ExperimentReport | None]
    probe: Callable[[str], str | None]
    now_us: Callable[[], int]
    new_id: Callable[[], str]
    follow: Callable[[], None] = lambda: None
    nothing_loaded: Callable[[], str | None] = lambda: None
    lacking: Callable[[], Mapping[str, Sequence[str]]] = dict


class _Reason(msgspec.Struct, frozen=True):
    """What the audit entry says beside the changes."""

    action: str
    actor: str
    note: str | None


class Decisions:
    """The use cases behind `POST /experiment/decision`, `PATCH /config`, `GET /audit` and the monitor's own decisions.

    If several decide at once, each sees the configuration that the one before it made. All raise `StoreUnavailable`;
    then either nothing was changed, or everything was and only the answer was lost. All raise `NotReady` while the
    store has no configuration.
    """

    def __init__(self, log: DecisionLog, dependencies: Dependencies) -> None:
        self._log = log
        self._dependencies = dependencies

    def decide(self, decision: Decision, available: AvailableVersions) -> Decided:
        """Apply a person's decision.

        Raises `UnknownVersion`, `InvalidRequest`, and `Contradiction` if it contradicts the configuration in force, or
        promotes a version that a host has not loaded. Going back is never refused for that.
        """
        reason = _Reason(decision.action, decision.actor, decision.note)

        def transition(latest: Configuration) -> Configuration:
            return decided_by_person(latest, decision.action, decision.version, available)

        return self._commit(
            self._everywhere(transition, "version") if decision.action == "promote" else transition,
            reason,
            lambda after: after.champion,
        )

    def configure(self, patch: ConfigurationPatch, actor: str, available: AvailableVersions) -> Decided:
        """Change the configuration; no entry is written if the patch changes nothing.

        Raises `InvalidRequest`, `UnknownVersion`, and `Contradiction` if the patch was made for another revision, or
        gives traffic to a version that a host has not loaded.
        """

        def transition(latest: Configuration) -> Configuration:
            return patched(latest, patch, available, self._dependencies.now_us())

        return self._commit(
            self._everywhere(transition, "ramp" if patch.weights is UNSET else "weights"),
            _Reason(CONFIGURE, actor, patch.note),
            lambda _after: None,
        )

    def stop(self, experiment_id: str, offender: str, reason: str) -> Decided | None:
        """Take all traffic from a version that crossed a guardrail, once per experiment; None if nothing is changed.

        Nothing is changed after the first time (a person who gives the version traffic again overrides the monitor),
        if another experiment has begun, or if AUTO_DECIDE does not allow it.
        """

        def transition(latest: Configuration) -> Configuration | None:
            after = without(latest, offender) if _allowed(latest, experiment_id, "rollback") else None
            return None if after is None or self._stopped_before(experiment_id, offender) else after

        return _if_changed(self._commit(transition, _Reason("rollback", MONITOR, reason), leader))

    def promote(self, experiment_id: str, version: str, reason: str) -> Decided | None:
        """Promote as AUTO_DECIDE allows; None if it does not, or the version is champion or retired, or the experiment
        has ended."""

        def transition(latest: Configuration) -> Configuration | None:
            allowed = _allowed(latest, experiment_id, "promote") and latest.champion != version
            # A version that was retired in shadow has left the split, while the report still has its evidence.
            allowed = allowed and version in latest.weights
            return promoted(latest, version) if allowed else None

        return _if_changed(self._commit(transition, _Reason("promote", MONITOR, reason), lambda _after: version))

    def change_weights(self, seen: Configuration, after: Configuration, change: WeightChange) -> Decided | None:
        """Apply a step that a person asked for in advance (a ramp, the policy thompson), whatever AUTO_DECIDE says.

        None if the configuration in force is no longer the one that the monitor has `seen`.
        """
        return self._advance(seen, after, change, revision=True)

    def hold(self, seen: Configuration, after: Configuration, change: WeightChange) -> Decided | None:
        """Note why a step of the ramp waits: an entry in the audit log, and no revision.

        None if the configuration in force is no longer the one that the monitor has `seen`.
        """
        return self._advance(seen, after, change, revision=False)

    def _advance(
        self, seen: Configuration, after: Configuration, change: WeightChange, *, revision: bool
    ) -> Decided | None:
        return _if_changed(
            self._commit(
                lambda latest: after if latest.epoch == seen.epoch else None,
                _Reason(change.action, MONITOR, change.reason),
                lambda _after: change.version,
                revision=revision,
            )
        )

    def audit(self, limit: int = 100, before: int | None = None, experiment_id: str | None = None) -> AuditPage:
        """Up to `limit` (1 to 1,000) entries, newest first, older than the entry `before`; of one experiment, if given.

        Raises `InvalidRequest`.
        """
        require_number("limit", limit, LARGEST_PAGE)
        # One more than asked for shows whether another page follows.
        entries = self._log.page(limit + 1, before, experiment_id)
        following = entries[limit - 1].seq if len(entries) > limit else None
        return AuditPage(tuple(entries[:limit]), following)

    def _everywhere(self, transition: Callable[[Configuration], Configuration], field: str) -> Transition:
        """The transition, refused where a host has not loaded what gets traffic by it."""
        # Before the transaction: it is asked over another connection, and there may be one alone.
        lacking = self._dependencies.lacking()
        return lambda latest: require_loaded_everywhere(latest, transition(latest), lacking, field)

    def _commit(
        self,
        transition: Transition,
        reason: _Reason,
        version_of: Callable[[Configuration], str | None],
        *,
        revision: bool = True,
    ) -> Decided:
        """Write what `transition` makes of the configuration in force, and its audit entry about `version_of` it."""

        def propose(latest: Configuration | None) -> PendingDecision | None:
            if latest is None:
                raise NotReady(self._dependencies.nothing_loaded() or _NOT_BEGUN, retry_after_s=5)
            # In the store's transaction: of two who decide at once, the second one's rules see the first one's result.
            after = transition(latest)
            if after is None or after is latest:
                return None
            return replace(self._pending(latest, after, reason, version_of(after)), revision=revision)

        decided = self._log.commit(propose)
        entry = decided.entry
        if entry is None:
            return decided
        # Before the answer: whoever has decided must not be served by the configuration from before.
        self._dependencies.follow()
        fields = {"action": entry.action, "version": entry.version, "actor": entry.actor, "epoch": entry.epoch}
        _LOG.warning("decided", extra={"event_fields": fields})
        if entry.action != "rollback" or entry.version is None:
            return decided
        return replace(decided, entry=self._probed(entry, entry.version))

    def _pending(
        self, before: Configuration, after: Configuration, reason: _Reason, version: str | None
    ) -> PendingDecision:
        after = replace(
            after,
            epoch=0,  # the store gives the number, under its write lock
            experiment_id=after.experiment_id or self._dependencies.new_id(),
            created_at_us=self._dependencies.now_us(),
            source=reason.action,
        )
        return PendingDecision(
            configuration=after,
            experiment_id=before.experiment_id,
            actor=reason.actor,
            action=reason.action,
            version=version,
            note=reason.note,
            changes=changes_between(before, after),
            evidence=self._dependencies.report(before.experiment_id),
        )

    def _probed(self, entry: AuditEntry, version: str) -> AuditEntry:
        """The entry with the result of probing the version that was brought back; the decision stands either way."""
        # After the commit: a probe inside would hold the write lock while a model answers (ADR 11).
        failure = self._dependencies.probe(version)
        checked = ProbeResult(answers=failure is None, at=iso_utc(self._dependencies.now_us()), detail=failure)
        if failure is not None:
            _LOG.error("restored_version_fails", extra={"event_fields": {"version": version, "reason": failure}})
        try:
            self._log.add_check(entry.seq, checked)
        except StoreUnavailable as error:  # raising would look as if the decision had not been made
            _LOG.error("check_not_recorded", extra={"event_fields": {"seq": entry.seq, "reason": error.message}})
        return replace(entry, checked=checked)

    def _stopped_before(self, experiment_id: str, offender: str) -> bool:
        entries = self._log.of_experiment(experiment_id)
        return any(entry.actor == MONITOR and _took_all_traffic(entry, offender) for entry in entries)


_NOT_BEGUN = "no experiment has begun yet: the api begins one within a second of loading models; try again then"


def _took_all_traffic(entry: AuditEntry, version: str) -> bool:
    change = entry.changes.get("weights")
    return change is not None and isinstance(change.after, dict) and not change.after.get(version)


def _allowed(latest: Configuration, experiment_id: str, action: str) -> bool:
    return latest.experiment_id == experiment_id and latest.auto_decide in (action, "both")


def _if_changed(decided: Decided) -> Decided | None:
    return decided if decided.entry is not None else None
