"""The projection of disagreements: the rows of each experiment that a challenger answered differently."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from operator import attrgetter
from typing import Generic, NamedTuple, TypeAlias, TypeVar

import msgspec
import numpy as np

from app.domain.disagreement import KEPT, Disagreement, LabelledDisagreement, PairSeen, Won, who_was_right
from app.domain.experiment import Configuration
from app.domain.log_columns import Block, block_of, place_in_block
from app.domain.log_event import Event, OutcomeCorrected, OutcomeJoined, PredictionRow
from app.domain.log_page import Events, Part, epochs_in, events_of, in_blocks, taken, those
from app.domain.monitor_state import Changes
from app.monitor.experiment.state import ExperimentPlan, plan_of
from app.monitor.experiment.units import row_hash, row_hashes
from app.monitor.projection import DerivedReads

NAME = "disagreements"
# Old rows are removed so many at a time: not in every batch, and not too many under the write lock.
TRIM_AFTER = KEPT // 10
# A row's place among those of a batch, and the number of the challenger.
_Place: TypeAlias = tuple[int, int]
_Record = TypeVar("_Record")


class _Labels(NamedTuple):
    """Rows with their labels (JSON)."""

    rows: Sequence[PredictionRow]
    texts: Sequence[str]


class _Answer(msgspec.Struct, frozen=True):
    """The class id or the number of a logged answer. The probabilities, most of its text, are passed over."""

    c: int | None = None
    v: float | None = None


class _Seen(msgspec.Struct):
    """What is remembered of one experiment, by challenger."""

    pairs: dict[str, PairSeen] = msgspec.field(default_factory=dict)


class _Placed(Generic[_Record]):
    """Records that are found block by block, with the places of their rows, or of their labels, in a batch."""

    def __init__(self) -> None:
        self._places: list[int] = []
        self._records: list[_Record] = []

    def add(self, places: Sequence[int], records: Iterable[_Record]) -> None:
        """Add a record for each of the places."""
        self._places += places
        self._records += records

    def in_order(self) -> tuple[_Record, ...]:
        """The records in the order of their places; those of one place in the order in which they were added."""
        order = np.argsort(np.array(self._places, np.int64), kind="stable")
        return tuple(map(self._records.__getitem__, order.tolist()))


class _Found:
    """What a batch has made of one experiment; `met` are the pairs that were not seen before."""

    def __init__(self, plan: ExperimentPlan, seen: _Seen) -> None:
        self.plan, self.seen = plan, seen
        self.rows = _Placed[Disagreement]()
        self.labels = _Placed[LabelledDisagreement]()
        self.met: dict[str, tuple[_Place, PairSeen]] = {}

    def pair(self, challenger: str, place: _Place) -> PairSeen:
        """What is remembered of a challenger, whose answer is met at that place."""
        known = self.seen.pairs.get(challenger)
        if known is None:
            first, known = self.met.get(challenger, (place, PairSeen()))
            self.met[challenger] = min(first, place), known
        return known

    def remember(self) -> None:
        """Remember the new pairs in the order of the log: the state must not depend on how the rows are packed."""
        first_met = sorted(self.met.items(), key=lambda item: item[1][0])
        self.seen.pairs |= {name: pair for name, (_, pair) in first_met}


class _Apart(NamedTuple):
    """Rows of a block that the baseline and a challenger answered with different classes: their places among the rows
    that were given, and in the block; and both classes of each."""

    number: int
    challenger: str
    places: list[int]
    at: np.ndarray
    base: list[int]
    other: list[int]


_UNLABELLED: Won = "unlabelled"
_MISSING = _Answer()
_ANSWERS = msgspec.json.Decoder(dict[str, _Answer])
_SEEN = msgspec.json.Decoder(_Seen)


class DisagreementProjection:
    """A `Projection`. Rows that do not count in their experiment are left out."""

    name = NAME

    def apply(self, events: Sequence[Event], reads: DerivedReads) -> Changes:
        """The disagreements among `events`, and what labels say of earlier ones."""
        ordered = events_of(events)
        rows = taken(ordered.rows, those(ordered.rows, attrgetter("counts")))
        labels = _labels(ordered)
        # Revision 0 was served while the store could not be read, so it belongs to no experiment.
        configurations = reads.configurations((epochs_in(rows) | epochs_in(labels.rows)) - {0})
        parts = _parts(configurations, reads)
        of_epoch = {
            epoch: parts[configuration.experiment_id]
            for epoch, configuration in configurations.items()
            if configuration.experiment_id in parts
        }
        _find(rows, of_epoch)
        _find_labels(labels, of_epoch)
        return _changes(parts)


def _labels(events: Events) -> _Labels:
    """Rows that count, with their labels that are known now, or are others now."""
    rows, outcomes = events.joined.rows, events.joined.outcomes
    if any(isinstance(event, OutcomeCorrected) for event in events.rest):
        known = [label for label in map(_label, events.others) if label is not None]
        return _Labels([row for row, _ in known], [text for _, text in known])
    which = those(rows, attrgetter("counts"))
    which = which[outcomes.are_labels[which]]
    return _Labels(taken(rows, which), outcomes.take(which).present)


def _label(event: Event) -> tuple[PredictionRow, str] | None:
    """A row that counts with its label (JSON), where the event is that it is known now, or another one."""
    if isinstance(event, OutcomeJoined) and event.outcome.kind == "actual":
        return (event.row, event.outcome.present) if event.row.counts else None
    if isinstance(event, OutcomeCorrected) and event.correction.kind == "actual" and event.row is not None:
        return (event.row, event.correction.outcome) if event.row.counts else None
    return None


def _parts(configurations: Mapping[int, Configuration], reads: DerivedReads) -> dict[str, _Found]:
    experiments = {configuration.experiment_id for configuration in configurations.values()}
    stored = reads.states([f"{NAME}/{experiment}" for experiment in experiments])
    parts = {}
    for experiment in experiments:
        first = reads.first_configuration(experiment)
        body = stored.get(f"{NAME}/{experiment}")
        if first is not None:
            parts[experiment] = _Found(plan_of(first), _Seen() if body is None else _SEEN.decode(body))
    return parts


def _answers(row: PredictionRow) -> dict[str, _Answer]:
    block = block_of(row)
    if block is None:
        return _ANSWERS.decode(row.answers) | dict.fromkeys(row.failed_versions, _MISSING)
    at = place_in_block(row)
    found = {
        version: _Answer(
            None if columns.classes is None else int(columns.classes[at]),
            None if columns.numbers is None else float(columns.numbers[at]),
        )
        for version, columns in block.answers.items()
    }
    return found | dict.fromkeys(row.failed_versions, _MISSING)


def _classes(block: Block, plan: ExperimentPlan) -> dict[str, np.ndarray] | None:
    """The class ids of the experiment's versions that answered the rows; None where one failed, or gave no class."""
    asked = {name: block.answers[name].classes for name in plan.versions if name in block.answers}
    classes = {name: own for name, own in asked.items() if own is not None}
    return None if block.shared.failed or len(classes) < len(asked) else classes


