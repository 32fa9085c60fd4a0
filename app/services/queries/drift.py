"""The use cases of drift: a version's report, its timeline, and the acknowledgement of its alarm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias

import msgspec

from app.domain.decision import Change
from app.domain.manifest import REFERENCE_FILE, ReferenceHistory, ReferenceManifest
from app.domain.timestamps import iso_utc
from app.drift.detector_state import WINDOW
from app.drift.evidence import PROMISED_REQUESTS, false_alarm_bound
from app.drift.reference import AnswersFrom
from app.drift.reference_notes import new_reference
from app.drift.report_types import AlarmStream, Crowds, DriftReport, FalseAlarmBound, JointReport, StreamReport
from app.errors import ArtefactRefused, Contradiction, UnknownVersion
from app.services.pages import require_number
from app.services.queries.drift_records import DriftTimelinePoint, PendingAcknowledgement
from app.services.serving.availability import unknown_version
from app.services.serving.live_models import LiveModels

MOST_POINTS = 500
ALARM_EVIDENCE = 1.0
_PROMISE = FalseAlarmBound(PROMISED_REQUESTS, false_alarm_bound(PROMISED_REQUESTS))
# Raises `UnknownVersion` and `ArtefactRefused`.
Histories: TypeAlias = Callable[[str], ReferenceHistory]
Propose: TypeAlias = Callable[[DriftReport | None], PendingAcknowledgement]


class DriftLog(Protocol):
    """The store's side. Every call raises `StoreUnavailable`."""

    def standing(self, version: str) -> DriftReport | None: ...

    def timeline(self, version: str, points: int) -> list[DriftTimelinePoint]: ...

    def acknowledge(self, version: str, propose: Propose) -> DriftReport: ...


class DriftView(msgspec.Struct, frozen=True, kw_only=True):
    """A `DriftReport`; without one, `score` and `evidence` are null and `note` gives the reason.

    `requests` is the number that the monitor has processed, whichever version answered; forced and synthetic ones are
    left out. `outputs` are about this version's own answers and, if labels arrive, its errors.
    """

    version: str
    score: float | None = None
    evidence: float | None = None
    alarm: bool = False
    alarms: int = 0
    since: str | None = None
    since_requests: int | None = None
    acknowledged: str | None = None
    requests: int = 0
    window: int = WINDOW
    reference_rows: int = 0
    least_detectable_shift_sd: float | None = None
    false_alarm_probability: FalseAlarmBound = _PROMISE
    features: tuple[StreamReport, ...] = ()
    joint: tuple[JointReport, ...] = ()
    outputs: tuple[StreamReport, ...] = ()
    crowds: Crowds = Crowds()
    alarm_streams: tuple[AlarmStream, ...] = ()
    assumption: str | None = None
    least_detectable_outlier_share: float | None = None
    answers_from: AnswersFrom | None = None
    notes: tuple[str, ...] = ()
    reference_number: int = 0
    reference_since: str | None = None
    note: str | None = None


class DriftPoint(msgspec.Struct, frozen=True, kw_only=True):
    """The drift after the first `requests` requests, the last of which was served at `timestamp`."""

    requests: int
    timestamp: str
    score: float
    evidence: float
    alarm: bool


class DriftTimeline(msgspec.Struct, frozen=True, kw_only=True):
    """A version's drift over its requests, oldest first. An alarm is raised when `evidence` reaches `alarm_evidence`.

    Without points, `note` gives the reason.
    """

    version: str
    points: tuple[DriftPoint, ...] = ()
    alarm_evidence: float = ALARM_EVIDENCE
    false_alarm_probability: FalseAlarmBound = _PROMISE
    note: str | None = None


