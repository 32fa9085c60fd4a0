"""The text that Prometheus reads: its form, its negotiation, its tools' opinion of it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from app.observe import catalogue
from app.observe.metrics import Metrics
from app.observe.state import StateSnapshot
from tests.unit.observe.states import FULL
from tests.unit.observe.workers import SHA256, samples

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def busy(state: StateSnapshot | None, directory: Path | None = None) -> Metrics:
    metrics = Metrics(lambda: state, directory)
    metrics.declare(SHA256)
    metrics.served("v1", [1e-5, 0.2, 30.0], 3)
    metrics.refused("malformed_json")
    return metrics


@pytest.mark.parametrize("state", [None, FULL], ids=["start", "all known"])
@pytest.mark.parametrize("shared", [False, True], ids=["one process", "shared"])
def test_promtool_has_no_complaint(state: StateSnapshot | None, shared: bool, directory: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("NOT CHECKED: promtool is not installed (Debian package prometheus)")
    text, _ = busy(state, directory if shared else None).exposition()
    checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_where_all_is_known_every_metric_has_a_series() -> None:
    with_a_series = {name for name, _ in samples(busy(FULL).exposition()[0])}
    single = {metric.name for metric in catalogue.ALL if metric.kind != "histogram"}
    assert single <= with_a_series


@pytest.mark.parametrize("state", [None, FULL], ids=["start", "all known"])
def test_the_openmetrics_form_says_the_same(state: StateSnapshot | None) -> None:
    metrics = busy(state)
    text, content_type = metrics.exposition("application/openmetrics-text")
    families = list(text_string_to_metric_families(text.decode()))
    parsed = {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}
    assert content_type == OPENMETRICS
    assert parsed == samples(metrics.exposition()[0])


@pytest.mark.parametrize(
    ("accept", "openmetrics"),
    [
        (None, False),
        ("", False),
        ("*/*", False),
        ("text/plain;version=0.0.4", False),
        ("application/openmetrics-text", True),
        ("Application/OpenMetrics-Text; version=1.0.0", True),
        ("text/html, application/openmetrics-text;version=0.0.1;q=0.75, */*;q=0.1", True),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text; q=0.0, text/plain", False),
        ("application/openmetrics-text; version=\r\nX-Evil: 1", True),
        (";;;===,,,q", False),
        ("application/openmetrics-text;version=abc;q=zzz", True),
    ],
)
def test_no_accept_header_fails_and_few_mean_openmetrics(accept: str | None, openmetrics: bool) -> None:
    _, content_type = busy(None).exposition(accept)
    assert content_type == (OPENMETRICS if openmetrics else "text/plain; version=0.0.4; charset=utf-8")


def test_a_file_without_a_size_yet_is_no_obstacle(directory: Path) -> None:
    metrics = busy(None, directory)
    (directory / "counter_1.db").touch()
    (directory / "histogram_1.db").write_bytes(bytes(4096))
    assert b'prediction_requests_total{protocol="bakeoff"} 4' in metrics.exposition()[0]
