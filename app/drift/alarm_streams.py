"""Which streams raised the alarm, with their evidence at that moment, and what to say of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from app.drift.detector_state import DetectorState, RaisedStream
from app.drift.evidence import evidence
from app.drift.family import Family
from app.drift.reference import DriftReference
from app.drift.report_streams import iso_time
from app.drift.report_types import AlarmKind, AlarmStream
from app.drift.watch import DriftState, watched_streams

KINDS: Final[tuple[AlarmKind, ...]] = ("inputs", "joint", "outputs", "errors")
_PLACES: Final[dict[AlarmKind, str]] = {
    "inputs": "the inputs",
    "joint": "the relations between the inputs",
    "outputs": "the version's answers",
    "errors": "the version's errors",
}
# As many names as a sentence bears.
_MOST_NAMES: Final = 3
ASSUMPTION: Final = (
    "The alarm takes requests for exchangeable: rows that resemble the one before (correlation .4 or more), sessions "
    "of a visitor, named or not, or a daily cycle of .3 standard deviations raise it although nothing lasting has "
    "changed. If the values of the alarmed streams come and go with the hour or the visitor, acknowledge the alarm, "
    "name users in `user_id`, and use a reference that covers whole days."
)


def alarm_streams(reference: DriftReference, state: DriftState) -> tuple[AlarmStream, ...]:
    """The streams of the standing alarm, in the order in which they raised it.

    Without one, those of alarms that ended before anybody acknowledged them.
    """
    found = [
        *_of_family(reference.inputs, state.inputs, "inputs"),
        *_of_family(reference.outputs, state.outputs, "outputs"),
    ]
    errors = state.errors
    if errors is not None and errors.raised is not None:
        found.append((errors.alarm, "errors", "errors", errors.raised))
    # By time, because each part counts rows of its own; then by the order in which streams are shown.
    shown = sorted((each for each in found if each[0] or not state.alarm), key=lambda each: each[3].at_us)
    watched = watched_streams(reference)
    return tuple(_stream(kind, name, raised, watched) for _, kind, name, raised in shown)


def by_kind(streams: Iterable[AlarmStream]) -> dict[AlarmKind, list[str]]:
    """The names of the streams of each kind that there is."""
    names: dict[AlarmKind, list[str]] = {}
    for kind in KINDS:
        of_kind = [each.name for each in streams if each.kind == kind]
        if of_kind:
            names[kind] = of_kind
    return names


def what_changed(streams: Sequence[AlarmStream]) -> str:
    """Where a change is proven, by kind, with the first names, as in `the inputs (length, width)`."""
    parts = []
    for kind, names in by_kind(streams).items():
        more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
        named = "" if kind == "errors" else f" ({', '.join(names[:_MOST_NAMES])}{more})"
        parts.append(_PLACES[kind] + named)
    return _listed(parts) or "the traffic, or the version's answers or errors"


def _listed(parts: Sequence[str]) -> str:
    """The parts as in `a, b and c`; empty without any."""
    return " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:])))


def _of_family(
    family: Family | None, part: DetectorState | None, kind: AlarmKind
) -> list[tuple[bool, AlarmKind, str, RaisedStream]]:
    if family is None or part is None:
        return []
    cells = len(family.cells)
    return [
        (part.alarm, kind if each.stream < cells else "joint", family.streams[each.stream].name, each)
        for each in part.raised
    ]


def _stream(kind: AlarmKind, name: str, raised: RaisedStream, watched: int) -> AlarmStream:
    found = evidence(raised.wealth, raised.rows, watched)
    return AlarmStream(name=name, kind=kind, evidence=found, requests=raised.requests, at=iso_time(raised.at_us))
