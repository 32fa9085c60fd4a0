"""What a decision or a step of a ramp makes of the configuration in force: configuration → configuration, pure.

A transition that makes no sense raises the error that the caller is answered with. In a result, the empty experiment
id stands for one that the commit makes, and the revision number (`epoch`) is the store's to give.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from app.domain.decision import Change, DecisionAction
from app.domain.experiment import Configuration, Ramp, normalised
from app.errors import Contradiction, InvalidRequest, UnknownVersion
from app.services.control.reference_classes import with_classes
from app.services.control.secondary import renewed
from app.services.control.startup import AvailableVersions, next_terms
from app.services.serving.availability import unknown_version

# A roll-back reaches back at most this many champions: each configuration carries the list.
_FORMER_CHAMPIONS = 50
_SETTINGS = ("champion", "weights", "ramp", "policy", "auto_decide", "drift_threshold", "min_duration_s", "metrics")


def ramped(weights: Mapping[str, float], version: str, share: float, baseline: str | None) -> dict[str, float]:
    """The split in which `version` has `share`, and the others share the rest in their present proportions.

    If none of them has any weight, the rest goes to the baseline.
    """
    others = {name: weight for name, weight in weights.items() if name != version}
    total = sum(others.values())
    if total <= 0:
        others, total = {name: float(name == baseline) for name in others}, 1.0
    return normalised({name: share if name == version else (1 - share) * others[name] / total for name in weights})


def started(latest: Configuration, ramp: Ramp, now_us: int) -> Configuration:
    """`ramp` begins: its first share is in force, and the split from before is kept for `taken_back`."""
    return _at_step(latest, replace(ramp, before=dict(latest.weights)), 0, now_us)


def advanced(latest: Configuration, ramp: Ramp, now_us: int) -> Configuration:
    """The next step of the ramp; after the last one the ramp ends and the weights stay."""
    if ramp.is_last:
        return replace(latest, ramp=None)
    return _at_step(latest, ramp, ramp.step + 1, now_us)


def held(latest: Configuration, ramp: Ramp, reason: str) -> Configuration:
    """The same weights, with the reason why the next step is not taken."""
    return replace(latest, ramp=replace(ramp, held=reason))


def taken_back(latest: Configuration, ramp: Ramp) -> Configuration:
    """The ramp has ended, and the split from before it is in force again."""
    return replace(latest, weights=dict(ramp.before), asked={}, ramp=None)


def _at_step(latest: Configuration, ramp: Ramp, step: int, now_us: int) -> Configuration:
    weights = ramped(latest.weights, ramp.version, ramp.steps[step], latest.terms.baseline)
    # `after_epoch`: the guardrails of a step are about the requests that it served, not those of the step before.
    at_step = replace(ramp, step=step, step_since_us=now_us, after_epoch=latest.epoch, held=None)
    return replace(latest, weights=weights, asked={}, ramp=at_step)


def decided_by_person(
    latest: Configuration, action: DecisionAction, version: str | None, available: AvailableVersions
) -> Configuration:
    """The configuration after a person's decision.

    Raises what the action's own transition raises, `InvalidRequest` if the version to promote is missing, and what
    `require_served` raises for a version that could not take the traffic.
    """
    if version is not None:
        require_served(version, available)
    if action == "promote":
        if version is None:
            raise InvalidRequest("name the version to promote", field="version")
        return _knowing_cases(promoted(latest, version), available)
    after = rolled_back(latest, version) if action == "rollback" else kept(latest, version)
    # The champion or baseline from before may have left the registry since.
    require_served(str(after.champion), available)
    return _knowing_cases(after, available)


def require_loaded_everywhere(
    before: Configuration, after: Configuration, lacking: Mapping[str, Sequence[str]], field: str
) -> Configuration:
    """`after`, if each live host has loaded every version that gets traffic with it; `lacking` has by host those that
    only others have.

    Raises `Contradiction` about `field`: a host without a version of the split is not ready, and what it answers does
    not count.
    """
    given = {name for name, weight in after.weights.items() if weight > 0 and not before.weights.get(name)}
    for host, versions in lacking.items():
        if lacked := sorted(given.intersection(versions)):
            raise Contradiction(
                f"the host {host} has not loaded {', '.join(lacked)}, and would not be ready with that traffic. If it "
                "is about to (the models were reloaded, or a worker ended, within 15 s), send this again then. Else "
                "bring what it lacks to its model registry and reload, or stop that host",
                field=field,
            )
    return after


def _knowing_cases(after: Configuration, available: AvailableVersions) -> Configuration:
    terms = with_classes(after.terms, available.classes)
    secondary = renewed(after, available.classes)
    return replace(after, cases=available.cases_of(after.champion, after.cases), terms=terms, secondary=secondary)


def promoted(latest: Configuration, version: str) -> Configuration:
    """`version` becomes champion, gets all traffic, and is the baseline of a new experiment.

    Raises `Contradiction` if it is champion already.
    """
    if version == latest.champion:
        raise Contradiction(
            f"{version} is already champion; to end the experiment and send it all traffic, decide `keep`",
            field="version",
        )
    return _led_by(latest, version, _pushed(latest, version))


def rolled_back(latest: Configuration, version: str | None = None) -> Configuration:
    """The previous champion is champion again, gets all traffic, and is the baseline of a new experiment.

    Raises `Contradiction` if there was none, and `InvalidRequest` if `version` is another one.
    """
    if not latest.former_champions:
        raise Contradiction(
            f"there is no champion before {latest.champion or 'the first'} to return to; to end the experiment and "
            f"send all traffic to the baseline {latest.terms.baseline}, decide `keep`"
        )
    *earlier, target = latest.former_champions
    _require_same(version, target, "the previous champion is")
    return _led_by(latest, target, tuple(earlier))


def kept(latest: Configuration, version: str | None = None) -> Configuration:
    """The baseline becomes (or stays) champion, gets all traffic, and is the baseline of a new experiment.

    Raises `InvalidRequest` if `version` is not the baseline, or if there is no baseline.
    """
    target = latest.terms.baseline
    if target is None:
        raise InvalidRequest("the experiment has no baseline to keep", field="action")
    _require_same(version, target, "the baseline is")
    return _led_by(latest, target, _pushed(latest, target))


def without(latest: Configuration, offender: str) -> Configuration | None:
    """The configuration after `offender` crossed a guardrail; None if it has no traffic or nothing can take over.

    A challenger gets no more traffic, and its experiment goes on in shadow. If the offender is the champion, the
    previous champion takes over, otherwise the baseline.
    """
    if latest.weights.get(offender, 0.0) <= 0:
        return None
    if offender == latest.champion:
        if latest.former_champions:
            return rolled_back(latest)
        return None if latest.terms.baseline in (None, offender) else kept(latest)
    others = {name: 0.0 if name == offender else weight for name, weight in latest.weights.items()}
    if any(others.values()):
        return replace(latest, weights=normalised(others), asked={}, ramp=None)
    target = latest.champion or latest.terms.baseline
    if target in (None, offender):
        return None
    return replace(latest, weights=_all_to(latest, str(target)), asked={}, ramp=None)


def leader(configuration: Configuration) -> str:
    """The version with the largest weight; of equal ones the champion."""
    return max(configuration.weights, key=lambda name: (configuration.weights[name], name == configuration.champion))


def changes_between(before: Configuration, after: Configuration) -> Mapping[str, Change]:
    """The settings and terms that differ, by name; `experiment_id` too if another experiment begins."""
    pairs = {name: (getattr(before, name), getattr(after, name)) for name in (*_SETTINGS, "experiment_id")}
    fields = before.terms.__struct_fields__
    pairs |= {name: (getattr(before.terms, name), getattr(after.terms, name)) for name in fields}
    return {name: Change(old, new) for name, (old, new) in pairs.items() if old != new}


def require_served(version: str, available: AvailableVersions) -> None:
    """Raise `UnknownVersion` for a version that is not loaded, `Contradiction` for one that takes no part."""
    if version not in available.versions:
        raise unknown_version(version, available.versions, "version")
    if version not in available.eligible:
        raise Contradiction(available.refusal(version), field="version")


def _require_same(version: str | None, target: str, what: str) -> None:
    if version is not None and version != target:
        raise InvalidRequest(
            f"{what} {target}, not {version[:64]!r}; leave version out, or give {target}", field="version"
        )


def _led_by(latest: Configuration, version: str, former: tuple[str, ...]) -> Configuration:
    return replace(
        latest,
        experiment_id="",
        weights=_all_to(latest, version),
        asked={},
        ramp=None,
        champion=version,
        # A stack: two roll-backs go back two steps, which the audit log alone could not tell (ADR 11).
        former_champions=former[-_FORMER_CHAMPIONS:],
        terms=replace(next_terms(latest), baseline=version),
    )


def _all_to(latest: Configuration, version: str) -> dict[str, float]:
    if version not in latest.weights:
        known = ", ".join(latest.weights) or "none"
        raise UnknownVersion(f"no version {version[:64]!r} is in the split; there are: {known}", field="version")
    return {name: float(name == version) for name in latest.weights}


def _pushed(latest: Configuration, version: str) -> tuple[str, ...]:
    before = latest.champion
    return latest.former_champions if before in (None, version) else (*latest.former_champions, str(before))
