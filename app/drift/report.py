"""The drift report: the record behind `GET /drift` and `bakeoff drift`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from app.drift.alarm_streams import ASSUMPTION, alarm_streams
from app.drift.callers import STRETCH, STRETCHES, heaviest_share
from app.drift.cells import DECIMALS
from app.drift.crowds import CLOSES_AFTER, CrowdState
from app.drift.detector_state import DetectorState, Moment, Moments
from app.drift.errors import ErrorState
from app.drift.evidence import (
    PROMISED_REQUESTS,
    evidence,
    false_alarm_bound,
    least_detectable_outliers,
    least_detectable_shift,
    scores_of,
)
from app.drift.reference import DriftReference
from app.drift.reference_notes import reference_notes
from app.drift.report_streams import error_report, iso_time, stream_reports
from app.drift.report_types import Crowds, DriftReport, FalseAlarmBound, JointReport, StreamReport
from app.drift.watch import DriftState, watched_streams

# From this share of the rows on it is said that they are not evidence.
_NOTABLE: Final = 0.2
_LEAST_ROWS: Final = 500
_DISPLACED: Final = 0.1
_LITTLE_EVIDENCE: Final = 0.5
# Moments times streams whose scores are computed at once, which bounds the memory.
_CELLS_AT_ONCE: Final = 4000


def drift_report(version: str, reference: DriftReference, state: DriftState) -> DriftReport:
    """The report on the traffic behind `state`, compared with the reference of `version`."""
    watched = watched_streams(reference)
    features, joint = stream_reports(reference.inputs, state.inputs, watched)
    outputs = output_reports(reference, state)
    score = max(feature.score for feature in features)
    crowd = state.inputs.crowd
    return DriftReport(
        version=version,
        score=score,
        evidence=max(part.evidence for part in _parts(features, joint, outputs)),
        alarm=state.alarm,
        alarms=state.alarms,
        since=iso_time(_earliest(state)),
        since_requests=state.inputs.since_requests,
        # While an alarm is active, an acknowledgement was of other streams.
        acknowledged=None if state.alarm else iso_time(_acknowledged(state)),
        requests=state.inputs.requests,
        window=state.inputs.window,
        reference_rows=reference.rows,
        least_detectable_shift_sd=least_detectable_shift(watched, reference.rows),
        false_alarm_probability=FalseAlarmBound(PROMISED_REQUESTS, false_alarm_bound(PROMISED_REQUESTS)),
        features=features,
        joint=joint,
        outputs=outputs,
        least_detectable_outlier_share=least_detectable_outliers(watched, reference.rows),
        answers_from=reference.answers_from,
        notes=(*reference_notes(version, reference), *_crowd_notes(state, score, features)),
        alarm_streams=alarm_streams(reference, state),
        assumption=ASSUMPTION if state.alarm else None,
        crowds=Crowds(
            waiting=len(crowd.waiting),
            skipped=crowd.skipped,
            repeated=crowd.repeated,
            unlearnt=crowd.unlearnt,
            few_callers=crowd.few_callers,
            heaviest_share=round(heaviest_share(crowd.known), DECIMALS),
        ),
    )


class Standing(NamedTuple):
    """What a part of the detection (inputs, outputs, errors) adds to `score`, `evidence` and `alarm` of a report."""

    score: float
    evidence: float
    alarm: bool


def inputs_standings(reference: DriftReference, moments: Moments, state: DetectorState) -> list[Standing]:
    """Those of the inputs at some moments, the last of which may be that of the `state`."""
    found, cells = moments.of(state), len(reference.inputs.cells)
    shown, standings = moments.shown[:, :cells], list[Standing]()
    at_once = max(1, _CELLS_AT_ONCE // cells)
    for first in range(0, len(found), at_once):
        some = found[first : first + at_once]
        scores = scores_of(reference.inputs, shown, np.array([each.end for each in some]), moments.window).max(axis=1)
        for moment, score in zip(some, scores.tolist(), strict=True):
            standings.append(outputs_standing(reference, moment)._replace(score=round(score, DECIMALS)))
    return standings


def outputs_standing(reference: DriftReference, moment: Moment) -> Standing:
    """That of the answers, which have no score."""
    # Evidence grows with wealth.
    found = evidence(float(moment.wealth.max()), moment.closed_requests, watched_streams(reference))
    return Standing(0.0, found, moment.alarm)


def errors_standing(reference: DriftReference, state: ErrorState) -> Standing:
    """That of the errors: without a declaration they are no evidence."""
    found = evidence(state.mean_wealth, state.seen, watched_streams(reference)) if state.declared else 0.0
    return Standing(0.0, found, state.alarm)


def output_reports(reference: DriftReference, state: DriftState) -> tuple[StreamReport, ...]:
    """The reports of a version's answers and errors; empty if the reference has neither."""
    watched = watched_streams(reference)
    columns: tuple[StreamReport, ...] = ()
    if reference.outputs is not None and state.outputs is not None:
        columns, _ = stream_reports(reference.outputs, state.outputs, watched)
    if reference.errors is None or state.errors is None:
        return columns
    return (*columns, error_report(reference.errors, state.errors, watched))


