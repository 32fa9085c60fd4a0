"""`GET` and `PATCH /config`: the split and the terms of the experiment, as they are in force."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from flask import Blueprint, Response, request

from app.domain.experiment import Configuration, Ramp
from app.domain.timestamps import rfc3339
from app.services.control.config_watcher import available_versions
from app.services.control.patch import ConfigurationPatch
from app.web.dependencies import Services
from app.web.operations import ACTOR, Operation, actor_of
from app.web.request import body_as
from app.web.response import json_answer


class RampView(msgspec.Struct, frozen=True, kw_only=True):
    """A ramp that runs: `step` of `steps`, counted from 1, is in force. `next_step_at` is when the next one may come,
    or on the last one when the ramp may end; `held` says why that has not happened though it is time."""

    version: str
    steps: tuple[float, ...]
    every_seconds: int
    step: int
    next_step_at: str
    held: str | None


class ConfigurationView(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration. `weights` are shares that sum to 1; `epoch` numbers each change, 0 while the store is away."""

    epoch: int
    experiment_id: str
    weights: Mapping[str, float]
    ramp: RampView | None
    policy: str
    metric: str
    alpha: float
    baseline: str | None
    champion: str | None
    equivalence_margin: float | None
    min_effect: float | None
    reward_range: tuple[float, float] | None
    reward_triggered: bool
    error_range: tuple[float, float] | None
    labels_exogenous: bool
    auto_decide: str
    drift_threshold: float
    changed: str | None
    source: str


OPERATIONS = (
    Operation(
        method="get",
        path="/config",
        tag="Operating",
        summary="The split, the policy and the terms of the experiment",
        answer=ConfigurationView,
    ),
    Operation(
        method="patch",
        path="/config",
        tag="Operating",
        summary="Change the split, the policy, what may happen by itself, or begin an experiment with other terms",
        description=(
            "What is left out stays. New weights replace the whole split and open a new epoch of the same experiment. "
            "In force on every worker within a second, kept over restarts, and an entry in the audit log; a patch that "
            "changes nothing is none. A ramp raises the share of a challenger step by step: the first is in force with "
            "the patch, the monitor takes the others, waits while a guardrail is undecided, and takes all back when "
            "one is crossed. Weights, a decision, or null end it."
        ),
        access="administrative",
        body=ConfigurationPatch,
        answer=ConfigurationView,
        parameters=(ACTOR,),
        problems=(400, 404, 409, 413, 503),
    ),
)


def blueprint(services: Services) -> Blueprint:
    """The routes about the configuration."""
    routes = Blueprint("configuration", __name__)

    @routes.get("/config")
    def config() -> Response:
        """What is in force in this worker."""
        return json_answer(view(services.live.configuration))

    @routes.patch("/config")
    def patch() -> Response:
        """Change it."""
        body = body_as(ConfigurationPatch, request.environ, services.settings.max_body_bytes)
        decided = services.decisions.configure(
            body, actor_of(request.environ), available_versions(services.live.loaded_models)
        )
        return json_answer(view(decided.configuration))

    return routes


def view(configuration: Configuration) -> ConfigurationView:
    """The configuration as the API shows it."""
    terms = configuration.terms
    return ConfigurationView(
        epoch=configuration.epoch,
        experiment_id=configuration.experiment_id,
        weights=configuration.weights,
        ramp=None if configuration.ramp is None else ramp_view(configuration.ramp),
        policy=configuration.policy,
        metric=terms.metric,
        alpha=terms.alpha,
        baseline=terms.baseline,
        champion=configuration.champion,
        equivalence_margin=terms.equivalence_margin,
        min_effect=terms.min_effect,
        reward_range=terms.reward_range,
        reward_triggered=terms.reward_triggered,
        error_range=terms.error_range,
        labels_exogenous=terms.labels_exogenous,
        auto_decide=configuration.auto_decide,
        drift_threshold=configuration.drift_threshold,
        changed=rfc3339(configuration.created_at_us) if configuration.created_at_us else None,
        source=configuration.source,
    )


def ramp_view(ramp: Ramp) -> RampView:
    """A ramp as the API shows it."""
    return RampView(
        version=ramp.version,
        steps=ramp.steps,
        every_seconds=ramp.every_seconds,
        step=ramp.step + 1,
        next_step_at=rfc3339(ramp.next_step_at_us),
        held=ramp.held,
    )