def _pairs(row: PredictionRow, plan: ExperimentPlan) -> Iterator[tuple[int, str, _Answer, _Answer]]:
    """Each challenger that was asked beside the baseline, and its number, with the baseline's answer and its own."""
    answers = _answers(row)
    base = answers.get(plan.baseline)
    for number, challenger in enumerate(plan.challengers if base is not None else ()):
        other = answers.get(challenger)
        if base is not None and other is not None:
            yield number, challenger, base, other


def _by_classes(
    rows: Sequence[PredictionRow], of_epoch: Mapping[int, _Found]
) -> tuple[list[tuple[Part, _Found, list[_Apart]]], list[int]]:
    """The rows by block, with those apart, where all answers are classes; and the places of all others, ascending."""
    blocks, alone = in_blocks(rows)
    alone = [place for place in alone if rows[place].epoch in of_epoch]
    parts = []
    for part in blocks:
        found = of_epoch.get(part.block.shared.epoch)
        if found is not None:
            classes = _classes(part.block, found.plan)
            if classes is None:
                alone += part.places.tolist()
            else:
                parts.append((part, found, [*_apart(part, classes, found.plan)]))
    return parts, sorted(alone)


def _apart(part: Part, classes: Mapping[str, np.ndarray], plan: ExperimentPlan) -> Iterator[_Apart]:
    """For each challenger that was asked beside the baseline, the rows that the two answered differently."""
    for number, challenger in enumerate(plan.challengers if plan.baseline in classes else ()):
        if challenger in classes:
            base, other = classes[plan.baseline][part.at], classes[challenger][part.at]
            own = np.flatnonzero(base != other)
            at, places = part.at[own], part.places[own].tolist()
            yield _Apart(number, challenger, places, at, base[own].tolist(), other[own].tolist())


