"""The projection of disagreements: the rows of each experiment that a challenger answered differently."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec
import numpy as np

from app.domain.disagreement import KEPT, Disagreement, LabelledDisagreement, PairSeen, who_was_right
from app.domain.experiment import Configuration
from app.domain.log_columns import block_of, place_in_block
from app.domain.log_event import Event, OutcomeCorrected, OutcomeJoined, PredictionLogged, PredictionRow
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
        found = [fact for fact in map(_fact, events) if fact is not None]
        # Revision 0 was served while the store could not be read, so it belongs to no experiment.
        configurations = reads.configurations({row.epoch for row, _ in found} - {0})
        parts = _parts(configurations, reads)
        for row, label in found:
            configuration = configurations.get(row.epoch)
            part = None if configuration is None else parts.get(configuration.experiment_id)
            if part is not None and label is None:
                part.rows += _differing(row, part)
            elif part is not None and label is not None:
                part.labels += _labelled(row, label, part)
        return _changes(parts)


def _fact(event: Event) -> tuple[PredictionRow, str | None] | None:
    """A row that counts, and its label (JSON) where the event is that it is known now, or another one."""
    if isinstance(event, PredictionLogged):
        return (event.row, None) if event.row.counts else None
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
    found: list[dict[str, _Answer]] | None = block.made.get(NAME)
    if found is None:
        found = [{} for _ in block.seqs]
        for version, columns in block.answers.items():
            for own, (c, _, v) in zip(found, columns.values(len(found)), strict=True):
                own[version] = _Answer(c, v)
        failed = dict.fromkeys(row.failed_versions, _MISSING)
        block.made[NAME] = found = [own | failed for own in found] if failed else found
    return found[place_in_block(row)]


def _all_agree(row: PredictionRow, plan: ExperimentPlan) -> bool:
    """Whether it is known from the columns that every version of the experiment named one class, and none failed."""
    block = block_of(row)
    if block is None:
        return False
    key = f"{NAME} {plan.experiment_id}"
    found: list[bool] | None = block.made.get(key)
    if found is None:
        asked = [block.answers[name].classes for name in plan.versions if name in block.answers]
        classes = [each for each in asked if each is not None]
        if block.shared.failed or len(classes) < len(asked) or not classes:
            found = [False] * len(block.seqs)
        else:
            found = (np.stack(classes) == classes[0]).all(axis=0).tolist()
        block.made[key] = found
    return found[place_in_block(row)]


def _pairs(row: PredictionRow, plan: ExperimentPlan) -> Iterator[tuple[str, _Answer, _Answer]]:
    """Each challenger that was asked beside the baseline, with the baseline's answer and its own."""
    answers = _answers(row)
    base = answers.get(plan.baseline)
    for challenger in plan.challengers if base is not None else ():
        other = answers.get(challenger)
        if base is not None and other is not None:
            yield challenger, base, other


def _differing(row: PredictionRow, part: _Found) -> Iterator[Disagreement]:
    # A pair is noted at its first row, also where the two agree.
    if _all_agree(row, part.plan) and part.seen.pairs.keys() >= {*part.plan.challengers}:
        return
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
    if _all_agree(row, part.plan):
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
