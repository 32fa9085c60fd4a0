"""The report to send: one HTML file without scripts and without anything from outside, in the page's words and order.

The dashboard and `bakeoff report --html` make it of the API's answers. It knows nothing of Streamlit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
import msgspec
from markupsafe import Markup

from app.tables.counts import as_sentence
from app.ui import findings, svg, tables
from app.ui.events import Event, ending_of, event_row, events_of, nothing_decided, older_decisions, shares_said
from app.ui.experiment_records import ApiComparison, ApiDrift, ApiExperiment, ApiTimeline
from app.ui.records import ApiAudit, ApiConfiguration
from app.ui.wording import UNKNOWN, moment, moment_of, number, scale_of, unix_of

_TEMPLATE = Path(__file__).with_name("sent_report.html")


class Sources(msgspec.Struct, frozen=True, kw_only=True):
    """What a report is made of: answers of the API. `config` has the terms; `drift` is None for an ended experiment."""

    report: ApiExperiment
    timeline: ApiTimeline = ApiTimeline()
    audit: ApiAudit = ApiAudit()
    config: ApiConfiguration | None = None
    drift: ApiDrift | None = None


def paths_of(experiment: str, *, running: bool) -> dict[str, str]:
    """The calls whose answers a report needs beside the experiment's own, by the names of `Sources`."""
    name = quote(experiment, safe="")
    paths = {"timeline": f"/experiment/timeline?points=200&id={name}", "audit": f"/audit?limit=200&experiment={name}"}
    paths["config"] = f"/config?experiment={name}"
    # Drift is that of now.
    return {**paths, "drift": "/drift"} if running else paths


def sources_of(answers: Mapping[str, Any]) -> Sources:
    """The records of decoded answers, by the names of `Sources`. Raises `msgspec.ValidationError`."""
    return msgspec.convert(dict(answers), Sources)


def html_of(sources: Sources, now: float) -> str:
    """The report as a document; `now` is Unix seconds."""
    report = sources.report
    chosen = findings.chosen_of(report)
    events = events_of(report, sources.audit.entries, sources.drift)
    known = [each for each in report.comparisons if each.n]
    points = findings.points_of(chosen, report, sources.timeline)
    facts = () if chosen is None or not chosen.n else findings.facts_of(chosen, report, sources.drift, points, now)
    return _template().render(
        report=report,
        advised=findings.advised(report),
        reason=as_sentence(report.recommendation.reason),
        action=report.recommendation.action,
        ending=ending_of(report, sources.audit.entries),
        ended=moment(report.ended),
        facts=facts,
        small_print=findings.small_print(report),
        terms=_terms(sources),
        challengers=_challengers(report),
        comparisons=[_comparison(each, sources) for each in known],
        without=[each.challenger for each in report.comparisons if not each.n],
        means=tables.means(report),
        versions=tables.versions(report),
        excluded={version: as_sentence(reason) for version, reason in report.excluded.items()},
        checks=tables.checks(report),
        splits=_splits(sources, events, now),
        events=_events(events),
        older=older_decisions(sources.audit, report.id).replace("`", ""),
        nothing="" if any(each.entry for each in events) else nothing_decided(report),
        made=moment_of(now),
    )


@lru_cache(maxsize=1)
def _template() -> jinja2.Template:
    # Names of versions, classes and people, and reasons, are other people's words: all are escaped.
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))


def _terms(sources: Sources) -> str:
    config = sources.config
    if config is None or not config.guardrail_slow or config.experiment_id not in ("", sources.report.id):
        return ""
    return tables.terms_of(config)


def _challengers(report: ApiExperiment) -> list[dict[str, object]]:
    """The page's table, with the intervals drawn on one axis."""
    axis = svg.axis_of(report.comparisons)
    rows = tables.challengers(report)
    if axis is None:
        return rows
    title = scale_of(report.metric).changes((axis.low, axis.high))
    return [
        {**row, title: Markup(svg.interval(each, axis))}  # noqa: S704 # nosec B704 - our own drawing of numbers
        for row, each in zip(rows, report.comparisons, strict=True)
    ]


def _comparison(each: ApiComparison, sources: Sources) -> dict[str, object]:
    report = sources.report
    baseline, scale = report.baseline or "the baseline", scale_of(report.metric)
    points = findings.points_of(each, report, sources.timeline)
    described = tables.improvement_description(points, each.challenger, baseline, scale) if points else ""
    return {
        "title": f"{each.challenger} against {baseline}",
        "challenger": each.challenger,
        "progress": findings.progress(each, report).replace("**", ""),
        "figures": tables.figures(each, report),
        "secondary": tables.secondary(each.challenger, report),
        "notes": [note.replace("**", "") for note in tables.secondary_notes(each.challenger, report)],
        "square": [{"rows": name, "count": number(n)} for name, n in tables.square(each, baseline) if n is not None],
        "others": [{"what else to know": name, "count": count} for name, count in tables.other_counts(each).items()],
        "warnings": [as_sentence(warning) for warning in each.warnings],
        "chart": Markup(svg.improvement(points, scale, described)),  # noqa: S704 # nosec B704 - escapes its names
        "unit": scale.points.strip(),
        "described": described,
        "assumptions": tables.assumptions(each, report),
    }


def _splits(sources: Sources, events: Sequence[Event], now: float) -> Markup:
    ended = None if sources.report.ended is None else unix_of(sources.report.ended)
    timeline = sources.timeline
    drawn = svg.splits(timeline.splits, events, now if ended is None else ended, shares_said(timeline))
    return Markup(drawn)  # noqa: S704 # nosec B704 - escapes its names


def _events(events: Sequence[Event]) -> list[dict[str, object]]:
    """What happened, each with what it changed."""
    changed = [UNKNOWN if each.entry is None else tables.decision(each.entry)["changed"] for each in events]
    return [{**event_row(each), "changed": said} for each, said in zip(events, changed, strict=True)]
