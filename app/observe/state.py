"""The gauges that are read at a scrape instead of counted: the host's condition and the monitor's state.

One more gauge is its definition in `catalogue.py` and a line in the table `GAUGES` here.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping

import msgspec
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.domain.monitor_state import MonitorSnapshot
from app.domain.report import ExperimentReport
from app.drift.alarm_streams import KINDS, by_kind
from app.drift.report_types import DriftReport
from app.observe import catalogue
from app.observe.catalogue import Definition
from app.services.boundaries import FaultBoundary

_LOG = logging.getLogger(__name__)
# The largest whole number whose exponential is still a float: exp(709) is 8e307.
_LARGEST_EXPONENT = 709


class HostCondition(msgspec.Struct, frozen=True, kw_only=True):
    """The store and its disk; None: unknown.

    `store_writable`: whether the store accepts writes. `disk_…_bytes`: the room on the file system of DATA_DIR.
    `backup_at_s`, `archive_at_s`, `restore_drill_at_s`: when the last backup, archive and restore drill were completed,
    in seconds since 1970.
    """

    store_writable: bool | None = None
    disk_free_bytes: int | None = None
    disk_size_bytes: int | None = None
    backup_at_s: float | None = None
    archive_at_s: float | None = None
    restore_drill_at_s: float | None = None


class StateSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a scrape reads, as it was at one moment.

    `weights` are the normalised weights in force, `drift` is the champion's report. None, or a missing key, stands
    for a quantity that is unknown or cannot be estimated.
    """

    host: HostCondition = HostCondition()
    weights: Mapping[str, float] = msgspec.field(default_factory=dict)
    monitor: MonitorSnapshot = MonitorSnapshot()
    drift: DriftReport | None = None


StateSource = Callable[[], StateSnapshot | None]
Series = Mapping[str, float] | Mapping[tuple[str, str], float]
Reading = Callable[[StateSnapshot], float | Series | None]


def no_state() -> StateSnapshot | None:
    """The source of a process that has no monitor to read: everything is unknown."""
    return None


class StateCollector(Collector):
    """Reads a source's snapshot at each scrape and gives one metric family for each line of `GAUGES`.

    A family without a series is announced too, so that a reader sees what there could be. The outcome counter of the
    versions that `versions` gives starts at 0. If the source raises, the families are empty and `on_failure` is
    called.
    """

    def __init__(
        self, source: StateSource, versions: Callable[[], Iterable[str]], on_failure: Callable[[], None]
    ) -> None:
        self._source = source
        self._versions = versions
        # One line for each outage: Prometheus scrapes every few seconds.
        self._boundary = FaultBoundary(
            _LOG, "monitor_state_unreadable", level=logging.WARNING, once=True, on_failure=on_failure
        )

    def collect(self) -> Iterable[Metric]:
        """One family for each definition, in the order of the catalogue."""
        state = self._read()
        # From 0 on, so that a rate over the first outcomes is right: Prometheus does not see a counter begin at 1.
        feedback = dict.fromkeys(self._versions(), 0) | dict(state.monitor.feedback)
        monitor = msgspec.structs.replace(state.monitor, feedback=feedback)
        state = msgspec.structs.replace(state, monitor=monitor)
        return [_family(definition, read(state)) for definition, read in GAUGES]

    def _read(self) -> StateSnapshot:
        state: StateSnapshot | None = None
        with self._boundary:  # a scrape must show the rest, above all when the store is down
            state = self._source()
        return state or StateSnapshot()


def _experiment(read: Callable[[ExperimentReport], float | Series | None]) -> Reading:
    """A reading of the running experiment's report; nothing while there is none."""
    return lambda state: None if state.monitor.report is None else read(state.monitor.report)


def _drift(read: Callable[[DriftReport], float | Series | None]) -> Reading:
    """A reading of the champion's drift report; nothing while there is none."""
    return lambda state: None if state.drift is None else read(state.drift)


def _labelled_means(report: ExperimentReport) -> Series:
    return {each.version: each.mean for each in report.variants if each.mean is not None}


def _differences(report: ExperimentReport) -> Series:
    return {each.challenger: each.difference for each in report.comparisons if each.difference is not None}


def _bounds(end: int) -> Callable[[ExperimentReport], Series]:
    """The lower (`end` 0) or upper (1) ends of the intervals, by challenger."""
    return lambda report: {each.challenger: each.interval[end] for each in report.comparisons if each.interval}


