"""The verbs and what they count, in one process."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram

from app.observe import catalogue
from app.observe.metrics import BatchHistogram, Metrics
from app.observe.state import HostCondition, StateSnapshot
from tests.unit.observe.states import DRIFT, FULL
from tests.unit.observe.workers import SHA256, Worker, samples, value

LATENCIES = st.lists(
    st.one_of(st.sampled_from(catalogue.LATENCY_BUCKETS_S), st.floats(0, 20, allow_nan=False)), max_size=50
)


@pytest.fixture
def metrics() -> Metrics:
    made = Metrics()
    made.declare(SHA256)
    return made


def test_answered_requests_are_counted_in_all_and_by_version(metrics: Metrics) -> None:
    metrics.served("v1", [0.001, 0.002], 2)
    metrics.served("v2", [0.001], 1)
    assert value(metrics, "prediction_requests_total", protocol="bakeoff") == 3
    assert value(metrics, "model_version_requests_total", version="v1") == 2
    assert value(metrics, "prediction_latency_seconds_count", version="v1") == 2
    assert value(metrics, "prediction_latency_seconds_sum", version="v1") == pytest.approx(0.003)


def test_a_refused_request_counts_as_a_request_of_no_version(metrics: Metrics) -> None:
    metrics.refused("invalid_features")
    assert value(metrics, "prediction_requests_total", protocol="bakeoff") == 1
    assert value(metrics, "prediction_errors_total", version="none", reason="invalid_features") == 1


def test_all_requests_are_the_answered_and_the_refused_ones(metrics: Metrics) -> None:
    metrics.served("v1", [0.001] * 5, 5)
    metrics.failed("v2", "ValueError: no")
    for code in ("malformed_json", "not_ready", "malformed_json"):
        metrics.refused(code)
    seen = samples(metrics.exposition()[0])
    refused = sum(v for (name, labels), v in seen.items() if name.endswith("errors_total") and _of_none(labels))
    assert seen["prediction_requests_total", frozenset({("protocol", "bakeoff")})] == 5 + refused == 8


def test_requests_are_counted_by_protocol_and_each_begins_at_0(metrics: Metrics) -> None:
    metrics.served("v1", [0.001], 1, "mlflow")
    metrics.refused("invalid_request", "kserve_v1")
    counts = {name: value(metrics, "prediction_requests_total", protocol=name) for name in catalogue.PROTOCOLS}
    assert {name: count for name, count in counts.items() if count} == {"mlflow": 1, "kserve_v1": 1}
    assert counts["bakeoff"] == 0


def _of_none(labels: frozenset[tuple[str, str]]) -> bool:
    return ("version", "none") in labels


@pytest.mark.parametrize(
    ("reason", "label"),
    [
        ("circuit_open", "circuit_open"),
        ("ValueError: input 3 is bad", "model_failed"),
        ("a text that a client chose\n", "model_failed"),
        ("", "model_failed"),
    ],
)
def test_whatever_a_version_raised_becomes_one_of_few_reasons(metrics: Metrics, reason: str, label: str) -> None:
    metrics.failed("v1", reason)
    assert value(metrics, "prediction_errors_total", version="v1", reason=label) == 1


def test_an_unknown_refusal_is_other(metrics: Metrics) -> None:
    metrics.refused("a code of tomorrow")
    assert value(metrics, "prediction_errors_total", version="none", reason="other") == 1


@pytest.mark.parametrize(
    ("act", "name", "labels", "expected"),
    [
        (lambda m: m.shadow_failed("v2"), "shadow_errors_total", {"version": "v2"}, 1),
        (lambda m: m.dropped(7), "predictions_dropped_total", {}, 7),
        (lambda m: m.shed(), "requests_shed_total", {}, 1),
        (lambda m: m.wrong_token(), "wrong_tokens_total", {}, 1),
        (lambda m: m.store_failed(), "store_write_failures_total", {}, 1),
        (lambda m: m.queue_rows(42), "recorder_queue_rows", {}, 42),
        (lambda m: m.breaker("v1", True), "circuit_breaker_open", {"version": "v1"}, 1),
    ],
)
def test_each_verb_moves_its_own_series(
    metrics: Metrics, act: Callable[[Metrics], None], name: str, labels: dict[str, str], expected: float
) -> None:
    before = samples(metrics.exposition()[0])
    act(metrics)
    after = samples(metrics.exposition()[0])
    assert {key: now for key, now in after.items() if now != before[key]} == {
        (name, frozenset(labels.items())): expected
    }


def test_a_closed_breaker_is_zero_again(metrics: Metrics) -> None:
    metrics.breaker("v1", True)
    metrics.breaker("v1", False)
    assert value(metrics, "circuit_breaker_open", version="v1") == 0


def test_every_known_series_is_there_before_the_first_request(metrics: Metrics) -> None:
    seen = samples(metrics.exposition()[0])
    assert {v for (name, _), v in seen.items() if name != "model_info"} == {0}
    assert value(metrics, "model_info", version="v1", sha256=SHA256["v1"]) == 1
    for metric in catalogue.COUNTED:
        wanted = 1 if not metric.labels else 2
        suffix = "_count" if metric.kind == "histogram" else ""
        assert sum(name == metric.name + suffix for name, _ in seen) >= wanted, metric.name


def test_declaring_other_versions_removes_nothing(metrics: Metrics) -> None:
    metrics.served("v1", [0.001], 1)
    metrics.declare({"v3": "c" * 64})
    assert value(metrics, "model_version_requests_total", version="v1") == 1
    assert value(metrics, "model_version_requests_total", version="v3") == 0


def test_no_metric_has_a_label_that_is_not_in_the_catalogue(metrics: Metrics) -> None:
    known = {label for metric in catalogue.ALL for label in metric.labels} | {"le"}
    assert {label for _, labels in samples(metrics.exposition()[0]) for label, _ in labels} <= known


@given(LATENCIES)
def test_observing_a_batch_is_observing_each(amounts: list[float]) -> None:
    batch, single = CollectorRegistry(), CollectorRegistry()
    BatchHistogram("t", "t", registry=batch, buckets=catalogue.LATENCY_BUCKETS_S).observe_all(amounts)
    one_by_one = Histogram("t", "t", registry=single, buckets=catalogue.LATENCY_BUCKETS_S)
    for amount in amounts:
        one_by_one.observe(amount)
    names = [(s.name, s.labels) for family in single.collect() for s in family.samples if s.name != "t_created"]
    for name, labels in names:
        assert batch.get_sample_value(name, labels) == pytest.approx(single.get_sample_value(name, labels))


def test_the_state_of_the_monitor_is_shown_as_it_is() -> None:
    metrics = Metrics(lambda: FULL)
    metrics.declare(SHA256)
    assert value(metrics, "experiment_weight", version="v2") == 0.1
    assert value(metrics, "experiment_feedback_total", version="v1") == 12
    assert value(metrics, "experiment_feedback_total", version="v2") == 0
    assert value(metrics, "experiment_labelled_mean", version="v1") == 0.75
    assert value(metrics, "experiment_e_value", challenger="v2") == math.inf
    assert value(metrics, "experiment_sample_ratio_ok") == 1
    assert value(metrics, "model_drift_score") == 0.25
    assert value(metrics, "model_feature_drift_score", feature="petal_length") == DRIFT.features[2].score
    assert value(metrics, "model_drift_evidence") == 0.5
    assert value(metrics, "model_drift_alarm") == 0
    assert value(metrics, "model_drift_state_age_seconds") == 1.5


def test_the_experiments_evidence_and_guards_are_shown_as_they_are() -> None:
    metrics = Metrics(lambda: FULL)
    assert value(metrics, "experiment_difference", challenger="v2") == 0.01
    assert value(metrics, "experiment_difference_low", challenger="v2") == -0.02
    assert value(metrics, "experiment_difference_high", challenger="v2") == 0.04
    assert value(metrics, "experiment_e_value_needed") == 20
    assert value(metrics, "experiment_label_rate_ok") == 0
    assert value(metrics, "experiment_guardrail_ok", version="v2", guardrail="errors") == 0
    assert value(metrics, "experiment_guardrail_ok", version="v2", guardrail="slow_answers") == 1


def test_the_hosts_condition_is_shown_also_where_the_monitor_is_unknown() -> None:
    host = HostCondition(store_writable=False, disk_free_bytes=5, disk_size_bytes=10)
    metrics = Metrics(lambda: StateSnapshot(host=host))
    assert value(metrics, "store_writable") == 0
    assert value(metrics, "data_disk_free_bytes") == 5
    assert value(metrics, "data_disk_size_bytes") == 10


def test_what_cannot_be_estimated_is_absent_and_still_announced(metrics: Metrics) -> None:
    text = metrics.exposition()[0].decode()
    assert "# TYPE model_drift_score gauge" in text
    assert value(metrics, "model_drift_score") is None
    assert value(metrics, "experiment_sample_ratio_ok") is None


def test_a_state_that_cannot_be_read_hides_nothing_else_and_is_counted() -> None:
    def broken() -> StateSnapshot | None:
        raise OSError("the store is down")

    metrics = Metrics(broken)
    metrics.served("v1", [0.001], 1)
    assert value(metrics, "prediction_requests_total", protocol="bakeoff") == 1
    assert value(metrics, "monitor_state_failures_total") == 1


def test_gauges_of_several_workers_become_one(directory: Path, start: Callable[[], Worker]) -> None:
    first, second = start(), start()
    first.do("breaker", "v1", True)
    second.do("breaker", "v1", False)
    first.do("queue_rows", 3)
    second.do("queue_rows", 4)
    view = Metrics(directory=directory)
    assert value(view, "circuit_breaker_open", version="v1") == 1
    assert value(view, "recorder_queue_rows") == 7
    assert value(view, "model_info", version="v1", sha256=SHA256["v1"]) == 1


def test_a_replaced_artefact_is_not_shown_as_loaded_any_more(metrics: Metrics) -> None:
    metrics.declare({"v1": "d" * 64})
    assert value(metrics, "model_info", version="v1", sha256=SHA256["v1"]) == 0
    assert value(metrics, "model_info", version="v1", sha256="d" * 64) == 1
    metrics.declare(SHA256)
    assert value(metrics, "model_info", version="v1", sha256=SHA256["v1"]) == 1
