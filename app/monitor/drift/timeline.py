"""A version's drift after its samples, and its timeline.

The timeline's points have spacings that follow from the number of requests alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple, TypeAlias

import msgspec
import numpy as np

from app.drift.detector_state import DetectorState, Moments
from app.drift.report import Standing, errors_standing, inputs_standings, outputs_standing
from app.drift.walks import Walks
from app.drift.watch import DriftState, update, update_labels, update_outputs
from app.monitor.drift.callers import callers_of
from app.monitor.drift.references import KnownReference
from app.monitor.drift.samples import (
    Labels,
    Requests,
    Samples,
    answered_by,
    outputs_of,
    rows_of,
)
from app.monitor.projection import DerivedReads
from app.scoring.answers import classes_of
from app.services.queries.drift_records import NAME, DriftTimelinePoint, DriftTimelineState, timeline_key

FINEST_SPACING = 20
MOST_POINTS = 200
# The inputs' state before and after a run of requests, and their standing at the points between.
_Inputs: TypeAlias = tuple[DetectorState, DetectorState, list[Standing]]


class PageCache:
    """What versions share of the work on one page.

    `inputs`, by the inputs' digest and the places of the requests; `walks` through rows of the same callers.
    """

    def __init__(self) -> None:
        self.inputs: dict[tuple[str, bytes], list[_Inputs]] = {}
        self.walks = Walks()


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


def point_of(requests: int, at_us: int, parts: Iterable[Standing]) -> DriftTimelinePoint:
    """The point after so many requests, the last of which was served at `at_us` (µs since 1970)."""
    scores, evidence, alarms = zip(*parts, strict=True)
    return DriftTimelinePoint(requests, at_us, max(scores), max(evidence), any(alarms))


def processed(
    known: KnownReference, state: DriftState, own: Samples, cache: PageCache, points: list[DriftTimelinePoint]
) -> DriftState:
    """The state after the samples; points that become due on the way are added to `points`."""
    requests, seen = own.requests, state.inputs.requests
    # After so many of the requests; of each part, its standing there.
    due = np.array(marks(seen, requests.number), np.int64) - seen
    state, of_inputs = _inputs_after(known, state, requests, due, cache)
    state, of_outputs = _outputs_after(known, state, requests, due, cache.walks)
    state, of_errors = _errors_after(known, state, own, due)
    for number, *standings in zip(due.tolist(), of_inputs, *of_outputs, *of_errors, strict=True):
        points.append(point_of(seen + number, int(requests.at_us[number - 1]), standings))
    return state


def _inputs_after(
    known: KnownReference, state: DriftState, requests: Requests, due: np.ndarray, cache: PageCache
) -> tuple[DriftState, list[Standing]]:
    """The state with that of the inputs after the requests, and their standing at each point that is `due`."""
    if not requests.number:
        return state, []
    # Versions trained on the same data see the same requests, so that most of the work is done once for all of them.
    key = known.inputs_digest, requests.seqs.tobytes()
    for before, after, standings in cache.inputs.setdefault(key, []):
        if before == state.inputs:
            return msgspec.structs.replace(state, inputs=after), standings
    reference, moments = known.reference, Moments((state.inputs.requests + due).tolist())
    rows, callers = rows_of(requests, reference), callers_of(requests, state.inputs.crowd.last_at_us, due)
    after = update(
        reference, state, rows, at_us=requests.at_us, callers=callers, moments=moments, walks=cache.walks
    ).inputs
    standings = inputs_standings(reference, moments, after)
    cache.inputs[key].append((state.inputs, after, standings))
    return msgspec.structs.replace(state, inputs=after), standings


def _outputs_after(
    known: KnownReference, state: DriftState, requests: Requests, due: np.ndarray, walks: Walks
) -> tuple[DriftState, list[list[Standing]]]:
    """The same for the version's answers; no standing where there is nothing to compare them with."""
    reference = known.reference
    if reference.outputs is None or state.outputs is None:
        return state, []
    answered = answered_by(requests, reference)
    ends = np.searchsorted(answered.seqs, requests.seqs[due - 1], side="right")
    moments = Moments((state.outputs.requests + ends).tolist())
    if answered.number:
        callers = callers_of(answered, state.outputs.crowd.last_at_us, ends)
        outputs = outputs_of(answered, reference)
        state = update_outputs(reference, state, outputs, answered.at_us, callers, moments, walks)
    assert state.outputs is not None
    return state, [[outputs_standing(reference, moment) for moment in moments.of(state.outputs)]]


class _Errors(NamedTuple):
    """What labels say of a version's answers, in order; arrays of shape (n,).

    Whether its class was `wrong`, since when (µs since 1970), whether there is one, and whether it was `declared` that
    labels do not depend on it.
    """

    wrong: np.ndarray
    at_us: np.ndarray
    answered: np.ndarray
    declared: np.ndarray

    def runs(self, first: int, last: int) -> Iterator[tuple[bool, np.ndarray, np.ndarray]]:
        """Those from number `first` to before `last`: `declared`, and `wrong` and `at_us` of each run of the same."""
        if first == last:
            return
        changes = np.flatnonzero(np.diff(self.declared[first:last])) + first + 1
        for start, end in pairwise([first, *changes.tolist(), last]):
            known = self.answered[start:end]
            yield bool(self.declared[start]), self.wrong[start:end][known], self.at_us[start:end][known]


def _errors_of(labels: Labels, version: str) -> _Errors:
    """The version's errors, by these labels."""
    given = classes_of(labels.rows, version)
    return _Errors(given != labels.values, labels.at_us, given >= 0, labels.declared)


def _errors_after(
    known: KnownReference, state: DriftState, own: Samples, due: np.ndarray
) -> tuple[DriftState, list[list[Standing]]]:
    """The same for the version's errors."""
    reference, standings = known.reference, list[Standing]()
    if reference.errors is None or state.errors is None:
        return state, []
    labels = _errors_of(own.labels, known.version)
    done = 0
    for end in (*own.labels_before(due), own.labels.number):
        for declared, wrong, at_us in labels.runs(done, end):
            state = update_labels(reference, state, wrong, at_us, declared=declared)
        assert state.errors is not None
        standings.append(errors_standing(reference, state.errors))
        done = end
    return state, [standings[:-1]]


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
