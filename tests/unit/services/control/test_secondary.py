"""Which secondary metrics there are, what is fixed when one is added, and how one that is no good is refused."""

import msgspec
import pytest
from msgspec.structs import replace

from app.domain.experiment import Configuration
from app.errors import InvalidRequest, SettingError
from app.services.control.patch import ConfigurationPatch, patched
from app.services.control.reference_classes import ReferenceClasses
from app.services.control.startup import reconcile
from app.services.control.transitions import changes_between, decided_by_person
from app.settings import Settings
from tests.unit.services.control.deciders import AVAILABLE

CLASSES = {
    "v1": ReferenceClasses(("no", "yes"), (0.9, 0.1)),
    "v2": ReferenceClasses(("no", "yes"), (0.8, 0.2)),
}
TWO = replace(AVAILABLE, classes=CLASSES)
COSTS = {"yes": {"no": 10.0}}


def start(latest=None, available=TWO, **settings):
    wanted = reconcile(Settings(**settings), available, latest, 7, lambda: "next")
    return latest if wanted is None else replace(wanted, epoch=1)


def patch(latest, available=TWO, **values):
    return patched(latest, msgspec.convert(values, ConfigurationPatch), available)


@pytest.fixture
def running():
    return replace(start(), experiment_id="running")


def test_metrics_are_added_and_removed_in_the_same_experiment(running):
    added = patch(running, metrics=["balanced_accuracy", "brier"])
    assert (added.metrics, added.experiment_id) == (("balanced_accuracy", "brier"), "running")
    assert added.secondary[0].class_shares == (0.9, 0.1)
    assert patch(added, metrics=[]).metrics == patch(added, metrics=None).metrics == ()
    assert changes_between(running, added).keys() == {"metrics"}


@pytest.mark.parametrize(
    ("names", "message"),
    [(("brier", "brier"), "'brier' is named twice"), (("accuracy",), "accuracy is the metric that decides")],
)
def test_what_is_named_twice_or_decides_already_is_refused(running, names, message):
    with pytest.raises(InvalidRequest, match=message) as refused:
        patch(running, metrics=names)
    assert refused.value.field == "metrics"
    with pytest.raises(SettingError, match=f"^EXPERIMENT_METRICS: {message}[^()]*$"):
        start(experiment_metrics=names)


def test_a_secondary_metric_that_decides_the_next_experiment_is_none_of_that(running):
    added = patch(running, metrics=["brier", "balanced_accuracy"])
    assert patch(added, new_experiment=True, metric="brier").metrics == ("balanced_accuracy",)


def test_what_a_metric_needs_comes_with_it_and_stays_as_it_was_when_it_was_added(running):
    added = patch(running, metrics=["recall", "cost"], positive_class="yes", cost_matrix=COSTS)
    assert added.experiment_id == "running"
    recall, cost = added.secondary
    assert (recall.positive_class, cost.cost_matrix) == ("yes", COSTS)
    other = replace(TWO, classes={"v1": ReferenceClasses(("no", "yes"), (0.5, 0.5))})
    assert patch(added, other, metrics=["cost", "recall"]).secondary == (cost, recall)


def test_another_class_adds_the_recall_anew_and_leaves_the_rest(running):
    added = patch(running, metrics=["recall", "brier"], positive_class="yes")
    changed = patch(added, positive_class="no")
    assert changed.experiment_id == "running"
    assert [each.positive_class for each in changed.secondary] == ["no", added.secondary[1].positive_class]


@pytest.mark.parametrize(
    ("values", "field", "message"),
    [
        ({"metrics": ["recall"]}, "positive_class", "recall needs the class that it is of: use one of no, yes"),
        ({"metrics": ["recall"], "positive_class": "maybe"}, "positive_class", "no class is called 'maybe'"),
        ({"metrics": ["cost"]}, "cost_matrix", "needs what wrong answers cost.*; send cost_matrix in the same call"),
        ({"cost_matrix": COSTS}, "cost_matrix", "reads cost_matrix: add cost to metrics in the same call"),
        ({"error_range": [0, 1]}, "error_range", "add absolute_error or squared_error to metrics in the same call"),
        (
            {"new_experiment": True, "metric": "recall"},
            "positive_class",
            "use one of no, yes; send positive_class in the same call",
        ),
        ({"metrics": ["absolute_error"]}, "metrics", "is not a metric for classification; there are accuracy"),
        ({"metrics": ["nonsense"]}, "metrics", "is not a metric"),
        ({"metrics": ["brier"], "positive_class": "yes"}, "positive_class", "add recall to metrics in the same call"),
        ({"positive_class": "yes"}, "positive_class", "no metric of this experiment reads positive_class"),
        ({"metrics": ["brier"], "alpha": 0.01}, "alpha", "is fixed while an experiment runs"),
    ],
)
def test_a_metric_that_cannot_be_computed_is_refused_with_what_to_set(running, values, field, message):
    with pytest.raises(InvalidRequest, match=message) as refused:
        patch(running, **values)
    assert refused.value.field == field


def test_the_class_of_the_recall_that_decides_stays_fixed():
    deciding = start(experiment_metric="recall", positive_class="yes")
    with pytest.raises(InvalidRequest, match="is fixed while an experiment runs"):
        patch(deciding, metrics=["brier"], positive_class="no")


@pytest.mark.parametrize(
    ("settings", "variable"),
    [
        ({"experiment_metrics": ("recall",)}, "POSITIVE_CLASS"),
        ({"experiment_metrics": ("cost",)}, "COST_MATRIX"),
        ({"experiment_metrics": ("squared_error",)}, "EXPERIMENT_METRICS"),
    ],
)
def test_a_start_with_a_metric_that_cannot_be_computed_is_refused_by_its_variable(settings, variable):
    with pytest.raises(SettingError) as refused:
        start(**settings)
    assert refused.value.variable == variable


def test_a_restart_adds_metrics_and_their_settings_to_the_running_experiment(running):
    added = start(running, experiment_metrics=("recall",), positive_class="yes")
    assert (added.experiment_id, added.metrics) == ("running", ("recall",))
    assert added.secondary[0].positive_class == "yes"
    assert start(added, experiment_metrics=("recall",), positive_class="yes") is added
    assert start(added, positive_class="yes").metrics == ()


def test_what_a_person_set_outlives_a_start_with_the_same_environment(running):
    assert start(patch(running, metrics=["brier"])).metrics == ("brier",)


def test_metrics_of_models_that_were_replaced_by_regressions_do_not_stop_the_start():
    latest = start(experiment_metrics=("brier",))
    regression = replace(TWO, task="regression", classes={})
    assert start(latest, regression, experiment_metrics=("brier",)).metrics == ()


def test_a_promotion_keeps_the_metrics_with_the_classes_of_the_new_baseline(running):
    added = patch(running, metrics=["balanced_accuracy", "recall"], positive_class="yes")
    after = decided_by_person(added, "promote", "v2", TWO)
    assert after.metrics == ("balanced_accuracy", "recall")
    assert after.secondary[0].class_shares == (0.8, 0.2)


def test_an_experiment_that_the_metric_decides_shows_it_no_more_beside_it(running):
    added = patch(running, metrics=["recall", "brier"], positive_class="yes")
    after = patch(added, new_experiment=True, metric="recall")
    assert (after.terms.metric, after.metrics) == ("recall", ("brier",))


def test_a_configuration_of_a_release_before_has_none_and_its_reader_ignores_them(running):
    body = msgspec.to_builtins(patch(running, metrics=["brier"]))
    del body["secondary"]
    assert msgspec.convert(body, Configuration).metrics == ()
