"""What happened in an experiment, on one time axis: decisions, steps of ramps, holds and alarms. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from app.ui.experiment_records import ApiDrift, ApiExperiment, ApiTimeline
from app.ui.records import ApiAuditEntry
from app.ui.wording import as_sentence, moment, readable, share

DECISION, STEP, HOLD, ALARM = "decision", "ramp step", "ramp waits", "alarm"
SIGNS = {DECISION: "◆", STEP: "▲", HOLD: "‖", ALARM: "!"}
_DECISIONS = ("promote", "keep", "rollback")


class Event(msgspec.Struct, frozen=True):
    """Something that happened `at` a moment (ISO 8601); `entry` is what the audit log has of it."""

    at: str
    kind: str
    text: str
    entry: ApiAuditEntry | None = None

    @property
    def sign(self) -> str:
        """The sign of its kind in a chart."""
        return SIGNS[self.kind]


def events_of(report: ApiExperiment, audit: Sequence[ApiAuditEntry], drift: ApiDrift | None) -> list[Event]:
    """The events of the experiment, newest first, from the audit log and the drift alarm of now."""
    found = [event for entry in audit if entry.experiment_id in (None, report.id) for event in _of_entry(entry)]
    if drift is not None and drift.alarm and drift.since is not None:
        streams = ", ".join(dict.fromkeys(each.name for each in drift.alarm_streams))
        found.append(Event(drift.since, ALARM, f"drift alarm{f' by {streams}' if streams else ''}"))
    inside = [event for event in found if event.at and report.started <= event.at]
    return sorted(inside, key=lambda event: event.at, reverse=True)


def _of_entry(entry: ApiAuditEntry) -> list[Event]:
    event = Event(entry.at, _kind(entry), _text(entry), entry)
    before = _part(entry, "drift_alarm", "before")
    since = before.get("since")
    return [event, Event(since, ALARM, "drift alarm", entry)] if isinstance(since, str) else [event]


def _kind(entry: ApiAuditEntry) -> str:
    if entry.action == "ramp" and "weights" not in entry.changes and _part(entry, "ramp", "after").get("held"):
        return HOLD
    return STEP if entry.action == "ramp" or "ramp" in entry.changes else DECISION


def _text(entry: ApiAuditEntry) -> str:
    """What was done, by whom, and why."""
    what = f"{readable(entry.action)} {entry.version}" if entry.version else readable(entry.action)
    weights = _part(entry, "weights", "after")
    if weights and entry.action not in _DECISIONS:
        what += f" to {_shares(weights)}"
    return f"{what} by {entry.actor or 'nobody known'}{f': {entry.note}' if entry.note else ''}"


def _part(entry: ApiAuditEntry, name: str, side: str) -> dict[str, object]:
    change = entry.changes.get(name)
    found = change.get(side) if isinstance(change, dict) else None
    return found if isinstance(found, dict) else {}


def evidence_of(entry: ApiAuditEntry) -> ApiExperiment | None:
    """The report at the moment of the decision; None where there was none, or it cannot be read any more."""
    if entry.evidence is None:
        return None
    try:
        return msgspec.convert(entry.evidence, ApiExperiment)
    except msgspec.ValidationError:
        return None


def shares_said(timeline: ApiTimeline) -> str:
    """The splits over time, as a sentence for screen readers."""
    said = [f"from {moment(split.at)} {_shares(split.weights)}" for split in timeline.splits]
    return as_sentence(f"Target shares: {'; '.join(said)}") if said else "No split is known."


def _shares(weights: Mapping[str, object]) -> str:
    parts = (f"{version} {share(weight)}" for version, weight in weights.items() if isinstance(weight, float | int))
    return " / ".join(parts)
