"""The drift report as lines for a person."""

from __future__ import annotations

from app.drift.report_types import DriftReport, StreamReport

_HEADINGS = ("FEATURE", "SCORE", "EVIDENCE", "MISSING", "UNSEEN", "OUT OF RANGE")


def as_text(report: DriftReport) -> str:
    """The verdict, the score, a line for each feature, and a sentence for each joint stream that has evidence."""
    joint = [f"  {part.explanation} (evidence {part.evidence:.2f})" for part in report.joint if part.evidence > 0]
    return "\n".join(
        [
            f"{report.requests} rows against the {report.reference_rows} that {report.version} was made from",
            "",
            _verdict(report),
            f"score {report.score:.2f}: at least {report.score:.0%} of the last {min(report.window, report.requests)} "
            "rows are displaced",
            "",
            *_table(report.features),
            *(["", "taken together:", *joint] if joint else []),
            "",
            *_limits(report),
        ]
    )


def _verdict(report: DriftReport) -> str:
    if report.alarm:
        began = "" if report.since_requests is None else f"; it began after about row {report.since_requests}"
        return f"A change is proven{began}. (Is the file sorted? Its order counts: try --shuffle 1.)"
    if report.alarms:
        return "A change was proven in the middle, and has passed."
    if report.evidence > 0:
        return f"No change is proven; evidence {report.evidence:.2f} of 1."
    return "No change is proven, and there is no evidence of one."


def _limits(report: DriftReport) -> list[str]:
    bound = report.false_alarm_probability
    promise = f"On unchanged data an alarm within {bound.requests:,} rows has a chance of at most {bound.at_most:.0%}."
    least = report.least_detectable_shift_sd
    if least is None:
        return [promise]
    return [promise, f"A shift of about {least:.2f} standard deviations is the least that this reference can prove."]


def _table(features: tuple[StreamReport, ...]) -> list[str]:
    rows = [_HEADINGS, *(_row(feature) for feature in features)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _row(feature: StreamReport) -> tuple[str, ...]:
    shares = (feature.missing, feature.unseen, feature.out_of_range)
    odd = ("–" if share is None else f"{share:.1%}" for share in shares)
    return (feature.name, f"{feature.score:.2f}", f"{feature.evidence:.2f}", *odd)
