"""Output of `train` and `publish`: the steps while they run, and what was checked and published."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from app.cli.outlook import Outlook, beside_text, columns_text, drift_text, experiment_text, kind_of, runtime_text
from app.cli.table import table_lines
from app.domain.contract import Feature
from app.domain.experiment import CaseFacts, SlowLimit, slow_limit
from app.domain.timestamps import iso_utc
from app.settings import Settings
from app.tables.counts import counted
from app.tables.model_columns import source_of

if TYPE_CHECKING:  # for annotations only: these modules load scikit-learn
    from app.inference.latency import SingleRowLatency
    from app.training.findings import DataReport, Finding
    from app.training.refreshed_reference import RefreshedReference
    from app.training.session import PublishedVersion, SessionResult

TO_SERVE = "To serve: `bakeoff serve`, or `POST /models/reload` if the API runs."
_FIGURES = {
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "log_loss": "log-loss",
    "brier": "Brier (all classes)",
    "rmse": "RMSE",
    "mae": "MAE",
    "r2": "R²",
}
_MANIFEST_FIELDS = ("version", "variant", "estimator", "created_at", "runtime", "parity", "metrics", "source")
_MOST_CLASSES_SHOWN = 12
_INDENT = "  "
# The limit that is offered is as far above the latency measured: traffic is less even than a measurement.
_ROOM = 1.25


@contextmanager
def steps() -> Iterator[Callable[[str], None]]:
    """A function to call with the description of each step as it begins.

    On a terminal, standard error shows the current step with a spinner, and finished ones with their time. Elsewhere
    nothing is shown.
    """
    # A spinner in a log file is a line for every frame.
    if not sys.stderr.isatty():
        yield lambda _step: None
        return
    columns = (SpinnerColumn(finished_text="·"), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:

        def step(description: str) -> None:
            finish()
            progress.add_task(description, total=1)

        def finish() -> None:
            for task in progress.tasks:
                progress.update(task.id, completed=1)

        yield step
        finish()


class Measured(msgspec.Struct, frozen=True):
    """What is known of published versions, by name: the latency of those that answer, and the outlook of each."""

    latencies: Mapping[str, SingleRowLatency] = msgspec.field(default_factory=dict)
    outlooks: Mapping[str, Outlook] = msgspec.field(default_factory=dict)

    def latency(self, version: PublishedVersion) -> SingleRowLatency | None:
        """The latency of the version, None if it was not timed."""
        return self.latencies.get(version.manifest.version)

    def outlook(self, version: PublishedVersion) -> Outlook | None:
        """The outlook of the version, None if it is not known."""
        return self.outlooks.get(version.manifest.version)


def as_data(trained: SessionResult, measured: Measured, settings: Settings) -> dict[str, Any]:
    """The report and the published versions as plain data, for `--json`."""
    report: object = msgspec.to_builtins(trained.report)
    versions = [_version_data(version, measured, settings) for version in trained.versions]
    return {"data_report": report, "versions": versions, "next": TO_SERVE}


def as_text(trained: SessionResult, measured: Measured, settings: Settings) -> str:
    """The report and the published versions as lines for people."""
    lines = report_lines(trained.report)
    for version in trained.versions:
        lines += ["", *_version_lines(version, measured, settings)]
    return "\n".join(lines)


def reference_data(refreshed: RefreshedReference) -> dict[str, Any]:
    """A later reference as plain data, for `--json`."""
    manifest = refreshed.manifest
    return {
        "version": manifest.version,
        "number": manifest.number,
        "created_at": manifest.created_at,
        "counts_from": iso_utc(manifest.counts_from_us),
        "rows": manifest.rows,
        "dataset": manifest.source.dataset,
        "reference_is": manifest.reference_is,
        "answers_from": refreshed.reference.answers_from,
        "data_report": msgspec.to_builtins(refreshed.report),
        "notes": list(refreshed.notes),
    }


def reference_text(refreshed: RefreshedReference) -> str:
    """A later reference as lines for people: what was found in its rows, and from when on it counts."""
    manifest = refreshed.manifest
    version, since = manifest.version, iso_utc(manifest.counts_from_us)
    return "\n".join(
        [
            *report_lines(refreshed.report),
            "",
            f"{version} has reference {manifest.number} now: {manifest.rows} rows of {manifest.source.dataset}",
            *(f"{_INDENT}drift: {note}" for note in refreshed.notes),
            "",
            f"Requests served from {since} on are compared with it: the monitor then begins the drift of {version} "
            "anew. Nothing needs a restart.",
        ]
    )


def unit_text(cases: CaseFacts, settings: Settings) -> str | None:
    """What the reference says of the unit of an experiment; None if it does not say, or the environment does."""
    if cases.repeated_share is None or settings.experiment_unit != "auto":
        return None
    share = f"{100 * cases.repeated_share:.3g} % of the reference's rows stand in it more than once"
    return f"{share}: without user_id or id each {'different row' if cases.rows_are_cases else 'request'} votes"


def latency_text(latency: SingleRowLatency) -> str:
    """The latency of a single row, with the champion's beside it where there is one."""
    own = f"{_ms(latency.p95_us)} for a single row (95th percentile)"
    if latency.champion_p95_us is None:
        return own
    return f"{own}, {_ms(latency.champion_p95_us)} for champion {latency.champion}"


