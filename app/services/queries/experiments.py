"""The use cases behind `GET /experiment`: the monitor's reports, with the weights in force and their age.

The first half builds API views from an experiment's record and the active configuration, and is pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec
from msgspec.structs import replace

from app.domain.experiment import Configuration, ExperimentTerms
from app.domain.monitor_state import StoredReport
from app.domain.report import (
    ComparisonReport,
    ExperimentReport,
    ExperimentState,
    MetricReport,
    MonitorLag,
    Recommendation,
    SplitRevision,
    TimelinePoint,
    VariantReport,
)
from app.domain.timestamps import iso_utc
from app.errors import InvalidRequest, NotReady, StoreUnavailable, UnknownExperiment
from app.scoring.table import metric_of
from app.services.pages import LARGEST_PAGE, require_number
from app.services.ports import LoadedModels
from app.services.serving.health import MONITOR_STALE_S
from app.services.serving.live_models import LiveModels
from app.services.snapshot import CachedSnapshot
from app.tables.model_columns import same_columns

MOST_POINTS = 2000
RUN_IT = "run it with `bakeoff monitor`"


class ExperimentRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An experiment in the store; times are µs since 1970 (UTC). `report` is the monitor's newest report on it, `last`
    its last configuration, with the terms with which it began."""

    id: str
    ordinal: int
    started_at_us: int
    ended_at_us: int | None
    ended_by: str | None
    terms: ExperimentTerms
    versions: tuple[str, ...]
    champion: str | None
    report: ExperimentReport | None
    metrics: tuple[MetricReport, ...] = ()
    last: Configuration | None = None

    def pair(self, challenger: str | None) -> tuple[str, str]:
        """The baseline, and the challenger of that name, or the only one. Raises `InvalidRequest`."""
        named = self.terms.baseline
        baseline = named if named in self.versions else next(iter(self.versions), "")
        known = [version for version in self.versions if version != baseline]
        if not known:
            raise InvalidRequest(f"the experiment has one version, {baseline}: nothing to compare", field="challenger")
        if challenger is None and len(known) == 1:
            return baseline, known[0]
        if challenger is None or challenger not in known:
            missing = f"no challenger {(challenger or '')[:64]!r} in this experiment"
            what = "say which challenger" if challenger is None else missing
            raise InvalidRequest(f"{what}: one of {', '.join(known)}", field="challenger")
        return baseline, challenger


class ExperimentEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One experiment in the list. `ended_by` is what ended it: a decision, a patch, the registry or the environment.
    `recommendation` is the last one, null if the monitor has made no report on it."""

    id: str
    name: str | None
    ordinal: int
    started: str
    ended: str | None
    state: ExperimentState
    ended_by: str | None
    metric: str
    alpha: float
    baseline: str | None
    champion: str | None
    versions: tuple[str, ...]
    recommendation: Recommendation | None
    metrics: tuple[MetricReport, ...] = ()


def nothing_known(record: ExperimentRecord, reason: str) -> ExperimentReport:
    """The report on an experiment for which nothing has been computed, with the reason as its recommendation."""
    baseline = record.terms.baseline
    method = metric_of(record.terms).method_under(record.terms)
    return ExperimentReport(
        id=record.id,
        name=record.terms.name,
        hypothesis=record.terms.hypothesis,
        started=iso_utc(record.started_at_us),
        ended=None if record.ended_at_us is None else iso_utc(record.ended_at_us),
        state="running" if record.ended_at_us is None else "ended",
        metric=record.terms.metric,
        alpha=record.terms.alpha,
        baseline=baseline,
        variants=tuple(VariantReport(version=version, weight=0.0) for version in record.versions),
        comparisons=tuple(
            ComparisonReport(challenger=version, method=method) for version in record.versions if version != baseline
        ),
        recommendation=Recommendation("continue", None, reason),
        metrics=record.metrics,
    )


def aged(report: ExperimentReport, age_s: float | None, stale_s: float) -> ExperimentReport:
    """The report; if the monitor lags by more than `stale_s`, its recommendation says so, because the figures are old.

    `age_s` are the seconds since the monitor had processed all of the log, None if it never has.
    """
    if report.computed_at is None or (age_s is not None and age_s <= stale_s):
        return report
    since = "has never caught up with the log" if age_s is None else f"has not caught up with the log for {age_s:.0f} s"
    # In the sentence that people read: a field of its own would be overlooked.
    old = report.recommendation
    reason = f"{old.reason} (as of {report.computed_at}: the monitor {since}; {RUN_IT})"
    return replace(report, recommendation=replace(old, reason=reason))


def overlaid(report: ExperimentReport, configuration: Configuration) -> ExperimentReport:
    """The report with the weights in force, and with every version in the split."""
    weights = configuration.weights
    known = {variant.version for variant in report.variants}
    new = tuple(VariantReport(version=version, weight=0.0) for version in weights if version not in known)
    variants = tuple(replace(each, weight=weights.get(each.version, 0.0)) for each in report.variants + new)
    return replace(report, variants=variants)


def with_excluded(report: ExperimentReport, models: LoadedModels) -> ExperimentReport:
    """The report with the reason for each version that takes no part: of the loaded ones, and where no request suits.

    A version that is not loaded any more is in the report by its requests alone.
    """
    never = {each.version: _lacking(each.version, models) for each in report.variants if each.answerable_share == 0}
    excluded: Mapping[str, str] = {**never, **models.excluded}
    return replace(report, excluded=excluded) if excluded else report


def _lacking(version: str, models: LoadedModels) -> str:
    """Why no request could be answered by the version: which of its columns clients may leave out, and do."""
    loaded, reference = models.versions.get(version), models.versions.get(models.reference or "")
    if loaded is None or reference is None:
        return "reads a column that no request has"
    features = loaded.contract.features
    places = same_columns(features, reference.contract.features)
    names = [feature.name for feature, place in zip(features, places, strict=True) if place is None]
    if len(names) == 1:
        return f"reads the column {names[0]}, which no request has"
    more = f"; it reads {', '.join(names)} beside those of {reference.name}" if names else ""
    return f"no request has every column that it reads{more}"


def entry_of(record: ExperimentRecord) -> ExperimentEntry:
    """The list's entry for an experiment."""
    return ExperimentEntry(
        id=record.id,
        name=record.terms.name,
        ordinal=record.ordinal,
        started=iso_utc(record.started_at_us),
        ended=None if record.ended_at_us is None else iso_utc(record.ended_at_us),
        state="running" if record.ended_at_us is None else "ended",
        ended_by=record.ended_by,
        metric=record.terms.metric,
        alpha=record.terms.alpha,
        baseline=record.terms.baseline,
        champion=record.champion,
        versions=record.versions,
        recommendation=None if record.report is None else record.report.recommendation,
        metrics=record.metrics,
    )


class ReportReads(Protocol):
    """The monitor's derived state. Every call raises `StoreUnavailable`."""

    def report(self, experiment_id: str) -> StoredReport | None: ...

    def age_s(self) -> float | None: ...

    def lag(self) -> MonitorLag: ...

    def timeline(self, experiment_id: str, points: int) -> list[TimelinePoint]: ...


class ExperimentLog(Protocol):
    """The experiments in the store. Every call raises `StoreUnavailable`."""

    def newest(self, limit: int) -> list[ExperimentRecord]: ...

    def find(self, experiment_id: str) -> ExperimentRecord | None: ...

    def splits(self, experiment_id: str) -> list[SplitRevision]: ...


def found_in(log: ExperimentLog, experiment_id: str) -> ExperimentRecord:
    """The experiment of that id. Raises `UnknownExperiment` and `StoreUnavailable`."""
    record = log.find(experiment_id)
    if record is None:
        raise UnknownExperiment(f"there is no experiment {experiment_id[:64]!r}: see GET /experiments", field="id")
    return record


class ExperimentListing(msgspec.Struct, frozen=True):
    """Experiments, newest first."""

    experiments: tuple[ExperimentEntry, ...]


