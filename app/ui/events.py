"""What happened in an experiment, on one time axis: decisions, steps of ramps, holds and alarms. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from app.tables.counts import as_sentence
from app.ui.experiment_records import ApiDrift, ApiExperiment, ApiTimeline
from app.ui.records import ApiAudit, ApiAuditEntry
from app.ui.wording import moment, readable, share, unix_of

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
    def key(self) -> str:
        """What tells it from the others, in a list and in a chart."""
        return f"{self.at} {self.kind} {'' if self.entry is None else self.entry.seq}"

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
    timed = [(at, event) for event in found if (at := unix_of(event.at)) is not None]
    inside = [(at, event) for at, event in timed if at >= (unix_of(report.started) or 0.0)]
    return [event for _, event in sorted(inside, key=lambda pair: pair[0], reverse=True)]


def event_of(entry: ApiAuditEntry) -> Event:
    """What was done, as an event."""
    return Event(entry.at, _kind(entry), _text(entry), entry)


def ending_of(report: ApiExperiment, audit: Sequence[ApiAuditEntry]) -> str:
    """What ended the experiment, by whom and why; empty where the audit log does not say."""
    for entry in audit:
        change = entry.changes.get("experiment_id")
        if report.ended is not None and isinstance(change, dict) and change.get("before") == report.id:
            return _text(entry)
    return ""


def nothing_decided(report: ApiExperiment) -> str:
    """That nothing happened, as a sentence."""
    return f"Nothing was decided in this experiment{' yet' if report.ended is None else ''}."


def older_decisions(audit: ApiAudit, experiment: str | None = None) -> str:
    """That there are older decisions than these, and how to get them; empty where there are none."""
    if audit.next is None:
        return ""
    of_it = "" if experiment is None else f"&experiment={experiment}"
    path = f"/audit?before={audit.next}{of_it}"
    shown = len(audit.entries)
    newest = "decision is" if shown == 1 else f"{shown} decisions are"
    return f"Only the newest {newest} shown here; `GET {path}` gives those before."


def _of_entry(entry: ApiAuditEntry) -> list[Event]:
    event = event_of(entry)
    before = _part(entry, "drift_alarm", "before")
    since = before.get("since")
    return [event, Event(since, ALARM, "drift alarm", entry)] if isinstance(since, str) else [event]


def _kind(entry: ApiAuditEntry) -> str:
    if entry.action != "ramp":
        return DECISION
    waits = "weights" not in entry.changes and _part(entry, "ramp", "after").get("held")
    return HOLD if waits else STEP


def _text(entry: ApiAuditEntry) -> str:
    """What was done, by whom, and why."""
    return f"{what_of(entry)}, by {entry.actor or 'nobody known'}{f': {entry.note}' if entry.note else ''}"


def what_of(entry: ApiAuditEntry) -> str:
    """What was done."""
    what = _configured(entry) if entry.action == "configure" else readable(entry.action)
    what += f" {entry.version}" if entry.version else ""
    weights = _part(entry, "weights", "after")
    if weights and entry.action not in _DECISIONS:
        what += f": {shares(weights)}"
    return what


def _configured(entry: ApiAuditEntry) -> str:
    """What a change of the configuration was."""
    if "experiment_id" in entry.changes:
        name = entry.changes.get("name")
        named = name.get("after") if isinstance(name, dict) else None
        return f"new experiment {named}" if named else "new experiment"
    if ramp := _part(entry, "ramp", "after"):
        return f"ramp of {ramp.get('version')}"
    if ended := _part(entry, "ramp", "before"):
        return f"end of the ramp of {ended.get('version')}"
    return "split" if "weights" in entry.changes else "configuration"


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
    said = [f"from {moment(split.at)} {shares(split.weights)}" for split in timeline.splits]
    return as_sentence(f"Target shares: {'; '.join(said)}") if said else "No split is known."


def shares(weights: Mapping[str, object]) -> str:
    """Shares of the traffic in words."""
    parts = (f"{version} {share(weight)}" for version, weight in weights.items() if isinstance(weight, float | int))
    return " / ".join(parts)


def event_row(each: Event) -> dict[str, object]:
    """When something happened, of what kind it was, and what."""
    return {"when": moment(each.at), "kind": f"{each.sign} {each.kind}", "what": each.text}


def split_rows(timeline: ApiTimeline) -> list[dict[str, object]]:
    """The shares over time, newest first."""
    return [
        {"from": moment(split.at), "target shares": shares(split.weights), "by": split.source, "revision": split.epoch}
        for split in reversed(timeline.splits)
    ]
