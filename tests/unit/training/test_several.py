"""Several variants in one session: which are published, under which names, and what is said of the others."""

from __future__ import annotations

import pytest

from app.errors import DataRefused, GateFailed, InvalidRequest, RegistryConflict, SettingError
from app.training.session import Gate, TrainingRequest
from app.training.several import train_several
from app.training.variants import TrainingVariant, VariantCatalogue, read_catalogue, variants_named

CATALOGUE = VariantCatalogue(
    default="linear",
    first_two=("linear", "tree"),
    variants={
        "linear": TrainingVariant(
            estimator="sklearn.linear_model.LogisticRegression",
            regressor="sklearn.linear_model.Ridge",
            scale=True,
        ),
        "tree": TrainingVariant(
            estimator="sklearn.tree.DecisionTreeClassifier", regressor="sklearn.tree.DecisionTreeRegressor"
        ),
        "guess": TrainingVariant(estimator="sklearn.dummy.DummyClassifier"),
        "broken": TrainingVariant(estimator="sklearn.linear_model.NoSuchThing"),
    },
)


def compare(registry, *names, top=2, **request):
    said = []
    return train_several(TrainingRequest(**request), names, top, registry, CATALOGUE, said.append), said


def test_the_best_are_published_as_champion_and_challenger(registry):
    compared, _ = compare(registry, "guess", "tree", "linear")
    first, second, third = compared.variants
    assert (first.version, second.version, third.version) == ("v1", "v2", None)
    assert third.variant == "guess"
    assert registry.aliases() == {"champion": "v1", "challenger": "v2"}
    assert [registry.manifest(name).variant for name in registry.names()] == [first.variant, second.variant]
    assert first.cross_validated.accuracy >= 0.9


def test_what_is_published_answers_from_the_registry_it_is_in(registry):
    compare(registry, "tree", "linear")
    artefact = registry.verified("v2")
    assert artefact.manifest.ordinal == 2
    assert artefact.manifest.parity.holds
    assert artefact.manifest.metrics["holdout"]["rows"] == 30


def test_one_may_be_published_under_a_name(registry):
    compared, _ = compare(registry, "tree", "linear", top=1, version="nightly")
    assert registry.names() == ("nightly",)
    assert compared.session.names == ("nightly",)


def test_each_says_why_it_has_its_place(registry):
    compared, _ = compare(registry, "guess", "linear", top=1)
    assert "highest cross-validated accuracy" in compared.variants[0].why
    assert compared.variants[0].size_bytes > 0
    assert compared.variants[0].p95_us > 0


def test_a_variant_that_cannot_be_fitted_is_left_out_with_the_reason(registry):
    compared, _ = compare(registry, "broken", "tree", "linear")
    assert "NoSuchThing" in compared.failed["broken"]
    assert len(compared.variants) == 2


def test_where_none_can_be_fitted_nothing_is_published(registry):
    with pytest.raises(DataRefused, match="no variant can be fitted"):
        compare(registry, "broken", top=1)
    assert registry.names() == ()


def test_the_gate_of_the_hold_out_holds_for_each_that_would_be_published(registry):
    with pytest.raises(GateFailed, match="guess"):
        compare(registry, "guess", "linear")
    assert registry.names() == ()
    compared, _ = compare(registry, "guess", "linear", top=1)
    assert compared.session.names == ("v1",)


def test_a_regression_is_compared_by_its_own_error(registry, csv_of):
    path = csv_of("a,b,y\n" + "".join(f"{i * 0.37},{(i * 7) % 13},{i * 1.11 + (i * 7) % 13}\n" for i in range(120)))
    request = {"dataset": str(path), "target": "y", "gate": Gate(min_r2=0.5)}
    compared, _ = compare(registry, "tree", "linear", "guess", **request)
    assert compared.variants[0].variant == "linear"
    assert compared.variants[0].cross_validated.r2 > 0.9
    assert "regressor" in compared.failed["guess"]


@pytest.mark.parametrize(
    ("top", "request_", "error"),
    [
        (3, {}, InvalidRequest),
        (2, {"version": "mine"}, InvalidRequest),
        (1, {"version": "champion"}, InvalidRequest),
        (1, {"dataset": "iriss"}, DataRefused),
    ],
)
def test_a_wrong_request_is_known_before_anything_is_fitted(registry, top, request_, error):
    with pytest.raises(error):
        compare(registry, "tree", "linear", top=top, **request_)


def test_a_taken_name_is_known_before_anything_is_fitted(registry):
    compare(registry, "tree", "linear", top=1, version="mine")
    with pytest.raises(RegistryConflict):
        compare(registry, "tree", "linear", top=1, version="mine")


def test_progress_names_each_step(registry):
    _, said = compare(registry, "tree", "linear")
    assert sum(step.startswith("tree: ") for step in said) == 7


def test_variants_are_named_or_all():
    shipped = read_catalogue()
    assert variants_named("all", shipped) == tuple(shipped.variants)
    assert variants_named("conservative, deep_forest,conservative", shipped) == ("conservative", "deep_forest")


@pytest.mark.parametrize("text", ["nope,deep_forest", "", "deep_forest", ","])
def test_names_that_are_not_two_known_ones_are_refused(text):
    with pytest.raises(SettingError, match="--variants"):
        variants_named(text, read_catalogue())
