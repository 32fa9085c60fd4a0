"""Metrics: callers count events through verbs, and `GET /metrics` shows the sums over all workers.

Names, labels and buckets are in `catalogue.py`; the gauges that are read at a scrape are in `state.py`.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, values
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from app.domain.prediction import OWN_PROTOCOL
from app.observe import catalogue, metric_files
from app.observe.catalogue import Definition
from app.observe.state import StateCollector, StateSource, no_state

_LOG = logging.getLogger(__name__)
_OPENMETRICS = "application/openmetrics-text"
_REFUSED = re.compile(r"q=0(\.0*)?")


class BatchHistogram(Histogram):
    """A `Histogram` with `observe_all`.

    `observe` costs two locked writes to a mapped file per observation; this costs one per bucket that gains and one
    for the sum. prometheus_client has no public way to do so: this uses its private attributes, and a test compares
    the result with that of `observe`.
    """

    def observe_all(self, amounts: Sequence[float] | np.ndarray) -> None:
        """Count each of `amounts` (finite, in the unit of the metric)."""
        values = np.asarray(amounts, dtype=np.float64)
        # side="left": an amount equal to a bound belongs to the bucket below it, as in `observe`.
        gains = np.bincount(self._bounds.searchsorted(values, side="left")).tolist()
        self._sum.inc(float(values.sum()))
        for bucket, gain in zip(self._buckets, gains, strict=False):
            if gain:
                bucket.inc(gain)

    @cached_property
    def _bounds(self) -> np.ndarray:
        return np.array(self._upper_bounds)


class MetricSource(Protocol):
    """Anything with metric families: a registry or a collector."""

    def collect(self) -> Iterable[Metric]: ...


class SharedFiles(Collector):
    """The sum over all workers of one host, dead ones included."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def collect(self) -> Iterable[Metric]:
        """The families that any worker has a series of."""
        with metric_files.reading(self._directory):
            return list(MultiProcessCollector.merge([str(path) for path in metric_files.value_files(self._directory)]))


class InOrder(Collector):
    """Several sources as one, families sorted by name, so that two scrapes can be compared by eye."""

    def __init__(self, sources: Sequence[MetricSource]) -> None:
        self._sources = sources

    def collect(self) -> Iterable[Metric]:
        """Every family of every source."""
        return sorted((family for source in self._sources for family in source.collect()), key=lambda it: it.name)


def rendered(source: MetricSource, accept: str | None) -> tuple[bytes, str]:
    """The text of `source` and its content type: OpenMetrics 1.0 if `accept` asks for it, else Prometheus 0.0.4."""
    if wants_openmetrics(accept):
        return openmetrics.generate_latest(source), openmetrics.CONTENT_TYPE_LATEST
    return generate_latest(source), CONTENT_TYPE_PLAIN_0_0_4


def wants_openmetrics(accept: str | None) -> bool:
    """Whether an Accept header names OpenMetrics and does not refuse it (`q=0`). A malformed header is no error."""
    for offer in (accept or "").lower().split(","):
        kind, *parameters = offer.replace(" ", "").split(";")
        if kind == _OPENMETRICS:
            return not any(_REFUSED.fullmatch(parameter) for parameter in parameters)
    return False


class _VersionSeries(NamedTuple):
    """The series of one version: `labels()` takes a lock and a dictionary look-up, which a request need not pay."""

    requests: Counter
    latency: BatchHistogram
    errors: Mapping[str, Counter]
    exposures: Counter
    shadow_errors: Counter
    breaker_open: Gauge


