import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from app.domain.experiment import CaseFacts, ExperimentTerms
from app.errors import SettingError
from app.services.control.patch import ConfigurationPatch, patched
from app.services.control.startup import AvailableVersions, next_terms, reconcile, split_of
from app.services.control.transitions import decided_by_person
from app.settings import Settings

TWO = AvailableVersions(versions=("v1", "v2"), eligible=("v1", "v2"), champion="v1", task="classification")
LATER = ("unit", "reward_window_s", "guardrail_slow")
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

    def forget_later_terms(self):
        """The latest configuration as the release before units would have written it."""
        known = {name: value for name, value in self.latest.environment.items() if name not in LATER}
        older = ExperimentTerms(metric="")
        terms = replace(self.latest.terms, **{name: getattr(older, name) for name in LATER})
        self.latest = replace(self.latest, environment=known, terms=terms, cases=CaseFacts())

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
        (replace(TWO, versions=("v1",), eligible=("v1",), removed=("v2",)), {"v1": 1.0}),
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


@pytest.mark.parametrize("weights", [{"v1": 0.5, "v2": 0.5}, {"v1": 0.0, "v2": 1.0}])
def test_where_hosts_share_the_store_nothing_changes_for_all_because_one_refuses_what_is_needed(deployment, weights):
    deployment.start(THREE)
    deployment.patch(weights={**weights, "v3": 0.0})
    running = deployment.latest
    here = AvailableVersions(
        versions=("v2", "v3"), eligible=("v2", "v3"), refused=("v1",), champion=None, task="classification", shared=True
    )
    assert deployment.start(here, auto_decide="off") is running


def test_after_another_key_was_accepted_the_new_version_takes_the_traffic_and_then_leads(deployment):
    deployment.start()
    new = replace(TWO, versions=("v5",), eligible=("v5",), refused=("v1", "v2"), champion=None, shared=True)
    before = deployment.latest
    assert deployment.start(new) is before
    sent = patched(before, ConfigurationPatch(weights={"v5": 1.0}), new)
    deployment.latest = decided_by_person(sent, "promote", "v5", new)
    assert (deployment.latest.champion, deployment.latest.terms.baseline) == ("v5", "v5")
    assert deployment.start(new, auto_decide="off").auto_decide == "off"


def test_where_hosts_share_the_store_a_version_in_shadow_that_is_refused_holds_nothing_up(deployment):
    deployment.start(THREE)
    after = deployment.start(replace(TWO, refused=("v3",), shared=True), auto_decide="off")
    assert (after.auto_decide, after.experiment_id, after.weights["v3"]) == ("off", "e1", 0.0)


def test_a_new_version_that_is_refused_changes_nothing(deployment):
    first = deployment.start()
    assert deployment.start(replace(TWO, refused=("v3",))) is first


def test_without_loaded_versions_nothing_changes(deployment):
    empty = AvailableVersions(versions=(), eligible=(), champion=None, task="classification")
    assert deployment.start(empty) is None
    first = deployment.start()
    assert deployment.start(empty) is first


def test_a_version_that_takes_no_part_is_not_in_the_split(deployment):
    assert deployment.start(replace(TWO, eligible=("v1",))).weights == {"v1": 1.0}


def test_a_version_that_takes_no_part_neither_ends_nor_begins_an_experiment(deployment):
    running = deployment.start(TWO)
    assert deployment.start(replace(THREE, eligible=TWO.eligible)) is running
    assert deployment.start(TWO) is running


def test_a_version_that_was_in_the_split_stays_there_without_traffic(deployment):
    running = deployment.start(TWO)
    after = deployment.start(replace(TWO, eligible=("v1",)))
    assert (after.experiment_id, after.weights) == (running.experiment_id, {"v1": 1.0, "v2": 0.0})


@pytest.mark.parametrize(
    "settings",
    [
        {"experiment_metric": "brier"},
        {"experiment_alpha": 0.01},
        {"baseline": "v2"},
        {"error_range": (0.0, 9.0)},
        {"experiment_unit": "user"},
        {"reward_window_s": 3600.0},
        {"guardrail_slow": "2x"},
    ],
)
def test_other_terms_begin_an_experiment(deployment, settings):
    deployment.start()
    assert deployment.start(**settings).experiment_id == "e2"
    assert deployment.start(**settings).experiment_id == "e2"


