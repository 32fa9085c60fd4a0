"""Which events of a page are plain, as columns: those that do no more than add to counts which there are already.

A plain request is nobody's, or that of a user who is not sticky, has no own key, was drawn and answered as configured,
and its version's counts exist; a plain label is one of such a request where answers are right or wrong. All events of
one unit in a page are plain, or none. Sums of whole numbers do not depend on their order, so these are added at once,
and what does depend on it (evidence, the threshold of slow answers) is walked through in order (`plain_traffic.py`,
`plain_outcomes.py`). All other events are projected one by one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import compress
from typing import NamedTuple, cast

import numpy as np

from app.domain.experiment import Configuration
from app.domain.log_columns import AnswerColumns, Block, Shared
from app.domain.log_event import OutcomeCorrected, PredictionRow
from app.domain.log_page import Events, Part, in_blocks, taken
from app.domain.monitor_state import LogTotals
from app.monitor.experiment.events import value_of
from app.monitor.experiment.latencies import bucket_of
from app.monitor.experiment.plain_selection import Opened, Received, Selection, are_plain, are_single
from app.monitor.experiment.state import ExperimentPlan
from app.monitor.experiment.traffic import slow_is_known
from app.monitor.experiment.units import row_hash, row_hashes, rows_are_units, units_of, user_identity, user_units
from app.scoring.contract import Metric

_bucket_of = lru_cache(1 << 16)(bucket_of)


class Requests(NamedTuple):
    """Plain requests of one version in one config revision, in order: places among the events, and the rows' own.

    `units` and `users` are the units of the requests, and those that stand for their users; 0 where there is none.
    """

    places: np.ndarray
    block: Block
    at: np.ndarray
    buckets: list[int]
    units: np.ndarray
    users: np.ndarray

    @property
    def shared(self) -> Shared:
        """What they have in common."""
        return self.block.shared

    def part(self, kept: np.ndarray) -> Requests:
        """Those of them that are kept."""
        buckets = [*compress(self.buckets, kept.tolist())]
        return Requests(self.places[kept], self.block, self.at[kept], buckets, self.units[kept], self.users[kept])


class Labels(NamedTuple):
    """Plain labels once they are joined, in order: places among the events, rows, and values.

    `units` are those of the rows, `users` the hashes of their users, 0 where there is none, and `at_us` says when both
    were there, µs since 1970; arrays have shape (n,).
    """

    places: np.ndarray
    rows: Sequence[PredictionRow]
    values: np.ndarray
    units: np.ndarray
    users: np.ndarray
    at_us: np.ndarray

    def part(self, which: np.ndarray) -> Labels:
        """Those of these numbers."""
        arrays = (each[which] for each in (self.values, self.units, self.users, self.at_us))
        return Labels(self.places[which], taken(self.rows, which), *arrays)


class Plain:
    """The plain events of one experiment in a page."""

    def __init__(self) -> None:
        none = np.zeros(0, np.int64)
        self.requests: list[Requests] = []
        self.received: list[Received] = []
        self.labels = Labels(none, [], np.zeros(0), none, none, none)

    @property
    def units(self) -> np.ndarray:
        """The units of its requests and labels, and those that stand for users, ascending."""
        of_requests = (units for each in self.requests for units in (each.units, each.users))
        found = np.unique(np.concatenate([self.labels.units, *of_requests]))
        units: np.ndarray = found[found != 0]
        return units

    @property
    def last_at_us(self) -> int:
        """When the newest of them came about, µs since 1970; 0 where there is none."""
        times = [int(each.block.at_us[each.at].max()) for each in self.requests]
        times += [each.last_at_us for each in self.received]
        return max(int(self.labels.at_us.max(initial=0)), *times, 0)


class Found(NamedTuple):
    """The plain events by experiment, and the places of all other events; `epochs` are those of the plain ones."""

    plain: dict[str, Plain]
    others: np.ndarray
    epochs: dict[str, set[int]]


def plain_of(
    events: Events, configurations: Mapping[int, Configuration], opened: Mapping[str, Opened], totals: LogTotals
) -> Found:
    """The plain events; none where a reward window may close at one of them."""
    left = np.ones(len(events), bool)
    # While they are sought, `others` says of each event whether it is left.
    found = Found({name: Plain() for name in opened}, left, {name: set() for name in opened})
    if totals.waiting or any(each.plan.window_us is not None for each in opened.values()):
        return found._replace(others=np.arange(len(events)))
    selection = Selection(configurations, opened, totals)
    _find_requests(events, selection, found)
    _find_labels(events, selection, found)
    _find_received(events, selection, totals, found)
    for own, plain in found.plain.items():
        if plain.requests or len(plain.labels.places):
            _leave_out(_units_left(events, left, opened[own].plan), plain, left)
    for own, plain in found.plain.items():
        epochs = found.epochs[own]
        epochs.update(each.shared.epoch for each in plain.requests)
        epochs.update(part.block.shared.epoch for part in in_blocks(plain.labels.rows)[0])
        epochs.update(each.epoch for each in plain.received)
    return found._replace(others=np.flatnonzero(left))


def _find_requests(events: Events, selection: Selection, found: Found) -> None:
    places = events.places
    for part in in_blocks(events.rows)[0]:
        own = selection.experiment_of(part.block.shared)
        requests = None if own is None else _requests(part, places, selection.opened[own])
        if own is not None and requests is not None and len(requests.places):
            found.plain[own].requests.append(requests)
            found.others[requests.places] = False


def _find_labels(events: Events, selection: Selection, found: Found) -> None:
    joined, numbers = events.joined, dict[str, list[np.ndarray]]()
    outcomes, (blocks, _) = joined.outcomes, in_blocks(joined.rows)
    labels, epochs, named = are_plain(outcomes), outcomes.array("epoch"), outcomes.array("user_hash")
    units, users = np.zeros((2, len(outcomes)), np.int64)
    at_us = outcomes.array("received_at_us").copy()
    for block, places, at in blocks:
        of_rows = block.users[at]
        users[places] = of_rows
        at_us[places] = np.maximum(at_us[places], block.at_us[at])
        own = selection.labelled(block)
        if own is not None:
            plain = labels[places] & (epochs[places] == block.shared.epoch) & (named[places] == of_rows)
            plain &= are_single(block)[at]
            units[places[plain]] = units_of(selection.opened[own].plan, block, at[plain])
            numbers.setdefault(own, []).append(places[plain])
    if not numbers:
        return
    values = np.array([value_of(each) for each in outcomes.column("outcome")])
    every = Labels(joined.places, joined.rows, values, units, users, at_us)
    for own, parts in numbers.items():
        found.plain[own].labels = every.part(np.sort(np.concatenate(parts)))
        found.others[found.plain[own].labels.places] = False


def _find_received(events: Events, selection: Selection, totals: LogTotals, found: Found) -> None:
    outcomes = events.received
    plain, epochs, ordinals = are_plain(outcomes), outcomes.array("epoch"), outcomes.array("version_ordinal")
    # The first outcomes are no plain ones, so that counts begin in the order of the events.
    for ordinal, first in zip(*(each.tolist() for each in np.unique(ordinals, return_index=True)), strict=True):
        plain[first] &= ordinal in totals.feedback
    for epoch, ordinal in sorted({*zip(epochs[plain].tolist(), ordinals[plain].tolist(), strict=True)}):
        received = selection.received(epoch, ordinal)
        if received is not None:
            own = np.flatnonzero(plain & (epochs == epoch) & (ordinals == ordinal))
            some = outcomes.take(own)
            received.times.update(zip(some.column("answer"), some.column("outcome"), strict=True))
            received = received._replace(last_at_us=int(some.array("received_at_us").max()))
            found.plain[selection.experiment(epoch)].received.append(received)
            found.others[events.received_places[own]] = False


def _units_left(events: Events, left: np.ndarray, plan: ExperimentPlan) -> np.ndarray:
    """The units of the requests that are left, and of those that the outcomes which are left are of, under any name."""
    found = [np.zeros(0, np.int64)]
    for rows, are_left in ((events.rows, left[events.places]), (events.joined.rows, left[events.joined.places])):
        parts, alone = in_blocks(rows)
        found.append(_all_units_of([rows[place] for place in alone if are_left[place]], plan))
        for block, places, at in parts:
            own = at[are_left[places]]
            found.append(user_units(block, own))
            if rows_are_units(plan):
                found.append(row_hashes(block, own))
    corrected = (event.row for event in events.rest if isinstance(event, OutcomeCorrected))
    found.append(_all_units_of([row for row in corrected if row is not None], plan))
    return np.setdiff1d(np.concatenate(found), [0])


def _all_units_of(rows: Sequence[PredictionRow], plan: ExperimentPlan) -> np.ndarray:
    units = [user_identity(row) for row in rows if row.user_hash]
    units += [row_hash(row) for row in rows] if rows_are_units(plan) else []
    return np.array(units, np.int64)


def _leave_out(units: np.ndarray, plain: Plain, left: np.ndarray) -> None:
    """Leave all events of these units to be projected one by one: what is known of a unit depends on their order."""
    while units.size:
        requests, more = plain.requests, [np.zeros(0, np.int64)]
        plain.requests = []
        for each in requests:
            is_left = np.isin(each.units, units) | np.isin(each.users, units)
            left[each.places[is_left]] = True
            # A request that is left for its user is not counted for its row either.
            more += [each.units[is_left], each.users[is_left]]
            if not is_left.all():
                plain.requests.append(each.part(~is_left) if is_left.any() else each)
        is_left = np.isin(plain.labels.units, units)
        left[plain.labels.places[is_left]] = True
        plain.labels = plain.labels.part(np.flatnonzero(~is_left))
        units = np.setdiff1d(np.concatenate(more), [0])


def count_plain(plain: Plain, totals: LogTotals) -> None:
    """Count the plain events, behind all others of the page, which begin the counts."""
    for received in plain.received:
        number = received.times.total()
        totals.outcomes += number
        totals.feedback[received.ordinal] += number
        totals.clock_us = max(totals.clock_us, received.last_at_us)
    for each in plain.requests:
        totals.predictions += len(each.places)
        totals.clock_us = max(totals.clock_us, int(each.block.at_us[each.at].max()))


def _requests(part: Part, places: np.ndarray, opened: Opened) -> Requests | None:
    """The plain ones of the rows of a block, whose places among the events are those of `places`."""
    block, state = part.block, opened.state
    epoch, version = block.shared.epoch, block.shared.version
    counted = version in state.chosen.get(epoch, ()) and version in state.timed.get(epoch, ())
    if not counted or not slow_is_known(state) or not block.answers or any(map(_is_empty, block.answers.values())):
        return None
    single = are_single(block)[part.at]
    at, latencies, known = part.at[single], block.latencies, state.versions[version].latency
    buckets = [_bucket_of(latencies[each]) for each in at.tolist()]
    units, users = units_of(opened.plan, block, at), user_units(block, at)
    found = Requests(places[part.places[single]], block, at, buckets, units, users)
    kept = np.array([each in known for each in buckets], bool)
    if opened.plan.metric.uses_rewards:  # a unit's first answers are remembered in order
        kept &= (users == 0) & (units == 0)
    return found if kept.all() else found.part(kept)


def _is_empty(answers: AnswerColumns) -> bool:
    return answers.classes is None and answers.shares is None and answers.numbers is None


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
