"""Which requests and labels can be plain, by what an experiment is and what is counted of it already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from app.domain.experiment import Configuration
from app.domain.log_columns import Block, Shared, block_of, place_in_block
from app.domain.log_event import OutcomeJoined, OutcomeRow
from app.domain.monitor_state import LogTotals
from app.domain.prediction import REPORTED
from app.domain.prediction_id import are_first_draws, are_sticky
from app.monitor.experiment.state import ExperimentPlan, ExperimentState
from app.monitor.experiment.traffic import is_at_share
from app.monitor.experiment.units import unit_of_user


class Opened(NamedTuple):
    """An experiment as it is before a batch."""

    plan: ExperimentPlan
    state: ExperimentState


class Selection:
    """What is known of config revisions and blocks, asked for each of their events."""

    def __init__(
        self, configurations: Mapping[int, Configuration], opened: Mapping[str, Opened], totals: LogTotals
    ) -> None:
        self.opened = opened
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
        self._knows_users = {
            name: all(unit_of_user(each.plan) in pair.kinds for pair in each.state.pairs.values())
            for name, each in opened.items()
        }

    def experiment_of(self, shared: Shared) -> str | None:
        """The experiment of rows that share this, where they are drawn and answered as configured."""
        configuration = self._known.get(shared.epoch)
        if configuration is None or shared.version not in configuration.ordinals:
            return None
        plan, state = self.opened[configuration.experiment_id]
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
        if block is None or not _is_plain(outcome) or outcome.user_hash != row.user_hash:
            return None
        if id(block) not in self._blocks:
            self._blocks[id(block)] = self._labelled(block)
        own = self._blocks[id(block)] if outcome.epoch == block.shared.epoch else None
        if own is None or not are_single(block)[place_in_block(row)]:
            return None
        return own if not row.user_hash or self._knows_users[own] else None

    def _labelled(self, block: Block) -> str | None:
        own = self.experiment_of(block.shared)
        if own is None or not self._scored[own] or any(each.classes is None for each in block.answers.values()):
            return None
        pairs = self.opened[own].state.pairs.values()
        return own if all("request" in pair.kinds for pair in pairs) else None

    def received(self, outcome: OutcomeRow) -> tuple[str | None, str]:
        """The experiment of a plain label that comes in, and the version that answered; no experiment of another."""
        configuration = self._known.get(outcome.epoch)
        if configuration is None or not _is_plain(outcome) or outcome.version_ordinal not in self._totals.feedback:
            return None, ""
        own = configuration.experiment_id
        served = self._served[outcome.epoch].get(outcome.version_ordinal)
        plain = self._scored[own] and served in self.opened[own].state.versions
        plain = plain and outcome.epoch in self.opened[own].state.epochs
        return (own, served or "") if plain else (None, "")


def _is_plain(outcome: OutcomeRow) -> bool:
    return outcome.kind == "actual" and outcome.counts and outcome.corrected is None


def _scores(opened: Opened) -> bool:
    """Whether labels say right or wrong of a class id, so that values are 0 and 1, and are known from an id."""
    metric = opened.plan.metric
    paired = metric.method_under(opened.plan.terms) == "paired"
    return paired and metric.score_of_id is not None and not metric.uses_rewards and not metric.reads_probabilities


def are_single(block: Block) -> np.ndarray:
    """Which rows of a block have no own key, and are the draw of their request, not of their user; shape (n,)."""
    found: np.ndarray | None = block.made.get("single")
    if found is None:
        found = are_first_draws(block.raw_ids) & ~(are_sticky(block.raw_ids) & (block.users != 0))
        found &= np.array([each is None for each in block.own_keys], bool)
        block.made["single"] = found
    return found
