"""Whatever is sent: a 4xx of the contract, in its shape, and the server goes on."""

import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.web import fakes

ROW = [5.1, 3.5, 1.4, 0.2]
NAMED = dict(zip(fakes.IRIS.names, ROW, strict=True))


def refused(client, path, data, status=400, **kwargs):
    answer = client.post(path, data=data if isinstance(data, bytes) else json.dumps(data), **kwargs)
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Request-Id"]
    assert set(answer.get_json()) == {"error"}
    assert set(answer.get_json()["error"]) <= {"code", "message", "field", "index"}
    assert client.post("/predict", json={"features": ROW}).status_code == 200
    return answer.get_json()["error"]


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b'{"features": [5.1, 3.5, 1.4, 0.2]',
        b'{"features": [5.1, 3.5, 1.4, 0.2]} x',
        b"{'features': [1, 2, 3, 4]}",
        b'{"features": [NaN, 3.5, 1.4, 0.2]}',
        b'{"features": [Infinity, 3.5, 1.4, 0.2]}',
        b'{"features": [1e400, 3.5, 1.4, 0.2]}',
        b'{"features": [-1e400, 3.5, 1.4, 0.2]}',
        b'{"features": [' + b"9" * 5000 + b", 1, 1, 1]}",
        b'{"features": ' + b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"features": "\xff\xfe"}',
        b'{"\xed\xa0\x80": 1}',
        b'{"features": "\\ud800"}',
        b"\xef\xbb\xbf{}",
        '{"features": [1, 2, 3, 4]}'.encode("utf-16"),
        bytes(range(256)),
        b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
    ],
)
def test_what_is_not_json_is_malformed(client, path, data):
    assert refused(client, path, data)["code"] == "malformed_json"


def test_the_message_for_nan_says_what_to_send(client):
    problem = refused(client, "/predict", b'{"features": [5.1, NaN, 1.4, 0.2]}')
    assert problem["message"].endswith("NaN is not JSON (byte 19): send null for a missing value")


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
@pytest.mark.parametrize("data", [[], ROW, "text", 5, 1.5, True, None])
def test_json_that_is_no_object_is_an_invalid_request(client, path, data):
    assert refused(client, path, data)["code"] == "invalid_request"


