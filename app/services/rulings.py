"""Carry a decision out: one transaction with its audit entry, then this process follows, and a version that is back is
asked whether it answers."""

from __future__ import annotations

import logging

from msgspec.structs import replace

from app.domain.decision import AuditEntry, Checked, Decided, Ruling
from app.domain.experiment import Configuration
from app.domain.timestamps import iso_utc
from app.errors import StoreUnavailable
from app.services.deciding import Decision, DecisionLog, Judge, World
from app.services.decision_rules import changes_between

_LOG = logging.getLogger(__name__)


class Rulings:
    """Makes rulings of decisions, whoever decided, and carries them out. Raises `StoreUnavailable`."""

    def __init__(self, log: DecisionLog, world: World) -> None:
        self._log = log
        self._world = world

    def of(
        self,
        before: Configuration,
        after: Configuration,
        who: Decision | tuple[str, str, str | None],
        leader: str | None,
    ) -> Ruling:
        """What is to be written where `after` is to follow `before`, decided by `who`; `leader` serves afterwards."""
        action, actor, note = (who.action, who.actor, who.note) if isinstance(who, Decision) else who
        after = replace(
            after,
            epoch=0,
            experiment_id=after.experiment_id or self._world.new_id(),
            created_at_us=self._world.now_us(),
            source=action,
        )
        return Ruling(
            configuration=after,
            experiment_id=before.experiment_id,
            actor=actor,
            action=action,
            version=leader,
            note=note,
            changes=changes_between(before, after),
            evidence=self._world.report(before.experiment_id),
        )

    def carry_out(self, judge: Judge) -> Decided:
        """What came of it, in force in this process and logged; a version that was brought back has been asked."""
        decided = self._log.decide(judge)
        entry = decided.entry
        if entry is None:
            return decided
        self._world.follow()
        _LOG.warning("decided", extra={"event_fields": _told(entry)})
        if entry.action != "rollback" or entry.version is None:
            return decided
        return replace(decided, entry=self._checked(entry, entry.version))

    def _checked(self, entry: AuditEntry, version: str) -> AuditEntry:
        """The entry with what was found when the version that is back was asked; the decision stands in any case."""
        flaw = self._world.probe(version)
        checked = Checked(answers=flaw is None, at=iso_utc(self._world.now_us()), detail=flaw)
        if flaw is not None:
            _LOG.error("restored_version_fails", extra={"event_fields": {"version": version, "reason": flaw}})
        try:
            self._log.add_check(entry.seq, checked)
        except StoreUnavailable as error:  # the decision is made; it must not look as if it were not
            _LOG.error("check_not_recorded", extra={"event_fields": {"seq": entry.seq, "reason": error.message}})
        return replace(entry, checked=checked)


def _told(entry: AuditEntry) -> dict[str, object]:
    return {"action": entry.action, "version": entry.version, "actor": entry.actor, "epoch": entry.epoch}
