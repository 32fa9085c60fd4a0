"""SageMaker's runtime, as botocore sends and reads it."""

import json

import pytest

from tests.web import fakes

ROW = [5.1, 3.5, 1.4, 0.2]
URL = "/endpoints/iris/invocations"
BODY = {"instances": [ROW]}


def header(name):
    return f"X-Amzn-SageMaker-{name}"


def test_the_version_that_answered_is_a_header(serve):
    client, services = serve()
    answer = client.post(URL, json=BODY, headers={header("Custom-Attributes"): "trace=7"})
    assert (answer.status_code, answer.get_json()["predictions"]) == (200, ["setosa"])
    assert answer.headers["x-Amzn-Invoked-Production-Variant"] == "v1"
    assert answer.headers[header("Custom-Attributes")] == "trace=7"
    assert services.recorder.exposures[0].protocol == "sagemaker"


def test_variant_key_and_session_are_version_key_and_user(serve):
    client, services = serve()
    client.post(URL, json=BODY, headers={header("Target-Variant"): "v2", header("Inference-Id"): "order-1"})
    client.post(URL, json=BODY, headers={header("Session-Id"): "u-1"})
    client.post("/predict", json={"features": ROW, "user_id": "u-1"})
    forced, session, own = services.recorder.exposures
    assert (forced.version, forced.assignment, forced.keys) == ("v2", "forced", ("order-1",))
    assert session.user_hash == own.user_hash != 0


def test_a_new_session_is_a_user_of_its_own(serve):
    client, services = serve()
    answers = [client.post(URL, json=BODY, headers={header("Session-Id"): "NEW_SESSION"}) for _ in range(2)]
    names = [answer.headers[header("New-Session-Id")] for answer in answers]
    client.post(URL, json=BODY, headers={header("Session-Id"): names[0]})
    first, second, again = services.recorder.exposures
    assert (first.user_hash == again.user_hash, first.user_hash == second.user_hash) == (True, False)


@pytest.mark.parametrize(
    "body", ["5.1,3.5,1.4,0.2", "sepal_length,sepal_width,petal_length,petal_width\n5.1,3.5,1.4,0.2\n"]
)
def test_csv_goes_in_and_out(client, body):
    answer = client.post(URL, data=body, content_type="text/csv", headers={"Accept": "text/csv"})
    prediction, prediction_id = answer.text.strip().split(",")
    assert (answer.content_type, prediction, len(prediction_id)) == ("text/csv", "setosa", 64)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("Text/CSV", "text/csv"),
        ("text/csv; charset=utf-8", "text/csv"),
        ("text/csv, application/json;q=0.5", "text/csv"),
        ("text/csv;q=0.5, application/json", "application/json"),
        ("text/*", "application/json"),
        ("application/xml", "application/json"),
    ],
)
def test_the_client_says_what_it_accepts(client, accept, kind):
    assert client.post(URL, json=BODY, headers={"Accept": accept}).content_type == kind


@pytest.mark.parametrize("space", ["", " \r\n\t"])
def test_an_array_is_the_rows(serve, space):
    client, services = serve()
    assert client.post(URL, data=space + json.dumps(BODY["instances"] * 2)).status_code == 200
    assert services.recorder.exposures[0].rows.tolist() == BODY["instances"] * 2


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('[[5.1, 3.5, 1.4, 0.2]], "params": {}', "trailing characters"),
        ("[[5.1, x]]", "byte 7"),
        ("[[1]]", "expected 4 features"),
        ("[]", "empty"),
    ],
)
def test_an_array_that_is_not_whole_is_refused_where_it_goes_wrong(serve, body, message):
    client, services = serve()
    answer = client.post(URL, data=body)
    assert (answer.status_code, message in answer.get_json()["message"]) == (400, True), answer.text
    assert not services.recorder.exposures


@pytest.mark.parametrize("name", ["Session-Id", "Inference-Id"])
def test_an_error_names_the_header_that_was_sent(client, name):
    answer = client.post(URL, json=BODY, headers={header(name): "x" * 300})
    assert answer.get_json()["message"].startswith(header(name))


def test_a_key_in_another_script_is_the_one_that_feedback_names(serve):
    client, services = serve()
    headers = {header("Inference-Id"): "Größe-7".encode().decode("latin-1")}
    assert client.post(URL, json=BODY, headers=headers).status_code == 200
    assert services.recorder.exposures[0].keys == ("Größe-7",)


WRONG = [
    ({"data": "{"}, 400),
    ({"json": {"instances": [[1]]}}, 400),
    ({"json": BODY, "headers": {header("Target-Variant"): "v9"}}, 400),
    ({"json": BODY, "headers": {header("Inference-Id"): "x" * 200}}, 400),
    ({"json": BODY, "headers": {header("Session-Id"): "x" * 300}}, 400),
    ({"data": b"x", "content_type": "application/x-npy"}, 415),
]


@pytest.mark.parametrize(("call", "status"), WRONG)
def test_what_the_caller_can_mend_is_a_validation_error(client, call, status):
    answer = client.post(URL, **call)
    body = answer.get_json()
    assert (answer.status_code, body["code"], type(body["message"])) == (status, "ValidationError", str)
    assert answer.headers["x-amzn-errortype"] == "ValidationError"


@pytest.mark.parametrize(
    ("method", "path", "status"), [("post", "/endpoints/roses/invocations", 400), ("get", URL, 405)]
)
def test_another_endpoint_or_method_is_said_in_the_same_shape(client, method, path, status):
    answer = client.open(path, method=method, json=BODY)
    assert (answer.status_code, answer.get_json()["code"]) == (status, "ValidationError")


def test_a_forced_version_that_fails_is_a_model_error(serve):
    client, _ = serve(fakes.loaded_models(v1=fakes.ConstantRuntime(), v2=fakes.FailingRuntime()))
    answer = client.post(URL, json=BODY, headers={header("Target-Variant"): "v2"})
    assert (answer.status_code, answer.get_json()["code"]) == (424, "ModelError")
    assert answer.get_json()["OriginalStatusCode"] == 503


def test_without_a_model_the_service_is_unavailable(serve):
    client, _ = serve(fakes.loaded_models())
    answer = client.post(URL, json=BODY)
    assert (answer.status_code, answer.get_json()["code"], "Retry-After" in answer.headers) == (
        503,
        "ServiceUnavailable",
        True,
    )


def test_a_signed_request_carries_its_token_in_another_header(serve):
    client, _ = serve(api_token="secret")
    signed = {"Authorization": "AWS4-HMAC-SHA256 Credential=x"}
    refused = client.post(URL, json=BODY, headers=signed)
    assert (refused.status_code, refused.get_json()["code"]) == (401, "AccessDeniedException")
    assert client.post(URL, json=BODY, headers={**signed, "X-API-Key": "secret"}).status_code == 200