@pytest.mark.parametrize(
    ("features", "field"),
    [
        ([], None),
        ([5.1, 3.5, 1.4], None),
        ([*ROW, 1.0], None),
        (["5.1", 3.5, 1.4, 0.2], "sepal_length"),
        ([True, 3.5, 1.4, 0.2], "sepal_length"),
        ([5.1, None, 1.4, 0.2], "sepal_width"),
        ([5.1, [3.5], 1.4, 0.2], "sepal_width"),
        ([5.1, 3.5, {}, 0.2], "petal_length"),
        ([5.1, 3.5, 1.4, 1e39], "petal_width"),
        ([5.1, 3.5, 1.4, -(10**39)], "petal_width"),
        ({}, "sepal_length"),
        ({**NAMED, "petal_width": "0.2"}, "petal_width"),
        ({key: value for key, value in NAMED.items() if key != "petal_width"}, "petal_width"),
        ({**NAMED, "colour": 1}, "colour"),
    ],
)
def test_a_row_that_does_not_fit_names_the_feature(client, features, field):
    error = refused(client, "/predict", {"features": features})
    assert (error["code"], error.get("field")) == ("invalid_features", field)
    in_batch = refused(client, "/predict/batch", {"instances": [ROW, features]})
    assert (in_batch["code"], in_batch.get("field"), in_batch["index"]) == ("invalid_features", field, 1)
    assert "row 1" in in_batch["message"]


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({}, "invalid_features", "sepal_length"),
        ({"features": "5.1"}, "invalid_request", "features"),
        ({"features": None}, "invalid_request", "features"),
        ({"features": ROW, "model": "v1"}, "invalid_request", "model"),
        ({"features": ROW, "instances": [ROW]}, "invalid_request", "instances"),
        ({"features": NAMED, **NAMED}, "invalid_request", "sepal_length"),
        ({**NAMED, "colour": 1}, "invalid_features", "colour"),
        ({"features": ROW, "user_id": ""}, "invalid_request", "user_id"),
        ({"features": ROW, "user_id": "u" * 257}, "invalid_request", "user_id"),
        ({"features": ROW, "user_id": 17}, "invalid_request", "user_id"),
        ({"features": ROW, "user_id": None}, "invalid_request", "user_id"),
        ({**NAMED, "user_id": 17}, "invalid_request", "user_id"),
        ({"features": ROW, "id": ""}, "invalid_request", "id"),
        ({"features": ROW, "id": "k" * 129}, "invalid_request", "id"),
        ({"features": ROW, "id": 4711}, "invalid_request", "id"),
        ({"features": ROW, "id": None}, "invalid_request", "id"),
        ({"features": ROW, "ids": ["k"]}, "invalid_request", "ids"),
        ({**NAMED, "id": "a\u0000b"}, "invalid_request", "id"),
    ],
)
def test_a_body_of_the_wrong_shape_names_the_key(client, body, code, field):
    error = refused(client, "/predict", body)
    assert (error["code"], error["field"]) == (code, field)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "instances"),
        ({"instances": []}, "instances"),
        ({"instances": {}}, "instances"),
        ({"instances": "rows"}, "instances"),
        ({"features": None}, "features"),
        ({"instances": [ROW], "features": [ROW]}, "features"),
        ({"instances": [ROW], "rows": 1}, "rows"),
        ({"instances": [ROW], "user_id": []}, "user_id"),
        ({"instances": [ROW], "ids": ["a", "b"]}, "ids"),
        ({"instances": [ROW], "ids": [5]}, "ids"),
        ({"instances": [ROW], "id": "a"}, "id"),
    ],
)
def test_a_batch_of_the_wrong_shape_names_the_key(client, body, field):
    error = refused(client, "/predict/batch", body)
    assert (error["code"], error["field"]) == ("invalid_request", field)


@pytest.mark.parametrize("instances", [[5.1], [None], ["row"], [True], ROW, [[ROW]]])
def test_a_batch_of_what_is_no_row_names_the_index(client, instances):
    assert refused(client, "/predict/batch", {"instances": instances})["index"] == 0


@pytest.mark.parametrize("features", [[1.0, "Paris"], [1.0, 5], [1.0, None], ["1", "Oslo"], [float("1e39"), "Oslo"]])
def test_an_unknown_category_or_wrong_kind_is_refused(serve, features):
    client, _ = serve(fakes.loaded_models(fakes.HOUSES, v1=fakes.ConstantRuntime(value=1.0)))
    answer = client.post("/predict", json={"features": features})
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (400, "invalid_features")


@pytest.mark.parametrize("header", ["", "u" * 257])
def test_a_user_in_the_header_obeys_the_same_rule(client, header):
    assert refused(client, "/predict", {"features": ROW}, headers={"X-User-Id": header})["field"] == "X-User-Id"
    named_too = {"features": ROW, "user_id": "ann"}
    assert refused(client, "/predict", named_too, headers={"X-User-Id": header})["field"] == "X-User-Id"


def test_a_key_that_is_none_names_its_row(client):
    error = refused(client, "/predict/batch", {"instances": [ROW, ROW], "ids": ["a", "b\n"]})
    assert (error["code"], error["field"], error["index"]) == ("invalid_request", "ids", 1)


def test_a_key_in_the_header_of_a_batch_of_several_rows_is_refused(client):
    error = refused(client, "/predict/batch", {"instances": [ROW, ROW]}, headers={"X-Prediction-Key": "a"})
    assert (error["code"], error["field"]) == ("invalid_request", "X-Prediction-Key")


@pytest.mark.parametrize("version", ["v9", "", "V1", "../v1", "v1,v2", "ü" * 200])
@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
def test_an_unknown_version_is_404(client, path, version):
    error = refused(client, path, {"features": ROW}, 404, headers={"X-Model-Version": version})
    assert error["code"] == "unknown_version"


