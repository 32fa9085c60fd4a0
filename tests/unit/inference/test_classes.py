"""One numbering of classes for all versions that have the same ones."""

from __future__ import annotations

import shutil

import msgspec
import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from app.domain.manifest import Manifest
from app.domain.prediction import Outputs
from app.inference.artefact import encoded
from app.inference.classes import RenumberedRuntime, renumbered
from app.inference.loader import known_answers, load_models, load_version
from app.inference.publication import publish
from app.inference.registry import ModelRegistry
from tests import builders
from tests.unit.inference.published import KEY, draft, numeric_contract

ROWS = np.random.default_rng(3).normal(size=(240, 2))
IDS = (ROWS @ (1.0, -1.0) > 0).astype(int) + (ROWS @ (1.0, 1.0) > 1)


class Answers:
    """Gives the same answers to whatever rows."""

    def __init__(self, **parts):
        self.outputs = Outputs(**{name: np.array(part) for name, part in parts.items()})

    def predict(self, _rows):
        return self.outputs


def published(registry, labels, spelled=str, model=LogisticRegression):
    """The model fitted on these labels, published under the names that `spelled` gives to its classes."""
    estimator = model().fit(ROWS, labels)
    names = tuple(spelled(label) for label in estimator.classes_.tolist())
    contract = msgspec.structs.replace(numeric_contract(ROWS, len(names)), classes=names)
    publish(registry, estimator, draft(ROWS, contract), random=10)
    return estimator


def forget_numbering(registry, name):
    """Make the manifest what earlier releases wrote."""
    manifest = msgspec.structs.replace(registry.manifest(name), numbered_classes=())
    for file, data in encoded(manifest, KEY).items():
        (registry.root / name / file).write_bytes(data)


@pytest.fixture(scope="module")
def numbers_twice(tmp_path_factory):
    """v1 fitted on the numbers 2, 9, 10 as texts, v2 on them as numbers: the order of its classes is another one."""
    registry = ModelRegistry(tmp_path_factory.mktemp("models"), KEY)
    values = np.array([2, 9, 10])[IDS]
    models = [published(registry, values.astype(str)), published(registry, values.astype(float))]
    return registry.root, models


@pytest.fixture
def registry(tmp_path, numbers_twice):
    return ModelRegistry(shutil.copytree(numbers_twice[0], tmp_path / "models"), KEY)


def named(version, rows=ROWS):
    outputs = version.runtime.predict(rows)
    return [version.contract.classes[class_id] for class_id in outputs.class_ids.tolist()]


def test_answers_get_the_ids_of_another_order_with_their_columns():
    runtime = RenumberedRuntime(
        Answers(class_ids=[0, 2, 1], probabilities=[[5, 3, 2], [1, 2, 7], [2, 6, 2]]), (2, 0, 1)
    )
    outputs = runtime.predict(ROWS)
    assert outputs.class_ids.tolist() == [2, 1, 0]
    assert outputs.probabilities.tolist() == [[3, 2, 5], [2, 7, 1], [6, 2, 2]]


def test_answers_without_probabilities_have_none_afterwards():
    outputs = RenumberedRuntime(Answers(class_ids=[1, 0, 1]), (1, 0)).predict(ROWS)
    assert outputs.class_ids.tolist() == [0, 1, 0]
    assert outputs.probabilities is None


def test_versions_that_order_their_classes_differently_answer_under_one_numbering(registry, numbers_twice):
    models = load_models(registry)
    assert models.compatible == ("v1", "v2")
    assert [version.contract.classes for version in models.versions.values()] == [("10", "2", "9")] * 2
    for version, model in zip(models.versions.values(), numbers_twice[1], strict=True):
        assert named(version) == [f"{float(label):g}" for label in model.predict(ROWS)]
        wanted = model.predict_proba(ROWS)[:, [2, 0, 1] if version.name == "v2" else [0, 1, 2]]
        np.testing.assert_allclose(version.runtime.predict(ROWS).probabilities, wanted, atol=1e-5)


