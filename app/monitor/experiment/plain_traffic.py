"""Projects the plain requests of a page: counts at once, and what is slow in order."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from itertools import compress

import numpy as np

from app.domain.experiment import slow_limit
from app.monitor.experiment.plain import Plain, Requests
from app.monitor.experiment.state import ExperimentPlan, ExperimentState
from app.monitor.experiment.traffic import Assigned, follow_slow, is_slow, naming_bit
from app.monitor.experiment.unit_columns import UnitColumns


class PlainTraffic:
    """The plain requests of a page, in order."""

    def __init__(self, state: ExperimentState, plan: ExperimentPlan, plain: Plain, units: UnitColumns) -> None:
        self._state, self._plan = state, plan
        self._limit = slow_limit(plan.terms.guardrail_slow)
        requests = plain.requests
        numbers = {version: number for number, version in enumerate(state.versions)}
        sizes = [len(each.places) for each in requests]
        places = np.concatenate([np.zeros(0, np.int64), *(each.places for each in requests)])
        order = np.argsort(places)
        epochs = np.repeat([each.shared.epoch for each in requests], sizes).astype(np.int64)[order]
        members = np.repeat([numbers[each.shared.version] for each in requests], sizes).astype(np.int64)[order]
        self.assigned = Assigned(places[order], epochs, members)
        latencies = [
            latency for each in requests for latency in map(each.block.latencies.__getitem__, each.at.tolist())
        ]
        self._latencies = [latencies[place] for place in order.tolist()]
        self._epochs, self._members = epochs.tolist(), members.tolist()
        of_base = members == numbers.get(plan.baseline, -1)
        # The baseline's own latencies, and how many of them come before each request.
        self._base_latencies = list(compress(self._latencies, of_base.tolist()))
        self._base_before = _sums(of_base)
        self._versions = [*state.versions]
        self._places: list[int] = self.assigned.places.tolist()
        self._done = 0
        users = np.concatenate([np.zeros(0, np.int64), *(each.users for each in requests)])[order]
        # How many requests up to each name a user, and how many one who was not named before.
        self._named = _sums(users != 0)
        self._named_first = _sums(units.first_named(users, naming_bit(state)))
        for each in requests:
            _count_requests(state, each)

    def until(self, place: float) -> None:
        """Follow what is slow through the requests before a place, in order."""
        end = bisect_left(self._places, place, self._done)
        if end == self._done:
            return
        for pair in self._state.pairs.values():
            pair.failed_in_request = False
        allowance, start = math.inf if self._limit is None else self._limit.allowance_us, self._done
        for at, latency in enumerate(self._latencies[start:end], start):
            if latency > allowance:
                # Those before it: the threshold must be fixed before the answer that it classifies.
                self._observe(start, at)
                self._classify(at, latency)
                start = at
        self._observe(start, end)
        self._state.named_requests += self._named[end] - self._named[self._done]
        self._state.named_users += self._named_first[end] - self._named_first[self._done]
        self._done = end

    def _observe(self, start: int, end: int) -> None:
        own = self._base_latencies[self._base_before[start] : self._base_before[end]]
        self._state.slow_threshold = self._state.slow_threshold.observe_all(own)

    def _classify(self, at: int, latency_us: int) -> None:
        if is_slow(self._state, latency_us, self._limit):
            version = self._versions[self._members[at]]
            follow_slow(self._state, self._plan, (self._epochs[at], version), self._plan.challengers)


def _sums(flags: np.ndarray) -> list[int]:
    return [0, *np.cumsum(flags, dtype=np.int64).tolist()]


def _count_requests(state: ExperimentState, requests: Requests) -> None:
    epoch, version, number = requests.shared.epoch, requests.shared.version, len(requests.places)
    tally = state.versions[version]
    tally.requests += number
    state.chosen[epoch][version] += number
    state.timed[epoch][version] += number
    for bucket, times in Counter(requests.buckets).items():
        tally.latency[bucket] += times
