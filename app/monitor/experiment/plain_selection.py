"""Which requests and labels can be plain, by what an experiment is and what is counted of it already."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from app.domain.experiment import Configuration
from app.domain.log_columns import Block, Shared
from app.domain.log_outcomes import Outcomes
from app.domain.monitor_state import LogTotals
from app.domain.prediction import REPORTED
from app.domain.prediction_id import are_first_draws, are_sticky
from app.monitor.experiment.state import ExperimentPlan, ExperimentState
from app.monitor.experiment.traffic import is_at_share


class Opened(NamedTuple):
    """An experiment as it is before a batch."""

    plan: ExperimentPlan
    state: ExperimentState


class Received(NamedTuple):
    """Plain labels as they came, of answers of one version in one config revision.

    `times` counts them by the answer in the id and the value (JSON); the newest came at `last_at_us`, µs since 1970.
    """

    epoch: int
    version: str
    ordinal: int
    times: Counter[tuple[float, str]]
    last_at_us: int


class Selection:
    """What is known of config revisions and blocks, asked for each of their events."""

    def __init__(
        self, configurations: Mapping[int, Configuration], opened: Mapping[str, Opened], totals: LogTotals
    ) -> None:
        self.opened = opened
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

    def experiment_of(self, shared: Shared) -> str | None:
        """The experiment of rows that share this, where they are drawn and answered as configured."""
        configuration = self._known.get(shared.epoch)
        if configuration is None or shared.version not in configuration.ordinals:
            return None
        state = self.opened[configuration.experiment_id].state
        answered = shared.counts and shared.version == shared.chosen and not shared.failed and not shared.lacking
        if not answered or shared.assignment == REPORTED or shared.epoch not in state.epochs:
            return None
        share = configuration.weights.get(shared.version)
        if share is None or shared.version not in state.versions or not is_at_share(shared.propensity, share):
            return None
        return configuration.experiment_id

    def labelled(self, block: Block) -> str | None:
        """The experiment of the plain labels of a block's rows; None where they have none."""
        own = self.experiment_of(block.shared)
        if own is None or not self._scored[own] or any(each.classes is None for each in block.answers.values()):
            return None
        return own

    def experiment(self, epoch: int) -> str:
        """The experiment of a config revision of which labels can be plain."""
        return self._known[epoch].experiment_id

    def received(self, epoch: int, ordinal: int) -> Received | None:
        """The plain labels that come in of a version's answers, before the first one; None where there are none."""
        configuration = self._known.get(epoch)
        if configuration is None:
            return None
        own, served = configuration.experiment_id, self._served[epoch].get(ordinal)
        state = self.opened[own].state
        if served is None or not self._scored[own] or served not in state.versions or epoch not in state.epochs:
            return None
        return Received(epoch, served, ordinal, Counter(), 0)


def are_plain(outcomes: Outcomes) -> np.ndarray:
    """Which outcomes are labels that count, and that nothing has corrected; shape (n,)."""
    found: np.ndarray = outcomes.are_labels & outcomes.array("counts") & ~outcomes.are_corrected
    return found


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
