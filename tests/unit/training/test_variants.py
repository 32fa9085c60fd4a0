import pytest
from sklearn.base import is_classifier, is_regressor

from app.errors import SettingError
from app.training.variants import TrainingVariant, instantiate, read_catalogue

NAMES = ("deep_forest", "small_samples", "shallow_wide", "conservative", "logistic_regression", "gradient_boosting")


def test_the_catalogue_has_the_promised_variants():
    assert set(NAMES) <= set(read_catalogue().variants)


@pytest.mark.parametrize("name", NAMES)
def test_each_variant_has_a_seeded_classifier_and_a_regressor(name):
    variant = read_catalogue().variant(name)
    classifier, regressor = (instantiate(name, variant, task, 7) for task in ("classification", "regression"))
    assert is_classifier(classifier)
    assert is_regressor(regressor)
    assert classifier.random_state == regressor.random_state == 7


def test_the_first_two_are_different_forests_of_100_trees():
    catalogue = read_catalogue()
    first, second = (catalogue.variant(name) for name in catalogue.first_two)
    assert first.parameters["n_estimators"] == second.parameters["n_estimators"] == 100
    assert first.parameters != second.parameters
    assert "RandomForestClassifier" in first.estimator
    assert first.estimator == second.estimator


def test_a_seed_among_the_parameters_wins():
    variant = TrainingVariant("sklearn.tree.DecisionTreeClassifier", parameters={"random_state": 1})
    assert instantiate("tree", variant, "classification", 7).random_state == 1


@pytest.mark.parametrize(
    ("variant", "complaint"),
    [
        (TrainingVariant("sklearn.tree.NoSuchTree"), "NoSuchTree"),
        (TrainingVariant("no_such_package.Model"), "no_such_package"),
        (TrainingVariant("Model"), "Model"),
        (TrainingVariant("sklearn.tree.DecisionTreeClassifier", parameters={"depth": 3}), "depth"),
    ],
)
def test_a_wrong_variant_is_named_with_its_reason(variant, complaint):
    with pytest.raises(SettingError, match=f"training.toml, mine: .*{complaint}"):
        instantiate("mine", variant, "classification", 0)


def test_a_variant_without_regressor_cannot_predict_quantities():
    with pytest.raises(SettingError, match="has no `regressor`"):
        instantiate("mine", TrainingVariant("sklearn.tree.DecisionTreeClassifier"), "regression", 0)


@pytest.mark.parametrize("text", ["default = ", "default = 'a'", "default='a'\nfirst_two=['a','b']\nvariants=1", "é"])
def test_a_broken_file_is_named(tmp_path, text):
    path = tmp_path / "variants.toml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(SettingError, match=r"variants\.toml"):
        read_catalogue(path)


def test_an_unknown_variant_is_refused_with_the_names_there_are():
    with pytest.raises(SettingError, match="no 'deep'; there are: deep_forest"):
        read_catalogue().variant("deep")
