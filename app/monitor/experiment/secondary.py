"""The projection and the report of one secondary metric: those of experiments, as if that metric decided them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from app.domain.experiment import Configuration, SecondaryMetric
from app.domain.log_event import Event
from app.domain.monitor_state import Changes, ExperimentSummary
from app.domain.report import MetricComparison, MetricReport, MetricVariant
from app.monitor.experiment.events import Decode, fact_of
from app.monitor.experiment.projection import NAME, ExperimentProjection, load_state
from app.monitor.experiment.report import outcomes_of, report_of
from app.monitor.experiment.state import plan_of
from app.monitor.projection import DerivedReads

# The state with the ids of the experiments that had events, and were none of this metric's.
PASSED = "passed"


def as_primary(configuration: Configuration, metric: SecondaryMetric) -> Configuration:
    """The configuration as it would be if this metric decided its experiment."""
    return msgspec.structs.replace(configuration, terms=metric.terms(configuration.terms))


class SecondaryProjection:
    """A `Projection` of the experiments in `metrics`, each with its metric as it was fixed there.

    `touched` collects the ids of experiments that got events. There is no timeline of it. `decode` makes a fact of an
    event, as `fact_of` does.
    """

    name = NAME

    def __init__(self, metrics: Mapping[str, SecondaryMetric], decode: Decode = fact_of) -> None:
        self._metrics = metrics
        self._experiments = ExperimentProjection(decode)
        self.touched: set[str] = set()

    def apply(self, events: Sequence[Event], reads: DerivedReads) -> Changes:
        """The changes to the experiments of this metric that `events` belong to."""
        passed = read_passed(reads.states([f"{NAME}/{PASSED}"]).get(f"{NAME}/{PASSED}"))
        before = len(passed)

        def configurations(epochs: Iterable[int]) -> dict[int, Configuration]:
            found = reads.configurations(epochs)
            passed.update(each.experiment_id for each in found.values() if each.experiment_id not in self._metrics)
            return {epoch: each for epoch, each in found.items() if each.experiment_id in self._metrics}

        def first_configuration(experiment_id: str) -> Configuration | None:
            first = reads.first_configuration(experiment_id)
            return None if first is None else as_primary(first, self._metrics[experiment_id])

        changes = self._experiments.apply(
            events, reads._replace(configurations=configurations, first_configuration=first_configuration)
        )
        self.touched.update(changes.states)
        states = dict(changes.states)
        if len(passed) > before:
            states[PASSED] = msgspec.json.encode(sorted(passed)).decode()
        return msgspec.structs.replace(changes, states=states, points=())


def read_passed(body: str | None) -> set[str]:
    """The experiments that were passed, from the state that `PASSED` names."""
    return set() if body is None else msgspec.json.decode(body, type=set[str])


def metric_report(
    body: str | None, first: Configuration, last: Configuration, summary: ExperimentSummary
) -> MetricReport:
    """The report of a metric from its state (JSON); `first` is the configuration as if the metric decided."""
    plan = plan_of(first)
    state = load_state(plan, body)
    found = report_of(state, plan, summary, last, 0)
    return MetricReport(
        metric=plan.metric.name,
        described=plan.metric.described(plan.terms),
        higher_is_better=plan.metric.higher_is_better,
        variants=tuple(
            MetricVariant(
                version=each.version,
                # Those that the mean is of: recall has an outcome only for labels of its class.
                n=outcomes_of(state.versions[each.version], plan),
                mean=each.mean,
                interval=each.interval,
                mean_all=each.mean_all,
                interval_all=each.interval_all,
            )
            for each in found.variants
        ),
        comparisons=tuple(
            MetricComparison(
                challenger=each.challenger,
                method=each.method,
                n=each.n,
                unit=each.unit,
                units=each.units,
                improvement=each.improvement,
                interval=each.interval,
                asymptotic=each.asymptotic,
                warnings=each.warnings,
            )
            for each in found.comparisons
        ),
    )
