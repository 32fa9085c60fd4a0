"""The secondary metrics of a configuration: which are shown, and what their values depend on. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from msgspec.structs import asdict, replace

from app.domain.contract import Task
from app.domain.experiment import Configuration, ExperimentTerms, SecondaryMetric
from app.errors import InvalidRequest
from app.scoring.cost import require_costs
from app.scoring.table import METRICS, names_for
from app.services.control.reference_classes import ReferenceClasses, with_classes

_FIELDS = SecondaryMetric.__struct_fields__
# Terms that a secondary metric may read and the deciding one may not: then they may change while an experiment runs.
CHANGEABLE = frozenset(name for metric in METRICS.values() for name in metric.reads)


def secondary_metrics(
    names: Iterable[str],
    before: Configuration,
    terms: ExperimentTerms,
    task: Task,
    classes: Mapping[str, ReferenceClasses],
    anew: bool = False,
) -> tuple[SecondaryMetric, ...]:
    """The metrics called so, each once, without the one that decides under `terms`.

    One that `before` has stays as it is there, unless a term that it reads has changed since, or all begin `anew`.
    Raises `InvalidRequest`, with the term to set as its `field`, for one that cannot be computed.
    """
    known = {} if anew else {each.metric: each for each in before.secondary}
    changed = {name for name in CHANGEABLE if getattr(before.terms, name) != getattr(terms, name)}
    wanted = [name for name in dict.fromkeys(names) if name != terms.metric]
    return tuple(
        known[name]
        if name in known and not changed.intersection(METRICS[name].reads)
        else _begun(name, terms, task, classes)
        for name in wanted
    )


def require_distinct(names: Sequence[str], deciding: str) -> None:
    """Raise `InvalidRequest` where a name comes twice, or is that of the metric that decides."""
    for place, name in enumerate(names):
        if name in names[:place]:
            raise InvalidRequest(f"{name[:64]!r} is named twice: name each metric once", field="metrics")
        if name == deciding:
            raise InvalidRequest(
                f"{name} is the metric that decides, so it is shown anyway: leave it out", field="metrics"
            )


def reads(terms: ExperimentTerms, secondary: Sequence[SecondaryMetric]) -> frozenset[str]:
    """The terms that only secondary metrics read: a change of one is none of what decides."""
    of_metrics = {name for each in secondary for name in METRICS[each.metric].reads}
    return frozenset(of_metrics.difference(METRICS[terms.metric].reads if terms.metric in METRICS else ()))


def renewed(after: Configuration, classes: Mapping[str, ReferenceClasses]) -> tuple[SecondaryMetric, ...]:
    """The metrics as another experiment begins with them, with the classes of its baseline.

    One that its reference does not allow is left out: no decision may fail because of a metric that decides nothing.
    """
    found = []
    for each in after.secondary:
        own = with_classes(each.terms(after.terms), classes)
        if METRICS[each.metric].unfit(own) is None:
            found.append(replace(each, classes=own.classes, class_shares=own.class_shares))
    return tuple(found)


def fitting(names: Collection[str], task: Task) -> tuple[str, ...]:
    """Those of the metrics that are for models of this kind."""
    return tuple(name for name in names if name in names_for(task))


def _begun(name: str, terms: ExperimentTerms, task: Task, classes: Mapping[str, ReferenceClasses]) -> SecondaryMetric:
    possible = names_for(task)
    if name not in possible:
        raise InvalidRequest(
            f"{name[:64]!r} is not a metric for {task}; there are {', '.join(possible)}", field="metrics"
        )
    own = with_classes(replace(terms, metric=name), classes)
    if own.cost_matrix is not None and "cost_matrix" in METRICS[name].reads:
        require_costs(own.cost_matrix)
    unfit = METRICS[name].unfit(own)
    if unfit is not None:
        # `metric` is what the metric that decides is called.
        raise InvalidRequest(unfit.message, field="metrics" if unfit.field == "metric" else unfit.field)
    return SecondaryMetric(**{field: value for field, value in asdict(own).items() if field in _FIELDS})