def slow_warning(latency: SingleRowLatency, settings: Settings) -> str | None:
    """What to set if the version would cross `GUARDRAIL_SLOW` beside the champion; None if it would not."""
    limit, champion_us = slow_limit(settings.guardrail_slow), latency.champion_p95_us
    if limit is None or champion_us is None or latency.p95_us <= limit.above(champion_us):
        return None
    told = "be taken out" if settings.auto_decide in ("rollback", "both") else "be reported"
    return (
        f"{_ms(latency.p95_us)} beside the champion's {_ms(champion_us)}: it would {told} as slow; set GUARDRAIL_SLOW, "
        f"e.g. GUARDRAIL_SLOW={_wide_enough(limit, latency.p95_us, champion_us)}"
    )


def _wide_enough(limit: SlowLimit, p95_us: float, champion_us: float) -> str:
    """The limit with an allowance, rounded up to one digit, under which such a latency is not slow."""
    # The allowance and not the factor: it says how many milliseconds are acceptable, whatever the champion takes.
    allowance_ms = (_ROOM * p95_us - limit.factor * champion_us) / 1000
    step = 10.0 ** math.floor(math.log10(allowance_ms))
    rounded = f"+{round(math.ceil(allowance_ms / step) * step, 9):g}ms"
    return f"{limit.factor:g}x{rounded}" if limit.factor else rounded


def _ms(microseconds: float) -> str:
    milliseconds = microseconds / 1000
    return f"{milliseconds:.2g} ms" if milliseconds < 9.5 else f"{milliseconds:.0f} ms"


def figures_text(figures: Mapping[str, object]) -> str:
    """The figures of a manifest in one line, such as `accuracy 0.967, F1 0.966`, without those that are missing."""
    shown = []
    for key, name in _FIGURES.items():
        value = figures.get(key)
        if isinstance(value, int | float):
            shown.append(f"{name} {value:.4g}")
    return ", ".join(shown)


def _version_data(version: PublishedVersion, measured: Measured, settings: Settings) -> dict[str, Any]:
    manifest = msgspec.to_builtins(version.manifest)
    contract = version.manifest.contract
    latency, facts = measured.latency(version), measured.outlook(version)
    return {
        **{key: manifest[key] for key in _MANIFEST_FIELDS},
        "task": contract.task,
        "features": list(contract.names),
        "columns": [_column_data(feature) for feature in contract.features],
        "classes": list(contract.classes),
        "alias": version.alias,
        "repeated_share": version.manifest.cases.repeated_share,
        "latency": None if latency is None else msgspec.to_builtins(latency),
        "outlook": None if facts is None else msgspec.to_builtins(facts),
        "warnings": _warnings(version, measured, settings),
        "notes": list(version.notes),
    }


def _column_data(feature: Feature) -> dict[str, object]:
    return {
        "name": feature.name,
        "source_name": source_of(feature),
        "kind": kind_of(feature),
        "nullable": feature.nullable,
        "any_text": feature.open_categories and feature.dates_like is None,
        "dates_like": feature.dates_like,
    }


