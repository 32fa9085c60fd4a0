"""The methods of comparison: which of them an experiment's terms ask for."""

from __future__ import annotations

from typing import TypeAlias

from app.domain.experiment import ExperimentTerms
from app.monitor.experiment.methods.asymptotic import AsymptoticComparison
from app.monitor.experiment.methods.paired import PairedComparison
from app.monitor.experiment.methods.paired_numeric import NumericComparison
from app.monitor.experiment.methods.two_sample import TwoSampleComparison
from app.stats import paired_numeric, two_sample
from app.stats.losses import BRIER, LOG_LOSS, Range

MethodState: TypeAlias = PairedComparison | NumericComparison | TwoSampleComparison | AsymptoticComparison


def declared_range(terms: ExperimentTerms) -> Range | None:
    """The range in which values of the metric lie; None where none is declared."""
    ranges = {
        "accuracy": Range(0.0, 1.0),
        "brier": BRIER,
        "log_loss": LOG_LOSS,
        "absolute_error": Range(*terms.error_range) if terms.error_range else None,
        "reward": Range(*terms.reward_range) if terms.reward_range else None,
    }
    return ranges[terms.metric]


def new_comparison(terms: ExperimentTerms) -> MethodState:
    """The comparison that the metric asks for, before the first outcome."""
    declared = declared_range(terms)
    if terms.metric == "accuracy":
        return PairedComparison()
    if declared is None:
        return AsymptoticComparison(paired=terms.metric != "reward")
    if terms.metric == "reward":
        return TwoSampleComparison(declared, two_sample.initial())
    return NumericComparison(declared, paired_numeric.initial())
