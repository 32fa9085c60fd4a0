"""The timeline of a version's drift: points at spacings that follow from the number of requests alone."""

from __future__ import annotations

import msgspec

from app.drift.reference import DriftReference
from app.drift.report import score_and_evidence
from app.drift.watch import DriftState
from app.monitor.drift.references import KnownReference
from app.monitor.projection import DerivedReads
from app.services.queries.drift_records import NAME, DriftTimelinePoint, DriftTimelineState, timeline_key

FINEST_SPACING = 20
MOST_POINTS = 200


def spacing_at(requests: int) -> int:
    """The number of requests between two points of a timeline that has seen `requests` in all."""
    # Doubled, so that every coarser timeline is a part of the finer one. It follows from the number of requests alone,
    # or a replay in other batches would give other points.
    spacing = FINEST_SPACING
    while requests > spacing * MOST_POINTS:
        spacing *= 2
    return spacing


def marks(requests: int, more: int) -> range:
    """The numbers of requests at which points are due among `more` requests that follow the first `requests`."""
    spacing = spacing_at(requests + more)
    return range(requests - requests % spacing + spacing, requests + more + 1, spacing)


def point_of(reference: DriftReference, state: DriftState, at_us: int) -> DriftTimelinePoint:
    """The timeline's point of a state whose last request was served at `at_us` (µs since 1970)."""
    score, evidence = score_and_evidence(reference, state)
    return DriftTimelinePoint(state.inputs.requests, at_us, score, evidence, state.alarm)


def timeline_of(body: str | None, reference_sha256: str, requests: int) -> DriftTimelineState:
    """The timeline in `body` up to `requests` requests; empty where it is about another reference, or unreadable."""
    # A state that was started again counts its requests from 0: later points belong to the state before it.
    fresh = DriftTimelineState(reference_sha256)
    if body is None:
        return fresh
    try:
        timeline = msgspec.json.decode(body, type=DriftTimelineState)
    except msgspec.MsgspecError:  # another release wrote it
        return fresh
    if timeline.reference_sha256 != reference_sha256:
        return fresh
    return DriftTimelineState(reference_sha256, tuple(point for point in timeline.points if point.requests <= requests))


def continued(timeline: DriftTimelineState, points: list[DriftTimelinePoint], requests: int) -> DriftTimelineState:
    """The timeline with `points` added, and thinned to the spacing that holds after `requests` requests in all."""
    spacing = spacing_at(requests)
    kept = tuple(point for point in (*timeline.points, *points) if point.requests % spacing == 0)
    return msgspec.structs.replace(timeline, points=kept)


def timeline_after(
    known: KnownReference,
    state: DriftState,
    points: list[DriftTimelinePoint],
    reads: DerivedReads,
    *,
    begun_anew: bool,
) -> dict[str, str]:
    """The timeline with its new points, by name; empty where nothing of it changes."""
    key, requests = timeline_key(known.version), state.inputs.requests
    if begun_anew:
        return {key: _json(continued(DriftTimelineState(known.sha256), points, requests))}
    if not points:
        return {}
    body = reads.states([f"{NAME}/{key}"]).get(f"{NAME}/{key}")
    before = timeline_of(body, known.sha256, points[0].requests - 1)
    return {key: _json(continued(before, points, requests))}


def _json(timeline: DriftTimelineState) -> str:
    return msgspec.json.encode(timeline).decode()
