"""From collectors to the text that Prometheus reads."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from app.observe import metric_files

_OPENMETRICS = "application/openmetrics-text"
_REFUSED = re.compile(r"q=0(\.0*)?")


class Source(Protocol):
    """Anything that gives metric families."""

    def collect(self) -> Iterable[Metric]: ...


class SharedFiles(Collector):
    """The sum over all workers of one host, dead ones included."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def collect(self) -> Iterable[Metric]:
        """All families that any worker has begun."""
        with metric_files.reading(self._directory):
            return list(MultiProcessCollector.merge([str(path) for path in metric_files.begun(self._directory)]))


class InOrder(Collector):
    """Several sources as one, families sorted by name, so that two scrapes can be compared by eye."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources

    def collect(self) -> Iterable[Metric]:
        """Every family of every source."""
        return sorted((family for source in self._sources for family in source.collect()), key=lambda it: it.name)


def rendered(source: Source, accept: str | None) -> tuple[bytes, str]:
    """The text of `source` and its content type: OpenMetrics 1.0 where `accept` asks for it, else Prometheus 0.0.4."""
    if wants_openmetrics(accept):
        return openmetrics.generate_latest(source), openmetrics.CONTENT_TYPE_LATEST
    return generate_latest(source), CONTENT_TYPE_PLAIN_0_0_4


def wants_openmetrics(accept: str | None) -> bool:
    """Whether an Accept header names OpenMetrics and does not refuse it (`q=0`). No text is a wrong header here."""
    for offer in (accept or "").lower().split(","):
        kind, *parameters = offer.replace(" ", "").split(";")
        if kind == _OPENMETRICS:
            return not any(_REFUSED.fullmatch(parameter) for parameter in parameters)
    return False
