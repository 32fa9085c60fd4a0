"""ADMIN_BIND: which calls the public listener has."""

import pytest

from app.web.app import OPERATIONS
from tests.infra.repository import ROOT

ADMIN_PORT = 5001
HERE_ALONE = {
    *("GET /metrics", "GET /audit", "GET /config", "PATCH /config"),
    *("GET /predictions", "GET /predictions/history", "GET /predictions/{prediction_id}"),
    *("GET /experiment", "GET /experiment/timeline", "POST /experiment/decision", "GET /experiments"),
    *("GET /experiments/{id}", "GET /experiment/{id}/breakdown", "GET /experiment/{id}/disagreements"),
    *("GET /drift", "GET /drift/timeline", "POST /drift/acknowledge"),
    *("GET /models", "GET /models/{version}", "GET /model/info", "POST /models/reload", "POST /model/reload"),
    *("POST /v2/repository/models/{model}/load", "POST /v2/repository/models/{model}/unload"),
}
CORRECTION = {"prediction_id": "x", "actual": "setosa", "correct": True}


def offers(client, operation, port, **options):
    answer = client.open(
        operation.path, method=operation.method, json={}, environ_overrides={"SERVER_PORT": str(port)}, **options
    )
    return not (answer.status_code == 404 and "ADMIN_BIND" in answer.text)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: f"{each.method.upper()} {each.path}")
def test_reading_administration_and_metrics_are_on_the_listener_for_them_alone(serve, operation):
    client, services = serve(admin_bind=("127.0.0.1", ADMIN_PORT))
    name = f"{operation.method.upper()} {operation.path}"
    assert offers(client, operation, 5000) is (name not in HERE_ALONE)
    assert offers(client, operation, ADMIN_PORT)
    assert services.metrics.wrong_tokens == 0


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: f"{each.method.upper()} {each.path}")
def test_a_proxy_with_two_listeners_says_which_one_it_was(client, operation):
    public = {"X-Listener": "public"}
    name = f"{operation.method.upper()} {operation.path}"
    assert offers(client, operation, 5000, headers=public) is (name not in HERE_ALONE)
    assert offers(client, operation, 5000)


def test_without_a_listener_for_them_one_has_all_calls(client):
    assert all(offers(client, operation, 5000) for operation in OPERATIONS)


def test_the_calls_that_are_not_offered_by_their_access_are_named_in_the_decision():
    exceptions = {each.path for each in OPERATIONS if each.public is not None}
    assert exceptions == {"/metrics", "/v2/repository/index"}
    decision = (ROOT / "docs/adr/0039-two-listeners.md").read_text()
    assert all(path in decision for path in exceptions)


@pytest.mark.parametrize("port", [5000, ADMIN_PORT])
def test_the_start_page_links_to_what_its_listener_offers(serve, port):
    client, _ = serve(admin_bind=("127.0.0.1", ADMIN_PORT))
    here = {"SERVER_PORT": str(port)}
    links = client.get("/", environ_overrides=here).get_json()["links"]
    assert {path: client.get(path, environ_overrides=here).status_code for path in links.values()}.items() >= {
        path: 405 if link.startswith(("predict", "feedback")) else 200 for link, path in links.items()
    }.items()
    assert ("audit" in links) is (port == ADMIN_PORT)
    assert {"docs", "predict", "feedback", "health"} <= set(links)


@pytest.mark.parametrize("port", [5000, ADMIN_PORT])
def test_the_openapi_document_describes_what_its_listener_offers(serve, port):
    client, _ = serve(admin_bind=("127.0.0.1", ADMIN_PORT))
    for asked in (ADMIN_PORT, 5000, port):  # each listener keeps a document of its own
        paths = client.get("/openapi.json", environ_overrides={"SERVER_PORT": str(asked)}).get_json()["paths"]
    described = {f"{method.upper()} {path}" for path, calls in paths.items() for method in calls}
    known = {f"{each.method.upper()} {each.path}" for each in OPERATIONS}
    assert described == (known if port == ADMIN_PORT else known - HERE_ALONE)


def test_the_refusal_is_true_of_what_the_public_listener_has_and_of_a_header_without_a_second_listener(client):
    message = client.get("/audit", headers={"X-Listener": "public"}).get_json()["error"]["message"]
    assert all(word in message for word in ("/docs", "ADMIN_BIND", "without the header X-Listener"))


def test_the_right_token_does_not_help_on_the_public_listener(serve):
    client, _ = serve(admin_bind=("127.0.0.1", ADMIN_PORT), admin_token="secret")
    for path, body in (("/models/reload", {}), ("/feedback", CORRECTION)):
        answer = client.post(path, json=body, headers={"Authorization": "Bearer secret"})
        assert (answer.status_code, answer.get_json()["error"]["code"]) == (404, "not_found")


def test_head_is_offered_where_get_is(serve):
    client, _ = serve(admin_bind=("127.0.0.1", ADMIN_PORT))
    assert client.head("/audit").status_code == 404
    assert client.head("/health/live").status_code == 200
