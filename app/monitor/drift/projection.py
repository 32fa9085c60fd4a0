"""The projection of drift: from the log's requests and labels to a state, a report and a timeline of each version.

A version is monitored by the requests whose configuration has it in the split: the requests of all versions against its
own reference, its own answers, and its own errors. Which version is champion changes nothing that is computed, so a new
champion's drift is known from the first moment.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol

import msgspec

from app.domain.contract import Feature
from app.domain.experiment import Configuration
from app.domain.log_event import Event
from app.domain.monitor_state import Changes
from app.domain.timestamps import iso_utc
from app.drift.reference_notes import later_reference_note
from app.drift.report import drift_report
from app.drift.watch import DriftState, acknowledge_all, fits, start
from app.monitor.drift.columns import RowColumns
from app.monitor.drift.references import KnownReference
from app.monitor.drift.samples import Samples, epochs_of, layouts_of, samples_of
from app.monitor.drift.timeline import PageCache, processed, timeline_after
from app.monitor.projection import DerivedReads
from app.services.queries.drift_records import (
    NAME,
    Acknowledgement,
    DriftTimelinePoint,
    WatchedReport,
    report_key,
)

_LOG = logging.getLogger(__name__)


class ReferenceSource(Protocol):
    """The references of a version, oldest first, each with the time from which it counts; so a replay uses the same.

    `features` are those of a version's contract, in order; None where it is not known.
    """

    def of(self, version: str) -> Sequence[KnownReference]: ...

    def features(self, version: str) -> Sequence[Feature] | None: ...


class Acknowledgements(Protocol):
    """The acknowledgements of alarms, each with its place in the order of events. Raises `StoreUnavailable`."""

    def acknowledgements(self, version: str, after: int) -> Sequence[Acknowledgement]: ...


class WatchedVersion(msgspec.Struct, frozen=True, kw_only=True):
    """The stored state of a version: its drift from the reference whose file has the checksum `reference_sha256`.

    Acknowledgements up to number `acknowledged_seq` are applied. `reference_number` is 0 for the reference that the
    version was published with.
    """

    reference_sha256: str
    reference_number: int = 0
    acknowledged_seq: int = 0
    state: DriftState

    def is_of(self, known: KnownReference) -> bool:
        """Whether it is the state against that reference."""
        return (self.reference_number, self.reference_sha256) == (known.number, known.sha256)


class DriftProjection:
    """Projects drift, as a `Projection`. Raises what its `acknowledged` raises."""

    name = NAME

    def __init__(self, references: ReferenceSource, acknowledged: Acknowledgements) -> None:
        self._references = references
        self._acknowledged = acknowledged

    def apply(self, events: Sequence[Event], reads: DerivedReads) -> Changes:
        """The states, reports and timelines of the versions that `events` concern."""
        samples = samples_of(events)
        configurations = reads.configurations(epochs_of(samples))
        # By the revision under which the answer was given, so that a replay decides as the first run did.
        declared = {epoch for epoch, known in configurations.items() if known.terms.labels_exogenous}
        samples = samples.declared_in(declared)
        columns = RowColumns(self._references.features, reads.layouts(layouts_of(samples)))
        states: dict[str, str] = {}
        cache = PageCache()  # of this call alone: a projection keeps nothing in memory
        for references in self._known(configurations.values()):
            first = references[0]
            own = samples.of(_revisions_with(first, configurations), first.version, first.width, columns)
            if len(own):
                states |= self._states_after(references, own, reads, cache)
        return Changes(states=states)

    def _known(self, configurations: Iterable[Configuration]) -> list[Sequence[KnownReference]]:
        names = sorted({name for configuration in configurations for name in configuration.weights})
        return [references for references in map(self._references.of, names) if references]

    def _states_after(
        self, references: Sequence[KnownReference], own: Samples, reads: DerivedReads, cache: PageCache
    ) -> dict[str, str]:
        """The state, report and timeline of a version after its samples, by name."""
        watched, known = _load(references, reads, own)
        if known.from_us and not watched.state.inputs.requests:
            # There is no earlier reference that can be used, so earlier requests are compared with none.
            own = own.cut_at(known.from_us)[1]
            if not len(own):
                return {}
        points: list[DriftTimelinePoint] = []
        begun_anew = False
        for later in (*(each for each in references if each.number > known.number), None):
            before, own = (own, own.none()) if later is None else own.cut_at(later.from_us)
            watched, more = self._advanced(known, watched, before, cache)
            points += more
            # The request that ends the part before decides, and not the time: the log may end before the reference
            # counts, and the same state must come of it in one batch or in two.
            if later is None or not len(own):
                break
            watched, known, points, begun_anew = _begun_anew(watched, later), later, [], True
        version = known.version
        states = {version: _json(watched), report_key(version): _json(_reported(known, watched))}
        return states | timeline_after(known, watched.state, points, reads, begun_anew=begun_anew)

    def _advanced(
        self, known: KnownReference, watched: WatchedVersion, own: Samples, cache: PageCache
    ) -> tuple[WatchedVersion, list[DriftTimelinePoint]]:
        """The state after its samples and the acknowledgements among them; and the points that became due."""
        # An acknowledgement that no sample follows waits for the next batch: its place is the end of the log, and the
        # state must not depend on where a batch ends. One placed before the batch's last event was written before that
        # event, so it is found here.
        state, seq = watched.state, watched.acknowledged_seq
        points: list[DriftTimelinePoint] = []
        for acknowledgement in self._acknowledged.acknowledgements(known.version, seq):
            before, after = own.cut(acknowledgement.place)
            if not len(after):
                break
            state = acknowledge_all(processed(known, state, before, cache, points), acknowledgement.at_us)
            own, seq = after, acknowledgement.seq
        state = processed(known, state, own, cache, points)
        return msgspec.structs.replace(watched, acknowledged_seq=seq, state=state), points


def _revisions_with(known: KnownReference, configurations: Mapping[int, Configuration]) -> Collection[int]:
    """The config revisions with this version in the split."""
    # By ordinal too: in a model registry that was made anew, the same name is another version.
    return {
        epoch
        for epoch, configuration in configurations.items()
        if known.version in configuration.weights
        and configuration.ordinals.get(known.version, known.ordinal) == known.ordinal
    }


def _load(
    references: Sequence[KnownReference], reads: DerivedReads, own: Samples
) -> tuple[WatchedVersion, KnownReference]:
    """The stored state and its reference; a new one where there is none, or where it cannot be continued."""
    version = references[0].version
    name = f"{NAME}/{version}"
    body = reads.states([name]).get(name)
    watched = None if body is None else _decoded(body)
    if watched is None:
        return _fresh(references, own)
    known = next((each for each in references if watched.is_of(each)), None)
    if known is None:
        fresh, known = _fresh(references, own)
        _log_anew(version, f"the reference that it was compared with no longer counts; {_named(known)} does")
        return fresh, known
    if fits(known.reference, watched.state):
        return watched, known
    _log_anew(version, "the rules of drift detection have changed since the last release")
    return WatchedVersion(
        reference_sha256=known.sha256, reference_number=known.number, state=start(known.reference)
    ), known


def _decoded(body: str) -> WatchedVersion | None:
    try:
        return msgspec.json.decode(body, type=WatchedVersion)
    except msgspec.MsgspecError:  # another release wrote it
        return None


def _fresh(references: Sequence[KnownReference], own: Samples) -> tuple[WatchedVersion, KnownReference]:
    """A new state against the reference that counts for the first of the samples."""
    first_us = own.first_at_us()
    known = next((each for each in reversed(references) if each.from_us <= first_us), references[0])
    return WatchedVersion(
        reference_sha256=known.sha256, reference_number=known.number, state=start(known.reference)
    ), known


def _begun_anew(watched: WatchedVersion, known: KnownReference) -> WatchedVersion:
    _log_anew(known.version, f"{_named(known)} counts for requests served from {iso_utc(known.from_us)} on")
    return WatchedVersion(
        reference_sha256=known.sha256,
        reference_number=known.number,
        acknowledged_seq=watched.acknowledged_seq,
        state=start(known.reference),
    )


def _log_anew(version: str, reason: str) -> None:
    _LOG.warning("drift_begun_anew", extra={"event_fields": {"version": version, "reason": reason}})


def _named(known: KnownReference) -> str:
    return f"reference {known.number}" if known.number else "the reference of its publication"


def _reported(known: KnownReference, watched: WatchedVersion) -> WatchedReport:
    report = drift_report(known.version, known.reference, watched.state)
    if known.number:
        since = iso_utc(known.from_us)
        note = later_reference_note(known.version, known.number, since)
        report = msgspec.structs.replace(
            report, reference_number=known.number, reference_since=since, notes=(note, *report.notes)
        )
    return WatchedReport(watched.acknowledged_seq, report)


def _json(record: WatchedVersion | WatchedReport) -> str:
    return msgspec.json.encode(record).decode()
