"""The course of a version's drift: points that lie evenly over all its requests, and never become too many.

A point stands after every so many requests, and that number doubles whenever the points would be too many. Which points
there are follows from the number of requests alone, so a replay in other portions gives the same ones.

The folder of drift: from the log's requests and labels to one state, and one report, for each version in the split.

A version is watched while it is in the configuration under which a request was served: the requests of all versions
against its own reference, its own answers, and its errors. So another champion needs no new beginning, and which
version is champion changes nothing that is computed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol

import msgspec

from app.domain.derived import Changes
from app.domain.experiment import Configuration
from app.domain.log_event import Event
from app.drift.detector_state import DetectorState
from app.drift.reference import DriftReference
from app.drift.report import drift_report, score_and_evidence
from app.drift.watch import DriftState, acknowledge_all, fits, start, update, update_labels, update_outputs
from app.monitor.drift.references import KnownReference
from app.monitor.drift.samples import Samples, epochs_of, errors_of, outputs_of, rows_of, samples_of, times_of
from app.monitor.projection import DerivedReads
from app.services.queries.drift_records import (
    NAME,
    Acknowledgement,
    DriftTimelinePoint,
    DriftTimelineState,
    Place,
    WatchedReport,
    report_key,
    timeline_key,
)

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


def point_of(reference: DriftReference, state: DriftState, at_us: int) -> DriftTimelinePoint:
    """The point of a state; `at_us`: when its last request was served, µs since 1970."""
    score, evidence = score_and_evidence(reference, state)
    return DriftTimelinePoint(state.inputs.requests, at_us, score, evidence, state.alarm)


def timeline_of(body: str | None, reference_sha256: str, requests: int) -> DriftTimelineState:
    """The course that was written as `body`, without what is about another reference or beyond `requests`.

    A state that was begun anew counts its requests from 0, and the points of the one before are no part of it.
    """
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
    """The course with further points, after so many requests in all."""
    spacing = spacing_at(requests)
    kept = tuple(point for point in (*timeline.points, *points) if point.requests % spacing == 0)
    return msgspec.structs.replace(timeline, points=kept)


class ReferenceSource(Protocol):
    """The references of the versions. Published versions never change, so a replay meets the same ones."""

    def of(self, version: str) -> KnownReference | None: ...


class Acknowledgements(Protocol):
    """The acknowledgements, which have places in the log like events. Raises `StoreUnavailable`."""

    def acknowledgements(self, version: str, after: int) -> Sequence[Acknowledgement]: ...


class WatchedVersion(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a version: its drift against the reference in a file with checksum `reference_sha256`.

    The acknowledgements up to number `acknowledged_seq` are in it.
    """

    reference_sha256: str
    acknowledged_seq: int = 0
    state: DriftState


_Memo = dict[tuple[str, tuple[Place, ...]], list[tuple[DetectorState, DetectorState]]]


class DriftProjection:
    """A `Projection`."""

    name = NAME

    def __init__(self, references: ReferenceSource, acknowledged: Acknowledgements) -> None:
        self._references = references
        self._acknowledged = acknowledged

    def apply(self, events: Sequence[Event], reads: DerivedReads) -> Changes:
        """The states and reports of the versions that `events` concern."""
        samples = samples_of(events)
        configurations = reads.configurations(epochs_of(samples))
        states: dict[str, str] = {}
        memo: _Memo = {}
        for known in self._known(configurations.values()):
            own = samples.of(_epochs_with(known, configurations), known.width)
            if len(own):
                watch, points = self._advanced(known, _load(known, reads), own, memo)
                states |= {known.version: _json(watch), report_key(known.version): _json(_reported(known, watch))}
                states |= _timeline_after(known, watch.state, points, reads)
        return Changes(states=states)

    def _known(self, configurations: Iterable[Configuration]) -> list[KnownReference]:
        names = sorted({name for configuration in configurations for name in configuration.weights})
        return [known for known in map(self._references.of, names) if known is not None]

    def _advanced(
        self, known: KnownReference, watch: WatchedVersion, own: Samples, memo: _Memo
    ) -> tuple[WatchedVersion, list[DriftTimelinePoint]]:
        """The watch after its samples, and after the acknowledgements that at least one of them follows; and its
        course on the way.

        One that nothing follows waits: its place is the end of the log, and this must not depend on where a portion
        ends. One with a place before the portion's end was written before its last event was, so it is found.
        """
        state, seq = watch.state, watch.acknowledged_seq
        points: list[DriftTimelinePoint] = []
        for acknowledgement in self._acknowledged.acknowledgements(known.version, seq):
            before, after = own.cut(acknowledgement.place)
            if not len(after):
                break
            state = acknowledge_all(_processed(known, state, before, memo, points), acknowledgement.at_us)
            own, seq = after, acknowledgement.seq
        state = _processed(known, state, own, memo, points)
        return msgspec.structs.replace(watch, acknowledged_seq=seq, state=state), points


