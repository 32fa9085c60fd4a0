"""What is laid over, or put in the place of, the monitor's reports: pure, from an experiment's record and what is in
force."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from app.domain.experiment import Configuration, ExperimentTerms
from app.domain.report import (
    ComparisonReport,
    ExperimentReport,
    ExperimentState,
    Recommendation,
    VariantReport,
)
from app.domain.timestamps import iso_utc

RUN_IT = "run it with `bakeoff monitor`"


class ExperimentRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An experiment as the store has it; times are µs since 1970 (UTC). `report` is the monitor's newest of it."""

    id: str
    ordinal: int
    started_at_us: int
    ended_at_us: int | None
    ended_by: str | None
    terms: ExperimentTerms
    versions: tuple[str, ...]
    champion: str | None
    report: ExperimentReport | None


class ExperimentEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One experiment in the list. `ended_by` is what ended it: a decision, a patch, the shelf or the environment.

    `recommendation` is the last one, null where the monitor has made no report of it.
    """

    id: str
    ordinal: int
    started: str
    ended: str | None
    state: ExperimentState
    ended_by: str | None
    metric: str
    alpha: float
    baseline: str | None
    champion: str | None
    versions: tuple[str, ...]
    recommendation: Recommendation | None


def nothing_known(record: ExperimentRecord, reason: str) -> ExperimentReport:
    """The report of an experiment of which nothing has been computed."""
    baseline = record.terms.baseline
    method = "two_sample" if record.terms.metric == "reward" else "paired"
    return ExperimentReport(
        id=record.id,
        started=iso_utc(record.started_at_us),
        ended=None if record.ended_at_us is None else iso_utc(record.ended_at_us),
        state="running" if record.ended_at_us is None else "ended",
        metric=record.terms.metric,
        alpha=record.terms.alpha,
        baseline=baseline,
        variants=tuple(VariantReport(version=version, weight=0.0) for version in record.versions),
        comparisons=tuple(
            ComparisonReport(challenger=version, method=method) for version in record.versions if version != baseline
        ),
        recommendation=Recommendation("continue", None, reason),
    )


def aged(report: ExperimentReport, age_s: float | None, stale_s: float) -> ExperimentReport:
    """The report, which says so where the monitor does not keep up: its figures are then those of a while ago."""
    if report.computed_at is None or (age_s is not None and age_s <= stale_s):
        return report
    since = "has never caught up with the log" if age_s is None else f"has not caught up with the log for {age_s:.0f} s"
    old = report.recommendation
    reason = f"{old.reason} (as of {report.computed_at}: the monitor {since}; {RUN_IT})"
    return replace(report, recommendation=replace(old, reason=reason))


def overlaid(report: ExperimentReport, configuration: Configuration) -> ExperimentReport:
    """The report with the weights in force, and every version in the split."""
    weights = configuration.weights
    known = {variant.version for variant in report.variants}
    new = tuple(VariantReport(version=version, weight=0.0) for version in weights if version not in known)
    variants = tuple(replace(each, weight=weights.get(each.version, 0.0)) for each in report.variants + new)
    return replace(report, variants=variants)


def entry_of(record: ExperimentRecord) -> ExperimentEntry:
    """The experiment as the list shows it."""
    return ExperimentEntry(
        id=record.id,
        ordinal=record.ordinal,
        started=iso_utc(record.started_at_us),
        ended=None if record.ended_at_us is None else iso_utc(record.ended_at_us),
        state="running" if record.ended_at_us is None else "ended",
        ended_by=record.ended_by,
        metric=record.terms.metric,
        alpha=record.terms.alpha,
        baseline=record.terms.baseline,
        champion=record.champion,
        versions=record.versions,
        recommendation=None if record.report is None else record.report.recommendation,
    )