def concerns_people(report: DriftReport, threshold: float) -> bool:
    """Whether people should be notified: a change is proven, and it displaces at least `threshold` of the traffic.

    Joint streams count too: if a correlation breaks, the features alone may seem normal.
    """
    parts = _parts(report.features, report.joint, report.outputs)
    return report.alarm and max(part.score for part in parts) >= threshold


def _parts(
    features: tuple[StreamReport, ...], joint: tuple[JointReport, ...], outputs: tuple[StreamReport, ...]
) -> tuple[StreamReport | JointReport, ...]:
    """The streams that can raise the alarm."""
    return (*features, *joint, *(each for each in outputs if each.assumption is None))


def _earliest(state: DriftState) -> int | None:
    parts = (state.inputs, state.outputs, state.errors)
    times = [part.since_us for part in parts if part is not None and part.since_us is not None]
    return min(times, default=None)


def _acknowledged(state: DriftState) -> int | None:
    parts = (state.inputs, state.outputs, state.errors)
    times = [part.acknowledged_us for part in parts if part is not None and part.acknowledged_us is not None]
    return max(times, default=None)


def _crowd_notes(state: DriftState, score: float, features: Sequence[StreamReport]) -> tuple[str, ...]:
    """Sentences about the callers behind the figures; none where all rows count."""
    crowd, rows = state.inputs.crowd, state.inputs.requests
    notes = [_learning(crowd, rows), _few(crowd)]
    if rows >= _LEAST_ROWS:
        notes += [_left_out(crowd, rows), _repeated(crowd, rows)]
        # What is acknowledged is known, and its evidence counts no more.
        if not state.alarm and _acknowledged(state) is None:
            notes.append(_hidden(crowd, rows, score, features))
    return tuple(note for note in notes if note)


def _learning(crowd: CrowdState, rows: int) -> str | None:
    if crowd.is_learning:
        return (
            f"Evidence pauses: a name that is not known as a service sends a tenth of the requests or more. That it is "
            f"one shows within {STRETCH * STRETCHES // 2:,} requests. So far {crowd.unlearnt:,} rows did not count."
        )
    if rows >= _LEAST_ROWS and crowd.unlearnt >= _NOTABLE * rows:
        return (
            f"{crowd.unlearnt / rows:.0%} of the rows are no evidence: they came while names that were not known as "
            "services sent a tenth of the requests or more. A name that changes with each deployment is new each time."
        )
    return None


def _few(crowd: CrowdState) -> str | None:
    if not crowd.few_callers:
        return None
    return (
        f"Few callers make up the traffic: in {CLOSES_AFTER} requests there were fewer than ten. A block of ten rows "
        "takes one of each, so there is little evidence, and changes are found late."
    )


def _left_out(crowd: CrowdState, rows: int) -> str | None:
    if crowd.skipped < _NOTABLE * rows:
        return None
    return (
        f"{crowd.skipped / rows:.0%} of all rows so far are no evidence: they are further rows of large requests, or "
        "of users who come again, of whom a block takes one."
    )


def _repeated(crowd: CrowdState, rows: int) -> str | None:
    if crowd.repeated < _NOTABLE * rows:
        return None
    return (
        f"{crowd.repeated / rows:.0%} of all rows so far repeat a row that was sent under the same id, and count once."
    )


def _hidden(crowd: CrowdState, rows: int, score: float, features: Sequence[StreamReport]) -> str | None:
    """A displacement that the evidence does not see, because few callers make it."""
    displaced = [each for each in features if each.score >= _DISPLACED and each.evidence < _LITTLE_EVIDENCE]
    held_back = len(crowd.waiting) + crowd.skipped + crowd.repeated + crowd.unlearnt
    if score < _DISPLACED or not displaced or held_back < _NOTABLE * rows:
        return None
    most = max(displaced, key=lambda each: each.score)
    return (
        f"{most.name} is displaced in {most.score:.0%} of the last requests, and there is little evidence. The rows "
        "that do it may be of few callers (large requests, one user, or repeats), of whom few count. Look at who sends "
        "them."
    )
