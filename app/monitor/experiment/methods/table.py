"""The methods of comparison by name, and the one that an experiment's terms ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from app.domain.experiment import CovariateColumn, ExperimentTerms
from app.monitor.experiment.methods.asymptotic import AsymptoticComparison
from app.monitor.experiment.methods.paired import PairedComparison
from app.monitor.experiment.methods.paired_numeric import NumericComparison
from app.monitor.experiment.methods.two_sample import TwoSampleComparison
from app.scoring.contract import Method, Range
from app.scoring.table import metric_of
from app.stats import paired_numeric, two_sample

MethodState: TypeAlias = PairedComparison | NumericComparison | TwoSampleComparison | AsymptoticComparison

Columns = tuple[CovariateColumn, ...]

_NEW: Mapping[Method, Callable[[Range, Columns], MethodState]] = {
    "paired": lambda _range, _columns: PairedComparison(),
    "paired_numeric": lambda declared, _columns: NumericComparison(declared, paired_numeric.initial()),
    "two_sample": lambda declared, columns: TwoSampleComparison(declared, two_sample.initial(len(columns)), columns),
}


def new_comparison(terms: ExperimentTerms, covariates: Columns = ()) -> MethodState:
    """The comparison that the terms ask for, before the first outcome; `covariates` predict rewards with a range."""
    metric = metric_of(terms)
    # An asymptotic comparison serves both kinds of outcome, so it must know which one it gets.
    declared = metric.range_of(terms)
    if declared is None:
        return AsymptoticComparison(paired=not metric.uses_rewards)
    return _NEW[metric.method](declared, covariates)
