"""What a row of the dashboard is made of."""

from __future__ import annotations

from typing import NamedTuple


class Query(NamedTuple):
    """A PromQL expression and the name of its lines."""

    expr: str
    legend: str


class Panel(NamedTuple):
    """One graph. `unit` is Grafana's name of it; `limit` draws a line; `span` is its width of 24."""

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    limit: float | None = None
    span: int = 8
    lowest: float | None = 0


class Row(NamedTuple):
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]
