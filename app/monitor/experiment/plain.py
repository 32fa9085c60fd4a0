"""Which events of a page are plain, as columns: those that do no more than add to counts which there are already.

A plain request is nobody's, alone in its unit, was drawn and answered as configured, and its version's counts exist;
a plain label is one of such a request where answers are right or wrong. Sums of whole numbers do not depend on their
order, so these are added at once, and what does depend on it (evidence, the threshold of slow answers) is walked
through in order (`plain_traffic.py`, `plain_outcomes.py`). All other events are projected one by one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple, cast

import numpy as np

from app.domain.experiment import Configuration
from app.domain.log_columns import AnswerColumns, Block, Shared, block_of, place_in_block
from app.domain.log_event import FeedbackReceived, OutcomeJoined, OutcomeRow, PredictionRow
from app.domain.log_page import Events, Part, in_blocks
from app.domain.monitor_state import LogTotals
from app.domain.prediction import REPORTED
from app.domain.prediction_id import are_first_draws
from app.monitor.experiment.events import value_of
from app.monitor.experiment.latencies import bucket_of
from app.monitor.experiment.state import ExperimentPlan, ExperimentState
from app.monitor.experiment.traffic import is_at_share, slow_is_known
from app.scoring.contract import Metric

_bucket_of = lru_cache(1 << 16)(bucket_of)


class Opened(NamedTuple):
    """An experiment as it is before a batch."""

    plan: ExperimentPlan
    state: ExperimentState


class Requests(NamedTuple):
    """Plain requests of one version in one config revision, in order: places among the events, and the rows' own."""

    places: np.ndarray
    block: Block
    at: np.ndarray
    buckets: list[int]

    @property
    def shared(self) -> Shared:
        """What they have in common."""
        return self.block.shared


class Label(NamedTuple):
    """A plain label once it is joined, at its place among the events."""

    place: int
    event: OutcomeJoined
    value: float


class Plain:
    """The plain events of one experiment in a page. `received` are the labels as they came, with their values."""

    def __init__(self) -> None:
        self.requests: list[Requests] = []
        self.received: list[tuple[str, OutcomeRow, float]] = []
        self.labels: list[Label] = []

    @property
    def last_at_us(self) -> int:
        """When the newest of them came about, µs since 1970; 0 where there is none."""
        times = [int(each.block.at_us[each.at].max()) for each in self.requests]
        times += [outcome.received_at_us for _, outcome, _ in self.received]
        times += [each.event.at_us for each in self.labels]
        return max(times, default=0)


class Found(NamedTuple):
    """The plain events by experiment, and the places of all other events; `epochs` are those of the plain ones."""

    plain: dict[str, Plain]
    others: np.ndarray
    epochs: dict[str, set[int]]


def plain_of(
    events: Events, configurations: Mapping[int, Configuration], opened: Mapping[str, Opened], totals: LogTotals
) -> Found:
    """The plain events, which are counted in `totals`; none where a reward window may close at one of them."""
    left = np.ones(len(events), bool)
    found = Found({name: Plain() for name in opened}, left, {name: set() for name in opened})
    if totals.waiting or any(each.plan.window_us is not None for each in opened.values()):
        return found._replace(others=np.arange(len(events)))
    selection = _Selection(configurations, opened, totals)
    places = events.places
    for part in in_blocks(events.rows)[0]:
        own = selection.experiment_of(part.block.shared)
        requests = None if own is None else _requests(part, places, opened[own])
        if own is not None and requests is not None and len(requests.places):
            found.plain[own].requests.append(requests)
            found.epochs[own].add(requests.shared.epoch)
            left[requests.places] = False
            totals.predictions += len(requests.places)
            totals.clock_us = max(totals.clock_us, int(requests.block.at_us[requests.at].max()))
    for place, event in zip(events.other_places.tolist(), events.others, strict=True):
        if isinstance(event, OutcomeJoined):
            own = selection.joined(event)
            if own is not None:
                found.plain[own].labels.append(Label(place, event, value_of(event.outcome.outcome)))
        elif isinstance(event, FeedbackReceived):
            own, served = selection.received(event.outcome)
            if own is not None:
                value = value_of(event.outcome.outcome)
                found.plain[own].received.append((served, event.outcome, value))
                totals.outcomes += 1
                totals.feedback[event.outcome.version_ordinal] += 1
                totals.clock_us = max(totals.clock_us, event.outcome.received_at_us)
        else:
            continue
        if own is not None:
            found.epochs[own].add(event.outcome.epoch)
            left[place] = False
    return found._replace(others=np.flatnonzero(left))


