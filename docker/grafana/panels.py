"""The records that define the dashboard: rows, panels and queries."""

from __future__ import annotations

from typing import NamedTuple


class Query(NamedTuple):
    """A PromQL expression and the legend of its lines."""

    expr: str
    legend: str


class Panel(NamedTuple):
    """One graph. `unit` is a Grafana unit id; `limit` draws a threshold line; `span` is the width, of 24 columns."""

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    limit: float | None = None
    span: int = 8
    lowest: float | None = 0


class Row(NamedTuple):
    """Panels under a common heading."""

    title: str
    panels: tuple[Panel, ...]
