"""`GET` and `PATCH /config`: the split, the policy and the terms of the experiment in force."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from flask import Blueprint, Response, request

from app.domain.experiment import Configuration, Ramp
from app.domain.timestamps import iso_utc
from app.services.control.config_watcher import available_versions
from app.services.control.patch import ConfigurationPatch
from app.web.dependencies import Services
from app.web.operations import ACTOR, Operation, Parameter, actor_of
from app.web.request import body_as, one_text
from app.web.response import json_answer


class RampView(msgspec.Struct, frozen=True, kw_only=True):
    """A running ramp. `step` is the number of the step in force, from 1. `next_step_at` is the earliest time of the
    next step, or of the end after the last one; `held` is the reason why it is overdue."""

    version: str
    steps: tuple[float, ...]
    every_seconds: int
    step: int
    next_step_at: str
    held: str | None


class ConfigurationView(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration in force. `weights` are shares that sum to 1. `epoch` is its revision number, 0 while the store
    cannot be used. `unit` is null in an experiment that a release without units began: each request votes, and a sticky
    user once. `reward_window_s` and `min_duration_s` are seconds. `class_shares` are those of the baseline's reference
    when the experiment began; null for a regression, and where the manifest does not say. `metrics` are the secondary
    ones, which are shown and decide nothing."""

    epoch: int
    experiment_id: str
    weights: Mapping[str, float]
    ramp: RampView | None
    policy: str
    name: str | None
    hypothesis: str | None
    metric: str
    metrics: tuple[str, ...]
    alpha: float
    baseline: str | None
    champion: str | None
    equivalence_margin: float | None
    min_effect: float | None
    reward_range: tuple[float, float] | None
    reward_triggered: bool
    error_range: tuple[float, float] | None
    positive_class: str | None
    cost_matrix: Mapping[str, Mapping[str, float]] | None
    class_shares: Mapping[str, float] | None
    labels_exogenous: bool
    unit: str | None
    reward_window_s: float | None
    guardrail_slow: str
    auto_decide: str
    drift_threshold: float
    min_duration_s: float
    changed: str | None
    source: str


OPERATIONS = (
    Operation(
        method="get",
        path="/config",
        tag="Operating",
        summary="The split, the policy and the terms of the experiment",
        answer=ConfigurationView,
        parameters=(Parameter("experiment", "query", "An experiment's id: its last configuration, with its terms."),),
        problems=(400, 404, 503),
        always=True,
    ),
    Operation(
        method="patch",
        path="/config",
        tag="Operating",
        summary="Change the split, the policy or the automatic decisions, or begin an experiment with other terms",
        description=(
            "Fields that are left out stay as they are. New weights replace the whole split and make a new revision "
            "(`epoch`) of the same experiment. Every worker applies the change within a second, it survives restarts, "
            "and the audit log has an entry; a patch that changes nothing writes none. A ramp raises the share of a "
            "challenger step by step: the first step is in force with the patch, the monitor takes the others, waits "
            "while a guardrail is undecided, and restores the split from before if one is crossed. Weights, a "
            "decision or null end the ramp."
        ),
        access="administrative",
        body=ConfigurationPatch,
        answer=ConfigurationView,
        parameters=(ACTOR,),
        problems=(400, 404, 409, 413, 503),
        always=True,
    ),
)


def blueprint(services: Services) -> Blueprint:
    """The routes about the configuration."""
    routes = Blueprint("configuration", __name__)

    @routes.get("/config")
    def config() -> Response:
        """The configuration that this worker serves with, or the last one of an experiment."""
        experiment = one_text(request.args, "experiment")
        asked = services.live.configuration if experiment is None else services.experiments.configuration(experiment)
        return json_answer(view(asked))

    @routes.patch("/config")
    def patch() -> Response:
        """Apply a patch, and answer with the configuration that is then in force."""
        body = body_as(ConfigurationPatch, request.environ, services.settings.max_body_bytes)
        decided = services.decisions.configure(
            body, actor_of(services.settings, request.environ), available_versions(services.live.loaded_models)
        )
        return json_answer(view(decided.configuration))

    return routes


def view(configuration: Configuration) -> ConfigurationView:
    """The API's record of a configuration."""
    terms = configuration.terms
    return ConfigurationView(
        epoch=configuration.epoch,
        experiment_id=configuration.experiment_id,
        weights=configuration.weights,
        ramp=None if configuration.ramp is None else ramp_view(configuration.ramp),
        policy=configuration.policy,
        name=terms.name,
        hypothesis=terms.hypothesis,
        metric=terms.metric,
        metrics=configuration.metrics,
        alpha=terms.alpha,
        baseline=terms.baseline,
        champion=configuration.champion,
        equivalence_margin=terms.equivalence_margin,
        min_effect=terms.min_effect,
        reward_range=terms.reward_range,
        reward_triggered=terms.reward_triggered,
        error_range=terms.error_range,
        positive_class=terms.positive_class,
        cost_matrix=terms.cost_matrix,
        class_shares=None if terms.class_shares is None else dict(zip(terms.classes, terms.class_shares, strict=True)),
        labels_exogenous=terms.labels_exogenous,
        unit=terms.unit,
        reward_window_s=terms.reward_window_s,
        guardrail_slow=terms.guardrail_slow,
        auto_decide=configuration.auto_decide,
        drift_threshold=configuration.drift_threshold,
        min_duration_s=configuration.min_duration_s,
        # A configuration without a store was never written, so it has no time.
        changed=iso_utc(configuration.created_at_us) if configuration.created_at_us else None,
        source=configuration.source,
    )


def ramp_view(ramp: Ramp) -> RampView:
    """The API's record of a ramp; the step numbers of `Ramp` count from 0."""
    return RampView(
        version=ramp.version,
        steps=ramp.steps,
        every_seconds=ramp.every_seconds,
        step=ramp.step + 1,
        next_step_at=iso_utc(ramp.next_step_at_us),
        held=ramp.held,
    )