def test_a_first_experiment_has_the_unit_of_the_environment(deployment):
    assert deployment.start().terms.unit == "auto"
    assert Deployment().start(experiment_unit="user").terms.unit == "user"


@pytest.fixture
def upgraded(deployment):
    """A deployment whose experiment e1 was begun by the release before units."""
    deployment.start()
    deployment.forget_later_terms()
    return deployment


def test_after_an_upgrade_the_experiment_goes_on_under_the_terms_it_began_with(upgraded):
    again = upgraded.start()
    assert (again.experiment_id, again.terms.unit, again.epoch) == ("e1", None, 2)
    assert upgraded.start() is again


@pytest.mark.parametrize(
    ("settings", "unit", "window", "slow"),
    [
        ({"experiment_unit": "user"}, "user", None, "1.5x+1ms"),
        ({"reward_window_s": 3600.0}, "auto", 3600.0, "1.5x+1ms"),
        ({"guardrail_slow": "off", "experiment_unit": "key"}, "key", None, "off"),
    ],
)
def test_an_upgrade_with_a_new_term_set_begins_an_experiment(upgraded, settings, unit, window, slow):
    again = upgraded.start(**settings)
    assert (again.experiment_id, again.source) == ("e2", "environment")
    assert (again.terms.unit, again.terms.reward_window_s, again.terms.guardrail_slow) == (unit, window, slow)
    assert upgraded.start(**settings) is again


def test_a_new_term_that_is_set_after_the_upgrade_begins_an_experiment_too(upgraded):
    upgraded.start()
    again = upgraded.start(guardrail_slow="2x")
    assert (again.experiment_id, again.terms.unit, again.terms.guardrail_slow) == ("e2", "auto", "2x")


def test_after_an_upgrade_other_versions_begin_an_experiment_with_units(upgraded):
    assert upgraded.start(THREE).terms.unit == "auto"


def test_the_next_terms_are_those_of_the_last_start(upgraded):
    assert next_terms(upgraded.latest).unit == "auto"
    environment = {**upgraded.latest.environment, "unit": "key", "reward_window_s": 60.0}
    terms = next_terms(replace(upgraded.latest, environment=environment))
    assert (terms.unit, terms.reward_window_s, terms.guardrail_slow) == ("key", 60.0, "1.5x+1ms")
    assert next_terms(replace(upgraded.latest, terms=terms)) == terms


@pytest.mark.parametrize("settings", [{}, {"experiment_unit": "user", "reward_window_s": 60.0}])
def test_a_downgrade_and_an_upgrade_keep_the_experiment(deployment, settings):
    first = deployment.start(**settings)
    deployment.forget_later_terms()
    # The store gives the terms of the experiment's first row.
    deployment.latest = replace(deployment.latest, terms=first.terms)
    again = deployment.start(**settings)
    assert (again.experiment_id, again.terms) == ("e1", first.terms)
    assert deployment.start(**settings) is again


FACTS, OTHERS = CaseFacts(repeated_share=0.01), CaseFacts(repeated_share=0.5)


def test_an_experiment_begins_with_the_cases_of_the_champion(deployment):
    available = replace(TWO, cases={"v1": FACTS, "v2": OTHERS})
    assert deployment.start(available).cases == FACTS
    assert Deployment().start(replace(available, champion=None)).cases == FACTS
    assert Deployment().start(replace(available, champion="v2")).cases == OTHERS
    assert Deployment().start(TWO).cases == CaseFacts()


def test_other_cases_alone_are_no_revision(deployment):
    first = deployment.start()
    assert deployment.start(replace(TWO, cases={"v1": FACTS})) is first
    again = deployment.start(replace(THREE, cases={"v1": FACTS}))
    assert (again.experiment_id, again.cases) == ("e2", FACTS)


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