class Drift:
    """The use cases behind `GET /drift` and `POST /drift/acknowledge`. `now_us` is the clock (µs since 1970).

    `histories` has the references that versions got after their publication.
    """

    def __init__(self, live: LiveModels, log: DriftLog, now_us: Callable[[], int], histories: Histories) -> None:
        self._live = live
        self._log = log
        self._now_us = now_us
        self._histories = histories

    def report(self, version: str | None = None) -> DriftView:
        """Compares all traffic with the training data of a version (default: the champion).

        Raises `UnknownVersion`, `StoreUnavailable`, and `NotReady` while no version is loaded.
        """
        name = version or self._required_champion()
        found = self._log.standing(name)
        return self._unknown(name) if found is None else self._known(found)

    def timeline(self, points: int = 200, version: str | None = None) -> DriftTimeline:
        """Up to `points` (1 to 500) points of a version's drift (default: the champion's), evenly spaced.

        The first and the last point are among them. Raises what `report` raises, and `InvalidRequest`.
        """
        require_number("points", points, MOST_POINTS)
        name = version or self._required_champion()
        timeline = self._log.timeline(name, points)
        # Without points, the report knows why: its checks also refuse a version that does not exist.
        note = None if timeline else self.report(name).note or _TOO_EARLY
        return DriftTimeline(version=name, points=tuple(map(_point, timeline)), note=note)

    def of_champion(self) -> DriftReport | None:
        """The champion's report; None if there is none. Raises `StoreUnavailable`."""
        champion = self._champion()
        return None if champion is None else self._log.standing(champion)

    def acknowledge(self, version: str | None, actor: str, note: str | None) -> DriftView:
        """Acknowledge the alarm of a version (default: the champion); durable when it returns, with an audit entry.

        Raises what `report` raises, and `Contradiction` if there is no alarm.
        """
        name = version or self._required_champion()
        configuration = self._live.configuration

        def propose(report: DriftReport | None) -> PendingAcknowledgement:
            # Checked in the store's transaction: two people who acknowledge at once must not both succeed.
            if report is None or not report.alarm:
                raise Contradiction(self._no_alarm(name, report))
            return PendingAcknowledgement(
                at_us=self._now_us(),
                actor=actor,
                note=note,
                experiment_id=configuration.experiment_id,
                epoch=configuration.epoch,
                changes=_changes(report),
            )

        return self._known(self._log.acknowledge(name, propose))

    def _champion(self) -> str | None:
        configuration = self._live.configuration
        # A registry without aliases has no champion, and a configuration that was never stored has no baseline.
        return configuration.champion or configuration.terms.baseline or self._live.loaded_models.reference

    def _required_champion(self) -> str:
        champion = self._champion()
        if champion is None:
            raise self._live.not_ready()
        return champion

    def _no_alarm(self, version: str, report: DriftReport | None) -> str:
        if report is None:
            return f"there is no alarm to acknowledge: {self._unknown(version).note}"
        if report.acknowledged is not None:
            return f"the alarm of {version} was acknowledged at {report.acknowledged}"
        return f"there is no alarm of {version} to acknowledge"

    def _unknown(self, version: str) -> DriftView:
        """The answer about a version without a report, with the reason. Raises `UnknownVersion`."""
        loaded = self._live.loaded_models.versions.get(version)
        if loaded is None:
            raise unknown_version(version, self._live.loaded_models.versions, "version")
        files, history = loaded.manifest.get("files"), self._history(version)
        if history.newest is None and isinstance(files, Mapping) and REFERENCE_FILE not in files:
            note = f"{version} was published without a drift reference: to give it one, {new_reference(version)}"
            return DriftView(version=version, notes=history.refused, note=note)
        note = f"the monitor has processed no request for {version} yet: {_RUN_IT}"
        return DriftView(version=version, notes=(*_awaited(history, 0), *history.refused), note=note)

    def _known(self, report: DriftReport) -> DriftView:
        """The view of a report, with what the registry has that the monitor has not begun with."""
        history = self._history(report.version)
        notes = (*_awaited(history, report.reference_number), *report.notes, *history.refused)
        return _view(msgspec.structs.replace(report, notes=notes))

    def _history(self, version: str) -> ReferenceHistory:
        # A report outlives the version's folder, and what cannot be read counts for nothing.
        try:
            return self._histories(version)
        except (UnknownVersion, ArtefactRefused):
            return ReferenceHistory()


def _awaited(history: ReferenceHistory, begun: int) -> tuple[str, ...]:
    """What to say of a newer reference than the one with the number `begun`."""
    newest: ReferenceManifest | None = history.newest
    if newest is None or newest.number <= begun:
        return ()
    since = iso_utc(newest.counts_from_us)
    return (
        f"{newest.version} has reference {newest.number} now: the monitor begins anew with it at the first request "
        f"served from {since} on.",
    )


_TOO_EARLY = "the monitor has stored no point yet: the first one comes after 20 requests"
_RUN_IT = "send requests, and check that the monitor runs (`bakeoff monitor`)"


def _view(report: DriftReport) -> DriftView:
    return DriftView(**{name: getattr(report, name) for name in report.__struct_fields__})


def _point(point: DriftTimelinePoint) -> DriftPoint:
    return DriftPoint(
        requests=point.requests,
        timestamp=iso_utc(point.at_us),
        score=point.score,
        evidence=point.evidence,
        alarm=point.alarm,
    )


def _changes(report: DriftReport) -> dict[str, Change]:
    """The acknowledged alarm, for the audit log; `streams` are those that raised it."""
    facts = {
        "since": report.since,
        "score": report.score,
        "evidence": report.evidence,
        "requests": report.requests,
        "streams": [stream.name for stream in report.alarm_streams],
        "kinds": sorted({stream.kind for stream in report.alarm_streams}),
    }
    return {"drift_alarm": Change(facts, "acknowledged")}