def report_lines(report: DataReport) -> list[str]:
    """What the data checks found, as lines for people."""
    title = f"Data checks: {counted(report.rows)}, {counted(report.columns, 'feature')}"
    rows, passed = [], []
    for check in report.checks:
        sentences = _sentences(report.of(check))
        passed += [] if sentences else [check]
        rows += [("" if number else check, sentence) for number, sentence in enumerate(sentences)]
    rows += [("no findings", ", ".join(passed))] if passed else []
    return [title, *_indented(table_lines(rows), 1)]


def _sentences(findings: Sequence[Finding]) -> list[str]:
    """A sentence for each finding, but one for all columns that the model does not read: a file may have hundreds."""
    unread = [repr(found.column) for found in findings if found.check == "columns" and found.action == "dropped"]
    others = [found.sentence for found in findings if found.check != "columns" or found.action != "dropped"]
    return ([f"left out, because the model does not read them: {', '.join(unread)}"] if unread else []) + others


def _warnings(version: PublishedVersion, measured: Measured, settings: Settings) -> list[str]:
    latency, facts = measured.latency(version), measured.outlook(version)
    # A version that takes no part in the experiment is not taken out of it.
    compared = latency is not None and (facts is None or facts.excluded is None)
    slow = slow_warning(latency, settings) if compared and latency is not None else None
    return [*version.warnings, *([slow] if slow else [])]


def _version_lines(version: PublishedVersion, measured: Measured, settings: Settings) -> Iterator[str]:
    manifest, facts = version.manifest, measured.outlook(version)
    named = [manifest.version, manifest.variant, manifest.estimator, version.alias]
    yield "  ".join(str(part) for part in named if part)
    yield from figures_lines(manifest.metrics)
    yield from _confusion_lines(manifest.metrics["holdout"].get("confusion_matrix"), manifest.contract.classes)
    yield f"{_INDENT}columns: {columns_text(manifest.contract.features)}"
    if facts is not None and facts.beside is not None:
        yield f"{_INDENT}{_INDENT}{beside_text(facts)}"
    yield f"{_INDENT}{runtime_text(manifest)}"
    yield from (f"{_INDENT}{line}" for line in _served_lines(version, measured, settings))
    yield from (f"{_INDENT}drift: {note}" for note in version.notes)
    yield from (f"{_INDENT}warning: {warning}" for warning in _warnings(version, measured, settings))


def _served_lines(version: PublishedVersion, measured: Measured, settings: Settings) -> Iterator[str]:
    """How fast it answers, and how it takes part in the experiment and in the detection of drift."""
    manifest, latency, facts = version.manifest, measured.latency(version), measured.outlook(version)
    if latency is not None:
        yield latency_text(latency)
    if facts is not None:
        yield experiment_text(manifest.version, facts)
    unit = unit_text(manifest.cases, settings)
    if unit is not None:
        yield unit
    if facts is not None:
        yield drift_text(facts)


def figures_lines(metrics: Mapping[str, Any]) -> Iterator[str]:
    """The hold-out's figures, then the training's."""
    for side, title in (("holdout", "hold-out"), ("training", "training")):
        figures = metrics.get(side)
        if figures is not None:
            # `publish` measures on data of the user's, which are a hold-out only if the user kept them back.
            measured_on = str(figures.get("measured_on", title))
            yield f"{_INDENT}{measured_on} ({figures['rows']} rows): {figures_text(figures)}"


def _confusion_lines(matrix: Any, classes: Sequence[str]) -> Iterator[str]:
    # Regressors have no matrix, and one of many classes would fill pages.
    if not matrix or len(classes) > _MOST_CLASSES_SHOWN:
        return
    yield f"{_INDENT}confusion (a row for each true class, columns in the same order)"
    rows = [(name, *map(str, row)) for name, row in zip(classes, matrix, strict=True)]
    yield from _indented(table_lines(rows, numeric=range(1, len(classes) + 1)), 2)


def _indented(lines: Sequence[str], levels: int) -> list[str]:
    return [f"{_INDENT * levels}{line}" for line in lines]
