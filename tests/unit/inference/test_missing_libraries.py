"""A version whose package is not installed where it is served: it is refused by name, and the others are served."""

import importlib
import sys

import msgspec
import pytest
from sklearn.linear_model import LogisticRegression

from app.errors import ArtefactRefused
from app.inference.loader import known_answers, load_models
from app.inference.model_files import missing_libraries
from app.inference.publication import publish
from app.inference.registry import ModelRegistry
from app.services.queries import doctor
from tests.unit.inference.published import KEY, data, draft, numeric_contract

IRIS, SPECIES = data("iris")
SOURCE = "from sklearn.linear_model import LogisticRegression\nclass Boost(LogisticRegression):\n    pass\n"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package `acme-boost` with the module `acme_boost`; call it to uninstall."""
    place = tmp_path / "site"
    (place / "acme_boost-4.7.dist-info").mkdir(parents=True)
    (place / "acme_boost-4.7.dist-info" / "METADATA").write_text("Name: acme-boost\nVersion: 4.7\n")
    (place / "acme_boost-4.7.dist-info" / "top_level.txt").write_text("acme_boost\n")
    (place / "acme_boost.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(place))
    importlib.invalidate_caches()

    def uninstall():
        sys.path.remove(str(place))
        sys.modules.pop("acme_boost", None)
        importlib.invalidate_caches()

    yield uninstall
    sys.modules.pop("acme_boost", None)


@pytest.fixture
def registry(tmp_path, package):
    """v1 of scikit-learn, and v2 of `acme-boost`, which scikit-learn's runtime serves."""
    registry = ModelRegistry(tmp_path / "models", KEY)
    contract = numeric_contract(IRIS, 3)
    publish(registry, LogisticRegression(max_iter=500).fit(IRIS, SPECIES), draft(IRIS, contract, "v1"), random=100)
    boost = importlib.import_module("acme_boost").Boost(max_iter=500).fit(IRIS, SPECIES)
    publish(registry, boost, draft(IRIS, contract, "v2"), random=100)
    return registry


def test_the_manifest_says_which_package_the_model_needs(registry):
    manifest = registry.manifest("v2")
    assert dict(manifest.requires) == {"acme-boost": "4.7"}
    assert manifest.libraries["acme-boost"] == "4.7"
    assert not registry.manifest("v1").requires


def test_without_the_package_the_others_are_served_and_it_is_refused_by_name(registry, package):
    assert set(load_models(registry).versions) == {"v1", "v2"}
    package()
    models = load_models(registry)
    assert list(models.versions) == ["v1"]
    (refused,) = models.refused
    assert "v2: needs acme-boost 4.7, not installed here" in refused.reason


def test_the_doctor_names_the_package(registry, package):
    manifest, files = registry.manifest("v2"), registry.verified("v2").files
    assert missing_libraries(manifest, files) == ()
    package()
    missing = missing_libraries(manifest, files)
    assert missing == ("acme-boost 4.7",)
    finding = doctor.of_version(manifest, "1.9", missing)
    assert (finding.state, "needs acme-boost 4.7" in finding.detail) == ("broken", True)


def test_a_version_that_a_graph_answers_for_needs_no_package(registry, package):
    manifest = msgspec.structs.replace(registry.manifest("v2"), runtime="onnx")
    package()
    assert missing_libraries(manifest, {"plan.json": b'{"settling": "linear"}'}) == ()
    assert missing_libraries(manifest, {"plan.json": b'{"settling": "estimator"}'}) == ("acme-boost 4.7",)


def test_the_smoke_test_leaves_it_out_with_the_reason(registry, package):
    package()
    with pytest.raises(ArtefactRefused, match="its original model needs the module 'acme_boost', which is not here"):
        known_answers(registry, "v2")