def test_too_many_rows_are_413(serve):
    client, services = serve(max_batch_rows=3)
    error = refused(client, "/predict/batch", {"instances": [ROW] * 4}, 413)
    assert error["code"] == "too_large"
    assert client.post("/predict/batch", json={"instances": [ROW] * 3}).status_code == 200
    assert services.metrics.reasons == ["too_large"]


def test_a_million_rows_are_413(client):
    assert refused(client, "/predict/batch", b'{"instances":[' + b"1," * 1_000_000 + b"1]}", 413)["code"] == "too_large"


def test_a_hundred_megabytes_are_413_and_read_to_their_end(client):
    body = io.BytesIO(b"x" * 100_000_000)
    answer = client.post("/predict", input_stream=body, content_length=100_000_000)
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (413, "too_large")
    assert body.read(1) == b""


@pytest.mark.parametrize(("size", "status"), [(1024, 200), (1025, 413), (50_000, 413)])
def test_the_limit_of_a_body_holds_for_chunks_too(serve, size, status):
    client, _ = serve(max_body_bytes=1024)
    body = json.dumps({"features": ROW}).encode().ljust(size)
    answer = client.post("/predict", input_stream=io.BytesIO(body), environ_overrides={"wsgi.input_terminated": True})
    assert answer.status_code == status


def test_a_body_shorter_than_it_said_is_400(client):
    answer = client.post("/predict", data=b'{"features"', environ_overrides={"CONTENT_LENGTH": "500"})
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (400, "invalid_request")


def test_each_refusal_is_counted_under_its_code(serve):
    client, services = serve()
    client.post("/predict", data=b"{")
    client.post("/predict", json={"features": []})
    client.post("/predict/batch", json={"instances": []})
    assert services.metrics.reasons == ["malformed_json", "invalid_features", "invalid_request"]


numbers = st.one_of(st.integers(), st.floats(), st.integers(-(10**400), 10**400))
values = st.one_of(st.none(), st.booleans(), numbers, st.text(max_size=5))
json_values = st.recursive(
    values,
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(st.text(max_size=5), inner, max_size=4)),
    max_leaves=12,
)
keys = st.sampled_from(["features", "instances", "user_id", "sepal_length", "petal_width", "x"])
paths = st.sampled_from(["/predict", "/predict/batch"])


@settings(max_examples=150, deadline=None)
@given(path=paths, data=st.binary(max_size=200))
def test_no_bytes_cause_a_5xx(client, path, data):
    assert client.post(path, data=data).status_code in (400, 413)


@settings(max_examples=200, deadline=None)
@given(path=paths, body=st.dictionaries(keys, json_values, max_size=4))
def test_no_structure_causes_a_5xx(client, path, body):
    assert client.post(path, data=json.dumps(body)).status_code in (200, 400)


@settings(max_examples=150, deadline=None)
@given(features=st.lists(numbers, min_size=4, max_size=4))
def test_four_numbers_are_answered_or_refused_with_the_field(client, features):
    answer = client.post("/predict", data=json.dumps({"features": features}))
    assert answer.status_code == 200 or answer.get_json()["error"]["code"] in ("malformed_json", "invalid_features")


@settings(max_examples=100, deadline=None)
@given(
    headers=st.dictionaries(
        st.sampled_from(
            ["HTTP_X_MODEL_VERSION", "HTTP_X_USER_ID", "HTTP_X_REQUEST_ID", "HTTP_AUTHORIZATION", "HTTP_HOST"]
        ),
        st.text(st.characters(max_codepoint=255), max_size=300),
    )
)
def test_no_headers_cause_a_5xx(client, headers):
    answer = client.post("/predict", json={"features": ROW}, environ_overrides=headers)
    assert answer.status_code in (200, 400, 404)
    assert len(answer.headers["X-Request-Id"]) <= 128
