"""What the server starts with: the last configuration, the environment and the shelf, made to agree.

The most recent word wins, setting by setting: what was decided at run time holds until the environment says something
else than it said at the last start.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from app.domain.contract import Task
from app.domain.experiment import Configuration, ExperimentTerms
from app.domain.split import normalised
from app.errors import SettingError
from app.settings import Settings

METRICS: Mapping[Task, tuple[str, ...]] = {
    "classification": ("accuracy", "brier", "log_loss", "reward"),
    "regression": ("absolute_error", "reward"),
}
_FROM_ENVIRONMENT, _FROM_REGISTRY = "environment", "shelf"
# Which settings fix the terms of an experiment: a new word about one of them begins another.
_TERMS = {
    "metric": "experiment_metric",
    "alpha": "experiment_alpha",
    "baseline": "baseline",
    "equivalence_margin": "equivalence_margin",
    "min_effect": "min_effect",
    "reward_range": "reward_range",
    "reward_triggered": "reward_triggered",
    "error_range": "error_range",
    "labels_exogenous": "labels_exogenous",
}


class AvailableVersions(msgspec.Struct, frozen=True):
    """What is there to serve: the versions that are served by ordinal, those that routing may use, the champion's
    alias, the task, the versions that were refused, and the ordinals by name."""

    versions: tuple[str, ...]
    eligible: tuple[str, ...]
    champion: str | None
    task: Task
    refused: tuple[str, ...] = ()
    ordinals: Mapping[str, int] = msgspec.field(default_factory=dict)


def reconcile(
    settings: Settings,
    registry: AvailableVersions,
    latest: Configuration | None,
    now_us: int,
    new_id: Callable[[], str],
) -> Configuration | None:
    """The next configuration (its epoch is the store's to give), or None where `latest` is still right.

    Other versions, or other terms, begin a new experiment; another split only a new epoch. An empty shelf changes
    nothing, nor does a new version that is refused; a known one that is refused keeps its place, at weight 0. Raises
    `SettingError` for a metric or a baseline that does not fit what is on the shelf.
    """
    if not registry.versions:
        return None
    words = explicit_settings(settings)
    before = latest or Configuration(epoch=0, experiment_id="", weights={}, terms=ExperimentTerms(metric=""))
    said = {name for name, word in words.items() if name not in before.environment or before.environment[name] != word}
    versions = registry.versions + tuple(version for version in registry.refused if version in before.weights)
    # As it was decided: the shelf's alias only follows the configuration, and speaks where nothing was decided.
    champion = next((name for name in (before.champion, registry.champion) if name in versions), None)
    terms = _terms(settings, before.terms, said)
    terms = replace(
        terms, metric=_metric(terms, registry.task, said), baseline=_baseline(terms, registry, versions, said)
    )
    terms = replace(terms, baseline=terms.baseline or champion or versions[0])
    asked = dict(settings.weights) if "weights" in said else _asked(before)
    begins = terms != before.terms or set(versions) != set(before.weights)
    weights = _unless_same(split_of(asked, versions, registry.eligible), before.weights)
    wanted = replace(
        before,
        epoch=0,
        experiment_id=new_id() if begins else before.experiment_id,
        weights=weights,
        # A split that the ramp did not make, or another experiment, is a more recent word than the ramp.
        ramp=None if begins or weights != before.weights or "weights" in said else before.ramp,
        asked=asked,
        terms=terms,
        champion=champion,
        ordinals={**before.ordinals, **registry.ordinals},
        auto_decide=settings.auto_decide if "auto_decide" in said else before.auto_decide,
        drift_threshold=settings.drift_threshold if "drift_threshold" in said else before.drift_threshold,
        environment=words,
    )
    if replace(wanted, epoch=before.epoch, asked=before.asked) == before:
        return None
    return replace(wanted, created_at_us=now_us, source=_FROM_ENVIRONMENT if said else _FROM_REGISTRY)


def explicit_settings(settings: Settings) -> Mapping[str, object]:
    """What the environment says, as plain JSON data that a later start can compare with."""
    words: dict[str, object] = {name: getattr(settings, setting) for name, setting in _TERMS.items()}
    words |= {"weights": settings.weights, "auto_decide": settings.auto_decide}
    words["drift_threshold"] = settings.drift_threshold
    plain: dict[str, object] = msgspec.json.decode(msgspec.json.encode(words))
    return plain


def split_of(asked: Mapping[str, float], versions: Sequence[str], eligible: Sequence[str]) -> dict[str, float]:
    """The normalised weight of each of `versions`: its part of `asked`, 0 where it is not asked for or not eligible.

    Where no eligible version is asked for, they share equally (all of `versions`, if none is eligible).
    """
    weights = {version: asked.get(version, 0.0) if version in eligible else 0.0 for version in versions}
    if not any(weights.values()):
        sharing: Collection[str] = eligible or versions
        weights = {version: float(version in sharing) for version in versions}
    return normalised(weights)


def _asked(before: Configuration) -> Mapping[str, float]:
    """The split last asked for. What people decide at run time is all in `weights`: they ask for what is there."""
    return before.asked if before.source in (_FROM_ENVIRONMENT, _FROM_REGISTRY) and before.asked else before.weights


def _terms(settings: Settings, before: ExperimentTerms, said: Collection[str]) -> ExperimentTerms:
    """The terms with the environment's new words in them."""
    terms: ExperimentTerms = replace(
        before, **{name: getattr(settings, setting) for name, setting in _TERMS.items() if name in said}
    )
    return terms


def _metric(terms: ExperimentTerms, task: Task, said: Collection[str]) -> str:
    possible = METRICS[task]
    if terms.metric in possible:
        return terms.metric
    if terms.metric and "metric" in said:
        raise SettingError("EXPERIMENT_METRIC", f"{terms.metric} is not for {task}; there are {', '.join(possible)}")
    return possible[0]


def _baseline(
    terms: ExperimentTerms, registry: AvailableVersions, versions: Sequence[str], said: Collection[str]
) -> str | None:
    if terms.baseline in versions:
        return terms.baseline
    if terms.baseline and "baseline" in said and terms.baseline not in registry.refused:
        raise SettingError("BASELINE", f"no version {terms.baseline!r} is served; there are {', '.join(versions)}")
    return None


def _unless_same(weights: Mapping[str, float], before: Mapping[str, float]) -> Mapping[str, float]:
    """`before` where the two differ by rounding only: normalising twice must not look like another split."""
    same = weights.keys() == before.keys() and all(math.isclose(weights[v], before[v], abs_tol=1e-12) for v in weights)
    return before if same else weights
