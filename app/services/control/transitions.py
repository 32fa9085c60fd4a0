"""What starting, advancing, holding and ending a ramp make of the configuration in force: pure.

What each decision makes of the configuration in force: pure, and refused where it makes no sense.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from msgspec.structs import replace

from app.domain.decision import Change
from app.domain.experiment import Configuration, Ramp
from app.domain.split import normalised
from app.errors import Contradiction, InvalidRequest, UnknownVersion


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


# A roll-back leads back at most this far.
_FORMER_CHAMPIONS = 50
_SETTINGS = ("champion", "weights", "ramp", "policy", "auto_decide", "drift_threshold")


def promoted(latest: Configuration, version: str) -> Configuration:
    """`version` is champion and answers everything, and is the baseline of a new experiment.

    Raises `Contradiction` for what is champion already.
    """
    if version == latest.champion:
        raise Contradiction(
            f"{version} is already champion; to end the experiment and send it all traffic, decide `keep`",
            field="version",
        )
    return _led_by(latest, version, _pushed(latest, version))


def rolled_back(latest: Configuration, version: str | None = None) -> Configuration:
    """The champion before the present one is champion again, answers everything, and is the baseline of a new
    experiment.

    Raises `Contradiction` where there was none before, and `InvalidRequest` where `version` is not that one.
    """
    if not latest.former_champions:
        raise Contradiction(
            f"there is no champion before {latest.champion or 'the first'} to return to; to end the experiment and "
            f"send all traffic to the baseline {latest.terms.baseline}, decide `keep`"
        )
    *earlier, target = latest.former_champions
    _require_same(version, target, "the champion before was")
    return _led_by(latest, target, tuple(earlier))


def kept(latest: Configuration, version: str | None = None) -> Configuration:
    """The baseline is champion, answers everything, and is the baseline of a new experiment.

    Raises `InvalidRequest` where `version` is not the baseline, or where there is none.
    """
    target = latest.terms.baseline
    if target is None:
        raise InvalidRequest("the experiment has no baseline to keep", field="action")
    _require_same(version, target, "the baseline is")
    return _led_by(latest, target, _pushed(latest, target))


def without(latest: Configuration, offender: str) -> Configuration | None:
    """The configuration after `offender` broke a guardrail; None where it has no traffic, or nothing could take over.

    A challenger gets no more traffic, and its experiment goes on in shadow. Where the champion itself is at fault, the
    one before it takes over, or else the baseline.
    """
    if latest.weights.get(offender, 0.0) <= 0:
        return None
    if offender != latest.champion:
        others = {name: 0.0 if name == offender else weight for name, weight in latest.weights.items()}
        if any(others.values()):
            return replace(latest, weights=normalised(others), asked={}, ramp=None)
        target = latest.champion or latest.terms.baseline
        if target in (None, offender):
            return None
        return replace(latest, weights=_all_to(latest, str(target)), asked={}, ramp=None)
    if latest.former_champions:
        return rolled_back(latest)
    return None if latest.terms.baseline in (None, offender) else kept(latest)


def changes_between(before: Configuration, after: Configuration) -> Mapping[str, Change]:
    """The settings and terms that differ, by name; `experiment_id` too, where another experiment begins."""
    pairs = {name: (getattr(before, name), getattr(after, name)) for name in (*_SETTINGS, "experiment_id")}
    fields = before.terms.__struct_fields__
    pairs |= {name: (getattr(before.terms, name), getattr(after.terms, name)) for name in fields}
    return {name: Change(old, new) for name, (old, new) in pairs.items() if old != new}


def require_served(version: str, served: Collection[str], routed: Collection[str]) -> None:
    """Raise `UnknownVersion` for what is not served, `Contradiction` for what cannot take the others' requests."""
    if version not in served:
        raise UnknownVersion(
            f"no version {version[:64]!r} is served; there are: {', '.join(served) or 'none'}", field="version"
        )
    if version not in routed:
        raise Contradiction(
            f"{version} reads other features than the rest, so it cannot take their requests", field="version"
        )


def _require_same(version: str | None, target: str, what: str) -> None:
    if version is not None and version != target:
        raise InvalidRequest(
            f"{what} {target}, not {version[:64]!r}; leave version out, or give {target}", field="version"
        )


def _led_by(latest: Configuration, version: str, former: tuple[str, ...]) -> Configuration:
    """`version` leads; the empty experiment id stands for one to be made."""
    return replace(
        latest,
        experiment_id="",
        weights=_all_to(latest, version),
        asked={},
        ramp=None,
        champion=version,
        former_champions=former[-_FORMER_CHAMPIONS:],
        terms=replace(latest.terms, baseline=version),
    )


def _all_to(latest: Configuration, version: str) -> dict[str, float]:
    if version not in latest.weights:
        known = ", ".join(latest.weights) or "none"
        raise UnknownVersion(f"no version {version[:64]!r} is in the split; there are: {known}", field="version")
    return {name: float(name == version) for name in latest.weights}


def _pushed(latest: Configuration, version: str) -> tuple[str, ...]:
    before = latest.champion
    return latest.former_champions if before in (None, version) else (*latest.former_champions, str(before))
