import pytest

from app.web.app import OPERATIONS, create_flask
from app.web.operations import by_rule
from tests.web import fakes

BODY = {"features": [5.1, 3.5, 1.4, 0.2]}
OPEN = {
    "/",
    "/health",
    "/health/live",
    "/health/ready",
    "/metrics",
    "/openapi.json",
    "/docs",
    "/docs/{file}",
    "/ping",
    "/version",
    "/v2",
    "/v2/health/live",
    "/v2/health/ready",
}


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def call(client, operation, headers=None):
    return client.open(operation.path, method=operation.method, json=BODY, headers=headers or {})


def test_only_these_calls_are_open():
    assert {operation.path for operation in OPERATIONS if operation.access == "open"} == OPEN


@pytest.mark.parametrize(
    "operation", [op for op in OPERATIONS if op.access in ("predict", "read", "feedback")], ids=lambda op: op.path
)
def test_with_a_token_set_predicting_and_reading_need_it(serve, operation):
    client, _ = serve(api_token="secret")
    missing, wrong = call(client, operation), call(client, operation, bearer("wrong"))
    assert (missing.status_code, missing.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert (wrong.status_code, "token" in wrong.text) == (403, True)
    assert call(client, operation, bearer("secret")).status_code not in (401, 403)


@pytest.mark.parametrize("path", sorted(OPEN))
def test_the_open_calls_need_no_token(serve, path):
    client, _ = serve(api_token="secret")
    assert client.get(path.format(file="page.js")).status_code == 200


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("Bearer secret", 200),
        ("bearer secret", 200),
        ("Bearer  secret ", 200),
        ("Bearer admin", 200),
        ("Bearer secre", 403),
        ("Bearer sécret", 403),
        ("Basic secret", 401),
        ("Bearer", 401),
        ("Bearer ", 401),
        ("secret", 401),
    ],
)
def test_a_token_is_taken_as_it_should_be(serve, header, status):
    client, _ = serve(api_token="secret", admin_token="admin")
    assert client.get("/config", environ_overrides={"HTTP_AUTHORIZATION": header}).status_code == status


def guarded(**settings):
    """An application with a route that nobody has listed."""
    app = create_flask(fakes.services(**settings))
    app.add_url_rule("/unlisted", view_func=lambda: "done")
    return app.test_client()


@pytest.mark.parametrize(
    ("settings", "headers", "status", "code"),
    [
        ({}, bearer("any"), 403, "admin_disabled"),
        ({"api_token": "secret"}, bearer("secret"), 403, "admin_disabled"),
        ({"admin_token": "admin"}, {}, 401, "unauthorized"),
        ({"admin_token": "admin"}, bearer("wrong"), 403, "forbidden"),
        ({"admin_token": "admin", "api_token": "secret"}, bearer("secret"), 403, "forbidden"),
    ],
)
def test_what_is_not_listed_is_for_administrators_only(settings, headers, status, code):
    answer = guarded(**settings).get("/unlisted", headers=headers)
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (status, code)


def test_an_administrator_may():
    assert guarded(admin_token="admin", api_token="secret").get("/unlisted", headers=bearer("admin")).text == "done"


def test_the_refusal_says_how_to_enable_administration():
    assert "ADMIN_TOKEN" in guarded().get("/unlisted").get_json()["error"]["message"]


def test_head_is_guarded_like_get():
    assert by_rule(OPERATIONS)["HEAD", "/models"].access == "read"


def test_an_unknown_path_is_404_also_without_the_token(serve):
    client, _ = serve(api_token="secret")
    assert client.get("/nothing").status_code == 404