class _Selection:
    """What is known of config revisions and blocks, asked for each of their events."""

    def __init__(
        self, configurations: Mapping[int, Configuration], opened: Mapping[str, Opened], totals: LogTotals
    ) -> None:
        self._opened = opened
        self._totals = totals
        names = {*totals.names.values()}
        # Where all ordinals are known, events add none, and their order does not matter.
        self._known = {
            epoch: each
            for epoch, each in configurations.items()
            if {*each.ordinals.values()} <= totals.names.keys() and each.ordinals.keys() <= names
        }
        self._served = {
            epoch: {ordinal: name for name, ordinal in each.ordinals.items()} for epoch, each in self._known.items()
        }
        self._scored = {name: _scores(each) for name, each in opened.items()}
        self._blocks: dict[int, str | None] = {}

    def experiment_of(self, shared: Shared) -> str | None:
        """The experiment of rows that share this, where they are drawn and answered as configured."""
        configuration = self._known.get(shared.epoch)
        if configuration is None or shared.version not in configuration.ordinals:
            return None
        plan, state = self._opened[configuration.experiment_id]
        answered = shared.counts and shared.version == shared.chosen and not shared.failed and not shared.lacking
        if not answered or shared.assignment == REPORTED or shared.epoch not in state.epochs:
            return None
        # Rows that come again would be units that have to be remembered.
        wanted, share = plan.terms.unit, configuration.weights.get(shared.version)
        if wanted == "row" or (wanted == "auto" and plan.cases.rows_are_cases):
            return None
        if share is None or shared.version not in state.versions or not is_at_share(shared.propensity, share):
            return None
        return configuration.experiment_id

    def joined(self, event: OutcomeJoined) -> str | None:
        """The experiment of a plain label whose row is known."""
        row, outcome = event.row, event.outcome
        block = block_of(row)
        if block is None or not _is_plain(outcome) or outcome.user_hash:
            return None
        if id(block) not in self._blocks:
            self._blocks[id(block)] = self._labelled(block)
        own = self._blocks[id(block)] if outcome.epoch == block.shared.epoch else None
        return own if own is not None and _alone(block)[place_in_block(row)] else None

    def _labelled(self, block: Block) -> str | None:
        own = self.experiment_of(block.shared)
        if own is None or not self._scored[own] or any(each.classes is None for each in block.answers.values()):
            return None
        pairs = self._opened[own].state.pairs.values()
        return own if all("request" in pair.kinds for pair in pairs) else None

    def received(self, outcome: OutcomeRow) -> tuple[str | None, str]:
        """The experiment of a plain label that comes in, and the version that answered; no experiment of another."""
        configuration = self._known.get(outcome.epoch)
        if configuration is None or not _is_plain(outcome) or outcome.version_ordinal not in self._totals.feedback:
            return None, ""
        own = configuration.experiment_id
        served = self._served[outcome.epoch].get(outcome.version_ordinal)
        plain = self._scored[own] and served in self._opened[own].state.versions
        plain = plain and outcome.epoch in self._opened[own].state.epochs
        return (own, served or "") if plain else (None, "")


def _is_plain(outcome: OutcomeRow) -> bool:
    return outcome.kind == "actual" and outcome.counts and outcome.corrected is None


def _scores(opened: Opened) -> bool:
    """Whether labels say right or wrong of a class id, so that values are 0 and 1, and are known from an id."""
    metric = opened.plan.metric
    paired = metric.method_under(opened.plan.terms) == "paired"
    return paired and metric.score_of_id is not None and not metric.uses_rewards and not metric.reads_probabilities


def _requests(part: Part, places: np.ndarray, opened: Opened) -> Requests | None:
    """The plain ones of the rows of a block, whose places among the events are those of `places`."""
    block, state = part.block, opened.state
    epoch, version = block.shared.epoch, block.shared.version
    counted = version in state.chosen.get(epoch, ()) and version in state.timed.get(epoch, ())
    if not counted or not slow_is_known(state) or not block.answers or any(map(_is_empty, block.answers.values())):
        return None
    plain = _alone(block)[part.at]
    at, events = part.at[plain], places[part.places[plain]]
    latencies, known = block.latencies, state.versions[version].latency
    buckets = [_bucket_of(latencies[each]) for each in at.tolist()]
    if not {*buckets} <= known.keys():
        kept = np.array([each in known for each in buckets], bool)
        at, events, buckets = at[kept], events[kept], [each for each in buckets if each in known]
    return Requests(events, block, at, buckets)


def _is_empty(answers: AnswerColumns) -> bool:
    return answers.classes is None and answers.shares is None and answers.numbers is None


def _alone(block: Block) -> np.ndarray:
    """Which rows of a block are nobody's, without an own key, and the draw of their request; shape (n,)."""
    found: np.ndarray | None = block.made.get("alone")
    if found is None:
        found = are_first_draws(block.raw_ids) & (block.users == 0)
        found &= np.array([each is None for each in block.own_keys], bool)
        block.made["alone"] = found
    return found


def tells_apart(metric: Metric, block: Block, one: str, other: str) -> np.ndarray | None:
    """For each row of a block whether the metric tells two versions' answers apart; None where one was not asked."""
    if one not in block.answers or other not in block.answers:
        return None
    pair = block.answers[one], block.answers[other]
    columns: Sequence[tuple[np.ndarray | None, np.ndarray | None]] = [*zip(*pair, strict=True)]
    by_class = pair[0].classes is not None and not metric.reads_probabilities
    key = f"apart {by_class} {one} {other}"
    if key in block.made:
        return cast("np.ndarray", block.made[key])
    if by_class:
        columns = columns[:1]
    found = np.zeros(len(block.seqs), bool)
    for mine, theirs in columns:
        if mine is None or theirs is None or mine.shape != theirs.shape:
            found |= mine is not theirs
        else:
            found |= mine != theirs if mine.ndim == 1 else (mine != theirs).any(axis=1)
    block.made[key] = found
    return found


def row_of(label: Label) -> tuple[Block, int, PredictionRow]:
    """The block of a plain label's row, its place there, and the row."""
    row = label.event.row
    block = block_of(row)
    assert block is not None
    return block, place_in_block(row), row