class Timeline(msgspec.Struct, frozen=True):
    """One experiment over time: its comparisons by challenger, then by outcomes, and its splits, the oldest first."""

    experiment_id: str
    points: tuple[TimelinePoint, ...]
    splits: tuple[SplitRevision, ...] = ()


class _Reported(msgspec.Struct, frozen=True):
    """The running experiment's report, and how old the monitor's state and how far it was behind when it was read."""

    report: ExperimentReport
    age_s: float | None
    lag: MonitorLag | None


class Experiments:
    """The use cases behind `GET /experiment`, its timeline, and the list of all.

    The running experiment's report is read from the store at most once every `ttl_s` seconds, however many clients
    poll it. `clock` is monotonic seconds."""

    def __init__(
        self, live: LiveModels, reads: ReportReads, log: ExperimentLog, clock: Callable[[], float], ttl_s: float = 0.5
    ) -> None:
        self._live = live
        self._reads = reads
        self._log = log
        # During an outage of the store the last report stays readable: dashboards keep their figures.
        self._running: CachedSnapshot[_Reported] = CachedSnapshot(clock, ttl_s, keep_on=(StoreUnavailable,))

    def current(self) -> ExperimentReport:
        """The running experiment, with the weights now in force. Raises `NotReady` and `StoreUnavailable`."""
        configuration = self._live.configuration
        if not configuration.experiment_id or not configuration.epoch:
            if not self._live.loaded_models.versions:
                raise self._live.not_ready()
            raise NotReady("no experiment is known: the store could not be used so far; see GET /health")
        running = configuration.experiment_id
        found = self._running.get(lambda: self._read(running), key=running)
        report = overlaid(aged(found.report, found.age_s, MONITOR_STALE_S), configuration)
        return with_excluded(replace(report, lag=found.lag), self._live.loaded_models)

    def report(self, experiment_id: str) -> ExperimentReport:
        """The report on any experiment, running or finished. Raises `UnknownExperiment` and `StoreUnavailable`."""
        if experiment_id == self._live.configuration.experiment_id:
            return self.current()
        record = found_in(self._log, experiment_id)
        stored = self._reads.report(experiment_id)
        return stored.report if stored is not None else nothing_known(record, "the monitor has processed nothing of it")

    def configuration(self, experiment_id: str) -> Configuration:
        """The last configuration of any experiment. Raises `UnknownExperiment` and `StoreUnavailable`."""
        live = self._live.configuration
        found = live if experiment_id == live.experiment_id else found_in(self._log, experiment_id).last
        if found is None:
            raise UnknownExperiment(f"experiment {experiment_id[:64]!r} has no configuration", field="experiment")
        return found

    def listing(self, limit: int = 100) -> ExperimentListing:
        """The newest `limit` (1 to 1,000) experiments. Raises `InvalidRequest` and `StoreUnavailable`."""
        require_number("limit", limit, LARGEST_PAGE)
        return ExperimentListing(tuple(map(entry_of, self._log.newest(limit))))

    def timeline(self, points: int = 200, experiment_id: str | None = None) -> Timeline:
        """Up to `points` (1 to 2,000) points of each comparison, evenly spaced, the first and the last among them.
        Without an id, the running one. Raises `InvalidRequest`, `UnknownExperiment` and `StoreUnavailable`."""
        require_number("points", points, MOST_POINTS)
        running = self._live.configuration
        chosen = running.experiment_id if experiment_id is None else found_in(self._log, experiment_id).id
        return Timeline(chosen, tuple(self._reads.timeline(chosen, points)), tuple(self._log.splits(chosen)))

    def _read(self, experiment_id: str) -> _Reported:
        stored = self._reads.report(experiment_id)
        if stored is not None:
            return _Reported(stored.report, stored.age_s, stored.lag)
        # Without a report: a monitor that runs will make one soon, one that never ran must be started.
        age_s = self._reads.age_s()
        not_run = f"the monitor has not run yet, so nothing is known: {RUN_IT}"
        begun = "the experiment has just begun: the monitor has processed nothing of it yet"
        reason = not_run if age_s is None else begun
        return _Reported(nothing_known(found_in(self._log, experiment_id), reason), age_s, self._reads.lag())
