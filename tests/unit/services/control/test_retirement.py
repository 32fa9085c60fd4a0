"""What a configuration needs of the registry, and what a reload makes of retired versions."""

import itertools

import pytest
from msgspec.structs import replace

from app.domain.experiment import Configuration, ExperimentTerms, Ramp
from app.services.control.retirement import dropped, reasons_to_keep
from app.services.control.startup import AvailableVersions, reconcile
from app.settings import Settings

NAMES = ("v1", "v2", "v3", "v4")
ALL = AvailableVersions(versions=NAMES, eligible=NAMES, champion="v1", task="classification")
IN_FORCE = Configuration(
    epoch=3,
    experiment_id="e1",
    weights={"v1": 0.9, "v2": 0.1, "v3": 0.0, "v4": 0.0},
    terms=ExperimentTerms(metric="accuracy", baseline="v1"),
    champion="v1",
    former_champions=("v4", "v3"),
)


@pytest.fixture
def started():
    """The configuration after a start with all versions, all traffic on v1 and v2."""
    return _after(ALL, None, weights={"v1": 0.9, "v2": 0.1})


def _after(available, latest, weights=None):
    ids = (f"e{number}" for number in itertools.count(1 if latest is None else 2))
    settings = Settings(weights={"v1": 0.9, "v2": 0.1} if weights is None else weights)
    wanted = reconcile(settings, available, latest, 7, lambda: next(ids))
    return latest if wanted is None else replace(wanted, epoch=1 if latest is None else latest.epoch + 1)


def without(*names):
    left = tuple(name for name in NAMES if name not in names)
    return replace(ALL, versions=left, eligible=left, retired=names)


@pytest.mark.parametrize(
    ("version", "says"),
    [
        ("v1", ("is the champion", "bakeoff decide promote")),
        ("v2", ("has 10 % of the traffic", 'PATCH /config {"weights": {"v1": 0.9}}')),
        ("v3", ("rollback returns to it", "bakeoff decide promote")),
    ],
)
def test_a_version_in_use_has_a_reason_and_what_changes_it(version, says):
    assert all(part in reasons_to_keep(IN_FORCE)[version] for part in says)


def test_a_version_in_shadow_can_go():
    assert "v4" not in reasons_to_keep(IN_FORCE)


def test_a_baseline_that_is_not_champion_names_the_patch_for_another():
    terms = ExperimentTerms(metric="accuracy", baseline="v4")
    reason = reasons_to_keep(replace(IN_FORCE, terms=terms))["v4"]
    assert 'PATCH /config {"new_experiment": true, "baseline": "v1"}' in reason


def test_a_version_whose_traffic_a_ramp_may_give_back_is_needed():
    ramp = Ramp(version="v2", steps=(0.5,), every_seconds=60, before={"v1": 0.5, "v4": 0.5})
    assert 'PATCH /config {"ramp": null}' in reasons_to_keep(replace(IN_FORCE, ramp=ramp))["v4"]


def test_a_retired_version_in_shadow_leaves_the_split_of_the_same_experiment(started):
    after = _after(without("v3", "v4"), started)
    assert (after.experiment_id, after.epoch) == (started.experiment_id, started.epoch + 1)
    assert after.weights == {"v1": 0.9, "v2": 0.1}
    assert _after(without("v3", "v4"), after) is after


def test_a_start_whose_registry_lacks_a_version_of_the_split_ends_nothing(started):
    assert _after(replace(without("v3"), retired=()), started) is started
    newer = replace(without("v3"), versions=("v1", "v2", "v4", "v5"), eligible=("v1", "v2", "v4", "v5"), retired=())
    assert _after(newer, started, weights={"v1": 1.0}) is started


def test_a_version_that_left_the_registry_before_a_reload_ends_the_experiment(started):
    after = _after(replace(without("v3"), retired=(), removed=("v3",)), started)
    assert after.experiment_id != started.experiment_id
    assert "v3" not in after.weights


def test_a_retired_version_that_was_given_traffic_meanwhile_ends_the_experiment(started):
    after = _after(without("v2"), started)
    assert after.experiment_id != started.experiment_id
    assert after.weights == {"v1": 1.0, "v3": 0.0, "v4": 0.0}


def test_a_ramp_goes_on_without_a_version_in_shadow(started):
    ramp = Ramp(version="v2", steps=(0.1, 0.5), every_seconds=60, before=dict(started.weights))
    after = _after(without("v4"), replace(started, ramp=ramp))
    assert (after.ramp, after.experiment_id) == (ramp, started.experiment_id)


def test_a_restored_version_begins_another_experiment(started):
    after = _after(without("v4"), started)
    assert _after(ALL, after).experiment_id != started.experiment_id


def test_a_rollback_goes_past_retired_champions(started):
    after = _after(without("v4"), replace(started, former_champions=("v3", "v4")))
    assert after.former_champions == ("v3",)


def test_a_version_that_takes_no_part_goes_without_a_trace(started):
    apart = replace(without("v4"), versions=("v1", "v2", "v3", "v4"), retired=())
    before = _after(apart, None)
    assert _after(replace(without("v4")), before) is before


def test_only_retired_versions_of_the_split_are_dropped():
    assert dropped(IN_FORCE, ("v2", "v4", "v9")) == {"v4"}