class Metrics:
    """The metrics of this process, and the view over all workers.

    `directory` is where the workers share their values (`metric_files.shared_directory()`); None counts in this
    process alone. `state` gives the snapshot of `state.py`. Thread-safe; a verb costs about a microsecond per series.
    """

    def __init__(self, state: StateSource = no_state, directory: Path | None = None) -> None:
        disable_created_metrics()
        self._directory = directory
        self._declared: dict[str, str] = {}
        self._begin()
        derived = StateCollector(state, lambda: tuple(self._versions), lambda: self._state_failures.inc())
        counted = self._registry if directory is None else SharedFiles(directory)
        self._everything = InOrder((counted, derived))

    def start(self) -> None:
        """Begin counting in files of this process. To be called in a worker after the fork, before it counts."""
        if self._directory is not None:
            self._begin()
            self.declare(dict(self._declared))
        self._workers.set(1)

    def declare(self, versions: Mapping[str, str]) -> None:
        """Begin the series of `versions` (name to SHA-256 of the artefact) at 0. Series of others stay.

        If the artefact of a version is another one than before, the info series of the previous one goes to 0.
        """
        before = dict(self._declared)
        # Kept, because a worker begins its series again after the fork.
        self._declared.update(versions)
        for version, sha256 in versions.items():
            self._series_of(version)
            if before.get(version, sha256) != sha256:
                # Set to 0 and not removed: a series cannot be removed from the workers' shared files.
                self._model_info.labels(version, before[version]).set(0)
            self._model_info.labels(version, sha256).set(1)

    def served(
        self, version: str, latencies_s: Sequence[float] | np.ndarray, requests: int, protocol: str = OWN_PROTOCOL
    ) -> None:
        """`version` answered `requests` predict requests of a protocol, with these latencies in seconds."""
        series = self._series_of(version)
        self._requests[protocol].inc(requests)
        series.requests.inc(requests)
        series.latency.observe_all(latencies_s)

    def refused(self, code: str, protocol: str = OWN_PROTOCOL) -> None:
        """A predict request of a protocol got no prediction; `code` is the error's, as in the response."""
        self._requests[protocol].inc()
        self._refusals[catalogue.refusal_reason(code)].inc()

    def failed(self, version: str, reason: str) -> None:
        """`version` failed on a request. Another one may have answered, so no request is counted here."""
        self._series_of(version).errors[catalogue.version_reason(reason)].inc()

    def exposed(self, version: str, exposures: int) -> None:
        """Callers reported so many exposures to `version`, whether they count in the experiment or not."""
        self._series_of(version).exposures.inc(exposures)

    def shadow_failed(self, version: str) -> None:
        """`version` failed on inputs that another version had answered."""
        self._series_of(version).shadow_errors.inc()

    def dropped(self, rows: int) -> None:
        """`rows` answered predictions were dropped and will not be in the log."""
        self._dropped.inc(rows)

    def shed(self) -> None:
        """A request was rejected because the service was overloaded."""
        self._shed.inc()

    def wrong_token(self) -> None:
        """A call was refused because its token was wrong."""
        self._wrong_tokens.inc()

    def shadow_shed(self, rows: int) -> None:
        """`rows` answered rows are logged without the shadow versions' answers, because of load."""
        self._shadow_shed.inc(rows)

    def store_failed(self) -> None:
        """A write of the recorder to the store failed."""
        self._store_failures.inc()

    def breaker(self, version: str, is_open: bool) -> None:
        """This worker's circuit breaker for `version` has opened or closed."""
        self._series_of(version).breaker_open.set(1 if is_open else 0)

    def queue_rows(self, rows: int) -> None:
        """`rows` rows wait in this worker's queue."""
        self._queue_rows.set(rows)

    def exposition(self, accept: str | None = None) -> tuple[bytes, str]:
        """All metrics over all workers as text, and its content type; see `rendered`."""
        return rendered(self._everything, accept)

    def _begin(self) -> None:
        """Create the series in this process's files; if the disk is full, in memory only, so that serving goes on."""
        values.ValueClass = values.MutexValue
        if self._directory is not None:
            try:
                _make_room(self._directory)
                values.ValueClass = values.MultiProcessValue()
            except OSError:
                _LOG.exception("metrics_not_shared")  # counts of this worker are missing from scrapes from now on
        self._make_series()

    def _make_series(self) -> None:
        self._registry = CollectorRegistry()
        self._versions: dict[str, _VersionSeries] = {}
        requests = self._counter(catalogue.PREDICTION_REQUESTS)
        self._requests = {protocol: requests.labels(protocol) for protocol in catalogue.PROTOCOLS}
        self._version_requests = self._counter(catalogue.VERSION_REQUESTS)
        self._errors = self._counter(catalogue.ERRORS)
        self._exposures = self._counter(catalogue.EXPOSURES)
        self._shadow_errors = self._counter(catalogue.SHADOW_ERRORS)
        self._shed = self._counter(catalogue.SHED)
        self._wrong_tokens = self._counter(catalogue.WRONG_TOKENS)
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

    def _series_of(self, version: str) -> _VersionSeries:
        series = self._versions.get(version)
        if series is None:
            series = self._versions[version] = _VersionSeries(
                requests=self._version_requests.labels(version),
                latency=self._latency.labels(version),
                errors={reason: self._errors.labels(version, reason) for reason in catalogue.VERSION_REASONS},
                exposures=self._exposures.labels(version),
                shadow_errors=self._shadow_errors.labels(version),
                breaker_open=self._breaker_open.labels(version),
            )
        return series


def _make_room(directory: Path) -> None:
    """Reserve this process's files and set prometheus_client's variable to their directory. Raises `OSError`."""
    directory.mkdir(parents=True, exist_ok=True)
    modes = {metric.across for metric in catalogue.COUNTED if metric.across}
    for kind in ("counter", "histogram", *(f"gauge_{mode}" for mode in sorted(modes))):
        metric_files.reserve(directory / f"{kind}_{os.getpid()}.db")
    os.environ[metric_files.VARIABLE] = str(directory)
