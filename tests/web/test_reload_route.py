import msgspec
import pytest

from app.services.ports import RefusedVersion
from app.web.app import create_flask
from tests.web import fakes

ADMIN = {"Authorization": "Bearer secret"}


@pytest.fixture
def services():
    return fakes.services(admin_token="secret")


@pytest.mark.parametrize("path", ["/models/reload", "/model/reload"])
@pytest.mark.parametrize("body", [b"", b"{}", b"\xff not JSON"])
def test_both_paths_reload_whatever_the_body_is(services, path, body):
    answer = create_flask(services).test_client().post(path, data=body, headers=ADMIN)
    assert answer.status_code == 200
    assert answer.json["served"]["v1"] == {"sha256": "a" * 64, "change": "kept"}


def test_nobody_reloads_without_the_token(services):
    assert create_flask(services).test_client().post("/models/reload").status_code == 401


def test_a_refused_version_is_named_with_its_reason(services):
    registry = msgspec.structs.replace(
        services.live.loaded_models, refused=(RefusedVersion("v3", "signed by someone else"),)
    )
    services = msgspec.structs.replace(services, reload=fakes.reload_of(services.live, registry))
    answer = create_flask(services).test_client().post("/models/reload", headers=ADMIN)
    assert answer.json["refused"] == {"v3": {"reason": "signed by someone else", "still_served": False}}


def test_an_emptied_registry_is_a_conflict(services):
    services = msgspec.structs.replace(services, reload=fakes.reload_of(services.live, fakes.loaded_models()))
    answer = create_flask(services).test_client().post("/models/reload", headers=ADMIN)
    assert (answer.status_code, answer.json["error"]["code"]) == (409, "conflict")
