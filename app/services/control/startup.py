"""The configuration that a start or a reload leads to: what the environment sets explicitly, what was decided, what is
loaded. Pure.

What was decided at run time holds until the environment sets the same thing to another value than before: a restart
with unchanged variables changes nothing, and an edited variable overrides that one decision only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from app.domain.contract import Task
from app.domain.experiment import GUARDRAIL_SLOW, CaseFacts, Configuration, ExperimentTerms, SecondaryMetric, normalised
from app.errors import InvalidRequest, SettingError
from app.scoring.table import metric_of, names_for
from app.services.control.reference_classes import ReferenceClasses, with_classes
from app.services.control.retirement import dropped, uses
from app.services.control.secondary import fitting, reads, require_distinct, secondary_metrics
from app.settings import Settings

# The `source` of a configuration, as the store, the audit log and the API have it.
_FROM_ENVIRONMENT, _FROM_REGISTRY = "environment", "shelf"
# The terms of an experiment by the setting that fixes each: another value begins another experiment.
_TERMS = {
    "metric": "experiment_metric",
    "alpha": "experiment_alpha",
    "baseline": "baseline",
    "equivalence_margin": "equivalence_margin",
    "min_effect": "min_effect",
    "reward_range": "reward_range",
    "reward_triggered": "reward_triggered",
    "error_range": "error_range",
    "positive_class": "positive_class",
    "cost_matrix": "cost_matrix",
    "labels_exogenous": "labels_exogenous",
    "unit": "experiment_unit",
    "reward_window_s": "reward_window_s",
    "guardrail_slow": "guardrail_slow",
}
# Terms that came after the first release, with their defaults. An experiment that it began has no `unit`.
_LATER_TERMS = {
    "unit": "auto",
    "reward_window_s": None,
    "guardrail_slow": GUARDRAIL_SLOW,
    "positive_class": None,
    "cost_matrix": None,
}
# What may change while an experiment runs.
_OPERATING = ("auto_decide", "drift_threshold", "min_duration_s")
_METRICS = "metrics"
_NOTHING_DECIDED = Configuration(epoch=0, experiment_id="", weights={}, terms=ExperimentTerms(metric=""))


class AvailableVersions(msgspec.Struct, frozen=True):
    """The versions that a split can be over.

    `versions` are loaded, by ordinal; `eligible` are those that can be asked the same requests, `excluded` has the
    reason for each of the others. `champion` is where the alias points. `refused` versions are in the registry but may
    not be served, `retired` ones are not to be, and `removed` ones have left it since the last reload. By name are
    `ordinals`, `cases` (the facts of their references) and `classes`. `shared`: other hosts go by the same split.
    """

    versions: tuple[str, ...]
    eligible: tuple[str, ...]
    champion: str | None
    task: Task
    refused: tuple[str, ...] = ()
    retired: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    ordinals: Mapping[str, int] = msgspec.field(default_factory=dict)
    cases: Mapping[str, CaseFacts] = msgspec.field(default_factory=dict)
    excluded: Mapping[str, str] = msgspec.field(default_factory=dict)
    classes: Mapping[str, ReferenceClasses] = msgspec.field(default_factory=dict)
    shared: bool = False

    def refusal(self, version: str) -> str:
        """Why a loaded version cannot be asked what the others are asked, in a sentence."""
        reason = self.excluded.get(version, "cannot be asked the same requests as the others")
        return f"{version} takes no part in the experiment: it {reason}"

    def lacked(self, configuration: Configuration) -> set[str]:
        """The versions of the split that this host lacks: other hosts may have what is unknown or refused here."""
        refused = set(self.refused) - (uses(configuration).keys() if self.shared else set())
        return set(configuration.weights) - {*self.versions, *refused, *self.retired, *self.removed}

    def cases_of(self, version: str | None, otherwise: CaseFacts) -> CaseFacts:
        """The facts of that version's reference; `otherwise` where it is not loaded."""
        return otherwise if version is None else self.cases.get(version, otherwise)


