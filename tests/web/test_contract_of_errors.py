"""What every answer has in common, right or wrong."""

import logging

import pytest

from app.observe.logs import REQUEST_ID
from app.web.app import create_flask
from tests.web import fakes


@pytest.mark.parametrize("path", ["/nothing", "/predict/x", "/models/v1/x", "/x//predict", "/%ff%00", "/" + "x" * 5000])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_an_unknown_path_is_404_in_json(client, method, path):
    answer = client.open(path, method=method)
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/predict", {"POST", "OPTIONS"}),
        ("HEAD", "/predict", {"POST", "OPTIONS"}),
        ("DELETE", "/predict/batch", {"POST", "OPTIONS"}),
        ("POST", "/health", {"GET", "HEAD", "OPTIONS"}),
        ("PUT", "/config", {"GET", "HEAD", "OPTIONS"}),
        ("POST", "/models", {"GET", "HEAD", "OPTIONS"}),
    ],
)
def test_a_wrong_method_is_405_and_says_which_are_allowed(client, method, path, allowed):
    answer = client.open(path, method=method)
    assert answer.status_code == 405
    assert set(answer.headers["Allow"].split(", ")) >= allowed
    assert method == "HEAD" or answer.get_json()["error"]["code"] == "method_not_allowed"


@pytest.mark.parametrize("path", ["/", "/health", "/models", "/config", "/predictions/history", "/metrics", "/docs"])
def test_head_is_get_without_a_body(client, path):
    assert client.head(path).status_code == client.get(path).status_code == 200
    assert client.head(path).data == b""


def test_options_says_what_is_allowed_and_nothing_else(client):
    answer = client.options("/predict")
    assert (answer.status_code, answer.data) == (204, b"")
    assert "POST" in answer.headers["Allow"]


@pytest.mark.parametrize("path", ["/health/", "/models/", "/models/v1/", "/predictions/history/", "/docs/"])
def test_a_slash_at_the_end_does_not_matter(client, path):
    assert client.get(path).status_code == 200


def test_predicting_tolerates_a_slash_at_the_end_too(client):
    assert client.post("/predict/", json={"features": [5.1, 3.5, 1.4, 0.2]}).status_code == 200


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("abc-1", True),
        ("a b~!", True),
        ("x" * 128, True),
        ("x" * 129, False),
        ("a\tb", False),
        ("é", False),
        ("", False),
    ],
)
@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/"), ("GET", "/nothing"), ("POST", "/predict"), ("GET", "/predict")]
)
def test_the_callers_request_id_comes_back_where_it_is_fit(client, method, path, given, kept):
    answer = client.open(path, method=method, environ_overrides={"HTTP_X_REQUEST_ID": given})
    assert (answer.headers["X-Request-Id"] == given) is kept
    assert len(answer.headers.getlist("X-Request-Id")) == 1


def test_new_request_ids_differ_and_reach_the_log(serve):
    client, services = serve()
    ids = [client.post("/predict", json={"features": [1, 1, 1, 1]}).headers["X-Request-Id"] for _ in range(3)]
    assert len(set(ids)) == 3
    assert [exposure.request_id for exposure in services.recorder.exposures] == ids


def test_errors_under_v2_have_the_shape_of_that_protocol(client):
    answer = client.get("/v2/models/nothing")
    assert answer.status_code == 404
    assert isinstance(answer.get_json()["error"], str)


@pytest.mark.parametrize("path", ["/config", "/openapi.json"])
def test_what_nobody_foresaw_is_500_without_traceback_and_logged_with_the_id(serve, caplog, path):
    client, services = serve()
    services.live.configuration = services.live.state = None
    with caplog.at_level(logging.ERROR):
        answer = client.get(path, headers={"X-Request-Id": "mine"})
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (500, "internal")
    assert "NoneType" not in answer.text
    assert [(record.request_id, record.exc_info is not None) for record in caplog.records] == [("mine", True)]


def test_predicting_survives_what_nobody_foresaw(serve, caplog):
    client, services = serve()
    services.live.state = None
    with caplog.at_level(logging.ERROR):
        answer = client.post("/predict", json={"features": [1, 1, 1, 1]})
    assert (answer.status_code, services.metrics.reasons) == (500, ["internal"])
    assert "Traceback" not in answer.text
    assert caplog.records[0].event_fields == {"path": "/predict"}


def test_two_applications_in_one_process_do_not_mix():
    first, second = (
        create_flask(fakes.services(fakes.loaded_models(**{name: fakes.ConstantRuntime()}))) for name in "ab"
    )
    assert first.test_client().get("/models/a").status_code == 200
    assert second.test_client().get("/models/a").status_code == 404


def test_what_is_logged_in_a_request_carries_its_id_and_nothing_after_it_does(serve):
    seen = []

    class Watching(fakes.EmptyHistory):
        def page(self, *asked):
            seen.append(REQUEST_ID.get())
            return super().page(*asked)

    client, _ = serve(history=Watching())
    client.get("/predictions/history", headers={"X-Request-Id": "mine"})
    assert seen == ["mine"]
    assert REQUEST_ID.get() is None
