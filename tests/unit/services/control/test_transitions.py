import msgspec
import pytest
from msgspec.structs import replace

from app.domain.experiment import Ramp
from app.errors import InvalidRequest, UnknownVersion
from app.services.control.decisions import Decisions
from app.services.control.patch import ConfigurationPatch, patched
from app.services.control.startup import explicit_settings, reconcile
from app.services.control.transitions import advanced, kept, promoted, ramped, taken_back, without
from app.settings import Settings
from tests.unit.services.control.deciders import AVAILABLE, BASE, NOW_US, MemoryDecisions, dependencies

ASKED = {"version": "v2", "steps": [0.01, 0.25], "every_seconds": 60}


def patch(**values):
    return msgspec.convert(values, ConfigurationPatch)


def running(before=BASE):
    """A configuration in which the ramp has begun."""
    return replace(patched(before, patch(ramp=ASKED), AVAILABLE, NOW_US), epoch=4)


@pytest.mark.parametrize(
    ("weights", "share", "after"),
    [
        ({"v1": 1.0, "v2": 0.0}, 0.25, {"v1": 0.75, "v2": 0.25}),
        ({"v1": 0.6, "v2": 0.2, "v3": 0.2}, 0.6, {"v1": 0.3, "v2": 0.6, "v3": 0.1}),
        ({"v1": 0.0, "v2": 1.0, "v3": 0.0}, 0.1, {"v1": 0.9, "v2": 0.1, "v3": 0.0}),
        ({"v1": 0.5, "v2": 0.5}, 1.0, {"v1": 0.0, "v2": 1.0}),
    ],
)
def test_the_others_share_the_rest_in_their_proportions(weights, share, after):
    assert ramped(weights, "v2", share, "v1") == pytest.approx(after)


def test_the_first_step_is_in_force_with_the_patch():
    after = running()
    assert after.weights == pytest.approx({"v1": 0.99, "v2": 0.01})
    assert after.ramp == Ramp(
        version="v2",
        steps=(0.01, 0.25),
        every_seconds=60,
        step_since_us=NOW_US,
        after_epoch=BASE.epoch,
        before=BASE.weights,
    )


def test_a_ramp_ends_after_its_last_step_and_the_weights_stay():
    second = advanced(running(), running().ramp, NOW_US + 1)
    assert (second.ramp.step, second.ramp.after_epoch, second.ramp.step_since_us) == (1, 4, NOW_US + 1)
    last = advanced(second, second.ramp, NOW_US + 2)
    assert (last.ramp, last.weights) == (None, pytest.approx({"v1": 0.75, "v2": 0.25}))


def test_what_is_taken_back_is_the_split_before():
    after = taken_back(running(), running().ramp)
    assert (after.weights, after.ramp) == (BASE.weights, None)


@pytest.mark.parametrize(
    ("values", "error", "field"),
    [
        ({"ramp": {**ASKED, "version": "v9"}}, UnknownVersion, "ramp"),
        ({"ramp": {**ASKED, "version": "v1"}}, InvalidRequest, "ramp"),
        ({"ramp": {**ASKED, "steps": [0.5, 0.5]}}, InvalidRequest, "ramp"),
        ({"ramp": {**ASKED, "steps": [0.5, 0.1]}}, InvalidRequest, "ramp"),
        ({"ramp": ASKED, "weights": {"v1": 1}}, InvalidRequest, "ramp"),
        ({"ramp": ASKED, "policy": "thompson"}, InvalidRequest, "ramp"),
    ],
)
def test_a_ramp_that_makes_no_sense_is_refused(values, error, field):
    with pytest.raises(error) as refused:
        patched(BASE, patch(**values), AVAILABLE)
    assert refused.value.field == field


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": []},
        {"steps": [0.0, 0.5]},
        {"steps": [1.5]},
        {"steps": [i / 100 for i in range(1, 22)]},
        {"every_seconds": 0},
        {"every_seconds": 2_592_001},
        {"every_seconds": 1.5},
        {"pace": 3},
        {"version": None},
    ],
)
def test_a_ramp_of_the_wrong_form_is_refused(changes):
    with pytest.raises(msgspec.ValidationError):
        patch(ramp={**ASKED, **changes})


def test_a_version_of_other_features_cannot_be_ramped():
    with pytest.raises(InvalidRequest):
        patched(BASE, patch(ramp=ASKED), replace(AVAILABLE, eligible=("v1",)))


def test_the_policy_thompson_is_refused_while_a_ramp_runs():
    with pytest.raises(InvalidRequest):
        patched(running(), patch(policy="thompson"), AVAILABLE)
    assert patched(running(), patch(policy="thompson", ramp=None), AVAILABLE).policy == "thompson"


def test_null_ends_the_ramp_and_keeps_the_weights():
    after = patched(running(), patch(ramp=None), AVAILABLE)
    assert (after.ramp, after.weights) == (None, running().weights)
    assert patched(BASE, patch(ramp=None), AVAILABLE) is BASE


@pytest.mark.parametrize("values", [{"weights": {"v1": 0.99, "v2": 0.01}}, {"new_experiment": True}])
def test_a_word_about_the_split_or_another_experiment_ends_the_ramp(values):
    assert patched(running(), patch(**values), AVAILABLE).ramp is None


def test_a_word_about_something_else_leaves_the_ramp():
    assert patched(running(), patch(auto_decide="off"), AVAILABLE).ramp == running().ramp


@pytest.mark.parametrize("decided", [lambda c: promoted(c, "v2"), kept, lambda c: without(c, "v2")])
def test_a_decision_ends_the_ramp(decided):
    assert decided(running()).ramp is None


def started_again(latest, settings):
    latest = replace(latest, environment=explicit_settings(Settings()))
    return reconcile(settings, AVAILABLE, latest, NOW_US, lambda: "e9") or latest


def test_a_restart_with_the_same_environment_leaves_the_ramp():
    assert started_again(running(), Settings()).ramp == running().ramp
    assert started_again(running(), Settings(auto_decide="off")).ramp == running().ramp


@pytest.mark.parametrize("settings", [Settings(weights={"v1": 1.0, "v2": 3.0}), Settings(experiment_alpha=0.01)])
def test_a_restart_with_other_words_ends_the_ramp(settings):
    assert started_again(running(), settings).ramp is None


def test_the_audit_log_says_who_began_a_ramp():
    log = MemoryDecisions()
    Decisions(log, dependencies()).configure(patch(ramp=ASKED), "ann", AVAILABLE)
    [entry] = log.entries
    assert (entry.actor, entry.action, set(entry.changes)) == ("ann", "configure", {"ramp", "weights"})
