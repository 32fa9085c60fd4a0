"""What a webhook is told: each decision, whoever made it, and each new recommendation to act."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
from msgspec.structs import replace

from app.domain.decision import CONFIGURE, RAMP, WEIGHTS, AuditEntry
from app.domain.experiment import Configuration
from app.domain.report import ExperimentReport
from app.monitor.notify import Notice
from app.services.drift_records import ACKNOWLEDGE

_DONE = {
    "promote": "promoted",
    "rollback": "rolled back to",
    "keep": "kept",
    RAMP: "steered the ramp of",
    ACKNOWLEDGE: "acknowledged the drift alarm of",
}
_MOST_AT_ONCE = 100


class Told(msgspec.Struct, frozen=True):
    """What has been told: decisions up to `seq`, and the last recommendation."""

    seq: int
    recommended: str = ""


class TellStore(Protocol):
    """The store's side. Every call raises `StoreUnavailable`."""

    def told(self) -> str | None: ...

    def put_told(self, body: str) -> None: ...


class DecisionPages(Protocol):
    """The audit log. Raises `StoreUnavailable`."""

    def page(self, limit: int, before: int | None = None) -> list[AuditEntry]: ...


class Announcer:
    """Tells what is new each time the monitor has made reports; to be called with them.

    What was decided while no monitor ran is told when one runs again; what was decided before the first one is not.
    A notice counts as told once it is queued: a process that dies then takes it along.
    """

    def __init__(
        self,
        store: TellStore,
        decisions: DecisionPages,
        configuration: Callable[[], Configuration | None],
        tell: Callable[[Notice], None],
    ) -> None:
        self._store = store
        self._decisions = decisions
        self._configuration = configuration
        self._tell = tell

    def __call__(self, reports: Sequence[ExperimentReport]) -> None:
        """Tell. Raises `StoreUnavailable`."""
        before = self._told()
        after = self._of_reports(self._of_decisions(before), reports)
        if after != before:
            self._store.put_told(msgspec.json.encode(after).decode())

    def _told(self) -> Told:
        body = self._store.told()
        if body is not None:
            return msgspec.json.decode(body, type=Told)
        told = Told(next((entry.seq for entry in self._decisions.page(1)), 0))
        self._store.put_told(msgspec.json.encode(told).decode())
        return told

    def _of_decisions(self, told: Told) -> Told:
        new = [entry for entry in self._decisions.page(_MOST_AT_ONCE) if entry.seq > told.seq]
        for entry in reversed(new):
            if entry.action != WEIGHTS:  # a bandit's routine, once a minute
                self._tell(notice_of(entry))
        return replace(told, seq=new[0].seq) if new else told

    def _of_reports(self, told: Told, reports: Sequence[ExperimentReport]) -> Told:
        configuration = self._configuration() if reports else None
        report = next((each for each in reports if configuration and each.id == configuration.experiment_id), None)
        if report is None:
            return told
        advice = report.recommendation
        said = f"{report.id}/{advice.action}/{advice.version or ''}"
        if said != told.recommended and advice.action != "continue":
            fields = {"experiment_id": report.id, "action": advice.action, "version": advice.version}
            self._tell(Notice(f"Recommendation: {advice.action}: {advice.reason}", "recommendation", fields))
        return replace(told, recommended=said)


def notice_of(entry: AuditEntry) -> Notice:
    """A decision in words: who did what, why, and whether what is back was found to answer."""
    if entry.action == CONFIGURE:
        what = f"{entry.actor} changed {', '.join(entry.changes)}"
    else:
        what = f"{entry.actor} {_DONE.get(entry.action, entry.action)} {entry.version}"
    why = f": {entry.note}" if entry.note else ""
    checked = ""
    if entry.checked is not None:
        flaw = entry.checked.detail
        checked = f" ({entry.version} answers)" if entry.checked.answers else f" ({entry.version} FAILS: {flaw})"
    fields = {
        "seq": entry.seq,
        "at": entry.at,
        "actor": entry.actor,
        "action": entry.action,
        "version": entry.version,
        "experiment_id": entry.experiment_id,
        "epoch": entry.epoch,
    }
    return Notice(what + why + checked, "decision", fields)