def _epochs_with(known: KnownReference, configurations: Mapping[int, Configuration]) -> Collection[int]:
    """The epochs with this version in the split; a name on a shelf that was made anew is another version."""
    return {
        epoch
        for epoch, configuration in configurations.items()
        if known.version in configuration.weights
        and configuration.ordinals.get(known.version, known.ordinal) == known.ordinal
    }


def _load(known: KnownReference, reads: DerivedReads) -> WatchedVersion:
    """The watch as it was written, or a new one where that is about another reference or of another release."""
    name = f"{NAME}/{known.version}"
    body = reads.states([name]).get(name)
    fresh = WatchedVersion(reference_sha256=known.sha256, state=start(known.reference))
    if body is None:
        return fresh
    try:
        watch = msgspec.json.decode(body, type=WatchedVersion)
    except msgspec.MsgspecError:
        return fresh
    usable = watch.reference_sha256 == known.sha256 and fits(known.reference, watch.state)
    return watch if usable else fresh


def _timeline_after(
    known: KnownReference, state: DriftState, points: list[DriftTimelinePoint], reads: DerivedReads
) -> dict[str, str]:
    """The course with its new points, by name; nothing where there are none."""
    if not points:
        return {}
    key, requests = timeline_key(known.version), state.inputs.requests
    body = reads.states([f"{NAME}/{key}"]).get(f"{NAME}/{key}")
    before = timeline_of(body, known.sha256, points[0].requests - 1)
    return {key: _json(continued(before, points, requests))}


def _processed(
    known: KnownReference, state: DriftState, own: Samples, memo: _Memo, points: list[DriftTimelinePoint]
) -> DriftState:
    """The state after the samples; what is due of the course on the way is added to `points`."""
    seen = state.inputs.requests
    for last in [own.requests[mark - seen - 1] for mark in marks(seen, len(own.requests))]:
        before, own = own.cut(last.place)
        state = _updated(known, state, before, memo)
        points.append(point_of(known.reference, state, last.at_us))
    return _updated(known, state, own, memo)


def _updated(known: KnownReference, state: DriftState, own: Samples, memo: _Memo) -> DriftState:
    reference = known.reference
    if own.requests:
        state = msgspec.structs.replace(state, inputs=_inputs_after(known, state, own, memo))
    answers = outputs_of(own.requests, reference, known.version)
    if answers is not None:
        state = update_outputs(reference, state, *answers)
    wrong, known_at_us = errors_of(own.labels, known.version)
    return update_labels(reference, state, wrong, known_at_us)


def _inputs_after(known: KnownReference, state: DriftState, own: Samples, memo: _Memo) -> DetectorState:
    """The inputs' state; computed once for versions that were made from the same data and have seen the same."""
    key = known.inputs_digest, tuple(request.place for request in own.requests)
    for before, after in memo.setdefault(key, []):
        if before == state.inputs:
            return after
    rows = rows_of(own.requests, known.reference)
    after = update(known.reference, state, rows, at_us=times_of(own.requests)).inputs
    memo[key].append((state.inputs, after))
    return after


def _reported(known: KnownReference, watch: WatchedVersion) -> WatchedReport:
    return WatchedReport(watch.acknowledged_seq, drift_report(known.version, known.reference, watch.state))


def _json(record: WatchedVersion | WatchedReport | DriftTimelineState) -> str:
    return msgspec.json.encode(record).decode()