def test_single_rows_are_renumbered_like_batches(registry):
    version = load_version(registry, "v2")
    assert [named(version, row[None])[0] for row in ROWS[:50]] == named(version)[:50]


@pytest.mark.parametrize("model", [LinearSVC, RandomForestClassifier])
def test_models_on_their_own_runtime_are_renumbered_too(registry, model):
    fitted = published(registry, np.array([2, 9, 10])[IDS], model=model)
    version = load_version(registry, "v3")
    assert version.contract.classes == ("10", "2", "9")
    assert named(version) == fitted.predict(ROWS).astype(str).tolist()


def test_a_version_in_the_same_order_is_only_renamed(tmp_path):
    registry = ModelRegistry(tmp_path, KEY)
    published(registry, np.where(IDS > 0, "true", "false"))
    published(registry, IDS > 0)
    models = load_models(registry)
    assert models.versions["v2"].contract.classes == ("false", "true")
    assert not isinstance(models.versions["v2"].runtime, RenumberedRuntime)


def test_other_classes_keep_their_own_numbering(registry):
    published(registry, IDS > 0)
    assert load_version(registry, "v3").contract.classes == ("False", "True")
    assert "v3" in load_models(registry).excluded


def test_a_reload_keeps_a_version_that_it_has_renumbered(registry):
    before = load_models(registry)
    after = load_models(registry, before)
    assert after.versions["v2"] is before.versions["v2"]


@pytest.mark.parametrize("recorded", [True, False])
def test_ids_keep_their_meaning_when_the_oldest_version_is_gone(registry, recorded):
    if not recorded:
        forget_numbering(registry, "v1")
        forget_numbering(registry, "v2")
    before = load_models(registry)
    assert before.versions["v2"].contract.classes == ("10", "2", "9")
    shutil.rmtree(registry.root / "v1")
    after = load_models(registry, before)
    # Only a manifest of an earlier release does not say under which numbering the version answered.
    assert after.versions["v2"].contract.classes == (("10", "2", "9") if recorded else ("2.0", "9.0", "10.0"))
    answers = [list(map(float, named(models.versions["v2"]))) for models in (before, after)]
    assert answers[0] == answers[1]


def test_an_oldest_version_that_does_not_run_still_numbers_the_others(registry):
    forget_numbering(registry, "v2")
    (registry.root / "v1" / "model.joblib").write_bytes(b"")
    assert load_models(registry).versions["v2"].contract.classes == ("10", "2", "9")


def test_a_numbering_goes_on_from_version_to_version(registry):
    shutil.rmtree(registry.root / "v1")
    published(registry, np.array([2, 9, 10])[IDS])
    assert registry.manifest("v3").numbered_classes == ("10", "2", "9")
    assert registry.manifest("v3").contract.classes == ("2", "9", "10")


def test_the_known_answers_are_named_as_the_served_ones(registry):
    version = load_version(registry, "v2")
    rows = np.array([answer.row for answer in known_answers(registry, "v2").answers])
    assert [answer.prediction for answer in known_answers(registry, "v2").answers] == named(version, rows)
    for answer, given in zip(
        known_answers(registry, "v2").answers, version.runtime.predict(rows).probabilities, strict=True
    ):
        assert answer.probabilities == pytest.approx(dict(zip(version.contract.classes, given, strict=True)), abs=1e-5)


def test_a_regression_has_no_numbering():
    contract = numeric_contract(ROWS)
    manifest = builders.manifest(contract=contract)
    version = builders.loaded_version("v1", Answers(values=[1.0]), contract, manifest=manifest)
    assert renumbered(version, ()) is version


def test_a_manifest_of_an_earlier_release_is_read():
    document = msgspec.json.encode(builders.manifest())
    old = {name: part for name, part in msgspec.json.decode(document).items() if name != "numbered_classes"}
    assert msgspec.json.decode(msgspec.json.encode(old), type=Manifest).numbered_classes == ()
