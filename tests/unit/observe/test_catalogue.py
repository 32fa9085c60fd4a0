"""`docs/metrics.md` says what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app.observe import catalogue
from app.observe.catalogue import Definition

PAGE = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `(\w+)` \| (counter|gauge|histogram) \| (.*?) ?\| (.+) \|$", re.MULTILINE)
NAMED_IN_THE_CONTRACT = [
    "prediction_requests_total",
    "model_version_requests_total",
    "prediction_latency_seconds",
    "prediction_errors_total",
    "model_drift_score",
    "model_feature_drift_score",
    "circuit_breaker_open",
    "experiment_weight",
    "experiment_feedback_total",
    "experiment_labelled_mean",
    "experiment_e_value",
    "experiment_sample_ratio_ok",
    "requests_shed_total",
    "model_info",
    "model_drift_evidence",
    "model_drift_alarm",
    "model_drift_state_age_seconds",
    "predictions_dropped_total",
]


def as_row(metric: Definition) -> tuple[str, str, str, str]:
    return metric.name, metric.kind, ", ".join(f"`{label}`" for label in metric.labels), metric.help


def test_the_page_lists_every_metric_as_it_is() -> None:
    assert ROW.findall(PAGE) == [as_row(metric) for metric in catalogue.ALL]


@pytest.mark.parametrize("name", NAMED_IN_THE_CONTRACT)
def test_names_that_others_rely_on_are_there(name: str) -> None:
    assert name in {metric.name for metric in catalogue.ALL}


def test_every_query_of_the_page_uses_known_metrics() -> None:
    known = {metric.name for metric in catalogue.ALL}
    queries = re.findall(r"^\| [^`|]+ \| `(.+)` \|$", PAGE, re.MULTILINE)
    used = {name for query in queries for name in re.findall(r"\b[a-z]+(?:_[a-z]+){1,}\b", query)}
    functions = {"histogram_quantile", "group_left"}
    assert used - functions <= known | {f"{name}_bucket" for name in known}
    assert len(queries) >= 5


def test_the_page_gives_the_buckets_in_order() -> None:
    start = PAGE.index("**Latency buckets.**")
    text = PAGE[PAGE.index(":", start) : PAGE.index("##", start)]
    units = {"µs": 1e-6, "ms": 1e-3, "s": 1.0}
    bounds: list[float] = []
    for group in text.split(";"):
        unit = re.search(r"(µs|ms|s)\b", group)
        assert unit is not None
        bounds += [float(number) * units[unit[1]] for number in re.findall(r"\d+(?:\.\d+)?", group)]
    assert bounds == pytest.approx(list(catalogue.LATENCY_BUCKETS_S))