def _find(rows: Sequence[PredictionRow], of_epoch: Mapping[int, _Found]) -> None:
    """Find the disagreements among the rows."""
    parts, alone = _by_classes(rows, of_epoch)
    for (block, places, _), found, pairs in parts:
        for each in pairs:
            found.pair(each.challenger, (int(places[0]), each.number)).since_trim += len(each.places)
            ids, hashes = map(block.ids.__getitem__, each.at.tolist()), row_hashes(block, each.at).tolist()
            apart = map(Disagreement, repeat(each.challenger), ids, repeat(_UNLABELLED), hashes)
            found.rows.add(each.places, apart)
    for place in alone:
        _find_in_row(rows[place], place, of_epoch[rows[place].epoch])


def _find_labels(labels: _Labels, of_epoch: Mapping[int, _Found]) -> None:
    """Find what the labels say of each pair that may be stored."""
    parts, alone = _by_classes(labels.rows, of_epoch)
    for (block, _, _), found, pairs in parts:
        for each in pairs:
            texts = [labels.texts[place] for place in each.places]
            won = map(who_was_right, each.base, each.other, map(float, texts))
            ids = map(block.ids.__getitem__, each.at.tolist())
            found.labels.add(each.places, map(LabelledDisagreement, repeat(each.challenger), ids, won, texts))
    for place in alone:
        row = labels.rows[place]
        found = of_epoch[row.epoch]
        said = [*_labelled(row, labels.texts[place], found.plan)]
        found.labels.add([place] * len(said), said)


def _find_in_row(row: PredictionRow, place: int, found: _Found) -> None:
    for number, challenger, base, other in _pairs(row, found.plan):
        pair = found.pair(challenger, (place, number))
        failed = (base == _MISSING) != (other == _MISSING)
        if failed or _differ(base, other, pair):
            pair.since_trim += 1
            won: Won = "failed" if failed else "unlabelled"
            found.rows.add([place], [Disagreement(challenger, row.prediction_id, won, row_hash(row))])


def _differ(base: _Answer, other: _Answer, seen: PairSeen) -> bool:
    if base.v is None or other.v is None:
        return base.c != other.c
    distance, margin = abs(base.v - other.v), seen.distances.margin
    seen.distances.add(distance)
    return distance > margin


def _labelled(row: PredictionRow, label: str, plan: ExperimentPlan) -> Iterator[LabelledDisagreement]:
    """What the label says of each pair: numbers may be stored, if they were far apart when they came."""
    for _, challenger, base, other in _pairs(row, plan):
        if base == other:
            continue
        if _MISSING in (base, other):
            yield LabelledDisagreement(challenger, row.prediction_id, "failed", label)
        elif (base.v is None) == (other.v is None):
            one, two = (base.c, other.c) if base.v is None else (base.v, other.v)
            won = who_was_right(one, two, float(msgspec.json.decode(label)))
            yield LabelledDisagreement(challenger, row.prediction_id, won, label)


def _changes(parts: Mapping[str, _Found]) -> Changes:
    trims = {}
    for experiment, part in parts.items():
        part.remember()
        due = [challenger for challenger, seen in part.seen.pairs.items() if seen.since_trim >= TRIM_AFTER]
        for challenger in due:
            # Not to zero: the state must be the same however the log was cut into batches.
            part.seen.pairs[challenger].since_trim %= TRIM_AFTER
        if due:
            trims[experiment] = tuple(due)
    return Changes(
        states={experiment: msgspec.json.encode(part.seen).decode() for experiment, part in parts.items()},
        disagreements={name: rows for name, part in parts.items() if (rows := part.rows.in_order())},
        labelled_disagreements={name: labels for name, part in parts.items() if (labels := part.labels.in_order())},
        trimmed_disagreements=trims,
    )
