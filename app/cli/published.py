"""Show what was checked and published: as text for people, as plain data for programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from app.training.findings import DataReport
    from app.training.session import PublishedVersion, SessionResult

_FIGURES = {
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "log_loss": "log-loss",
    "brier": "Brier",
    "rmse": "RMSE",
    "mae": "MAE",
    "r2": "R²",
}
_TOLD = ("version", "variant", "estimator", "created_at", "runtime", "parity", "metrics", "source")
_MOST_CLASSES_SHOWN = 12
_LONGEST_REASON = 160
_INDENT = "  "


def as_data(trained: SessionResult) -> dict[str, Any]:
    """The outcome as plain data, for `--json`."""
    import msgspec

    report: object = msgspec.to_builtins(trained.report)
    return {"data_report": report, "versions": [_version_data(version) for version in trained.versions]}


def as_text(trained: SessionResult) -> str:
    """The outcome as lines for people."""
    lines = list(_report_lines(trained.report))
    for version in trained.versions:
        lines += ["", *_version_lines(version)]
    return "\n".join(lines)


def figures_text(figures: Mapping[str, object]) -> str:
    """The figures of a manifest in one line: `accuracy 0.967, …`."""
    shown = []
    for key, name in _FIGURES.items():
        value = figures.get(key)
        if isinstance(value, int | float):
            shown.append(f"{name} {value:.4g}")
    return ", ".join(shown)


def _version_data(version: PublishedVersion) -> dict[str, Any]:
    import msgspec

    manifest = msgspec.to_builtins(version.manifest)
    contract = version.manifest.contract
    return {
        **{key: manifest[key] for key in _TOLD},
        "task": contract.task,
        "features": list(contract.names),
        "classes": list(contract.classes),
        "alias": version.alias,
        "warnings": list(version.warnings),
    }


def _report_lines(report: DataReport) -> Iterator[str]:
    yield f"Data checks: {report.rows} rows, {report.columns} feature{'s' if report.columns != 1 else ''}"
    width = max(map(len, report.checks))
    for check in report.checks:
        sentences = [finding.sentence for finding in report.of(check)] or ["none"]
        for number, sentence in enumerate(sentences):
            yield f"{_INDENT}{'' if number else check:<{width}}  {sentence}"


def _version_lines(version: PublishedVersion) -> Iterator[str]:
    manifest = version.manifest
    named = [manifest.version, manifest.variant, manifest.estimator, version.alias]
    yield "  ".join(str(part) for part in named if part)
    for side, title in (("holdout", "hold-out"), ("training", "training")):
        figures = manifest.metrics.get(side)
        if figures is not None:
            title = str(figures.get("measured_on", title))
            yield f"{_INDENT}{title} ({figures['rows']} rows): {figures_text(figures)}"
    yield from _confusion_lines(manifest.metrics["holdout"].get("confusion_matrix"), manifest.contract.classes)
    parity = manifest.parity
    compared = f"agrees with scikit-learn on {parity.rows} rows" if parity.holds else _short(parity.reason)
    yield f"{_INDENT}runtime {manifest.runtime}: {compared}"
    for complaint in version.warnings:
        yield f"{_INDENT}warning: {complaint}"


def _confusion_lines(matrix: Any, classes: Sequence[str]) -> Iterator[str]:
    if not matrix or len(classes) > _MOST_CLASSES_SHOWN:
        return
    width = max(len(str(count)) for row in matrix for count in row)
    margin = max(map(len, classes))
    yield f"{_INDENT}confusion (a row for each true class, columns in the same order)"
    for name, row in zip(classes, matrix, strict=True):
        yield f"{_INDENT * 2}{name:<{margin}}  " + " ".join(f"{count:>{width}}" for count in row)


def _short(reason: str | None) -> str:
    """A library's reason can run over pages; the manifest has all of it."""
    text = reason or "parity does not hold"
    return text if len(text) <= _LONGEST_REASON else text[:_LONGEST_REASON] + "…"
