"""What the monitor has derived, as metrics: read at each scrape, so that every worker answers the same."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping

import msgspec
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.domain.monitoring import MonitorSnapshot
from app.drift.report_types import DriftReport
from app.observe import catalogue
from app.observe.catalogue import Definition

_LOG = logging.getLogger(__name__)


class HostCondition(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the store takes a write, and the room where it lies, in bytes."""

    store_writable: bool | None = None
    disk_free_bytes: int | None = None
    disk_size_bytes: int | None = None


class StateSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What is read at a scrape: the host's condition, the split, and the monitor's derived state at one moment.

    None, or a missing key, is what is not known or cannot be estimated.

    `weights` are normalised; `feedback` counts accepted outcomes by the version that answered; `labelled_means` are
    in the units of the experiment's metric, as are `differences` and `intervals` by challenger; `e_values` may be
    infinite; `guardrails` are by (version, name); scores and evidence are from 0 to 1; `state_age_s` are the seconds
    since the monitor last advanced.
    """

    host: HostCondition = HostCondition()

    weights: Mapping[str, float] = msgspec.field(default_factory=dict)
    feedback: Mapping[str, int] = msgspec.field(default_factory=dict)
    labelled_means: Mapping[str, float] = msgspec.field(default_factory=dict)
    e_values: Mapping[str, float] = msgspec.field(default_factory=dict)
    e_value_needed: float | None = None
    differences: Mapping[str, float] = msgspec.field(default_factory=dict)
    intervals: Mapping[str, tuple[float, float]] = msgspec.field(default_factory=dict)
    guardrails: Mapping[tuple[str, str], bool] = msgspec.field(default_factory=dict)
    sample_ratio_ok: bool | None = None
    label_rate_ok: bool | None = None
    drift_score: float | None = None
    feature_drift_scores: Mapping[str, float] = msgspec.field(default_factory=dict)
    drift_evidence: float | None = None
    drift_alarm: bool | None = None
    state_age_s: float | None = None


def state_of(
    found: MonitorSnapshot,
    weights: Mapping[str, float],
    drift: DriftReport | None = None,
    host: HostCondition | None = None,
) -> StateSnapshot:
    """What the monitor has derived, with the weights in force; `drift` is the champion's."""
    return StateSnapshot(
        host=host or HostCondition(),
        weights=weights,
        feedback=found.feedback,
        labelled_means=found.labelled_means,
        e_values=found.e_values,
        e_value_needed=found.e_value_needed,
        differences=found.differences,
        intervals=found.intervals,
        guardrails=found.guardrails,
        sample_ratio_ok=found.sample_ratio_ok,
        label_rate_ok=found.label_rate_ok,
        drift_score=drift.score if drift else None,
        feature_drift_scores={feature.name: feature.score for feature in drift.features} if drift else {},
        drift_evidence=drift.evidence if drift else None,
        drift_alarm=drift.alarm if drift else None,
        state_age_s=found.state_age_s,
    )


StateSource = Callable[[], StateSnapshot | None]


def no_state() -> StateSnapshot | None:
    """The source where there is no monitor: nothing is known."""
    return None


class StateCollector(Collector):
    """Turns a source's snapshot into metrics.

    Every family is announced, also without a series: a reader sees what there could be. Outcomes of the versions
    that `versions` gives exist from the start at 0. A source that raises leaves the families empty; `on_failure` is
    then called.
    """

    def __init__(
        self, source: StateSource, versions: Callable[[], Iterable[str]], on_failure: Callable[[], None]
    ) -> None:
        self._source = source
        self._versions = versions
        self._on_failure = on_failure
        self._failing = False

    def collect(self) -> Iterable[Metric]:
        """One family a definition, in the order of the catalogue."""
        state = self._read()
        feedback = dict.fromkeys(self._versions(), 0) | dict(state.feedback)
        return [*_host(state.host), *_experiment(state, feedback), *_drift(state)]

    def _read(self) -> StateSnapshot:
        try:
            state = self._source()
        except Exception:  # noqa: BLE001 - a scrape must show the rest, above all when the store is down
            if not self._failing:
                _LOG.warning("monitor_state_unreadable", exc_info=True)
            self._failing = True
            self._on_failure()
            return StateSnapshot()
        self._failing = False
        return state or StateSnapshot()


def _host(host: HostCondition) -> list[Metric]:
    return [
        _single(catalogue.STORE_WRITABLE, host.store_writable),
        _single(catalogue.DISK_FREE, host.disk_free_bytes),
        _single(catalogue.DISK_SIZE, host.disk_size_bytes),
    ]


def _experiment(state: StateSnapshot, feedback: Mapping[str, int]) -> list[Metric]:
    return [
        _by_label(catalogue.WEIGHT, state.weights),
        _by_label(catalogue.FEEDBACK, feedback),
        _by_label(catalogue.LABELLED_MEAN, state.labelled_means),
        _by_label(catalogue.DIFFERENCE, state.differences),
        _by_label(catalogue.DIFFERENCE_LOW, {name: low for name, (low, _) in state.intervals.items()}),
        _by_label(catalogue.DIFFERENCE_HIGH, {name: high for name, (_, high) in state.intervals.items()}),
        _by_label(catalogue.E_VALUE, state.e_values),
        _single(catalogue.E_VALUE_NEEDED, state.e_value_needed),
        _single(catalogue.SAMPLE_RATIO_OK, state.sample_ratio_ok),
        _single(catalogue.LABEL_RATE_OK, state.label_rate_ok),
        _by_labels(catalogue.GUARDRAIL_OK, state.guardrails.items()),
    ]


def _drift(state: StateSnapshot) -> list[Metric]:
    return [
        _single(catalogue.DRIFT_SCORE, state.drift_score),
        _by_label(catalogue.FEATURE_DRIFT_SCORE, state.feature_drift_scores),
        _single(catalogue.DRIFT_EVIDENCE, state.drift_evidence),
        _single(catalogue.DRIFT_ALARM, state.drift_alarm),
        _single(catalogue.STATE_AGE, state.state_age_s),
    ]


def _by_label(definition: Definition, values: Mapping[str, float]) -> Metric:
    return _by_labels(definition, (((label,), value) for label, value in values.items()))


def _by_labels(definition: Definition, values: Iterable[tuple[tuple[str, ...], float]]) -> Metric:
    family = _family(definition)
    for labels, value in sorted(values):
        family.add_metric(labels, float(value))
    return family


def _single(definition: Definition, value: float | bool | None) -> Metric:
    family = _family(definition)
    if value is not None:
        family.add_metric([], float(value))
    return family


def _family(definition: Definition) -> CounterMetricFamily | GaugeMetricFamily:
    if definition.kind == "counter":
        return CounterMetricFamily(definition.name, definition.help, labels=definition.labels)
    return GaugeMetricFamily(definition.name, definition.help, labels=definition.labels)
