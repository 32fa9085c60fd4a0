import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from app.errors import SettingError
from app.services.control.startup import AvailableVersions, reconcile, split_of
from app.settings import Settings

TWO = AvailableVersions(versions=("v1", "v2"), eligible=("v1", "v2"), champion="v1", task="classification")
THREE = replace(TWO, versions=("v1", "v2", "v3"), eligible=("v1", "v2", "v3"))


class Deployment:
    """Starts one after the other, as the store would see them."""

    def __init__(self):
        self.latest = None
        self.ids = (f"e{number}" for number in itertools.count(1))

    def start(self, available=TWO, **settings):
        wanted = reconcile(Settings(**settings), available, self.latest, 7, lambda: next(self.ids))
        if wanted is not None:
            assert wanted.epoch == 0
            self.latest = replace(wanted, epoch=(self.latest.epoch if self.latest else 0) + 1)
        return self.latest

    def patch(self, **changes):
        self.latest = replace(self.latest, epoch=self.latest.epoch + 1, source="patch", **changes)


@pytest.fixture
def deployment():
    return Deployment()


def test_the_first_start_takes_the_split_of_the_environment(deployment):
    first = deployment.start(weights={"v1": 30.0, "v2": 10.0})
    assert first.weights == {"v1": 0.75, "v2": 0.25}
    assert (first.experiment_id, first.champion, first.terms.baseline) == ("e1", "v1", "v1")


def test_a_start_that_changes_nothing_adds_nothing(deployment):
    first = deployment.start()
    assert deployment.start() is first


def test_a_version_without_a_weight_in_the_environment_runs_in_shadow(deployment):
    assert deployment.start(THREE).weights == {"v1": 0.5, "v2": 0.5, "v3": 0.0}


def test_versions_share_equally_where_none_of_them_has_weight(deployment):
    available = replace(THREE, versions=("v3", "v4"), eligible=("v3", "v4"), champion=None)
    assert deployment.start(available).weights == {"v3": 0.5, "v4": 0.5}


def test_a_patch_outlives_a_start_with_the_same_environment(deployment):
    deployment.start()
    deployment.patch(weights={"v1": 0.3, "v2": 0.7})
    assert deployment.start().weights == {"v1": 0.3, "v2": 0.7}
    assert deployment.latest.epoch == 2


def test_a_changed_variable_ends_a_patch_in_the_same_experiment(deployment):
    deployment.start()
    deployment.patch(weights={"v1": 1.0, "v2": 0.0})
    again = deployment.start(weights={"v1": 1.0, "v2": 1.0})
    assert (again.weights, again.experiment_id, again.epoch) == ({"v1": 0.5, "v2": 0.5}, "e1", 3)


def test_a_changed_variable_leaves_a_patch_of_another_setting(deployment):
    deployment.start()
    deployment.patch(weights={"v1": 1.0, "v2": 0.0}, drift_threshold=0.4)
    again = deployment.start(auto_decide="off")
    assert (again.auto_decide, again.weights, again.drift_threshold) == ("off", {"v1": 1.0, "v2": 0.0}, 0.4)


def test_another_least_duration_is_another_revision_of_the_same_experiment(deployment):
    assert deployment.start().min_duration_s == 7 * 86_400
    again = deployment.start(min_duration_s=0.0)
    assert (again.min_duration_s, again.experiment_id, again.epoch) == (0.0, "e1", 2)


@pytest.mark.parametrize(
    ("available", "weights"),
    [
        (THREE, {"v1": 0.5, "v2": 0.5, "v3": 0.0}),
        (replace(TWO, versions=("v1",), eligible=("v1",)), {"v1": 1.0}),
    ],
)
def test_other_loaded_versions_begin_an_experiment(deployment, available, weights):
    deployment.start()
    again = deployment.start(available)
    assert (again.experiment_id, again.weights, again.source) == ("e2", weights, "shelf")


def test_a_patched_split_gives_a_new_version_no_traffic(deployment):
    weights = {"v1": 1.0, "v2": 1.0, "v3": 2.0}
    deployment.start(weights=weights)
    deployment.patch(weights={"v1": 0.25, "v2": 0.75})
    assert deployment.start(THREE, weights=weights).weights == {"v1": 0.25, "v2": 0.75, "v3": 0.0}