def reconcile(
    settings: Settings,
    available: AvailableVersions,
    latest: Configuration | None,
    now_us: int,
    new_id: Callable[[], str],
) -> Configuration | None:
    """The next configuration (the store numbers it), or None if `latest` is still right.

    Other versions or other terms begin a new experiment; another split is a new revision of the same one. Nothing
    changes while no version is loaded or one of the split is lacked here (ADR 42), nor for a new one that is refused;
    others keep their place, at weight 0. A retired one that was in shadow leaves the split. Raises `SettingError`
    for a metric, or a term of it, or a baseline that does not fit the loaded versions.
    """
    if not available.versions or (latest is not None and available.lacked(latest)):
        return None
    start = _start(settings, available, latest or _NOTHING_DECIDED)
    wanted = _in_same_experiment(start)
    before = start.before
    if _decides_otherwise(wanted, before) or set(start.versions) != before.weights.keys() - start.dropped:
        terms = with_classes(next_terms(wanted), available.classes)
        if (unfit := metric_of(terms).unfit(terms)) is not None:
            raise SettingError(unfit.variable, unfit.message)
        secondary = _secondary(start, terms, anew=True)
        wanted = replace(wanted, experiment_id=new_id(), ramp=None, terms=terms, secondary=secondary)
    # Facts of another reference are a reason for no revision: a running experiment goes by those it began with.
    if replace(wanted, epoch=before.epoch, asked=before.asked, cases=before.cases) == before:
        return None
    return replace(wanted, created_at_us=now_us, source=_FROM_ENVIRONMENT if start.changed else _FROM_REGISTRY)


def next_terms(configuration: Configuration) -> ExperimentTerms:
    """The terms in force, as another experiment begins with them.

    Terms that the running experiment lacks, because an older release began it, are those that the environment had at
    the last start: a running experiment goes on as it began, and the next one does not.
    """
    terms = replace(configuration.terms, name=None, hypothesis=None)  # those are of one experiment
    if terms.unit is not None:
        return terms
    known = {name: configuration.environment[name] for name in _LATER_TERMS if name in configuration.environment}
    complete: ExperimentTerms = replace(terms, **{**_LATER_TERMS, **known})
    return complete


class _Start(msgspec.Struct, frozen=True):
    """What a start is given: `changed` settings differ from those that `before` was made with, `versions` are those of
    the split: the eligible ones, and those that were in it. `dropped` left it: they were retired without traffic."""

    settings: Settings
    available: AvailableVersions
    before: Configuration
    explicit: Mapping[str, object]
    changed: frozenset[str]
    versions: tuple[str, ...]
    dropped: frozenset[str] = frozenset()


def _start(settings: Settings, available: AvailableVersions, before: Configuration) -> _Start:
    explicit = explicit_settings(settings)
    return _Start(
        settings=settings,
        available=available,
        before=before,
        explicit=explicit,
        changed=frozenset(name for name in explicit if _has_changed(name, explicit[name], before)),
        versions=tuple(
            version
            for version in (*available.versions, *available.refused)
            # A version that takes no part is no reason for another experiment, neither when it comes nor when it goes.
            if version in available.eligible or version in before.weights
        ),
        dropped=dropped(before, available.retired),
    )


def _has_changed(name: str, value: object, before: Configuration) -> bool:
    """Whether the environment sets `name` to another value than it did at the last start."""
    if name in before.environment:
        return before.environment[name] != value
    if name == _METRICS:
        return bool(value)
    # A setting that an older release did not store counts as changed, also if null. Of the later terms only an explicit
    # one does, and only if the experiment goes by another: an upgrade alone must end no experiment.
    return name not in _LATER_TERMS or value not in (_LATER_TERMS[name], getattr(before.terms, name))


def _in_same_experiment(start: _Start) -> Configuration:
    """The next configuration, without its number, if it continues the experiment of the one before."""
    before, available = start.before, start.available
    champion = _champion(start)
    terms = _terms(start)
    terms = replace(terms, baseline=terms.baseline or champion or start.versions[0])
    asked = _asked(start)
    split = {version: weight for version, weight in before.weights.items() if version not in start.dropped}
    weights = _unless_same(split_of(asked, start.versions, available.eligible), split)
    operating = {name: getattr(start.settings, name) for name in _OPERATING}
    return replace(
        before,
        epoch=0,
        weights=weights,
        # A ramp ends with the split that it made: other weights are more recent.
        ramp=before.ramp if weights == split and "weights" not in start.changed else None,
        asked=asked,
        terms=terms,
        secondary=_secondary(start, terms),
        champion=champion,
        # A rollback to a version that is not loaded would find nothing to send the traffic to.
        former_champions=tuple(name for name in before.former_champions if name not in available.retired),
        cases=available.cases_of(champion or start.versions[0], before.cases),
        ordinals={**before.ordinals, **available.ordinals},
        environment=start.explicit,
        **{name: value for name, value in operating.items() if name in start.changed},
    )


