"""A training session: names, aliases, the gate, and what is published."""

from __future__ import annotations

import numpy as np
import pytest

from app.domain.prediction import Outputs
from app.drift.reference import DriftReference
from app.errors import ArtefactRefused, DataRefused, GateFailed, InvalidRequest, RegistryConflict, SettingError
from app.inference.registry import ModelRegistry
from app.inference.storage import ALIASES
from app.services.ports import VersionRecord
from app.training.checks import CheckOptions, check
from app.training.dataset import load
from app.training.evaluation import ClassFigures, ValueFigures
from app.training.fit import Fitted, fit, prepare
from app.training.session import Gate, TrainingRequest, assign_alias, train, versions_to_train
from app.training.variants import TrainingVariant, VariantCatalogue, read_catalogue


def classifier(accuracy):
    return fitted(ClassFigures(100, accuracy, 1.0, 1.0, 1.0, None, None, ()))


def regressor(r2):
    return fitted(ValueFigures(100, 1.0, 1.0, r2))


def fitted(figures):
    return Fitted(
        variant="mine", estimator=None, training=figures, holdout=figures, holdout_outputs=Outputs(), errors=None
    )


@pytest.mark.parametrize(
    ("gate", "model"),
    [
        (Gate(), classifier(0.90)),
        (Gate(min_accuracy=0.0), classifier(0.1)),
        (Gate(), regressor(-5.0)),
        (Gate(min_r2=0.5), regressor(0.5)),
    ],
)
def test_what_reaches_the_gate_passes(gate, model):
    gate.check([("v1", model)])


@pytest.mark.parametrize(
    ("gate", "model", "complaint"),
    [
        (Gate(), classifier(0.8999), "accuracy 0.8999 is below 0.9"),
        (Gate(min_accuracy=1.0), classifier(0.999), "accuracy 0.999 is below 1"),
        (Gate(min_r2=0.5), regressor(0.4), "R² 0.4 is below 0.5"),
        (Gate(min_r2=0.5), regressor(None), "R² nan is below 0.5"),
    ],
)
def test_what_is_below_fails_with_both_figures(gate, model, complaint):
    with pytest.raises(GateFailed, match=complaint):
        gate.check([("v1", model)])


@pytest.mark.parametrize(
    ("gate", "model", "option"),
    [(Gate(), classifier(0.5), "--min-accuracy"), (Gate(min_r2=0.5), regressor(0.4), "--min-r2")],
)
def test_a_failure_names_the_option_that_lowers_the_gate(gate, model, option):
    with pytest.raises(GateFailed, match=f"nothing was published.*{option}"):
        gate.check([("v1", model)])


def test_every_failure_is_named():
    with pytest.raises(GateFailed, match=r"v1 \(mine\).*v2 \(mine\).*nothing was published"):
        Gate().check([("v1", classifier(0.1)), ("v2", classifier(0.2))])


def test_a_gate_for_the_other_task_is_refused_rather_than_ignored():
    with pytest.raises(DataRefused, match="--min-r2"):
        Gate(min_accuracy=0.9).fits("regression")
    with pytest.raises(DataRefused, match="--min-accuracy"):
        Gate(min_r2=0.9).fits("classification")


TREE = "sklearn.tree.DecisionTreeClassifier"
QUICK = VariantCatalogue(
    default="tree",
    first_two=("tree", "stump"),
    variants={
        "tree": TrainingVariant(TREE, "sklearn.tree.DecisionTreeRegressor"),
        "stump": TrainingVariant(TREE, parameters={"max_depth": 2}),
        "linear": TrainingVariant("sklearn.linear_model.LogisticRegression", scale=True, parameters={"max_iter": 2}),
    },
)


def quiet(_step):
    pass


@pytest.fixture(scope="module")
def iris(tmp_path_factory):
    """A registry after the first training session, and the session's result."""
    registry = ModelRegistry(tmp_path_factory.mktemp("registry") / "models", b"k" * 32)
    return registry, train(TrainingRequest(), registry, QUICK, quiet)


def test_an_empty_shelf_gets_v1_as_champion_and_v2_as_challenger(iris):
    registry, trained = iris
    assert registry.names() == ("v1", "v2")
    assert registry.aliases() == {"champion": "v1", "challenger": "v2"}
    assert [version.manifest.variant for version in trained.versions] == ["tree", "stump"]


def test_the_manifest_says_what_was_made_from_what(iris):
    manifest = iris[0].manifest("v1")
    assert manifest.contract.names == ("sepal_length", "sepal_width", "petal_length", "petal_width")
    assert manifest.contract.classes == ("setosa", "versicolor", "virginica")
    assert manifest.contract.features[0].source_name == "sepal length (cm)"
    assert (manifest.source.dataset, manifest.source.rows, manifest.source.seed) == ("iris", 150, 42)
    assert manifest.data_report["rows"] == 150


def test_the_manifest_has_the_figures_of_both_sides(iris):
    metrics = iris[0].manifest("v1").metrics
    assert metrics["training"]["rows"] + metrics["holdout"]["rows"] == 150
    assert metrics["holdout"]["rows"] == iris[0].manifest("v1").source.holdout_rows == 30
    assert {"accuracy", "precision", "recall", "f1", "log_loss", "brier", "confusion_matrix"} <= set(metrics["holdout"])


def test_the_drift_reference_is_of_the_training_rows_and_the_held_out_answers(iris):
    reference = DriftReference.from_json(iris[0].verified("v1").read("reference.json"))
    assert reference.rows == 120
    assert reference.errors.rows == 30
    assert reference.outputs is not None


