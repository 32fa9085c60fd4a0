"""`PATCH /config` as a transition: checks each changed setting and returns the next configuration. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from itertools import pairwise
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType
from msgspec.structs import asdict, replace

from app.domain.experiment import (
    LONGEST_WINDOW_S,
    Configuration,
    ExperimentTerms,
    Ramp,
    SecondaryMetric,
    normalised,
    slow_limit,
)
from app.errors import Contradiction, InvalidRequest
from app.routing.policies import POLICIES, THOMPSON
from app.scoring.cost import require_costs
from app.scoring.table import METRICS, metric_of, names_for
from app.services.control.reference_classes import with_classes
from app.services.control.secondary import CHANGEABLE, reads, require_distinct, secondary_metrics
from app.services.control.startup import AvailableVersions, next_terms
from app.services.control.transitions import started
from app.services.serving.availability import unknown_version

_Share = Annotated[float, Meta(ge=0, le=1)]
_Distance = Annotated[float, Meta(ge=0)]
_Step = Annotated[float, Meta(gt=0, le=1)]
_Window = Annotated[float, Meta(gt=0, le=LONGEST_WINDOW_S)]
_Name = Annotated[str, Meta(min_length=1, max_length=200)]
_Hypothesis = Annotated[str, Meta(min_length=1, max_length=2000)]
_Value = TypeVar("_Value")
_LONGEST_STEP_S = 30 * 86_400
_TERMS = ExperimentTerms.__struct_fields__
# Splits that differ by rounding only are the same: a patch that repeats the one in force changes nothing.
_SAME_WEIGHT = 1e-12


class RampPatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A ramp to begin: `version` gets the first of `steps` (shares, strictly increasing) at once, and the next one
    `every_seconds` (at most 30 days) later, from the monitor, unless a guardrail or a check forbids it."""

    version: str
    steps: Annotated[tuple[_Step, ...], Meta(min_length=1, max_length=20)]
    every_seconds: Annotated[int, Meta(ge=1, le=_LONGEST_STEP_S)]


class ConfigurationPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings to change; a field that is left out stays as it is.

    `weights` replaces the whole split and is normalised: versions that it does not name get 0. `epoch`, if given, must
    be the revision in force. The terms (from `name` on) are fixed while an experiment runs: `new_experiment` ends it
    and begins another with them. `ramp` begins a ramp, null ends the one that runs; `weights` and `new_experiment`
    end it too. `metrics` are the secondary metrics, which may change while an experiment runs, and with them the terms
    that only they read. `note` is the reason, for the audit log.
    """

    weights: Mapping[str, float] | UnsetType = UNSET
    ramp: RampPatch | UnsetType | None = UNSET
    policy: str | UnsetType = UNSET
    auto_decide: Literal["off", "rollback", "promote", "both"] | UnsetType = UNSET
    drift_threshold: _Share | UnsetType = UNSET
    min_duration_s: _Distance | UnsetType = UNSET
    epoch: int | UnsetType = UNSET
    note: Annotated[str, Meta(max_length=2000)] | None = None
    new_experiment: bool = False
    metrics: Annotated[tuple[str, ...], Meta(max_length=32)] | UnsetType | None = UNSET
    name: _Name | UnsetType | None = UNSET
    hypothesis: _Hypothesis | UnsetType | None = UNSET
    metric: str | UnsetType = UNSET
    alpha: Annotated[float, Meta(ge=1e-6, le=0.5)] | UnsetType = UNSET
    baseline: str | UnsetType = UNSET
    equivalence_margin: _Distance | UnsetType | None = UNSET
    min_effect: _Distance | UnsetType | None = UNSET
    reward_range: tuple[float, float] | UnsetType | None = UNSET
    reward_triggered: bool | UnsetType = UNSET
    error_range: tuple[float, float] | UnsetType | None = UNSET
    positive_class: Annotated[str, Meta(max_length=1000)] | UnsetType | None = UNSET
    cost_matrix: Mapping[str, Mapping[str, float]] | UnsetType | None = UNSET
    labels_exogenous: bool | UnsetType = UNSET
    unit: Literal["auto", "user", "key", "row", "request"] | UnsetType = UNSET
    reward_window_s: _Window | UnsetType | None = UNSET
    guardrail_slow: Annotated[str, Meta(max_length=64)] | UnsetType = UNSET


def patched(
    latest: Configuration, patch: ConfigurationPatch, available: AvailableVersions, now_us: int = 0
) -> Configuration:
    """The configuration after the patch; `latest` itself if that changes nothing.

    The empty experiment id stands for one that the commit makes. A ramp begins at `now_us` (µs since 1970, UTC).
    Raises `InvalidRequest`, `UnknownVersion`, and `Contradiction` if `epoch` is not the revision in force.
    """
    if patch.epoch is not UNSET and patch.epoch != latest.epoch:
        raise Contradiction(
            f"the configuration has changed: epoch {latest.epoch} is in force, not {patch.epoch}", field="epoch"
        )
    terms = _terms(next_terms(latest) if patch.new_experiment else latest.terms, patch, available)
    secondary = _secondary(latest, patch, terms, available)
    if not patch.new_experiment:
        _require_same_decision(latest.terms, terms, reads(terms, secondary))
    weights = latest.weights if patch.weights is UNSET else _weights(patch.weights, latest, available)
    changed = replace(
        latest,
        weights=latest.weights if _same(weights, latest.weights) else weights,
        policy=latest.policy if patch.policy is UNSET else _policy(patch.policy),
        auto_decide=_given(patch.auto_decide, latest.auto_decide),
        drift_threshold=_given(patch.drift_threshold, latest.drift_threshold),
        min_duration_s=_given(patch.min_duration_s, latest.min_duration_s),
        cases=available.cases_of(latest.champion, latest.cases) if patch.new_experiment else latest.cases,
        terms=terms,
        secondary=secondary,
        experiment_id="" if patch.new_experiment else latest.experiment_id,
        ramp=latest.ramp if _leaves_ramp(patch) else None,
    )
    if isinstance(patch.ramp, RampPatch):
        changed = started(changed, _ramp(patch.ramp, changed, available), now_us)
    _require_one_source_of_weights(changed, patch)
    # The split that the environment asked for no longer counts: the patch is the more recent one.
    return latest if changed == latest else replace(changed, asked={})


def _secondary(
    latest: Configuration, patch: ConfigurationPatch, terms: ExperimentTerms, available: AvailableVersions
) -> tuple[SecondaryMetric, ...]:
    """The secondary metrics after the patch. Raises `InvalidRequest` for one that cannot be, with what to send."""
    names = latest.metrics if isinstance(patch.metrics, UnsetType) else patch.metrics or ()
    if patch.metrics is not UNSET:
        require_distinct(names, terms.metric)
    try:
        return secondary_metrics(names, latest, terms, available.task, available.classes, anew=patch.new_experiment)
    except InvalidRequest as error:
        raise _sent_along(error, patch) from None


def _sent_along(error: InvalidRequest, patch: ConfigurationPatch) -> InvalidRequest:
    """The refusal of a metric that lacks a term, with where to send that."""
    if error.field in CHANGEABLE and getattr(patch, error.field) in (UNSET, None):
        return InvalidRequest(f"{error.message}; send {error.field} in the same call", field=error.field)
    return error


def _given(value: _Value | UnsetType, otherwise: _Value) -> _Value:
    return otherwise if isinstance(value, UnsetType) else value


def _leaves_ramp(patch: ConfigurationPatch) -> bool:
    """Whether a running ramp goes on: anything about the split, or another experiment, ends it."""
    return patch.weights is UNSET and patch.ramp is UNSET and not patch.new_experiment


def _ramp(asked: RampPatch, latest: Configuration, available: AvailableVersions) -> Ramp:
    """The checked ramp, before its first step. Raises `UnknownVersion` and `InvalidRequest`."""
    version = asked.version
    _require_known(version, available, "ramp")
    if version not in available.eligible:
        raise InvalidRequest(available.refusal(version), field="ramp")
    # Guardrails compare a challenger with the baseline: a ramp of the baseline would have none.
    if version == latest.terms.baseline:
        raise InvalidRequest(
            f"{version} is the baseline, which the guardrails compare with: ramp a challenger", field="ramp"
        )
    if version not in latest.weights:
        raise InvalidRequest(f"{version} is not in the split of this experiment", field="ramp")
    if any(after <= before for before, after in pairwise(asked.steps)):
        raise InvalidRequest("steps must be strictly increasing shares, each above 0 and at most 1", field="ramp")
    return Ramp(version=version, steps=asked.steps, every_seconds=asked.every_seconds)


def _require_one_source_of_weights(changed: Configuration, patch: ConfigurationPatch) -> None:
    """Raise `InvalidRequest` if two things would set the weights."""
    if isinstance(patch.ramp, RampPatch) and patch.weights is not UNSET:
        raise InvalidRequest("a ramp sets the weights: send ramp or weights, not both", field="ramp")
    if changed.ramp is not None and changed.policy == THOMPSON:
        raise InvalidRequest(
            'a ramp and the policy "thompson" would both set the weights: end the ramp ("ramp": null) or choose '
            "another policy",
            field="ramp" if isinstance(patch.ramp, RampPatch) else "policy",
        )


def _terms(latest: ExperimentTerms, patch: ConfigurationPatch, available: AvailableVersions) -> ExperimentTerms:
    given = {name: value for name, value in asdict(patch).items() if name in _TERMS and value is not UNSET}
    terms: ExperimentTerms = replace(latest, **given)
    # A term that is given again with its present value is no change, so it needs no new experiment.
    changed = [name for name in given if getattr(terms, name) != getattr(latest, name)]
    if not patch.new_experiment:
        _require_same_decision(latest, terms, CHANGEABLE)
    _check_metric(terms, changed, available)
    if "baseline" in changed:
        _require_known(str(terms.baseline), available, "baseline")
    for name in ("reward_range", "error_range"):
        _check_range(name, getattr(terms, name))
    slow_limit(terms.guardrail_slow)
    return _begun(terms, patch, available) if patch.new_experiment else terms


def _require_same_decision(latest: ExperimentTerms, terms: ExperimentTerms, changeable: Collection[str]) -> None:
    """Raise `InvalidRequest` for a term that differs and is not among those that only secondary metrics read."""
    for name in _TERMS:
        if name in changeable or getattr(terms, name) == getattr(latest, name):
            continue
        anew = 'send it with "new_experiment": true, which ends this one and begins another'
        readers = [each for each, metric in METRICS.items() if name in metric.reads]
        if readers and name not in metric_of(latest).reads:
            raise InvalidRequest(
                f"no metric of this experiment reads {name}: add {' or '.join(readers)} to metrics in the same call, "
                f"which goes on with this experiment, or {anew}",
                field=name,
            )
        raise InvalidRequest(f"{name} is fixed while an experiment runs: {anew}", field=name)


def _begun(terms: ExperimentTerms, patch: ConfigurationPatch, available: AvailableVersions) -> ExperimentTerms:
    """The terms as another experiment begins with them. Raises `InvalidRequest` where the metric lacks one."""
    begun = with_classes(terms, available.classes)
    if begun.cost_matrix is not None:
        require_costs(begun.cost_matrix)
    unfit = metric_of(begun).unfit(begun)
    if unfit is not None:
        raise _sent_along(InvalidRequest(unfit.message, field=unfit.field), patch)
    return begun


def _check_metric(terms: ExperimentTerms, changed: list[str], available: AvailableVersions) -> None:
    possible = names_for(available.task)
    if "metric" in changed and terms.metric not in possible:
        raise InvalidRequest(
            f"{terms.metric[:64]!r} is not a metric for {available.task}; there are {', '.join(possible)}",
            field="metric",
        )


def _check_range(name: str, bounds: tuple[float, float] | None) -> None:
    if bounds is not None and not (all(map(math.isfinite, bounds)) and bounds[0] < bounds[1]):
        raise InvalidRequest(f"{name} must be two finite numbers, the first below the second, or null", field=name)


def _weights(asked: Mapping[str, float], latest: Configuration, available: AvailableVersions) -> dict[str, float]:
    weights = normalised(asked)
    for version, weight in weights.items():
        _require_known(version, available, "weights")
        if weight > 0 and version not in available.eligible:
            raise InvalidRequest(available.refusal(version), field="weights")
    # Versions that the patch leaves out stay in the split, at 0: they go on in shadow.
    return {version: weights.get(version, 0.0) for version in (*latest.weights, *weights)}


def _require_known(version: str, available: AvailableVersions, field: str) -> None:
    if version not in available.versions:
        raise unknown_version(version, available.versions, field)


def _policy(name: str) -> str:
    if name not in POLICIES:
        raise InvalidRequest(f"{name[:64]!r} is not a policy; there are {', '.join(POLICIES)}", field="policy")
    return name


def _same(weights: Mapping[str, float], before: Mapping[str, float]) -> bool:
    return weights.keys() == before.keys() and all(abs(weights[v] - before[v]) <= _SAME_WEIGHT for v in weights)
