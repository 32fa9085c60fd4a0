"""`"correct": true` is an administrative call, in whatever form it comes."""

import pytest

OUTCOME = {"prediction_id": "-" * 64, "actual": "setosa"}
CORRECTION = {**OUTCOME, "correct": True}
ADMIN = {"Authorization": "Bearer admin", "X-Actor": "ann"}
CSV = "prediction_id,actual\n" + "-" * 64 + ",setosa\n"
FORMS = {
    "one": {"json": CORRECTION},
    "item": {"json": {"feedback": [OUTCOME, CORRECTION]}},
    "list": {"json": {"feedback": [OUTCOME], "correct": True}},
    "query": {"json": OUTCOME, "query_string": {"correct": "true"}},
    "partial": {"json": {"feedback": [CORRECTION]}, "query_string": {"partial": "true"}},
    "csv": {"data": CSV, "content_type": "text/csv", "query_string": {"correct": "true"}},
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_an_administrator_corrects(serve, form):
    client, services = serve(admin_token="admin")
    assert client.post("/feedback", headers=ADMIN, **form).status_code == 200
    assert services.feedback.correcting.actor == "ann"
    assert services.feedback.taken


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize(
    ("settings", "headers", "status", "words"),
    [
        ({}, ADMIN, 403, "set ADMIN_TOKEN and restart"),
        ({"admin_token": "admin"}, {}, 401, "needs ADMIN_TOKEN"),
        ({"admin_token": "admin", "api_token": "reader"}, {"Authorization": "Bearer reader"}, 403, "needs ADMIN_TOKEN"),
    ],
)
def test_nobody_else_does_and_the_refusal_says_what_to_do(serve, form, settings, headers, status, words):
    client, services = serve(**settings)
    answer = client.post("/feedback", headers=headers, **form)
    assert (answer.status_code, services.feedback.taken) == (status, [])
    assert words in answer.get_json()["error"]["message"]


@pytest.mark.parametrize("given", [{"feedback": [OUTCOME], "correct": 1}, {"feedback": [OUTCOME], "correct": "true"}])
def test_correct_is_a_boolean(serve, given):
    answer = serve(admin_token="admin")[0].post("/feedback", headers=ADMIN, json=given)
    assert (answer.status_code, answer.get_json()["error"]["field"]) == (400, "correct")


@pytest.mark.parametrize("given", [{**OUTCOME, "correct": False}, {"feedback": [OUTCOME], "correct": False}])
def test_what_does_not_correct_needs_no_token(serve, given):
    client, services = serve(admin_token="admin")
    assert client.post("/feedback", json=given).status_code == 200
    assert services.feedback.correcting.actor is None
