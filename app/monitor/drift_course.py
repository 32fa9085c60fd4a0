"""The course of a version's drift: points that lie evenly over all its requests, and never become too many.

A point stands after every so many requests, and that number doubles whenever the points would be too many. Which points
there are follows from the number of requests alone, so a replay in other portions gives the same ones.
"""

from __future__ import annotations

import msgspec

from app.drift.reference import DriftReference
from app.drift.report import score_and_evidence
from app.drift.watch import DriftState
from app.services.drift_records import Course, CoursePoint

FINEST_SPACING = 20
MOST_POINTS = 200


def spacing_at(requests: int) -> int:
    """How many requests lie between two points after so many in all."""
    spacing = FINEST_SPACING
    while requests > spacing * MOST_POINTS:
        spacing *= 2
    return spacing


def marks(requests: int, more: int) -> range:
    """After which of the `more` requests that follow the first `requests` a point is due, as numbers of requests."""
    spacing = spacing_at(requests + more)
    return range(requests - requests % spacing + spacing, requests + more + 1, spacing)


def point_of(reference: DriftReference, state: DriftState, at_us: int) -> CoursePoint:
    """The point of a state; `at_us`: when its last request was served, µs since 1970."""
    score, evidence = score_and_evidence(reference, state)
    return CoursePoint(state.inputs.requests, at_us, score, evidence, state.alarm)


def course_of(body: str | None, reference_sha256: str, requests: int) -> Course:
    """The course that was written as `body`, without what is about another reference or beyond `requests`.

    A state that was begun anew counts its requests from 0, and the points of the one before are no part of it.
    """
    fresh = Course(reference_sha256)
    if body is None:
        return fresh
    try:
        course = msgspec.json.decode(body, type=Course)
    except msgspec.MsgspecError:  # another release wrote it
        return fresh
    if course.reference_sha256 != reference_sha256:
        return fresh
    return Course(reference_sha256, tuple(point for point in course.points if point.requests <= requests))


def continued(course: Course, points: list[CoursePoint], requests: int) -> Course:
    """The course with further points, after so many requests in all."""
    spacing = spacing_at(requests)
    kept = tuple(point for point in (*course.points, *points) if point.requests % spacing == 0)
    return msgspec.structs.replace(course, points=kept)
