import pytest
from msgspec.structs import replace

from app.services.ports import RefusedVersion
from app.services.serving.availability import nothing_loaded, of_lacking, unknown_version
from tests.builders import configuration, loaded_models, loaded_version

UNSIGNED = RefusedVersion("v1", "manifest.json: its signature is wrong")


def reason(published=(), refused=()):
    return nothing_loaded(loaded_models(refused=refused), lambda: published)


def test_an_empty_registry_says_how_to_fill_it_and_then_how_to_load():
    found = reason()
    assert "the model registry is empty" in found
    assert found.index("bakeoff train") < found.index("POST /models/reload")


@pytest.mark.parametrize(
    ("published", "names"),
    [
        (("v1",), "v1 is published but not loaded yet; load it with POST /models/reload"),
        (("v1", "v2"), "v1 and v2 are published but not loaded yet; load them with POST /models/reload"),
        (("v1", "v2", "v3", "v4", "v5"), "v1, v2, v3 and 2 more are published"),
    ],
)
def test_versions_that_are_not_loaded_yet_are_named(published, names):
    found = reason(published)
    assert names in found
    assert "bakeoff train" not in found


def test_a_refused_version_is_named_with_its_reason():
    found = reason(("v1",), (UNSIGNED,))
    assert "refused: v1 (manifest.json: its signature is wrong), see GET /health" in found
    assert "publish another version" in found


def test_a_new_version_beside_a_refused_one_is_the_one_to_load():
    found = reason(("v1", "v2"), (UNSIGNED,))
    assert "v2 is published but not loaded yet" in found
    assert "refused: v1 (" in found


def test_a_registry_that_cannot_be_read_says_why():
    def published():
        raise PermissionError(13, "Permission denied")

    assert "cannot be read: Permission denied" in nothing_loaded(loaded_models(), published)


@pytest.mark.parametrize(("loaded", "listed"), [(("v1", "v2"), "loaded: v1, v2"), ((), "loaded: none")])
def test_an_unknown_version_is_answered_with_the_loaded_ones(loaded, listed):
    error = unknown_version("v9", loaded, "version")
    assert (error.field, "'v9' is loaded" in error.message, listed in error.message) == ("version", True, True)


def test_a_registry_that_cannot_be_read_is_to_be_made_reachable_and_no_version_to_be_published():
    away = RefusedVersion("s3://models", "cannot be reached; there is no copy of it yet", registry=True)
    found = reason(refused=[away])
    assert "the model registry at s3://models: cannot be reached" in found
    assert "check MODEL_DIR, AWS_ENDPOINT_URL" in found
    assert "publish" not in found


def lacking(weights, *loaded, shared=True, refused=()):
    models = loaded_models(*map(loaded_version, loaded), refused=refused)
    return of_lacking(configuration(weights), replace(models, shared=shared))


def test_all_versions_that_are_lacking_are_named_with_why_they_are_refused():
    found = lacking({"v1": 0.5, "v2": 0.25, "v3": 0.25}, "v1", refused=(RefusedVersion("v3", "model.onnx: torn"),))
    assert found.startswith(
        "v2 has 25 % and v3 has 25 % of the traffic and are not loaded here (refused: v3 (model.onnx: torn), see GET"
    )
    assert 'PATCH /config {"weights": {"v1": 0.5}}' in found


def test_traffic_is_sent_to_no_version_that_other_hosts_may_lack():
    found = lacking({"v1": 1.0, "v6": 0.0}, "v6", "v7")
    assert "send its traffic to versions that every host has loaded (PATCH /config)" in found
    assert "weights" not in found


@pytest.mark.parametrize(("loaded", "call"), [(("v2",), '{"weights": {"v2": 1.0}}'), ((), "(PATCH /config)")])
def test_on_one_host_the_traffic_can_be_sent_to_whatever_is_loaded(loaded, call):
    assert lacking({"v1": 1.0, "v2": 0.0}, *loaded, shared=False).endswith(call)
