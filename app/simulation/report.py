"""The summary as text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping

from app.simulation.tally import Summary, VersionScore


def text_of(summary: Summary) -> str:
    """A few lines: what was sent, what each version answered, what became of the labels."""
    rate = summary.sent / summary.seconds if summary.seconds > 0 else 0.0
    first = f"sent {summary.sent} of {summary.planned} requests in {summary.seconds:.1f} s ({rate:.0f}/s)"
    lines = [first, f"answered {summary.answered}{_listed(summary.assignments)}"]
    if summary.errors:
        lines.append(f"without a prediction {sum(summary.errors.values())}{_listed(summary.errors)}")
    lines += [_version(name, score) for name, score in summary.versions.items()]
    if summary.labels_told:
        lines.append(f"labels accepted {summary.labels_accepted}, already known {summary.labels_duplicate}")
    if summary.label_errors:
        lines.append(f"labels not taken {sum(summary.label_errors.values())}{_listed(summary.label_errors)}")
    return "\n".join([*lines, *(f"note: {note}" for note in summary.notes)])


def _version(name: str, score: VersionScore) -> str:
    if score.accuracy is not None:
        return f"  {name}: {score.answers} answers, {score.accuracy:.2%} right"
    return f"  {name}: {score.answers} answers, mean absolute error {score.mean_absolute_error:.4g}"


def _listed(counts: Mapping[str, int]) -> str:
    return f" ({', '.join(f'{name} {counts[name]}' for name in sorted(counts))})" if counts else ""
