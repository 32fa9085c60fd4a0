"""The projection of disagreements: the rows of each experiment that a challenger answered differently."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter

import msgspec
import numpy as np

from app.domain.disagreement import KEPT, Disagreement, LabelledDisagreement, PairSeen, who_was_right
from app.domain.experiment import Configuration
from app.domain.log_columns import Block, block_of, place_in_block
from app.domain.log_event import Event, OutcomeCorrected, OutcomeJoined, PredictionRow
from app.domain.log_page import epochs_in, events_of, in_blocks, taken, those
from app.domain.monitor_state import Changes
from app.monitor.experiment.state import ExperimentPlan, plan_of
from app.monitor.experiment.units import row_hash
from app.monitor.projection import DerivedReads

NAME = "disagreements"
# Old rows are removed so many at a time: not in every batch, and not too many under the write lock.
TRIM_AFTER = KEPT // 10


class _Answer(msgspec.Struct, frozen=True):
    """The class id or the number of a logged answer. The probabilities, most of its text, are passed over."""

    c: int | None = None
    v: float | None = None


class _Seen(msgspec.Struct):
    """What is remembered of one experiment, by challenger."""

    pairs: dict[str, PairSeen] = msgspec.field(default_factory=dict)


class _Found(msgspec.Struct):
    """What a batch has made of one experiment."""

    plan: ExperimentPlan
    seen: _Seen
    rows: list[Disagreement] = msgspec.field(default_factory=list)
    labels: list[LabelledDisagreement] = msgspec.field(default_factory=list)


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
        labels = [label for label in map(_label, ordered.others) if label is not None]
        # Revision 0 was served while the store could not be read, so it belongs to no experiment.
        configurations = reads.configurations((epochs_in(rows) | {row.epoch for row, _ in labels}) - {0})
        parts = _parts(configurations, reads)
        of_epoch = {
            epoch: parts[configuration.experiment_id]
            for epoch, configuration in configurations.items()
            if configuration.experiment_id in parts
        }
        for row in _looked_at(rows, of_epoch):
            of_epoch[row.epoch].rows += _differing(row, of_epoch[row.epoch])
        for row, label in labels:
            if row.epoch in of_epoch:
                of_epoch[row.epoch].labels += _labelled(row, label, of_epoch[row.epoch])
        return _changes(parts)


def _looked_at(rows: Sequence[PredictionRow], of_epoch: Mapping[int, _Found]) -> Iterator[PredictionRow]:
    """The rows on which versions may differ, and the first of each block: a pair is noted where it is met first."""
    blocks, alone = in_blocks(rows)
    found = [place for place in alone if rows[place].epoch in of_epoch]
    for block, places, at in blocks:
        part = of_epoch.get(block.shared.epoch)
        if part is not None:
            doubted = ~_agreeing(block, part.plan)[at]
            doubted[0] = True
            found += places[doubted].tolist()
    return (rows[place] for place in sorted(found))


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


def _agreeing(block: Block, plan: ExperimentPlan) -> np.ndarray:
    """Of which rows it is known that every version of the experiment named one class, and none failed."""
    key = f"{NAME} {plan.experiment_id}"
    found: np.ndarray | None = block.made.get(key)
    if found is None:
        asked = [block.answers[name].classes for name in plan.versions if name in block.answers]
        classes = [each for each in asked if each is not None]
        if block.shared.failed or len(classes) < len(asked) or not classes:
            found = np.zeros(len(block.seqs), bool)
        else:
            found = (np.stack(classes) == classes[0]).all(axis=0)
        block.made[key] = found
    return found


def _pairs(row: PredictionRow, plan: ExperimentPlan) -> Iterator[tuple[str, _Answer, _Answer]]:
    """Each challenger that was asked beside the baseline, with the baseline's answer and its own."""
    answers = _answers(row)
    base = answers.get(plan.baseline)
    for challenger in plan.challengers if base is not None else ():
        other = answers.get(challenger)
        if base is not None and other is not None:
            yield challenger, base, other


def _differing(row: PredictionRow, part: _Found) -> Iterator[Disagreement]:
    for challenger, base, other in _pairs(row, part.plan):
        failed = (base == _MISSING) != (other == _MISSING)
        if failed or _differ(base, other, part.seen.pairs.setdefault(challenger, PairSeen())):
            part.seen.pairs.setdefault(challenger, PairSeen()).since_trim += 1
            yield Disagreement(challenger, row.prediction_id, "failed" if failed else "unlabelled", row_hash(row))


def _differ(base: _Answer, other: _Answer, seen: PairSeen) -> bool:
    if base.v is None or other.v is None:
        return base.c != other.c
    distance, margin = abs(base.v - other.v), seen.distances.margin
    seen.distances.add(distance)
    return distance > margin


def _labelled(row: PredictionRow, label: str, part: _Found) -> Iterator[LabelledDisagreement]:
    """What the label says of each pair that may be stored: numbers are, if they were far apart when they came."""
    block = block_of(row)
    if block is not None and _agreeing(block, part.plan)[place_in_block(row)]:
        return
    for challenger, base, other in _pairs(row, part.plan):
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
        due = [challenger for challenger, seen in part.seen.pairs.items() if seen.since_trim >= TRIM_AFTER]
        for challenger in due:
            # Not to zero: the state must be the same however the log was cut into batches.
            part.seen.pairs[challenger].since_trim %= TRIM_AFTER
        if due:
            trims[experiment] = tuple(due)
    return Changes(
        states={experiment: msgspec.json.encode(part.seen).decode() for experiment, part in parts.items()},
        disagreements={name: tuple(part.rows) for name, part in parts.items() if part.rows},
        labelled_disagreements={name: tuple(part.labels) for name, part in parts.items() if part.labels},
        trimmed_disagreements=trims,
    )
