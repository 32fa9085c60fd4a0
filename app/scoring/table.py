"""The table of experiment metrics: a new one is a file with its record, imported and listed here."""

from __future__ import annotations

from collections.abc import Mapping

from app.domain.contract import Task
from app.domain.experiment import ExperimentTerms
from app.scoring.absolute_error import ABSOLUTE_ERROR
from app.scoring.accuracy import ACCURACY
from app.scoring.balanced_accuracy import BALANCED_ACCURACY
from app.scoring.brier import BRIER
from app.scoring.contract import Metric
from app.scoring.cost import COST
from app.scoring.log_loss import LOG_LOSS
from app.scoring.recall import RECALL
from app.scoring.reward import REWARD
from app.scoring.squared_error import SQUARED_ERROR

# In this order messages list them, and the first one for a task is the one that it gets where none is set.
METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        ACCURACY,
        BALANCED_ACCURACY,
        RECALL,
        COST,
        BRIER,
        LOG_LOSS,
        ABSOLUTE_ERROR,
        SQUARED_ERROR,
        REWARD,
    )
}


def metric_of(terms: ExperimentTerms) -> Metric:
    """The metric that an experiment compares."""
    return METRICS[terms.metric]


def names_for(task: Task) -> tuple[str, ...]:
    """The names of the metrics for models of this kind, the default one first."""
    return tuple(name for name, metric in METRICS.items() if task in metric.tasks)