def test_an_example_of_each_class_is_kept(iris):
    assert len(iris[0].manifest("v1").examples) == 3


def test_plans_on_an_empty_shelf(registry):
    assert versions_to_train(TrainingRequest(), registry, QUICK) == (("v1", "tree"), ("v2", "stump"))
    assert versions_to_train(TrainingRequest(variant="stump"), registry, QUICK) == (("v1", "stump"), ("v2", "tree"))
    assert versions_to_train(TrainingRequest(variant="linear"), registry, QUICK) == (("v1", "linear"), ("v2", "stump"))
    assert versions_to_train(TrainingRequest(version="mine"), registry, QUICK) == (("mine", "tree"),)


def test_plans_of_an_empty_shelf_leave_the_names_of_other_hosts(registry):
    class Rows:
        def known(self):
            return [VersionRecord(version="v2", ordinal=2, manifest="f", created_at="")]

    registry.rows = Rows()
    assert versions_to_train(TrainingRequest(), registry, QUICK) == (("v3", "tree"), ("v4", "stump"))


def test_plans_on_a_shelf_with_versions(iris):
    assert versions_to_train(TrainingRequest(), iris[0], QUICK) == (("v3", "tree"),)
    assert versions_to_train(TrainingRequest(variant="stump"), iris[0], QUICK) == (("v3", "stump"),)


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        (TrainingRequest(version="v1"), RegistryConflict),
        (TrainingRequest(version="V 1"), InvalidRequest),
        (TrainingRequest(version="champion"), InvalidRequest),
        (TrainingRequest(variant="nope"), SettingError),
    ],
)
def test_what_cannot_be_published_is_refused_before_any_work(iris, wanted, error):
    with pytest.raises(error):
        versions_to_train(wanted, iris[0], QUICK)


def test_below_the_gate_nothing_is_published(registry):
    with pytest.raises(GateFailed, match=r"v1 \(tree\).*v2 \(stump\)"):
        train(TrainingRequest(gate=Gate(min_accuracy=1.0)), registry, QUICK, quiet)
    assert registry.names() == ()


def test_a_number_that_another_took_meanwhile_is_the_next_one(registry):
    def progress(step):
        if step.startswith("publishing"):
            train(TrainingRequest(version="v1", variant="stump"), registry, QUICK, quiet)

    train(TrainingRequest(version="first"), registry, QUICK, quiet)
    assert train(TrainingRequest(), registry, QUICK, progress).names == ("v2",)


def test_of_two_first_pairs_one_is_published(registry):
    def progress(step):
        if step.startswith("publishing v1"):
            train(TrainingRequest(), registry, QUICK, quiet)

    with pytest.raises(RegistryConflict, match="'v1' is already published"):
        train(TrainingRequest(), registry, QUICK, progress)
    assert registry.names() == ("v1", "v2")


def test_later_versions_get_no_alias(iris, registry):
    assert assign_alias(iris[0], "v1") is None
    assert iris[0].aliases()["champion"] == "v1"


def test_a_broken_table_of_aliases_does_not_stop_a_publisher(registry):
    train(TrainingRequest(version="a", variant="stump"), registry, QUICK, quiet)
    (registry.root / ALIASES).write_text("junk")
    with pytest.raises(ArtefactRefused):
        registry.aliases()
    assert assign_alias(registry, "a") == "champion"


def test_the_same_data_and_seed_give_the_same_model():
    prepared = [prepare(check(load("iris", None), CheckOptions()), 3) for _ in range(2)]
    first, again = (fit("deep_forest", read_catalogue().variant("deep_forest"), data, 3) for data in prepared)
    rows = np.random.default_rng(0).uniform(0, 8, size=(500, 4))
    assert np.array_equal(first.estimator.predict_proba(rows), again.estimator.predict_proba(rows))
    assert first.holdout == again.holdout
    assert prepared[0].contract == prepared[1].contract


def test_the_first_two_variants_really_differ_and_pass_the_gate_on_iris():
    prepared, catalogue = prepare(check(load("iris", None), CheckOptions()), 42), read_catalogue()
    fitted = [(name, fit(name, catalogue.variant(name), prepared, 42)) for name in catalogue.first_two]
    Gate().check(fitted)
    rows = np.random.default_rng(0).uniform(prepared.rows.min(0), prepared.rows.max(0), size=(2000, 4))
    first, second = (result.estimator.predict(rows) for _, result in fitted)
    assert np.mean(first != second) > 0.05


def test_what_fitting_complains_of_is_reported():
    prepared = prepare(check(load("wine", None), CheckOptions()), 1)
    assert "converge" in fit("linear", QUICK.variant("linear"), prepared, 1).warnings[0]


def test_a_model_that_cannot_be_fitted_is_refused_with_its_reason():
    prepared = prepare(check(load("iris", None), CheckOptions()), 1)
    with pytest.raises(DataRefused, match=r"bad cannot be fitted on these data: .*max_depth"):
        fit("bad", TrainingVariant(TREE, parameters={"max_depth": -1}), prepared, 1)


def test_numbers_and_categories_with_gaps_make_a_regression(csv_of, registry):
    generator = np.random.default_rng(1)
    lines = [f"{n % 7},{'Rome' if n % 3 else ''},{n % 7 + generator.normal():.4f}" for n in range(60)]
    path = csv_of("\n".join(["size,city,price", *lines]))
    train(TrainingRequest(dataset=str(path), target="price", version="prices"), registry, QUICK, quiet)
    manifest = registry.manifest("prices")
    assert manifest.contract.task == "regression"
    assert manifest.metrics["holdout"]["r2"] <= 1
