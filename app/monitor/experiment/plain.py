"""Which events of a page are plain, as columns: those that do no more than add to counts which there are already.

A plain request is nobody's, or that of a user who is not sticky, has no own key, was drawn and answered as configured,
and its version's counts exist; a plain label is one of such a request where answers are right or wrong. All events of
one user in a page are plain, or none. Sums of whole numbers do not depend on their order, so these are added at once,
and what does depend on it (evidence, the threshold of slow answers) is walked through in order (`plain_traffic.py`,
`plain_outcomes.py`). All other events are projected one by one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple, cast

import numpy as np

from app.domain.experiment import Configuration
from app.domain.log_columns import AnswerColumns, Block, Shared
from app.domain.log_event import FeedbackReceived, OutcomeCorrected, OutcomeJoined, OutcomeRow
from app.domain.log_page import Events, Part, in_blocks
from app.domain.monitor_state import LogTotals
from app.monitor.experiment.events import value_of
from app.monitor.experiment.latencies import bucket_of
from app.monitor.experiment.plain_selection import Opened, Selection, are_single
from app.monitor.experiment.traffic import slow_is_known
from app.scoring.contract import Metric

_bucket_of = lru_cache(1 << 16)(bucket_of)


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

    @property
    def users(self) -> np.ndarray:
        """The hashes of their users, 0 for nobody; shape (n,)."""
        found: np.ndarray = self.block.users[self.at]
        return found

    def without(self, users: Collection[int]) -> Requests:
        """Those of them that are not of these users."""
        kept = ~np.isin(self.users, [*users])
        buckets = [bucket for bucket, is_kept in zip(self.buckets, kept.tolist(), strict=True) if is_kept]
        return Requests(self.places[kept], self.block, self.at[kept], buckets)


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
    def users(self) -> np.ndarray:
        """The hashes of the users of its requests and labels, ascending."""
        of_labels = np.array([each.event.row.user_hash for each in self.labels], np.int64)
        found = np.unique(np.concatenate([of_labels, *(each.users for each in self.requests)]))
        named: np.ndarray = found[found != 0]
        return named

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
    # While they are sought, `others` says of each event whether it is left.
    found = Found({name: Plain() for name in opened}, left, {name: set() for name in opened})
    if totals.waiting or any(each.plan.window_us is not None for each in opened.values()):
        return found._replace(others=np.arange(len(events)))
    selection = Selection(configurations, opened, totals)
    _find_requests(events, selection, found)
    _find_outcomes(events, selection, found)
    _leave_out(_users_of(events, left), found)
    for own, plain in found.plain.items():
        found.epochs[own].update(each.shared.epoch for each in plain.requests)
        found.epochs[own].update(each.event.outcome.epoch for each in plain.labels)
        found.epochs[own].update(outcome.epoch for _, outcome, _ in plain.received)
        _count(plain, totals)
    return found._replace(others=np.flatnonzero(left))


def _find_requests(events: Events, selection: Selection, found: Found) -> None:
    places = events.places
    for part in in_blocks(events.rows)[0]:
        own = selection.experiment_of(part.block.shared)
        requests = None if own is None else _requests(part, places, selection.opened[own])
        if own is not None and requests is not None and len(requests.places):
            found.plain[own].requests.append(requests)
            found.others[requests.places] = False


def _find_outcomes(events: Events, selection: Selection, found: Found) -> None:
    for place, event in zip(events.other_places.tolist(), events.others, strict=True):
        if isinstance(event, OutcomeJoined):
            own = selection.joined(event)
            if own is not None:
                found.plain[own].labels.append(Label(place, event, value_of(event.outcome.outcome)))
        elif isinstance(event, FeedbackReceived):
            own, served = selection.received(event.outcome)
            if own is not None:
                found.plain[own].received.append((served, event.outcome, value_of(event.outcome.outcome)))
        else:
            continue
        found.others[place] = own is None


def _users_of(events: Events, left: np.ndarray) -> set[int]:
    """The users of the requests that are left, and of those that the outcomes which are left are of."""
    places = events.places
    parts, alone = in_blocks(events.rows)
    users = {events.rows[place].user_hash for place in alone}
    for block, rows, at in parts:
        users.update(np.unique(block.users[at[left[places[rows]]]]).tolist())
    for place, event in zip(events.other_places.tolist(), events.others, strict=True):
        if left[place] and isinstance(event, OutcomeJoined | OutcomeCorrected) and event.row is not None:
            users.add(event.row.user_hash)
    return users - {0}


def _leave_out(users: Collection[int], found: Found) -> None:
    """Leave all events of these users to be projected one by one: what is known of a unit depends on their order."""
    for plain in found.plain.values() if users else ():
        for each in plain.requests:
            found.others[each.places] = True
        plain.requests = [each for each in (some.without(users) for some in plain.requests) if len(each.places)]
        for each in plain.requests:
            found.others[each.places] = False
        for label in plain.labels:
            found.others[label.place] = label.event.row.user_hash in users
        plain.labels = [each for each in plain.labels if not found.others[each.place]]


def _count(plain: Plain, totals: LogTotals) -> None:
    totals.outcomes += len(plain.received)
    for _, outcome, _ in plain.received:
        totals.feedback[outcome.version_ordinal] += 1
        totals.clock_us = max(totals.clock_us, outcome.received_at_us)
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
    plain = are_single(block)[part.at]
    if opened.plan.metric.uses_rewards:  # a user's first answers are remembered in order
        plain &= block.users[part.at] == 0
    at, events = part.at[plain], places[part.places[plain]]
    latencies, known = block.latencies, state.versions[version].latency
    buckets = [_bucket_of(latencies[each]) for each in at.tolist()]
    if not {*buckets} <= known.keys():
        kept = np.array([each in known for each in buckets], bool)
        at, events, buckets = at[kept], events[kept], [each for each in buckets if each in known]
    return Requests(events, block, at, buckets)


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
