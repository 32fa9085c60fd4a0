"""Changes of the configuration at run time, setting by setting: pure, and refused where they make no sense."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType
from msgspec.structs import asdict, replace

from app.domain.experiment import Configuration, ExperimentTerms
from app.domain.split import normalised
from app.errors import Contradiction, InvalidRequest, UnknownVersion
from app.routing.policies import POLICIES
from app.services.reconciling import METRICS, OnShelf

_Share = Annotated[float, Meta(ge=0, le=1)]
_Distance = Annotated[float, Meta(ge=0)]
_TERMS = ExperimentTerms.__struct_fields__
# Two splits that differ by rounding only are one: a patch that repeats what is in force changes nothing.
_SAME_WEIGHT = 1e-12


class ConfigurationPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be changed; what is left out stays.

    `weights` replaces the whole split and is normalised: versions that it does not name get 0. `epoch`, where given,
    must be the one in force. The terms (from `metric` on) are fixed while an experiment runs: `new_experiment` ends it
    and begins another with them. `note` says why, for the audit log.
    """

    weights: Mapping[str, float] | UnsetType = UNSET
    policy: str | UnsetType = UNSET
    auto_decide: Literal["off", "rollback", "promote", "both"] | UnsetType = UNSET
    drift_threshold: _Share | UnsetType = UNSET
    epoch: int | UnsetType = UNSET
    note: Annotated[str, Meta(max_length=2000)] | None = None
    new_experiment: bool = False
    metric: str | UnsetType = UNSET
    alpha: Annotated[float, Meta(ge=1e-6, le=0.5)] | UnsetType = UNSET
    baseline: str | UnsetType = UNSET
    equivalence_margin: _Distance | UnsetType | None = UNSET
    min_effect: _Distance | UnsetType | None = UNSET
    reward_range: tuple[float, float] | UnsetType | None = UNSET
    reward_triggered: bool | UnsetType = UNSET
    error_range: tuple[float, float] | UnsetType | None = UNSET
    labels_exogenous: bool | UnsetType = UNSET


def patched(latest: Configuration, patch: ConfigurationPatch, shelf: OnShelf) -> Configuration:
    """The configuration after the patch; `latest` itself where that changes nothing.

    The empty experiment id stands for one to be made. Raises `InvalidRequest`, `UnknownVersion`, and `Contradiction`
    where `epoch` is not the one in force.
    """
    if patch.epoch is not UNSET and patch.epoch != latest.epoch:
        raise Contradiction(
            f"the configuration has changed: epoch {latest.epoch} is in force, not {patch.epoch}", field="epoch"
        )
    terms = _terms(latest.terms, patch, shelf)
    weights = latest.weights if patch.weights is UNSET else _weights(patch.weights, latest, shelf)
    changed = replace(
        latest,
        weights=latest.weights if _same(weights, latest.weights) else weights,
        policy=latest.policy if patch.policy is UNSET else _policy(patch.policy),
        auto_decide=latest.auto_decide if patch.auto_decide is UNSET else patch.auto_decide,
        drift_threshold=latest.drift_threshold if patch.drift_threshold is UNSET else patch.drift_threshold,
        terms=terms,
        experiment_id="" if patch.new_experiment else latest.experiment_id,
    )
    return latest if changed == latest else replace(changed, asked={})


def _terms(latest: ExperimentTerms, patch: ConfigurationPatch, shelf: OnShelf) -> ExperimentTerms:
    said = {name: value for name, value in asdict(patch).items() if name in _TERMS and value is not UNSET}
    terms: ExperimentTerms = replace(latest, **said)
    changed = [name for name in said if getattr(terms, name) != getattr(latest, name)]
    if changed and not patch.new_experiment:
        raise InvalidRequest(
            f'{changed[0]} is fixed while an experiment runs: send it with "new_experiment": true, which ends this '
            "one and begins another",
            field=changed[0],
        )
    _check_metric(terms, changed, shelf)
    if "baseline" in changed:
        _require_known(str(terms.baseline), shelf, "baseline")
    for name in ("reward_range", "error_range"):
        _check_range(name, getattr(terms, name))
    return terms


def _check_metric(terms: ExperimentTerms, changed: list[str], shelf: OnShelf) -> None:
    possible = METRICS[shelf.task]
    if "metric" in changed and terms.metric not in possible:
        raise InvalidRequest(
            f"{terms.metric[:64]!r} is not a metric for {shelf.task}; there are {', '.join(possible)}", field="metric"
        )


def _check_range(name: str, bounds: tuple[float, float] | None) -> None:
    if bounds is not None and not (all(map(math.isfinite, bounds)) and bounds[0] < bounds[1]):
        raise InvalidRequest(f"{name} must be two finite numbers, the first below the second, or null", field=name)


def _weights(asked: Mapping[str, float], latest: Configuration, shelf: OnShelf) -> dict[str, float]:
    weights = normalised(asked)
    for version, weight in weights.items():
        _require_known(version, shelf, "weights")
        if weight > 0 and version not in shelf.eligible:
            raise InvalidRequest(
                f"{version} reads other features than the rest, so it cannot take their requests", field="weights"
            )
    return {version: weights.get(version, 0.0) for version in (*latest.weights, *weights)}


def _require_known(version: str, shelf: OnShelf, field: str) -> None:
    if version not in shelf.versions:
        raise UnknownVersion(
            f"no version {version[:64]!r} is served; there are: {', '.join(shelf.versions) or 'none'}", field=field
        )


def _policy(name: str) -> str:
    if name not in POLICIES:
        raise InvalidRequest(f"{name[:64]!r} is not a policy; there are {', '.join(POLICIES)}", field="policy")
    return name


def _same(weights: Mapping[str, float], before: Mapping[str, float]) -> bool:
    return weights.keys() == before.keys() and all(abs(weights[v] - before[v]) <= _SAME_WEIGHT for v in weights)
