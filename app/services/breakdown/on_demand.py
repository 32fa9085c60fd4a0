"""Counts the newest labelled rows of an experiment when somebody asks, for what the monitor keeps no counters of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from app.domain.breakdown import BreakdownPlan, BreakdownState
from app.domain.columns import LoggedLayout
from app.domain.contract import Feature
from app.domain.experiment import Configuration
from app.domain.log_event import OutcomeRow, PredictionRow
from app.domain.log_page import layouts_in
from app.domain.outcome import OutcomeKind
from app.scoring.table import metric_of
from app.services.breakdown.counting import (
    Columns,
    Compared,
    Outcomes,
    count_labels,
    count_rewards,
    new_state,
    numbers_of,
)
from app.services.breakdown.plan import KnownColumns

# An answer takes at most this many outcomes and, between two pages of the log, about this many seconds.
MOST_OUTCOMES = 10_000
BUDGET_S = 1.5

Pages = Iterator[list[tuple[PredictionRow, OutcomeRow]]]


class OutcomeReads(Protocol):
    """The store's side. Raises `StoreUnavailable`."""

    def last_configuration(self, experiment_id: str) -> Configuration | None: ...

    def layouts(self, ids: Iterable[int]) -> Mapping[int, LoggedLayout]: ...

    def pages(self, experiment_id: str, kind: OutcomeKind) -> Pages: ...


class Sources(NamedTuple):
    """Where rows and columns come from: the log, the features of versions, their references; monotonic seconds."""

    log: OutcomeReads
    features: Callable[[str], Sequence[Feature] | None]
    columns: KnownColumns
    clock: Callable[[], float]


class CountedNow(NamedTuple):
    """Counters of the newest `outcomes`; `is_all`: there are no older ones."""

    state: BreakdownState
    outcomes: int
    is_all: bool


def count_now(sources: Sources, experiment_id: str, plan: BreakdownPlan, compared: Compared) -> CountedNow:
    """Count by `plan` what the metric of `compared` is of. Raises `StoreUnavailable`."""
    rewarded = metric_of(compared.terms).uses_rewards
    state, counted = new_state(plan, compared), 0
    deadline_s = sources.clock() + BUDGET_S
    for page in sources.log.pages(experiment_id, "reward" if rewarded else "actual"):
        found = [(row, each.present) for row, each in page if _enters(row, each, rewarded)]
        rows, texts = [*zip(*found[: MOST_OUTCOMES - counted], strict=True)] or [(), ()]
        taken = Outcomes(rows, numbers_of(texts), np.ones(len(rows), np.int64))
        layouts = layouts_in(rows)
        columns = Columns(sources.features, sources.log.layouts(layouts) if layouts else {})
        (count_rewards if rewarded else count_labels)(state, compared, taken, columns)
        counted += len(rows)
        if len(rows) < len(found) or sources.clock() >= deadline_s:
            return CountedNow(state, counted, is_all=False)
    return CountedNow(state, counted, is_all=True)


def _enters(row: PredictionRow, outcome: OutcomeRow, rewarded: bool) -> bool:
    """Whether the outcome counts, as the monitor's counters have it."""
    return row.counts and outcome.counts and (outcome.randomised or not rewarded)
