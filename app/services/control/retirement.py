"""Which versions a configuration needs, so that they cannot be retired, and what would change that. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping

from app.domain.experiment import Configuration


def uses(configuration: Configuration) -> dict[str, str]:
    """The versions that a reload must not take out of the running experiment, each with the reason.

    A version that is compared in shadow only is not among them: the experiment goes on without it.
    """
    reasons: dict[str, str] = {}
    champion, baseline, ramp = configuration.champion, configuration.terms.baseline, configuration.ramp
    if champion is not None:
        reasons[champion] = "it is the champion: promote another version first (bakeoff decide promote VERSION)"
    if baseline is not None:
        another = _patch({"new_experiment": True, "baseline": champion or "VERSION"})
        reasons.setdefault(
            baseline, f"it is the baseline of the running experiment: begin one with another baseline ({another})"
        )
    for version, weight in configuration.weights.items():
        if weight > 0:
            reasons.setdefault(
                version, f"it has {100 * weight:.3g} % of the traffic: {_without(configuration, version)}"
            )
    for version, weight in ramp.before.items() if ramp is not None else ():
        if weight > 0:
            end = _patch({"ramp": None})
            reasons.setdefault(
                version, f"it gets its traffic back if the ramp is taken back: end the ramp first ({end})"
            )
    return reasons


def reasons_to_keep(configuration: Configuration) -> Mapping[str, str]:
    """The versions that must not be retired, each with the reason: those in use, and the one a rollback returns to."""
    reasons = uses(configuration)
    if configuration.former_champions:
        reasons.setdefault(
            configuration.former_champions[-1],
            "a rollback returns to it: it can be retired after the next promotion (bakeoff decide promote VERSION; one "
            "that is not in the split needs a share first, by PATCH /config)",
        )
    return reasons


def dropped(configuration: Configuration, retired: Collection[str]) -> frozenset[str]:
    """The retired versions that leave the split while the experiment goes on: they have no traffic and lead nothing."""
    return frozenset(name for name in configuration.weights if name in retired) - uses(configuration).keys()


def _without(configuration: Configuration, version: str) -> str:
    others = {name: weight for name, weight in configuration.weights.items() if weight > 0 and name != version}
    weights = others or {configuration.champion or "VERSION": 1}
    return f"give the others all of it ({_patch({'weights': weights})})"


def _patch(body: Mapping[str, object]) -> str:
    return f"PATCH /config {json.dumps(body)}"