def explicit_settings(settings: Settings) -> Mapping[str, object]:
    """What the environment sets, as plain JSON data that a later start can compare with."""
    explicit: dict[str, object] = {name: getattr(settings, setting) for name, setting in _TERMS.items()}
    explicit |= {name: getattr(settings, name) for name in ("weights", *_OPERATING)}
    explicit[_METRICS] = settings.experiment_metrics
    # A round trip through JSON: a tuple would differ from the list that the store gives back.
    plain: dict[str, object] = msgspec.json.decode(msgspec.json.encode(explicit))
    return plain


def split_of(asked: Mapping[str, float], versions: Sequence[str], eligible: Sequence[str]) -> dict[str, float]:
    """The normalised weight of each of `versions`: its part of `asked`, 0 if it is not asked for or not eligible.

    If no eligible version is asked for, they share equally (all of `versions`, if none is eligible).
    """
    weights = {version: asked.get(version, 0.0) if version in eligible else 0.0 for version in versions}
    if not any(weights.values()):
        weights = {version: float(version in (eligible or versions)) for version in versions}
    return normalised(weights)


def _champion(start: _Start) -> str | None:
    """The decided champion goes first: the registry's alias only follows the configuration."""
    candidates = (start.before.champion, start.available.champion)
    return next((name for name in candidates if name in start.versions), None)


def _asked(start: _Start) -> Mapping[str, float]:
    """The split last asked for. A decision at run time clears `asked`: then its weights are what was asked for."""
    before = start.before
    if "weights" in start.changed:
        return dict(start.settings.weights)
    return before.asked if before.source in (_FROM_ENVIRONMENT, _FROM_REGISTRY) and before.asked else before.weights


def _terms(start: _Start) -> ExperimentTerms:
    """The terms with the environment's changes, a metric for the task, and no baseline that is not in the split."""
    changes = {name: getattr(start.settings, setting) for name, setting in _TERMS.items() if name in start.changed}
    terms: ExperimentTerms = replace(start.before.terms, **changes)
    metric, baseline = _metric(terms, start.available.task, start.changed), _baseline(terms, start)
    fitting: ExperimentTerms = replace(terms, metric=metric, baseline=baseline)
    return fitting


def _metric(terms: ExperimentTerms, task: Task, changed: Collection[str]) -> str:
    possible = names_for(task)
    if terms.metric in possible:
        return terms.metric
    if terms.metric and "metric" in changed:
        raise SettingError(
            "EXPERIMENT_METRIC", f"{terms.metric} is no metric for {task}; there are {', '.join(possible)}"
        )
    # Not an error: the same variables start a service whose models were replaced by ones of another task.
    return possible[0]


def _decides_otherwise(wanted: Configuration, before: Configuration) -> bool:
    """Whether a term differs that is not one of those that only secondary metrics read."""
    differ = {name for name in _TERMS if getattr(wanted.terms, name) != getattr(before.terms, name)}
    return bool(differ - reads(wanted.terms, wanted.secondary))


def _secondary(start: _Start, terms: ExperimentTerms, anew: bool = False) -> tuple[SecondaryMetric, ...]:
    """The secondary metrics that were set last; those set long ago do not stop a start with models of another task."""
    task, before = start.available.task, start.before
    named = start.settings.experiment_metrics
    names = named if _METRICS in start.changed else fitting(before.metrics, task)
    try:
        if _METRICS in start.changed:
            require_distinct(named, terms.metric)
        return secondary_metrics(names, before, terms, task, start.available.classes, anew)
    except InvalidRequest as error:
        needed = "" if error.field == _METRICS else " (EXPERIMENT_METRICS)"
        variable = str(error.field).upper() if needed else "EXPERIMENT_METRICS"
        raise SettingError(variable, error.message + needed) from error


def _baseline(terms: ExperimentTerms, start: _Start) -> str | None:
    if terms.baseline in start.versions:
        return terms.baseline
    # A version that is refused for now must not stop the start: the others can serve.
    if terms.baseline and "baseline" in start.changed and terms.baseline not in start.available.refused:
        raise SettingError("BASELINE", f"no version {terms.baseline!r} is loaded; loaded: {', '.join(start.versions)}")
    return None


def _unless_same(weights: Mapping[str, float], before: Mapping[str, float]) -> Mapping[str, float]:
    """`before` if the two differ by rounding only: normalising twice must not look like another split."""
    same = weights.keys() == before.keys() and all(math.isclose(weights[v], before[v], abs_tol=1e-12) for v in weights)
    return before if same else weights
