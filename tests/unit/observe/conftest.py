"""A shared metrics directory, and processes that count in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client import values

from app.observe import metric_files
from tests.unit.observe.workers import Worker


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory for processes forked from here to share; what is set for it is undone after the test."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    monkeypatch.setattr(values, "ValueClass", values.ValueClass)
    metric_files.wipe(tmp_path)
    return tmp_path


@pytest.fixture
def start(directory: Path) -> Iterator[Callable[[], Worker]]:
    workers: list[Worker] = []

    def start_one() -> Worker:
        workers.append(Worker(directory))
        return workers[-1]

    yield start_one
    for worker in workers:
        worker.end()
