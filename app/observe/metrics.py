"""Count what happens, in verbs, and show it to Prometheus; names and labels are in `app.observe.catalogue`."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics, values

from app.observe import catalogue, exposition, metric_files
from app.observe.batch_histogram import BatchHistogram
from app.observe.catalogue import Definition
from app.observe.state import StateCollector, StateSource, no_state

_LOG = logging.getLogger(__name__)


class _Version(NamedTuple):
    """The series of one version, looked up once."""

    requests: Counter
    latency: BatchHistogram
    errors: Mapping[str, Counter]
    shadow_errors: Counter
    breaker_open: Gauge


class Metrics:
    """The metrics of this process, and the view over all workers.

    `directory` is where the workers share their values (`metric_files.shared_directory()`); None counts in this
    process alone. `state` gives what the monitor derived. Thread-safe; a verb costs about a microsecond a series.
    """

    def __init__(self, state: StateSource = no_state, directory: Path | None = None) -> None:
        disable_created_metrics()
        self._directory = directory
        self._declared: dict[str, str] = {}
        self._begin()
        derived = StateCollector(state, lambda: tuple(self._versions), lambda: self._state_failures.inc())
        counted = self._registry if directory is None else exposition.SharedFiles(directory)
        self._everything = exposition.InOrder((counted, derived))

    def start(self) -> None:
        """To be called in a worker after it has forked, before it counts: its values get files of their own."""
        if self._directory is not None:
            self._begin()
            self.declare(dict(self._declared))
        self._workers.set(1)

    def declare(self, versions: Mapping[str, str]) -> None:
        """Begin the series of `versions` (name to SHA-256 of the artefact) at 0. Series of others stay.

        Where a version's artefact was replaced, the info of the one before goes to 0.
        """
        before = dict(self._declared)
        self._declared.update(versions)
        for version, sha256 in versions.items():
            self._series_of(version)
            if before.get(version, sha256) != sha256:
                # Set to 0, not removed: what is in the shared files of the workers cannot be.
                self._model_info.labels(version, before[version]).set(0)
            self._model_info.labels(version, sha256).set(1)

    def served(self, version: str, latencies_s: Sequence[float] | np.ndarray, requests: int) -> None:
        """`requests` predict requests were answered by `version`, one latency in seconds each."""
        series = self._series_of(version)
        self._requests.inc(requests)
        series.requests.inc(requests)
        series.latency.observe_all(latencies_s)

    def refused(self, code: str) -> None:
        """A predict request ended without a prediction; `code` is that of the error that was answered."""
        self._requests.inc()
        self._refusals[catalogue.refusal_reason(code)].inc()

    def failed(self, version: str, reason: str) -> None:
        """`version` could not answer; another may have, so that this counts no request."""
        self._series_of(version).errors[catalogue.version_reason(reason)].inc()

    def shadow_failed(self, version: str) -> None:
        """`version` failed on inputs that another version had answered."""
        self._series_of(version).shadow_errors.inc()

    def dropped(self, rows: int) -> None:
        """`rows` answered predictions will not be in the log."""
        self._dropped.inc(rows)

    def shed(self) -> None:
        """A request was turned away because the service was overloaded."""
        self._shed.inc()

    def shadow_shed(self, rows: int) -> None:
        """`rows` answered rows are logged without the other versions' answers: there was no time for them."""
        self._shadow_shed.inc(rows)

    def store_failed(self) -> None:
        """The store did not take a write of the recorder."""
        self._store_failures.inc()

    def breaker(self, version: str, is_open: bool) -> None:
        """This worker has stopped asking `version`, or asks it again."""
        self._series_of(version).breaker_open.set(1 if is_open else 0)

    def queue_rows(self, rows: int) -> None:
        """`rows` rows wait in this worker's queue."""
        self._queue_rows.set(rows)

    def exposition(self, accept: str | None = None) -> tuple[bytes, str]:
        """All metrics over all workers as text, with its content type; OpenMetrics where `accept` asks for it."""
        return exposition.rendered(self._everything, accept)

    def _begin(self) -> None:
        """Make the series anew, in this process's files; where the disk is full, in memory, unseen: serving goes on."""
        values.ValueClass = values.MutexValue
        if self._directory is not None:
            try:
                _make_room(self._directory)
                values.ValueClass = values.MultiProcessValue()
            except OSError:
                _LOG.exception("metrics_not_shared")
        self._make_series()

    def _make_series(self) -> None:
        self._registry = CollectorRegistry()
        self._versions: dict[str, _Version] = {}
        self._requests = self._counter(catalogue.PREDICTION_REQUESTS)
        self._version_requests = self._counter(catalogue.VERSION_REQUESTS)
        self._errors = self._counter(catalogue.ERRORS)
        self._shadow_errors = self._counter(catalogue.SHADOW_ERRORS)
        self._shed = self._counter(catalogue.SHED)
        self._shadow_shed = self._counter(catalogue.SHADOW_SHED)
        self._dropped = self._counter(catalogue.DROPPED)
        self._store_failures = self._counter(catalogue.STORE_FAILURES)
        self._state_failures = self._counter(catalogue.STATE_FAILURES)
        self._breaker_open = self._gauge(catalogue.BREAKER_OPEN)
        self._model_info = self._gauge(catalogue.MODEL_INFO)
        self._queue_rows = self._gauge(catalogue.QUEUE_ROWS)
        self._workers = self._gauge(catalogue.WORKERS)
        latency = catalogue.LATENCY
        self._latency = BatchHistogram(
            latency.name, latency.help, latency.labels, buckets=catalogue.LATENCY_BUCKETS_S, registry=self._registry
        )
        self._refusals = {
            reason: self._errors.labels(catalogue.NO_VERSION, reason) for reason in catalogue.REFUSAL_REASONS
        }

    def _counter(self, metric: Definition) -> Counter:
        return Counter(metric.name, metric.help, metric.labels, registry=self._registry)

    def _gauge(self, metric: Definition) -> Gauge:
        assert metric.across is not None
        return Gauge(metric.name, metric.help, metric.labels, registry=self._registry, multiprocess_mode=metric.across)

    def _series_of(self, version: str) -> _Version:
        series = self._versions.get(version)
        if series is None:
            series = self._versions[version] = _Version(
                requests=self._version_requests.labels(version),
                latency=self._latency.labels(version),
                errors={reason: self._errors.labels(version, reason) for reason in catalogue.VERSION_REASONS},
                shadow_errors=self._shadow_errors.labels(version),
                breaker_open=self._breaker_open.labels(version),
            )
        return series


def _make_room(directory: Path) -> None:
    """Reserve this process's files, and tell prometheus_client where they are. Raises `OSError`."""
    directory.mkdir(parents=True, exist_ok=True)
    modes = {metric.across for metric in catalogue.COUNTED if metric.across}
    for kind in ("counter", "histogram", *(f"gauge_{mode}" for mode in sorted(modes))):
        metric_files.reserve(directory / f"{kind}_{os.getpid()}.db")
    os.environ[metric_files.VARIABLE] = str(directory)
