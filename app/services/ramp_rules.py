"""What starting, advancing, holding and ending a ramp make of the configuration in force: pure."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from app.domain.experiment import Configuration
from app.domain.ramp import Ramp
from app.domain.split import normalised


def ramped(weights: Mapping[str, float], version: str, share: float, baseline: str | None) -> dict[str, float]:
    """The split in which `version` has `share`, and the others share the rest in the proportions that they have.

    Where none of them has anything, the rest is the baseline's.
    """
    others = {name: weight for name, weight in weights.items() if name != version}
    total = sum(others.values())
    if total <= 0:
        others, total = {name: float(name == baseline) for name in others}, 1.0
    return normalised({name: share if name == version else (1 - share) * others[name] / total for name in weights})


def started(latest: Configuration, ramp: Ramp, now_us: int) -> Configuration:
    """`ramp` begins: its first share is in force, and the split before it is kept."""
    return _at_step(latest, replace(ramp, before=dict(latest.weights)), 0, now_us)


def advanced(latest: Configuration, ramp: Ramp, now_us: int) -> Configuration:
    """The next step, or after the last one the end: the weights stay."""
    if ramp.is_last:
        return replace(latest, ramp=None)
    return _at_step(latest, ramp, ramp.step + 1, now_us)


def held(latest: Configuration, ramp: Ramp, reason: str) -> Configuration:
    """The same weights, and why they are not raised."""
    return replace(latest, ramp=replace(ramp, held=reason))


def taken_back(latest: Configuration, ramp: Ramp) -> Configuration:
    """The ramp is over, and the split is the one before it."""
    return replace(latest, weights=dict(ramp.before), asked={}, ramp=None)


def _at_step(latest: Configuration, ramp: Ramp, step: int, now_us: int) -> Configuration:
    weights = ramped(latest.weights, ramp.version, ramp.steps[step], latest.terms.baseline)
    at_step = replace(ramp, step=step, step_since_us=now_us, after_epoch=latest.epoch, held=None)
    return replace(latest, weights=weights, asked={}, ramp=at_step)
