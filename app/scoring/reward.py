"""Mean reward: what the served answers brought, as the client reports it."""

from __future__ import annotations

from app.domain.experiment import ExperimentTerms
from app.scoring.contract import Metric, Range


def _range(terms: ExperimentTerms) -> Range | None:
    return None if terms.reward_range is None else Range(*terms.reward_range)


REWARD = Metric(
    name="reward",
    quantity="mean reward",
    tasks=("classification", "regression"),
    higher_is_better=True,
    # Nobody knows what the other version's answer would have brought, so requests cannot be paired.
    method="two_sample",
    range_of=_range,
    outcome="reward",
)
