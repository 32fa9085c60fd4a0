"""Writes dashboards/bakeoff.json from the row definitions; with `--check` only verifies that it is up to date."""

from __future__ import annotations

import argparse
import sys
from itertools import count
from pathlib import Path

from evidence_rows import DRIFT, EXPERIMENT
from grafana_foundation_sdk.builders import common, dashboard, prometheus, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import DataSourceRef, Threshold, ThresholdsMode
from panels import Panel, Query
from service_rows import INFRASTRUCTURE, MODEL

ROWS = (MODEL, EXPERIMENT, DRIFT, INFRASTRUCTURE)
TARGET = Path(__file__).parent / "dashboards" / "bakeoff.json"
# The uid that provisioning/datasources/prometheus.yml assigns.
SOURCE = DataSourceRef(type_val="prometheus", uid="prometheus")


def dashboard_json() -> str:
    """The dashboard as a JSON document that Grafana can provision."""
    built = (
        dashboard.Dashboard("Bakeoff")
        .uid("bakeoff")
        .tags(["bakeoff"])
        .readonly()
        .timezone("browser")
        .refresh("5s")
        .time("now-30m", "now")
    )
    number = count(1)  # without fixed ids, Grafana assigns new ones at each change and links to panels break
    for row in ROWS:
        built.with_row(dashboard.Row(row.title).id(next(number)))
        for panel in row.panels:
            built.with_panel(_panel(panel).id(next(number)))
    return JSONEncoder(sort_keys=True, indent=2).encode(built.build()) + "\n"


def _panel(panel: Panel) -> timeseries.Panel:
    built = (
        timeseries.Panel()
        .title(panel.title)
        .description(panel.description)
        .datasource(SOURCE)
        .unit(panel.unit)
        .height(7)
        .span(panel.span)
        .fill_opacity(8)
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
    )
    if panel.lowest is not None:
        built.axis_soft_min(panel.lowest)
    if panel.limit is not None:
        _draw_limit(built, panel.limit)
    for place, query in enumerate(panel.queries):
        built.with_target(_target(query, "ABCDEFGH"[place]))
    return built


def _draw_limit(panel: timeseries.Panel, limit: float) -> None:
    steps = [Threshold(value=None, color="transparent"), Threshold(value=limit, color="red")]
    panel.thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
    panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED))


def _target(query: Query, ref_id: str) -> prometheus.Dataquery:
    return prometheus.Dataquery().datasource(SOURCE).expr(query.expr).legend_format(query.legend).ref_id(ref_id).range()


def main() -> int:
    """Write or check the file; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 if the file is out of date")
    wanted = dashboard_json()
    if not parser.parse_args().check:
        TARGET.write_text(wanted, encoding="utf-8")
        sys.stdout.write(f"{TARGET.name}: written\n")
        return 0
    if TARGET.is_file() and TARGET.read_text(encoding="utf-8") == wanted:
        return 0
    sys.stderr.write(f"{TARGET} is out of date: run python docker/grafana/generate.py\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
