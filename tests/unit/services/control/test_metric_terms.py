"""Terms that a metric of classes needs: where they come from, when they are fixed, and how a wrong one is refused."""

import msgspec
import pytest
from msgspec.structs import replace

from app.domain.experiment import ExperimentTerms
from app.errors import InvalidRequest, SettingError
from app.services.control.config_watcher import available_versions
from app.services.control.patch import ConfigurationPatch, patched
from app.services.control.reference_classes import ReferenceClasses, reference_classes
from app.services.control.startup import reconcile
from app.services.control.transitions import decided_by_person
from app.settings import Settings
from tests import builders
from tests.unit.services.control.deciders import AVAILABLE, BASE

CLASSES = {
    "v1": ReferenceClasses(("no", "yes"), (0.9, 0.1)),
    "v2": ReferenceClasses(("no", "yes"), (0.8, 0.2)),
}
TWO = replace(AVAILABLE, classes=CLASSES)
COSTS = {"yes": {"no": 10.0}}


def start(latest=None, available=TWO, **settings):
    return reconcile(Settings(**settings), available, latest, 7, lambda: "next")


def patch(**values):
    return msgspec.convert({"new_experiment": True, **values}, ConfigurationPatch)


def test_an_experiment_begins_with_the_classes_of_its_baseline_and_keeps_them():
    first = start(experiment_metric="balanced_accuracy")
    assert (first.terms.classes, first.terms.class_shares) == (("no", "yes"), (0.9, 0.1))
    other = replace(TWO, classes={"v1": ReferenceClasses(("no", "yes"), (0.5, 0.5))})
    assert start(replace(first, epoch=1), other, experiment_metric="balanced_accuracy") is None


def test_an_upgrade_ends_no_experiment_and_an_explicit_term_does():
    known = {
        name: value for name, value in start().environment.items() if name not in ("positive_class", "cost_matrix")
    }
    older = replace(
        start(), epoch=1, environment=known, terms=ExperimentTerms(metric="accuracy", baseline="v1", unit="auto")
    )
    assert start(older).experiment_id == older.experiment_id
    assert start(older).terms == older.terms
    assert start(replace(older, experiment_id="old"), cost_matrix=COSTS).experiment_id == "next"


@pytest.mark.parametrize(
    ("settings", "variable"),
    [
        ({"experiment_metric": "recall"}, "POSITIVE_CLASS"),
        ({"experiment_metric": "recall", "positive_class": "maybe"}, "POSITIVE_CLASS"),
        ({"experiment_metric": "cost"}, "COST_MATRIX"),
        ({"experiment_metric": "cost", "cost_matrix": {"maybe": {"no": 1.0}}}, "COST_MATRIX"),
        ({"experiment_metric": "squared_error"}, "EXPERIMENT_METRIC"),
    ],
)
def test_a_start_with_a_term_that_does_not_fit_is_refused_by_its_variable(settings, variable):
    with pytest.raises(SettingError) as refused:
        start(**settings)
    assert refused.value.variable == variable


def test_a_baseline_whose_manifest_has_no_counts_has_no_balanced_accuracy():
    unknown = replace(TWO, classes={"v1": ReferenceClasses(("no", "yes"))})
    with pytest.raises(SettingError, match="publish the model again"):
        start(available=unknown, experiment_metric="balanced_accuracy")


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"metric": "recall"}, "positive_class"),
        ({"metric": "recall", "positive_class": "maybe"}, "positive_class"),
        ({"metric": "cost", "cost_matrix": {"no": {"maybe": 1}}}, "cost_matrix"),
        ({"cost_matrix": {"yes": {"no": 0}}}, "cost_matrix"),
        ({"metric": "squared_error"}, "metric"),
    ],
)
def test_a_patch_with_a_term_that_does_not_fit_is_refused_by_its_field(values, field):
    with pytest.raises(InvalidRequest) as refused:
        patched(BASE, patch(**values), TWO)
    assert refused.value.field == field


def test_a_patch_begins_an_experiment_on_cost():
    after = patched(BASE, patch(metric="cost", cost_matrix=COSTS, baseline="v2"), TWO)
    assert (after.terms.cost_matrix, after.terms.class_shares) == (COSTS, (0.8, 0.2))


def test_a_promotion_takes_the_shares_of_the_new_baseline_or_keeps_those_it_knows():
    before = replace(BASE, terms=replace(BASE.terms, classes=("no", "yes"), class_shares=(0.9, 0.1)))
    assert decided_by_person(before, "promote", "v2", TWO).terms.class_shares == (0.8, 0.2)
    unknown = replace(TWO, classes={"v2": ReferenceClasses(("no", "yes"))})
    assert decided_by_person(before, "promote", "v2", unknown).terms.class_shares == (0.9, 0.1)


def described(own, names, **metrics):
    contract = replace(builders.CONTRACT, classes=names)
    return builders.loaded_version("v1", contract=contract, manifest={"contract": {"classes": own}, "metrics": metrics})


def test_shares_are_those_of_the_training_rows_by_the_ids_of_answers():
    training, holdout = {"confusion_matrix": [[1, 2], [3, 14]]}, {"confusion_matrix": [[1, 0], [0, 1]]}
    version = described(["yes", "no"], ("no", "yes"), training=training, holdout=holdout)
    assert reference_classes(version) == ReferenceClasses(("no", "yes"), (17 / 20, 3 / 20))
    assert available_versions(builders.loaded_models(version)).classes["v1"].shares == (0.85, 0.15)


@pytest.mark.parametrize("figures", [{}, {"confusion_matrix": None}, {"confusion_matrix": [[0, 0], [0, 0]]}])
def test_a_manifest_without_counts_says_no_shares(figures):
    assert reference_classes(described(["no", "yes"], ("no", "yes"), holdout=figures)).shares is None