def test_an_unpatched_split_gives_a_new_version_what_the_environment_says(deployment):
    weights = {"v1": 1.0, "v2": 1.0, "v3": 2.0}
    deployment.start(weights=weights)
    assert deployment.start(THREE, weights=weights).weights == {"v1": 0.25, "v2": 0.25, "v3": 0.5}


def test_a_known_version_that_is_refused_is_left_out_for_a_while(deployment):
    deployment.start()
    broken = replace(TWO, versions=("v1",), eligible=("v1",), refused=("v2",))
    assert deployment.start(broken).weights == {"v1": 1.0, "v2": 0.0}
    mended = deployment.start()
    assert (mended.weights, mended.experiment_id) == ({"v1": 0.5, "v2": 0.5}, "e1")


def test_a_new_version_that_is_refused_changes_nothing(deployment):
    first = deployment.start()
    assert deployment.start(replace(TWO, refused=("v3",))) is first


def test_without_loaded_versions_nothing_changes(deployment):
    empty = AvailableVersions(versions=(), eligible=(), champion=None, task="classification")
    assert deployment.start(empty) is None
    first = deployment.start()
    assert deployment.start(empty) is first


def test_a_version_that_routing_cannot_use_gets_no_traffic(deployment):
    assert deployment.start(replace(TWO, eligible=("v1",))).weights == {"v1": 1.0, "v2": 0.0}


@pytest.mark.parametrize(
    "settings",
    [{"experiment_metric": "brier"}, {"experiment_alpha": 0.01}, {"baseline": "v2"}, {"error_range": (0.0, 9.0)}],
)
def test_other_terms_begin_an_experiment(deployment, settings):
    deployment.start()
    assert deployment.start(**settings).experiment_id == "e2"
    assert deployment.start(**settings).experiment_id == "e2"


def test_terms_that_people_set_hold_until_the_environment_changes(deployment):
    first = deployment.start()
    deployment.patch(experiment_id="p", terms=replace(first.terms, metric="brier", alpha=0.01))
    again = deployment.start()
    assert (again.experiment_id, again.terms.metric, again.terms.alpha) == ("p", "brier", 0.01)


def test_a_decided_champion_and_baseline_hold_against_the_alias(deployment):
    first = deployment.start(baseline="v1")
    deployment.patch(champion="v2", terms=replace(first.terms, baseline="v2"), weights={"v1": 0.0, "v2": 1.0})
    again = deployment.start(baseline="v1")
    assert (again.champion, again.terms.baseline, again.weights) == ("v2", "v2", {"v1": 0.0, "v2": 1.0})


@pytest.mark.parametrize(("task", "metric"), [("classification", "accuracy"), ("regression", "absolute_error")])
def test_the_metric_follows_the_task_where_nobody_says(deployment, task, metric):
    assert deployment.start(replace(TWO, task=task)).terms.metric == metric


@pytest.mark.parametrize(
    ("task", "settings", "variable"),
    [
        ("regression", {"experiment_metric": "accuracy"}, "EXPERIMENT_METRIC"),
        ("classification", {"experiment_metric": "absolute_error"}, "EXPERIMENT_METRIC"),
        ("classification", {"baseline": "v9"}, "BASELINE"),
    ],
)
def test_a_setting_that_does_not_fit_the_loaded_versions_names_its_variable(deployment, task, settings, variable):
    with pytest.raises(SettingError) as refusal:
        deployment.start(replace(TWO, task=task), **settings)
    assert refusal.value.variable == variable


def test_a_baseline_that_is_refused_for_a_while_does_not_stop_the_start(deployment):
    broken = replace(TWO, versions=("v2",), eligible=("v2",), champion=None, refused=("v1",))
    assert deployment.start(broken, baseline="v1").terms.baseline == "v2"


@given(
    st.dictionaries(st.sampled_from(["v1", "v2", "v3"]), st.floats(0, 1e6), min_size=1).filter(
        lambda w: any(w.values())
    )
)
def test_any_patch_is_kept_to_the_digit(asked):
    deployment = Deployment()
    deployment.start(THREE)
    patched = split_of(asked, THREE.versions, THREE.eligible)
    deployment.patch(weights=patched)
    assert deployment.start(THREE).weights == patched
    assert deployment.latest.epoch == 2