def _e_values(report: ExperimentReport) -> Series:
    logs = {each.challenger: each.log_e for each in report.comparisons if each.log_e is not None}
    return {name: math.exp(log_e) if log_e < _LARGEST_EXPONENT else math.inf for name, log_e in logs.items()}


def _guardrails(report: ExperimentReport) -> Series:
    rails = report.guardrails
    return {(rail.version, rail.name): rail.ok for rail in rails if rail.version and rail.ok is not None}


def _check(name: str) -> Callable[[ExperimentReport], bool | None]:
    return lambda report: next((check.ok for check in report.checks if check.name == name), None)


def _feature_scores(report: DriftReport) -> Series:
    return {feature.name: feature.score for feature in report.features}


def _alarm_streams(report: DriftReport) -> Series:
    """The number of streams of each kind in the standing alarm, 0 without one: a series must not end with its alarm."""
    names = by_kind(report.alarm_streams) if report.alarm else {}
    counts: dict[str, float] = {kind: len(names.get(kind, ())) for kind in KINDS}
    return counts


# In the order of the catalogue and of docs/metrics.md; a test compares them.
GAUGES: tuple[tuple[Definition, Reading], ...] = (
    (catalogue.STORE_WRITABLE, lambda state: state.host.store_writable),
    (catalogue.DISK_FREE, lambda state: state.host.disk_free_bytes),
    (catalogue.DISK_SIZE, lambda state: state.host.disk_size_bytes),
    (catalogue.LAST_BACKUP, lambda state: state.host.backup_at_s),
    (catalogue.LAST_ARCHIVE, lambda state: state.host.archive_at_s),
    (catalogue.LAST_RESTORE_DRILL, lambda state: state.host.restore_drill_at_s),
    (catalogue.WEIGHT, lambda state: state.weights),
    (catalogue.FEEDBACK, lambda state: state.monitor.feedback),
    (catalogue.LABELLED_MEAN, _experiment(_labelled_means)),
    (catalogue.DIFFERENCE, _experiment(_differences)),
    (catalogue.DIFFERENCE_LOW, _experiment(_bounds(0))),
    (catalogue.DIFFERENCE_HIGH, _experiment(_bounds(1))),
    (catalogue.E_VALUE, _experiment(_e_values)),
    (catalogue.E_VALUE_NEEDED, _experiment(lambda report: 1 / report.alpha)),
    (catalogue.UNITS, _experiment(lambda report: {each.challenger: each.units for each in report.comparisons})),
    (
        catalogue.MISSING_ANSWERS,
        _experiment(lambda report: {each.challenger: each.missing for each in report.comparisons}),
    ),
    (catalogue.SAMPLE_RATIO_OK, _experiment(_check("sample_ratio"))),
    (catalogue.LABEL_RATE_OK, _experiment(_check("label_rate"))),
    (catalogue.GUARDRAIL_OK, _experiment(_guardrails)),
    (catalogue.DRIFT_SCORE, _drift(lambda report: report.score)),
    (catalogue.FEATURE_DRIFT_SCORE, _drift(_feature_scores)),
    (catalogue.DRIFT_EVIDENCE, _drift(lambda report: report.evidence)),
    (catalogue.DRIFT_ALARM, _drift(lambda report: report.alarm)),
    (catalogue.DRIFT_ALARM_STREAMS, _drift(_alarm_streams)),
    (catalogue.STATE_AGE, lambda state: state.monitor.age_s),
    (catalogue.MONITOR_LAG_ROWS, lambda state: state.monitor.lag.rows),
    (catalogue.MONITOR_LAG_SECONDS, lambda state: state.monitor.lag.seconds),
)


def _family(definition: Definition, reading: float | Series | None) -> Metric:
    make = CounterMetricFamily if definition.kind == "counter" else GaugeMetricFamily
    family = make(definition.name, definition.help, labels=definition.labels)
    if isinstance(reading, Mapping):
        # Sorted, so that two scrapes can be compared by eye.
        for labels, value in sorted(((key,) if isinstance(key, str) else key, value) for key, value in reading.items()):
            family.add_metric(labels, float(value))
    elif reading is not None:
        family.add_metric([], float(reading))
    return family
